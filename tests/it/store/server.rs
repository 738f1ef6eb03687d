//! What only a server can do: go away, come back, hang, ask for a password, encrypt, and tell others.

use std::{process::Command, time::Duration};

use paramedic::{
    ops::{clock::Clock, lifecycle::Tasks},
    store::{Changes, Error, NewDelivery, Repeat, Settings, Store},
};
use secrecy::SecretString;

use super::backend::{Backend, Shop};
use crate::bed::{Bed, postgres::Postgres, process::run, until};

/// How long a story waits for a hint or a server.
const PATIENCE: Duration = Duration::from_mins(1);

struct Served {
    server: Postgres,
    store: Store,
    tasks: Tasks,
    _bed: Bed,
}

async fn served() -> Served {
    let bed = Bed::new();
    let server = Postgres::start_with(&bed, &["fsync=off"]).await;
    server.sql("postgres", "CREATE DATABASE p");
    let second = Duration::from_secs(1);
    let settings = Settings { acquire: second, statement: second, ..Settings::at(server.url("p")) };
    let tasks = Tasks::default();
    let store = Store::open(&settings, Clock::System, &tasks).await.unwrap();
    Served { server, store, tasks, _bed: bed }
}

fn delivery(text: &str, store: &Store) -> NewDelivery {
    let bodies = vec![text.as_bytes().to_vec()];
    NewDelivery { source: "prod".to_owned(), received_at: store.now(), bodies }
}

fn cursor(value: &str) -> Changes {
    Changes { cursors: vec![("c".to_owned(), value.to_owned())], ..Changes::default() }
}

#[tokio::test]
async fn a_server_that_was_restarted_is_used_again_at_once() {
    let Served { mut server, store, tasks, _bed } = served().await;
    store.deliver(delivery("before", &store)).await.unwrap();
    // Several connections are open and idle.
    let many = futures::future::join_all((0..8).map(|_| store.backlog())).await;
    assert!(many.iter().all(Result::is_ok));

    server.stop().await;
    let refused = store.deliver(delivery("meanwhile", &store)).await;
    assert!(matches!(refused, Err(Error::Failed(_))), "{refused:?}");
    assert!(matches!(store.check().await, Err(Error::Failed(_))));
    assert!(matches!(store.backlog().await, Err(Error::Failed(_))));

    server.start_again().await;
    store.deliver(delivery("after", &store)).await.unwrap();
    assert_eq!(store.backlog().await.unwrap().0, 2);

    // Every session ended by an administrator while nobody looked: nobody notices.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'paramedic'";
    for number in 0..3 {
        futures::future::join_all((0..8).map(|_| store.backlog())).await;
        assert_ne!(server.sql("postgres", end).trim(), "0");
        match number {
            0 => store.commit(cursor("0"), store.now()).await.unwrap(),
            1 => assert_eq!(store.backlog().await.unwrap().0, 2),
            _ => store.check().await.unwrap(),
        }
    }

    // Restarted while nobody looked: nobody notices.
    futures::future::join_all((0..8).map(|_| store.backlog())).await;
    server.stop().await;
    server.start_again().await;
    store.commit(cursor("1"), store.now()).await.unwrap();
    server.stop().await;
    server.start_again().await;
    assert_eq!(store.cursor("c").await.unwrap().as_deref(), Some("1"));
    server.stop().await;
    server.start_again().await;
    store.deliver(delivery("third", &store)).await.unwrap();
    assert_eq!(store.backlog().await.unwrap().0, 3);
    tasks.stop().stopped.cancel();
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_bounded_time_and_is_used_again_afterwards() {
    let Served { server, store, tasks, _bed } = served().await;
    futures::future::join_all((0..8).map(|_| store.backlog())).await;
    server.freeze();
    // More callers than connections: each gets an answer.
    let ask = async |_| {
        let (read, written, delivered) = futures::join!(
            store.backlog(),
            store.commit(cursor("lost"), store.now()),
            store.deliver(delivery("hung", &store)),
        );
        (read.is_err(), written.is_err(), delivered.is_err())
    };
    let asked = futures::future::join_all((0..12).map(ask));
    let answers = tokio::time::timeout(PATIENCE, asked).await.expect("every caller is answered");
    assert!(answers.iter().all(|answer| *answer == (true, true, true)), "{answers:?}");
    server.thaw();
    until("the store works again", PATIENCE, async || {
        store.commit(cursor("works"), store.now()).await.ok()
    })
    .await;
    assert_eq!(store.cursor("c").await.unwrap().as_deref(), Some("works"));
    tasks.stop().stopped.cancel();
}

#[tokio::test]
async fn a_transaction_whose_caller_is_gone_leaves_nothing_and_holds_nothing() {
    let shop = Shop::opens(Backend::Postgres).await;
    for steps in 0..24 {
        let commit = shop.store.commit(cursor("dropped"), shop.store.now());
        let mut commit = std::pin::pin!(commit);
        // Dropped somewhere on its way, as by a lost lease: each look at the server lets it go a little further.
        for _ in 0..steps {
            if futures::poll!(&mut commit).is_ready() {
                break;
            }
            shop.store.backlog().await.unwrap();
        }
    }
    shop.commit(cursor("kept")).await.unwrap();
    assert_eq!(shop.store.cursor("c").await.unwrap().as_deref(), Some("kept"));
}

#[tokio::test]
async fn the_time_is_the_servers() {
    let Served { server, store, tasks, _bed } = served().await;
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let before = store.now().as_millisecond();
    let servers: i64 = server.sql("p", sql).trim().parse().unwrap();
    let after = store.now().as_millisecond();
    // Half of a round trip, at most, is guessed.
    assert!((before - 50..=after + 50).contains(&servers), "{before} {servers} {after}");
    tasks.stop().stopped.cancel();
}

#[tokio::test]
async fn a_replica_is_told_of_the_others_commits() {
    let shop = Shop::opens(Backend::Postgres).await;
    let other = shop.replica().await;
    let mut news = other.news(&["post"]);
    let told = async {
        // Listening begins in the background: commit until it does.
        loop {
            shop.add("p", Repeat::Replace).await;
            if tokio::time::timeout(Duration::from_millis(100), news.changed()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("the other replica is told");
}

#[tokio::test]
async fn a_password_is_needed_and_used_and_never_said() {
    let bed = Bed::new();
    let hba = "host all app 127.0.0.1/32 trust\nhost all guest 127.0.0.1/32 scram-sha-256\n";
    let hba = bed.file("pg_hba.conf", hba);
    let server = Postgres::start_with(&bed, &[&format!("hba_file={}", hba.display())]).await;
    server.sql("postgres", "CREATE ROLE guest LOGIN PASSWORD 'hunter2 %/?'");
    server.sql("postgres", "CREATE DATABASE p OWNER guest");
    let url = server.url("p").replace("app@", "guest@");
    let tasks = Tasks::default();
    let mut settings = Settings::at(url);
    let error = Store::open(&settings, Clock::System, &tasks).await.err().unwrap().to_string();
    assert!(error.contains("password"), "{error}");
    settings.password = Some(SecretString::from("hunter2 wrong"));
    let error = Store::open(&settings, Clock::System, &tasks).await.err().unwrap().to_string();
    assert!(
        error.contains("password authentication failed") && !error.contains("hunter2"),
        "{error}"
    );
    settings.password = Some(SecretString::from("hunter2 %/?"));
    assert!(!format!("{settings:?}").contains("hunter2"), "{settings:?}");
    let store = Store::open(&settings, Clock::System, &tasks).await.unwrap();
    store.check().await.unwrap();
    tasks.stop().stopped.cancel();
}

#[tokio::test]
async fn a_connection_is_encrypted_and_the_server_verified() {
    let bed = Bed::new();
    let folder = bed.folder("tls");
    let file = |name: &str| folder.join(name).display().to_string();
    for name in ["server", "other"] {
        let (key, cert) = (file(&format!("{name}.key")), file(&format!("{name}.crt")));
        let mut make = Command::new("/usr/bin/openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        make.args(["-nodes", "-days", "2", "-subj", "/CN=bed", "-keyout", &key, "-out", &cert]);
        make.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
        make.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        run(&mut make);
    }
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", file("server.crt")),
        format!("ssl_key_file={}", file("server.key")),
    ];
    crate::bed::postgres::give(&folder.join("server.key"));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let server = Postgres::start_with(&bed, &settings).await;
    server.sql("postgres", "CREATE DATABASE p");
    let at = |authority: &str| {
        Settings::at(format!(
            "{}?sslmode=verify-full&sslrootcert={}",
            server.url("p"),
            file(authority)
        ))
    };
    let tasks = Tasks::default();
    let error = Store::open(&at("other.crt"), Clock::System, &tasks).await.err().unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
    let store = Store::open(&at("server.crt"), Clock::System, &tasks).await.unwrap();
    store.check().await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND application_name = 'paramedic'";
    assert_ne!(server.sql("postgres", sql).trim(), "0");
    tasks.stop().stopped.cancel();
}
