//! Group commit of deliveries: whatever waits shares one commit. If that fails it goes row by row, so that a single bad row
//! harms only itself.

use tokio::sync::{mpsc, oneshot};

use super::{Connection, dialect};
use crate::store::{Error, NewDelivery, Result};

/// Deliveries waiting at most; beyond that intake answers 503.
pub const QUEUE: usize = 1024;
/// Deliveries that share one commit at most.
pub const BATCH: usize = 256;

/// A delivery, and who waits for it.
pub type Incoming = (NewDelivery, oneshot::Sender<Result<()>>);

/// Where deliveries are put.
pub struct Intake(mpsc::Sender<Incoming>);

impl Intake {
    /// With the end that whoever stores them reads.
    pub fn new() -> (Self, mpsc::Receiver<Incoming>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Stores a delivery; returns after its commit.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<()> {
        let (done, result) = oneshot::channel();
        self.0.try_send((delivery, done)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Error::Failed("too many deliveries wait to be stored".to_owned())
            }
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        result.await.map_err(|_| gone())?
    }
}

/// The process ends.
pub fn gone() -> Error {
    Error::Failed("the store is closed".to_owned())
}

/// One commit for all, else one by one; the first error that is the database's fault, not a row's, ends the rest too.
/// Returns whether the connection may be used again.
pub async fn store(db: &mut Connection, batch: Vec<Incoming>) -> bool {
    let (rows, waiting): (Vec<NewDelivery>, Vec<_>) = batch.into_iter().unzip();
    let mut broken = None;
    if rows.len() > 1 {
        match dialect::insert(db, &rows).await {
            Ok(()) => {
                answer(waiting, &Ok(()));
                return true;
            }
            Err(error) if error.is_of_a_row() => {}
            Err(error) => broken = Some(Error::from(error)),
        }
    }
    for (row, done) in rows.iter().zip(waiting) {
        let outcome = match &broken {
            Some(error) => Err(error.clone()),
            None => match dialect::insert(db, std::slice::from_ref(row)).await {
                Ok(()) => Ok(()),
                Err(error) => {
                    let of_a_row = error.is_of_a_row();
                    let error = Error::from(error);
                    broken = (!of_a_row).then(|| error.clone());
                    Err(error)
                }
            },
        };
        // Nobody waits any more when the caller was cancelled; the commit stands all the same.
        drop(done.send(outcome));
    }
    broken.is_none()
}

/// The same answer for everybody.
pub fn answer(waiting: Vec<oneshot::Sender<Result<()>>>, outcome: &Result<()>) {
    for done in waiting {
        drop(done.send(outcome.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_row_that_the_database_refuses_harms_only_itself() {
        let mut db = super::super::memory().unwrap();
        crate::store::migrate::run(&mut db).await.unwrap();
        let trap = "CREATE TRIGGER trap BEFORE INSERT ON deliveries WHEN NEW.source = 'bad' \
                    BEGIN SELECT RAISE(ABORT, 'not this one'); END";
        dialect::script(&mut db, trap).await.unwrap();
        let (batch, answers): (Vec<_>, Vec<_>) = ["a", "bad", "b"]
            .map(|source| {
                let (done, answer) = oneshot::channel();
                let received_at = jiff::Timestamp::UNIX_EPOCH;
                let row = NewDelivery { source: source.into(), received_at, bodies: vec![vec![1]] };
                ((row, done), answer)
            })
            .into_iter()
            .unzip();
        assert!(store(&mut db, batch).await, "the connection is as good as before");
        let mut said = vec![];
        for answer in answers {
            said.push(answer.await.unwrap());
        }
        assert_eq!(said, [Ok(()), Err(Error::Failed("not this one".to_owned())), Ok(())]);
        let rows = super::super::query("SELECT source FROM deliveries ORDER BY id");
        let rows: Vec<(String,)> = rows.all(&mut db).await.unwrap();
        assert_eq!(rows.iter().map(|(source,)| source.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }
}
