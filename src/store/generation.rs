//! The store's generation: changes with every start of a replica and every recovery, and never comes back, also when an older
//! backup is restored. What replicas say while the store is away carries it.

use super::{Result, Store, millis, query};

impl Store {
    /// The current one, milliseconds; 0: there was none yet.
    pub async fn generation(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(value), 0) FROM meta WHERE name = 'generation'";
        self.db.one(query(sql)).await.map(|(generation,): (i64,)| generation)
    }

    /// Begins the next one: the time of now, and more than any before.
    pub async fn begin_generation(&self) -> Result<()> {
        let now = millis(self.now());
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = "INSERT INTO meta (name, value) VALUES ('generation', $1) ON CONFLICT (name) DO UPDATE \
                           SET value = CASE WHEN excluded.value > meta.value THEN excluded.value ELSE meta.value + 1 END";
                query(sql).bind(now).execute(db).await.map(drop).map_err(Into::into)
            })
        });
        write.await
    }
}
