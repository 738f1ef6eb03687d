//! `s3.prefix`: what lies below a prefix of a bucket.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        self, one_line,
        s3::{FailureKind, Fault, Listing},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Counts the objects below a prefix and says which changed last, whether a `_SUCCESS` is there, and whether a writer left
/// `_temporary` files. It reads at most `pages` pages of 1 000 objects.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// A name under the cluster's `s3:`; by default the only one there, else `main`.
    #[serde(default)]
    pub bucket: Option<Input<String>>,
    /// What the keys begin with, a template: `warehouse/orders/day={{labels.day}}/`. Never empty.
    pub prefix: Input<KeyPrefix>,
    /// Pages of 1 000 objects to read, 1 to 20; default 5. What lies beyond them, or takes longer than 12 seconds, is said and
    /// not counted.
    #[serde(default = "default_pages")]
    #[schemars(range(min = 1, max = 20))]
    pub pages: Pages,
}

/// Number of pages.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Pages(usize);

impl TryFrom<usize> for Pages {
    type Error = String;

    fn try_from(pages: usize) -> Result<Self, String> {
        if (1..=20).contains(&pages) {
            Ok(Self(pages))
        } else {
            Err("`pages` is 1 to 20".to_owned())
        }
    }
}

fn default_pages() -> Pages {
    Pages(5)
}

/// The beginning of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(String);

/// What is there.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The prefix as it was asked for.
    pub prefix: String,
    /// True when at least one object is there.
    pub exists: bool,
    /// How many objects were counted.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// True when there are more than were counted.
    pub cut: bool,
    /// The object that changed last among those counted.
    pub newest: Option<Newest>,
    /// True when `_SUCCESS` is directly below the prefix.
    pub success: bool,
    /// Objects below a `_temporary/`: a writer is at work, or died.
    pub temporary: u64,
}

/// An object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Newest {
    /// Its key.
    pub key: String,
    /// When it changed, RFC 3339.
    pub modified: String,
    /// Its size, bytes.
    pub bytes: u64,
}

impl Filled for KeyPrefix {
    const WHAT: &'static str = "the beginning of keys";

    fn parse(text: &str) -> Result<Self, String> {
        // Longest key of S3, bytes.
        if text.is_empty() || text.len() > 1_024 || text.chars().any(char::is_control) {
            return Err("it is 1 to 1024 bytes without control characters".to_owned());
        }
        // A URL would resolve these into another place.
        if text.starts_with('/') || text.split('/').any(|part| matches!(part, "." | "..")) {
            return Err("it must not begin with `/` or hold a part `.` or `..`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Step for Prefix {
    const KIND: &'static str = "s3.prefix";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"bucket: lake
prefix: "warehouse/orders/day={{labels.day}}/"
pages: 5"#;
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let (name, client) = super::bucket(context, self.bucket.as_ref())?;
        let KeyPrefix(prefix) = self.prefix.fill(context.scope)?;
        let failed = |fault| failed(&name, fault);
        let listing = client.list(&prefix, self.pages.0, context.clock).await.map_err(failed)?;
        let success = format!("{}/_SUCCESS", prefix.trim_end_matches('/'));
        let success = client.exists(&success, context.clock).await.map_err(failed)?;
        Ok(outcome(&name, prefix, listing, success))
    }
}

/// Nothing was found out: unlike in `s3.health`, that is a failure of the step.
fn failed(name: &str, fault: Fault) -> Failure {
    let Fault { kind, status, code, reason } = fault;
    let error = match kind {
        FailureKind::Timeout => clients::Kind::Timeout,
        FailureKind::Unresolved
        | FailureKind::Refused
        | FailureKind::Unreachable
        | FailureKind::Tls
        | FailureKind::NotReady => clients::Kind::Unreachable,
        FailureKind::AccessDenied | FailureKind::BadCredentials | FailureKind::ClockSkew => {
            clients::Kind::Denied
        }
        FailureKind::NoSuchBucket | FailureKind::NoSuchKey => clients::Kind::NotFound,
        FailureKind::Throttled => clients::Kind::Throttled { after: None },
        FailureKind::NotS3 | FailureKind::Corrupt => clients::Kind::Malformed,
        FailureKind::WrongRegion
        | FailureKind::StorageFull
        | FailureKind::InternalError
        | FailureKind::Unexpected => clients::Kind::Refused,
    };
    let status = status.map_or_else(String::new, |status| format!("HTTP {status}"));
    let parts = [kind.word().to_owned(), status, code, reason];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    clients::Error::new(error, format!("read bucket {name}"), parts.join(": ")).into()
}

fn outcome(name: &str, prefix: String, listing: Listing, success: bool) -> Outcome<Found> {
    let Listing { objects, bytes, newest, temporary, cut } = listing;
    let shown = one_line(&prefix, 300);
    let counted = if objects == 0 {
        format!("s3 {name} prefix {shown}: nothing there")
    } else {
        let more = if cut { "more than " } else { "" };
        format!("s3 {name} prefix {shown}: {more}{objects} objects, {bytes} bytes")
    };
    let mut text = vec![counted];
    if let Some((key, modified, size)) = &newest {
        text.push(format!(", newest {modified} ({}, {size} bytes)", one_line(key, 300)));
    }
    let marked = if success { ", _SUCCESS is there" } else { ", no _SUCCESS" };
    text.push(marked.to_owned());
    if temporary > 0 {
        text.push(format!(", {temporary} below _temporary"));
    }
    let text = text.concat();
    let newest = newest.map(|(key, modified, bytes)| Newest { key, modified, bytes });
    let value =
        Found { prefix, exists: objects > 0, objects, bytes, cut, newest, success, temporary };
    let passage = Passage { cut, ..Passage::new(Origin::Storage, format!("bucket {name}"), &text) };
    Outcome { value, passages: vec![passage], summary: text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_one_canonical_line() {
        let said = |listing, success| {
            outcome("lake", "orders/day=1/".to_owned(), listing, success).summary
        };
        insta::assert_snapshot!(said(Listing::default(), false), @"s3 lake prefix orders/day=1/: nothing there, no _SUCCESS");
        let listing = Listing {
            objects: 5_000,
            bytes: 7,
            newest: Some(("orders/day=1/a".to_owned(), "2026-11-23T03:00:00Z".to_owned(), 3)),
            temporary: 2,
            cut: true,
        };
        insta::assert_snapshot!(said(listing, true), @"s3 lake prefix orders/day=1/: more than 5000 objects, 7 bytes, newest 2026-11-23T03:00:00Z (orders/day=1/a, 3 bytes), _SUCCESS is there, 2 below _temporary");
    }

    #[test]
    fn a_hostile_prefix_is_refused() {
        for bad in ["", "/etc", "../x", "a/../b", "a/./b", "a\nb", "a\0", &"x".repeat(1_025)] {
            assert!(KeyPrefix::parse(bad).is_err(), "{bad:?}");
        }
        for fine in ["a", "a b/", "day=1/ä", "a..b/", "?list-type=1&x"] {
            assert!(KeyPrefix::parse(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_number_of_pages_outside_its_range_is_refused() {
        for pages in ["0", "21"] {
            let yaml = format!("prefix: a\npages: {pages}");
            assert!(serde_saphyr::from_str::<Prefix>(&yaml).is_err(), "{pages}");
        }
    }
}
