//! Pods and their logs.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use kube::api::ObjectList;

use super::{Access, Client, Pod, failure, path, query};
use crate::clients::{Error, Kind, Result, readable};

/// Objects per page of a list.
const PAGE: usize = 250;
/// Most bytes of one log that are read.
const MAX_LOG: usize = 2 * 1024 * 1024;

/// Which pods to list.
#[derive(Clone, Debug, Default)]
pub struct PodQuery {
    /// Namespace; empty for all namespaces.
    pub namespace: String,
    /// Label selector; empty for every pod.
    pub labels: String,
    /// Field selector; empty for every pod.
    pub fields: String,
    /// At most this many; 0 means 1 000.
    pub limit: usize,
}

/// A bounded list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    /// The items, in the server's order.
    pub items: Vec<T>,
    /// True when there were more.
    pub cut: bool,
}

/// Which log to read.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Container; empty only works for pods with one.
    pub container: String,
    /// The instance before the last restart.
    pub previous: bool,
    /// Only the last lines; 0 means all.
    pub tail_lines: usize,
    /// Only lines this young.
    pub since: Option<Duration>,
    /// At most this many bytes, counted from the oldest line; 0 means 2 MiB, which is also the most.
    pub limit_bytes: usize,
    /// Each line starts with its time, RFC 3339.
    pub timestamps: bool,
}

/// A log, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Text without terminal colours and control characters.
    pub text: String,
    /// True when the byte limit was reached: the newest lines are then missing.
    pub cut: bool,
}

impl Client {
    /// Lists pods, page by page.
    pub async fn pods(&self, asked: &PodQuery) -> Result<Listed<Pod>> {
        let most = if asked.limit == 0 { 1_000 } else { asked.limit };
        let operation = match asked.namespace.as_str() {
            "" => format!("list the pods of all namespaces ({})", asked.labels),
            namespace => format!("list the pods of namespace {namespace} ({})", asked.labels),
        };
        // A page token expires with the server's history (410); one fresh start is always possible.
        match self.pages(asked, most, &operation).await {
            Err(error) if error.reason.ends_with(failure::EXPIRED) => {
                self.pages(asked, most, &operation).await
            }
            other => other,
        }
    }

    async fn pages(&self, asked: &PodQuery, most: usize, operation: &str) -> Result<Listed<Pod>> {
        let base = match asked.namespace.as_str() {
            "" => path(&["api", "v1", "pods"], operation)?,
            namespace => path(&["api", "v1", "namespaces", namespace, "pods"], operation)?,
        };
        let access =
            Access { verb: "list", group: "", resource: "pods", namespace: &asked.namespace };
        let mut items = vec![];
        let mut token = String::new();
        loop {
            let page = PAGE.min(most - items.len()).to_string();
            let query = query(&[
                ("labelSelector", &asked.labels),
                ("fieldSelector", &asked.fields),
                ("limit", &page),
                ("continue", &token),
            ]);
            let list: ObjectList<core::Pod> =
                self.get_json(&format!("{base}{query}"), operation, &access).await?;
            items.extend(list.items.into_iter().map(Pod::from));
            token = list.metadata.continue_.unwrap_or_default();
            if token.is_empty() || items.len() >= most {
                let cut = !token.is_empty() || items.len() > most;
                items.truncate(most);
                return Ok(Listed { items, cut });
            }
        }
    }

    /// Reads one pod.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Pod> {
        let operation = format!("read pod {namespace}/{name}");
        let path = path(&["api", "v1", "namespaces", namespace, "pods", name], &operation)?;
        let access = Access { verb: "get", group: "", resource: "pods", namespace };
        let pod: core::Pod = self.get_json(&path, &operation, &access).await?;
        Ok(pod.into())
    }

    /// Reads the log of one container. `NotFound` means that the pod is gone, and its log with it.
    pub async fn logs(&self, asked: &LogQuery) -> Result<Log> {
        let limit = if asked.limit_bytes == 0 { MAX_LOG } else { asked.limit_bytes.min(MAX_LOG) };
        let (path, operation) = log_request(asked, limit, false)?;
        let namespace = asked.namespace.as_str();
        let access = Access { verb: "get", group: "", resource: "pods/log", namespace };
        let answer = self.get(&path, &operation, &access, limit).await;
        let answer = answer.map_err(|error| match error.kind {
            Kind::NotFound => {
                Error { reason: "the log is gone: the pod was deleted".to_owned(), ..error }
            }
            _ => error,
        })?;
        Ok(Log { cut: answer.cut || answer.body.len() >= limit, text: clean(&answer.body) })
    }

    /// Reads the end of a log, at most `max_bytes` of it. The API server's byte limit cuts off the **newest** lines, so a
    /// log that hits it is asked again for fewer lines.
    pub async fn log_tail(&self, asked: &LogQuery, max_bytes: usize) -> Result<Log> {
        let mut query = asked.clone();
        let mut log = self.logs(&query).await?;
        let mut older_missing = false;
        while log.cut && query.tail_lines > 1 {
            query.tail_lines = (query.tail_lines / 4).max(1);
            older_missing = true;
            log = self.logs(&query).await?;
        }
        let text = newest(&log.text, max_bytes);
        Ok(Log {
            cut: log.cut || older_missing || text.len() < log.text.len(),
            text: text.to_owned(),
        })
    }
}

/// The last `max_bytes` of a log, from the start of a line; of a single line that is longer, its end.
pub fn newest(text: &str, max_bytes: usize) -> &str {
    let over = text.len().saturating_sub(max_bytes);
    if over == 0 {
        return text;
    }
    let next = text.bytes().skip(over).position(|b| b == b'\n').map(|at| over + at + 1);
    let start = next.filter(|start| *start < text.len());
    text.get(start.unwrap_or_else(|| text.ceil_char_boundary(over))..).unwrap_or_default()
}

/// Path and operation of a log's request; `limit` 0 sets none.
pub(super) fn log_request(
    asked: &LogQuery,
    limit: usize,
    follow: bool,
) -> Result<(String, String)> {
    let (namespace, pod) = (asked.namespace.as_str(), asked.pod.as_str());
    let container = match asked.container.as_str() {
        "" => String::new(),
        name => format!(" container {name}"),
    };
    let verb = if follow { "follow" } else { "read" };
    let operation = format!("{verb} the log of pod {namespace}/{pod}{container}");
    let base = path(&["api", "v1", "namespaces", namespace, "pods", pod, "log"], &operation)?;
    let flag = |set: bool| if set { "true" } else { "" };
    let number = |n: u64| if n == 0 { String::new() } else { n.to_string() };
    let query = query(&[
        ("container", &asked.container),
        ("follow", flag(follow)),
        ("previous", flag(asked.previous)),
        ("timestamps", flag(asked.timestamps)),
        ("tailLines", &number(asked.tail_lines as u64)),
        ("sinceSeconds", &number(asked.since.map_or(0, |s| s.as_secs().max(1)))),
        ("limitBytes", &number(limit as u64)),
    ]);
    Ok((format!("{base}{query}"), operation))
}

/// Text a person can read and a pattern can match: valid UTF-8, `\n` line ends, no terminal sequences, no controls.
pub(super) fn clean(body: &[u8]) -> String {
    readable(&String::from_utf8_lossy(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_begin_with_a_line_unless_there_is_only_one() {
        assert_eq!(newest("a\nbb\ncc\n", 9), "a\nbb\ncc\n");
        assert_eq!(newest("a\nbb\ncc\n", 4), "cc\n");
        assert_eq!(newest("aaaaé", 3), "aé");
        assert_eq!(newest("ééééé\n", 4), "é\n");
        assert_eq!(newest("", 4), "");
    }

    #[test]
    fn a_log_loses_colours_and_controls_but_no_text() {
        let raw = b"\x1b[31mERROR\x1b[0m a\0b\tc\r\nnext \xff line\n";
        assert_eq!(clean(raw), "ERROR ab\tc\nnext \u{fffd} line\n");
    }
}
