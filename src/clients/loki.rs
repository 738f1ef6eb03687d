//! Loki's HTTP API, as far as a diagnosis needs it: lines of a span of time.
//!
//! Loki answers errors with plain text, and with 400 for a query it does not understand, 401 for a tenant that is missing,
//! 429 for a limit. Its own words are kept, because they say which limit.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{
    Error, Kind, Result,
    http::{self, HeaderName, HeaderValue, Request, Trust, Url},
};

const TIMEOUT: Duration = Duration::from_secs(15);
/// Most bytes read of one answer.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Most streams kept.
const MAX_STREAMS: usize = 200;

/// Where a Loki is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address, with or without a path prefix.
    pub url: Url,
    /// The tenant; sent as `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// A bearer token.
    pub token: Option<SecretString>,
}

/// One Loki; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: http::Client,
    base: Url,
    tenant: Option<HeaderValue>,
    token: Option<SecretString>,
}

/// What to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// LogQL that selects lines.
    pub query: String,
    /// From, inclusive.
    pub start: Timestamp,
    /// Until, exclusive.
    pub end: Timestamp,
    /// Most lines, in all streams together.
    pub limit: usize,
    /// The first lines of the span instead of its last ones.
    pub forward: bool,
}

/// Lines of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Nanoseconds since the epoch, and the line; oldest first.
    pub lines: Vec<(i64, String)>,
}

impl Client {
    /// A client of this Loki. Nothing is contacted yet; fails when the tenant cannot be sent.
    pub fn new(http: http::Client, settings: Settings) -> Result<Self> {
        let Settings { url: mut base, tenant, token } = settings;
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        let tenant = tenant.map(|tenant| HeaderValue::from_str(&tenant)).transpose();
        let tenant = tenant.map_err(|_| {
            let why = "the tenant holds a character that no HTTP header can carry";
            Error::new(Kind::Malformed, "use a Loki", why)
        })?;
        Ok(Self { http, base, tenant, token })
    }

    /// Lines of a span of time, by stream.
    pub async fn query_range(&self, query: &Query) -> Result<Vec<Stream>> {
        let operation = "query Loki";
        let unusable = |error: &dyn std::fmt::Display| {
            Error::new(Kind::Malformed, operation, format!("its address is unusable: {error}"))
        };
        let mut url =
            self.base.join("loki/api/v1/query_range").map_err(|error| unusable(&error))?;
        url.query_pairs_mut()
            .append_pair("query", &query.query)
            .append_pair("start", &query.start.as_nanosecond().to_string())
            .append_pair("end", &query.end.as_nanosecond().to_string())
            .append_pair("limit", &query.limit.to_string())
            .append_pair("direction", if query.forward { "forward" } else { "backward" });
        let mut request = Request::get(url, operation)
            .timeout(TIMEOUT)
            .max_bytes(MAX_BYTES)
            .trust(Trust::Configured);
        if let Some(tenant) = &self.tenant {
            let name = HeaderName::from_static("x-scope-orgid");
            request = request.header(name, tenant.clone());
        }
        if let Some(token) = &self.token {
            request = request.bearer(token);
        }
        let answer = self.http.send(request).await?.error_for_status(operation)?;
        let Envelope { data } = answer.json(operation)?;
        match data {
            Data::Streams(streams) => {
                let kept = streams.into_iter().take(MAX_STREAMS);
                Ok(kept.map(|stream| stream.ordered(query.forward)).collect())
            }
            Data::Matrix(_) | Data::Vector(_) | Data::Scalar(_) => {
                let why = "the query makes numbers of the lines; ask for the lines themselves: {app=\"x\"} |= \"y\"";
                Err(Error::new(Kind::Refused, operation, why))
            }
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "resultType", content = "result")]
enum Data {
    Streams(Vec<RawStream>),
    Matrix(serde::de::IgnoredAny),
    Vector(serde::de::IgnoredAny),
    Scalar(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct RawStream {
    stream: BTreeMap<String, String>,
    values: Vec<Entry>,
}

/// `["<nanoseconds>", "<line>"]`, newer Lokis with a third item of structured metadata.
struct Entry(i64, String);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time in nanoseconds and a line")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> std::result::Result<Entry, A::Error> {
                let missing = || serde::de::Error::custom("an entry without a time or a line");
                let time: String = seq.next_element()?.ok_or_else(missing)?;
                let line: String = seq.next_element()?.ok_or_else(missing)?;
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                let time = time.parse().map_err(serde::de::Error::custom)?;
                Ok(Entry(time, line))
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

impl RawStream {
    fn ordered(self, forward: bool) -> Stream {
        let mut lines: Vec<(i64, String)> =
            self.values.into_iter().map(|Entry(time, line)| (time, line)).collect();
        if !forward {
            lines.reverse();
        }
        // Stable: lines of one instant keep the order they were written in.
        lines.sort_by_key(|line| line.0);
        Stream { labels: self.stream, lines }
    }
}
