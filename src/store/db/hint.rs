//! LISTEN and NOTIFY, so that work added by one replica wakes the others at once. Only a hint: whoever misses it looks by
//! itself within a second.

use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use super::{pool::Pool, query};
use crate::{ops::lifecycle::Tasks, store::Changed};

/// Between attempts to listen.
const AGAIN: Duration = Duration::from_secs(2);
const CHANNEL: &str = "paramedic";

/// Tells others of our commits, and us of theirs.
pub fn start(pool: &Arc<Pool>, options: PgConnectOptions, changed: &Changed, tasks: &Tasks) {
    let (pool, stopped) = (Arc::clone(pool), tasks.stop().stopped.clone());
    let (ours, id) = (changed.ours(), changed.id().to_owned());
    tasks.serve("store.tell", async move {
        tokio::select! {
            () = tell(&pool, ours, &id) => {}
            () = stopped.cancelled() => {}
        }
        Ok(())
    });
    let (changed, stopped) = (changed.clone(), tasks.stop().stopped.clone());
    // One connection, outside of the pool; it connects when it is first used.
    let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    tasks.serve("store.listen", async move {
        tokio::select! {
            () = listen(&own, &changed) => {}
            () = stopped.cancelled() => {}
        }
        Ok(())
    });
}

async fn tell(pool: &Pool, mut ours: tokio::sync::watch::Receiver<u64>, id: &str) {
    while ours.changed().await.is_ok() {
        let Ok(mut session) = pool.session().await else { continue };
        let tell = query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(id);
        let told = tokio::time::timeout(AGAIN, tell.execute(session.connection())).await;
        super::end(session, matches!(told, Ok(Ok(_))));
    }
}

async fn listen(pool: &PgPool, changed: &Changed) {
    loop {
        if let Err(error) = heard(pool, changed).await {
            tracing::debug!(%error, "not told of other replicas' work; looking every second");
        }
        changed.sleep(AGAIN).await;
    }
}

async fn heard(pool: &PgPool, changed: &Changed) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        if listener.recv().await?.payload() != changed.id() {
            changed.theirs();
        }
    }
}
