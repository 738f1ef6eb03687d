//! A log that is read while it is written.

use std::time::Duration;

use super::{
    Access, Client, LogQuery,
    pods::{clean, log_request},
    stream::Chunks,
};
use crate::clients::Result;

/// Longest silence of a log that is waited through; after that the caller follows anew.
const PATIENCE: Duration = Duration::from_mins(15);
/// Bytes of one unfinished line that are held.
const MAX_LINE: usize = 64 * 1024;

/// A log as it grows.
pub struct Following {
    chunks: Chunks,
    /// The line that has no end yet.
    rest: Vec<u8>,
}

impl Client {
    /// Follows a log: its last lines, then every new one, until the container ends.
    pub async fn follow(&self, asked: &LogQuery) -> Result<Following> {
        let (path, operation) = log_request(asked, 0, true)?;
        let namespace = asked.namespace.as_str();
        let access = Access { verb: "get", group: "", resource: "pods/log", namespace };
        let chunks = self.stream(&path, &operation, &access, PATIENCE).await;
        Ok(Following { chunks: chunks.map_err(|(_, error)| error)?, rest: vec![] })
    }
}

impl Following {
    /// The next whole lines, cleaned; `None` when the log has ended.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            let Some(chunk) = self.chunks.next().await? else {
                let rest = std::mem::take(&mut self.rest);
                return Ok((!rest.is_empty()).then(|| clean(&rest)));
            };
            self.rest.extend_from_slice(&chunk);
            let end = match self.rest.iter().rposition(|byte| *byte == b'\n') {
                Some(at) => at + 1,
                None if self.rest.len() > MAX_LINE => self.rest.len(),
                None => continue,
            };
            let whole: Vec<u8> = self.rest.drain(..end).collect();
            return Ok(Some(clean(&whole)));
        }
    }
}
