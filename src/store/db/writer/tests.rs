//! What shares a commit shares its end, and nothing else.

use super::*;

async fn table() -> Connection {
    let mut db = super::super::memory().unwrap();
    for statement in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER full BEFORE INSERT ON t WHEN NEW.id = 99 BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END",
    ] {
        query(statement).execute(&mut db).await.unwrap();
    }
    db
}

/// Parts that insert rows and then fail, if told so; with what they are told.
fn parts(
    rows: Vec<(Vec<&'static str>, Result<()>)>,
) -> (Vec<Part>, Vec<oneshot::Receiver<Result<()>>>) {
    let part = |(statements, end): (Vec<&'static str>, Result<()>)| {
        let (done, result) = oneshot::channel();
        let work: Work<()> = Box::new(move |db| {
            Box::pin(async move {
                for statement in statements {
                    query(statement).execute(db).await?;
                }
                end
            })
        });
        (shared(work, done), result)
    };
    rows.into_iter().map(part).unzip()
}

async fn said(results: Vec<oneshot::Receiver<Result<()>>>) -> Vec<String> {
    let mut said = vec![];
    for result in results {
        said.push(match result.await.unwrap() {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        });
    }
    said
}

async fn rows(db: &mut Connection) -> Vec<i64> {
    let rows: Vec<(i64,)> = query("SELECT id FROM t ORDER BY id").all(db).await.unwrap();
    rows.into_iter().map(|(id,)| id).collect()
}

#[tokio::test]
async fn a_write_that_fails_is_undone_alone() {
    let mut db = table().await;
    let (parts, told) = parts(vec![
        (vec!["INSERT INTO t (id) VALUES (1)"], Ok(())),
        (vec!["INSERT INTO t (id) VALUES (2)"], Err(Error::Conflict)),
        (vec!["INSERT INTO t (id) VALUES (3)", "INSERT INTO t (id) VALUES (1)"], Ok(())),
        (vec!["INSERT INTO t (id) VALUES (4)"], Ok(())),
    ]);
    together(&mut db, parts).await;
    let conflict = Error::Conflict.to_string();
    let twice = "the store failed: UNIQUE constraint failed: t.id".to_owned();
    assert_eq!(said(told).await, ["ok".to_owned(), conflict, twice, "ok".to_owned()]);
    assert_eq!(rows(&mut db).await, [1, 4]);
}

#[tokio::test]
async fn a_commit_that_fails_is_said_to_all() {
    let mut db = table().await;
    let (parts, told) = parts(vec![
        (vec!["INSERT INTO t (id) VALUES (1)"], Ok(())),
        (vec!["INSERT INTO t (id) VALUES (2)"], Err(Error::LostJob)),
        (vec!["INSERT INTO t (id, parent) VALUES (3, 77)"], Ok(())),
    ]);
    together(&mut db, parts).await;
    let refused = "the store failed: FOREIGN KEY constraint failed".to_owned();
    assert_eq!(said(told).await, [refused.clone(), Error::LostJob.to_string(), refused]);
    assert!(rows(&mut db).await.is_empty());
    assert!(!is_open(&db), "the next one begins anew");
}

#[tokio::test]
async fn a_transaction_that_the_database_ends_is_said_to_those_in_it_and_the_rest_goes_on() {
    let mut db = table().await;
    let (parts, told) = parts(vec![
        (vec!["INSERT INTO t (id) VALUES (1)"], Ok(())),
        (vec!["INSERT INTO t (id) VALUES (99)"], Ok(())),
        (vec!["INSERT INTO t (id) VALUES (3)"], Ok(())),
    ]);
    together(&mut db, parts).await;
    let full = "the store failed: the disk is full".to_owned();
    assert_eq!(said(told).await, [full.clone(), full, "ok".to_owned()]);
    assert_eq!(rows(&mut db).await, [3]);
}

#[tokio::test]
async fn a_write_that_cannot_be_undone_alone_takes_the_transaction_with_it() {
    let mut db = table().await;
    let (parts, told) = parts(vec![
        (vec!["INSERT INTO t (id) VALUES (1)"], Ok(())),
        (vec!["INSERT INTO t (id) VALUES (2)", "RELEASE part"], Err(Error::Conflict)),
        (vec!["INSERT INTO t (id) VALUES (3)"], Ok(())),
    ]);
    together(&mut db, parts).await;
    let over = "the store failed: the database ended the transaction".to_owned();
    assert_eq!(said(told).await, [over, Error::Conflict.to_string(), "ok".to_owned()]);
    assert_eq!(rows(&mut db).await, [3]);
}
