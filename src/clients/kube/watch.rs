//! A watch: every object as it is now, then every change to it, for as long as somebody asks for the next one.
//!
//! Not kube's own watcher, for three reasons. A refused start with 410 makes that one ask with the same dead version for
//! ever; one object that cannot be read ends its list; and it reads lines without a bound. Here a 410, wherever it comes,
//! leads to a fresh list; a bad object is skipped and named; lines and pages are bounded, and so is every wait.
//!
//! It goes on from its resource version when a stream ends or breaks, so nothing in between is lost. It never waits by
//! itself: [`Seen::Ended`] and errors come back to the caller, who paces.

use std::{collections::VecDeque, time::Duration};

use k8s_openapi::api::core::v1 as core;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Access, Client, Event, Pod, failure, path, pod::one_line, query, stream::Chunks};
use crate::clients::{Error, Kind, Result, http::Response};

/// Objects per page of a list; halved while a page is too large to read.
const PAGE: usize = 200;
/// How long the server keeps one stream open, seconds.
const SERVER_TIMEOUT: u64 = 240;
/// Longest silence on a stream: the server ends it earlier than that.
const PATIENCE: Duration = Duration::from_secs(SERVER_TIMEOUT + 30);
/// Longest line of a stream; a longer object is skipped.
const MAX_LINE: usize = 4 * 1024 * 1024;

/// What a watch brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// A list begins: what is not [`Seen::Listed`] before [`Seen::Complete`] exists no more.
    Relisting,
    /// An object of the list.
    Listed(T),
    /// The list is complete.
    Complete,
    /// Changes will come from now on: the stream is open.
    Watching,
    /// An object was added or changed.
    Changed(T),
    /// An object was deleted; its last state.
    Deleted(T),
    /// An object that cannot be read, with the reason; it is skipped.
    Unreadable(String),
    /// The server has forgotten our version; the next call lists again.
    Expired,
    /// The stream ended; the next call goes on where it stopped.
    Ended,
}

/// A watch of pods or events.
pub struct Watch<T> {
    client: Client,
    resource: &'static str,
    namespace: String,
    labels: String,
    fields: &'static str,
    read: fn(&str) -> serde_json::Result<T>,
    phase: Phase,
    version: String,
    page: usize,
    ready: VecDeque<Seen<T>>,
}

enum Phase {
    Fresh,
    Listing { token: String },
    Ready,
    Streaming(Lines),
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: Metadata,
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    resource_version: Option<String>,
    r#continue: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
}

impl Client {
    /// Watches the pods with these labels; of every namespace when it is empty.
    pub fn watch_pods(&self, namespace: &str, labels: &str) -> Watch<Pod> {
        let read = |json: &str| serde_json::from_str::<core::Pod>(json).map(Pod::from);
        self.watch("pods", namespace, labels, "", read)
    }

    /// Watches the events about pods; of every namespace when it is empty.
    pub fn watch_events(&self, namespace: &str) -> Watch<Event> {
        let read = |json: &str| serde_json::from_str::<core::Event>(json).map(Event::from);
        self.watch("events", namespace, "", "involvedObject.kind=Pod", read)
    }

    fn watch<T>(
        &self,
        resource: &'static str,
        namespace: &str,
        labels: &str,
        fields: &'static str,
        read: fn(&str) -> serde_json::Result<T>,
    ) -> Watch<T> {
        Watch {
            client: self.clone(),
            resource,
            namespace: namespace.to_owned(),
            labels: labels.to_owned(),
            fields,
            read,
            phase: Phase::Fresh,
            version: String::new(),
            page: PAGE,
            ready: VecDeque::new(),
        }
    }
}

impl<T> Watch<T> {
    /// The next thing that was seen. After an error the same call tries again, without losing a change.
    pub async fn next(&mut self) -> Result<Seen<T>> {
        loop {
            if let Some(seen) = self.ready.pop_front() {
                return Ok(seen);
            }
            match &mut self.phase {
                Phase::Fresh => {
                    self.phase = Phase::Listing { token: String::new() };
                    return Ok(Seen::Relisting);
                }
                Phase::Listing { token } => {
                    let token = token.clone();
                    self.list(&token).await?;
                }
                Phase::Ready => self.connect().await?,
                Phase::Streaming(lines) => match lines.next().await {
                    Ok(Some(Ok(line))) => self.line(&line)?,
                    Ok(Some(Err(bytes))) => {
                        return Ok(Seen::Unreadable(format!(
                            "an object of more than {bytes} bytes"
                        )));
                    }
                    Ok(None) => {
                        self.phase = Phase::Ready;
                        return Ok(Seen::Ended);
                    }
                    Err(error) => {
                        self.phase = Phase::Ready;
                        return Err(error);
                    }
                },
            }
        }
    }

    async fn list(&mut self, token: &str) -> Result<()> {
        let operation = self.operation("list");
        let limit = self.page.to_string();
        let query = query(&[
            ("labelSelector", &self.labels),
            ("fieldSelector", self.fields),
            ("limit", &limit),
            ("continue", token),
        ]);
        let path = format!("{}{query}", self.path(&operation)?);
        let access = self.access("list");
        let answer = match self
            .client
            .get(&path, &operation, &access, crate::clients::http::MAX_BYTES)
            .await
        {
            Ok(answer) => answer,
            Err(error) if error.reason.ends_with(failure::EXPIRED) => {
                self.forget();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if answer.cut && self.page > 1 {
            self.page /= 2;
            return Ok(());
        }
        let page: Page<'_> = serde_json::from_slice(&answer.body)
            .map_err(|error| Error::new(Kind::Malformed, &operation, error.to_string()))?;
        for item in page.items.unwrap_or_default() {
            self.ready.push_back(match (self.read)(item.get()) {
                Ok(object) => Seen::Listed(object),
                Err(error) => Seen::Unreadable(unreadable(item.get(), &error)),
            });
        }
        let next = page.metadata.r#continue.unwrap_or_default();
        if next.is_empty() {
            self.version = page.metadata.resource_version.unwrap_or_default();
            self.phase = Phase::Ready;
            self.ready.push_back(Seen::Complete);
        } else {
            self.phase = Phase::Listing { token: next };
        }
        Ok(())
    }

    async fn connect(&mut self) -> Result<()> {
        let operation = self.operation("watch");
        let seconds = SERVER_TIMEOUT.to_string();
        let query = query(&[
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("labelSelector", &self.labels),
            ("fieldSelector", self.fields),
            ("timeoutSeconds", &seconds),
            ("resourceVersion", &self.version),
        ]);
        let path = format!("{}{query}", self.path(&operation)?);
        let access = self.access("watch");
        match self.client.stream(&path, &operation, &access, PATIENCE).await {
            Ok(chunks) => {
                self.phase = Phase::Streaming(Lines::of(chunks));
                self.ready.push_back(Seen::Watching);
            }
            Err((410, _)) => self.forget(),
            Err((_, error)) => return Err(error),
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let Ok(Line { kind, object }) = serde_json::from_slice::<Line<'_>>(line) else {
            let shown = one_line(&String::from_utf8_lossy(&line[..line.len().min(400)]), 100);
            self.ready.push_back(Seen::Unreadable(format!("a line that is no change: {shown}")));
            return Ok(());
        };
        let head: Head = serde_json::from_str(object.get()).unwrap_or_default();
        if kind == "ERROR" {
            return self.refused(head.code, object.get());
        }
        if let Some(version) = head.metadata.resource_version.filter(|version| !version.is_empty())
        {
            self.version = version;
        }
        let make = match kind.as_str() {
            "ADDED" | "MODIFIED" => Seen::Changed,
            "DELETED" => Seen::Deleted,
            // A bookmark only moves the version; kinds of a later server say nothing to us.
            _ => return Ok(()),
        };
        self.ready.push_back(match (self.read)(object.get()) {
            Ok(object) => make(object),
            Err(error) => Seen::Unreadable(unreadable(object.get(), &error)),
        });
        Ok(())
    }

    /// The server ends the stream with an error.
    fn refused(&mut self, code: u16, status: &str) -> Result<()> {
        if code == 410 {
            self.forget();
            return Ok(());
        }
        self.phase = Phase::Ready;
        let headers = reqwest::header::HeaderMap::new();
        let answer = Response { status: code, headers, body: status.into(), cut: false };
        Err(failure::refusal(&answer, &self.operation("watch"), &self.access("watch")))
    }

    fn forget(&mut self) {
        self.version.clear();
        self.phase = Phase::Fresh;
        self.ready.push_back(Seen::Expired);
    }

    fn operation(&self, verb: &str) -> String {
        let selected =
            if self.labels.is_empty() { String::new() } else { format!(" ({})", self.labels) };
        match self.namespace.as_str() {
            "" => format!("{verb} the {} of all namespaces{selected}", self.resource),
            namespace => format!("{verb} the {} of namespace {namespace}{selected}", self.resource),
        }
    }

    fn path(&self, operation: &str) -> Result<String> {
        match self.namespace.as_str() {
            "" => path(&["api", "v1", self.resource], operation),
            namespace => path(&["api", "v1", "namespaces", namespace, self.resource], operation),
        }
    }

    fn access<'a>(&'a self, verb: &'a str) -> Access<'a> {
        Access { verb, group: "", resource: self.resource, namespace: &self.namespace }
    }
}

/// Which object cannot be read, and why.
fn unreadable(json: &str, error: &serde_json::Error) -> String {
    let head: Head = serde_json::from_str(json).unwrap_or_default();
    let name = head.metadata.name.unwrap_or_default();
    let namespace = head.metadata.namespace.unwrap_or_default();
    one_line(&format!("{namespace}/{name}: {error}"), 300)
}

/// Lines out of chunks.
struct Lines {
    chunks: Chunks,
    rest: Vec<u8>,
    /// Up to where `rest` has no line end.
    searched: usize,
    /// Bytes of a line that is too long, so far.
    skipped: usize,
}

impl Lines {
    fn of(chunks: Chunks) -> Self {
        Self { chunks, rest: vec![], searched: 0, skipped: 0 }
    }

    /// The next line, or the size of one that is too long; `None` at the end.
    async fn next(&mut self) -> Result<Option<std::result::Result<Vec<u8>, usize>>> {
        loop {
            let new = &self.rest[self.searched..];
            if let Some(at) = new.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=self.searched + at).collect();
                self.searched = 0;
                if std::mem::take(&mut self.skipped) > 0 {
                    return Ok(Some(Err(MAX_LINE)));
                }
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(Ok(line)));
            }
            self.searched = self.rest.len();
            if self.rest.len() > MAX_LINE {
                self.skipped += self.rest.len();
                (self.rest, self.searched) = (vec![], 0);
            }
            // What has no line end when the stream ends was cut off; the next stream brings it whole.
            let Some(chunk) = self.chunks.next().await? else { return Ok(None) };
            self.rest.extend_from_slice(&chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(parts: &[&'static str]) -> Vec<std::result::Result<String, usize>> {
        let mut lines = Lines::of(Chunks::of(parts));
        let mut all = vec![];
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line.map(|line| String::from_utf8(line).unwrap()));
        }
        all
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_cut_and_an_unfinished_one_does_not_come() {
        let seen = lines(&["{\"a\":", "1}\n\n{}", "\n{\"b\"", ":2}\n{\"cut"]).await;
        let seen: Vec<String> = seen.into_iter().map(std::result::Result::unwrap).collect();
        assert_eq!(seen, ["{\"a\":1}\n", "{}\n", "{\"b\":2}\n"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_skipped_and_named_and_the_next_one_comes() {
        let long: &'static str = "x".repeat(MAX_LINE / 2 + 1).leak();
        let seen = lines(&[long, long, long, "\n{}\n"]).await;
        assert_eq!(seen, [Err(MAX_LINE), Ok("{}\n".to_owned())]);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_named() {
        let json =
            r#"{"metadata":{"name":"exec-1","namespace":"n"},"status":{"containerStatuses":"x"}}"#;
        let error = serde_json::from_str::<core::Pod>(json).unwrap_err();
        let said = unreadable(json, &error);
        assert!(said.starts_with("n/exec-1: invalid type"), "{said}");
    }
}
