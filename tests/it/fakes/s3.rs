//! An S3 server in every mood a real one was seen in: MinIO's health pages, one bucket `data-lake` with objects, paged lists,
//! errors with their codes. It fails the test on a request that is not signed as it should be, and on any it does not know.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use paramedic::ops::clock::Manual;

pub const ACCESS: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "hunter2-secret-key";
/// What the bench's clock says.
const NOW: &str = "2026-11-23T03:12:00Z";

/// How the server feels.
#[derive(Clone, Debug, PartialEq)]
pub enum Mood {
    Healthy,
    /// No MinIO: its pages do not exist.
    NotMinio,
    /// Every signed request gets this status and code.
    Says(u16, &'static str, &'static str),
    /// HEAD and lists are fine, this is said to a PUT.
    SaysToPut(u16, &'static str),
    /// Its clock is so far ahead, seconds, and it refuses everything when that is too far.
    Skewed(i64),
    /// The bucket is in another region.
    Moved,
    /// The cluster has lost its write quorum.
    NoWriteQuorum,
    /// One node is overloaded.
    Overloaded,
    /// A web page comes back.
    Web,
    /// Every answer of the bucket takes so long.
    Late(Duration),
    /// Bytes change on their way back.
    Corrupt,
    /// A list that never ends.
    Endless,
}

/// A running fake.
pub struct S3 {
    /// `http://127.0.0.1:port`.
    pub url: String,
    state: Arc<Mutex<Known>>,
}

struct Known {
    mood: Mood,
    hand: Manual,
    objects: BTreeMap<String, Bytes>,
    heard: Vec<String>,
    wrong: Vec<String>,
}

impl S3 {
    /// Starts one in this mood.
    pub async fn start(mood: Mood, hand: Manual) -> Self {
        let state = Known { mood, hand, objects: BTreeMap::new(), heard: vec![], wrong: vec![] };
        let state = Arc::new(Mutex::new(state));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    /// Puts an object there.
    pub fn put(&self, key: &str, bytes: usize) {
        let body = Bytes::from(vec![b'x'; bytes]);
        self.state.lock().unwrap().objects.insert(key.to_owned(), body);
    }

    /// Keys that are there.
    pub fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// `METHOD /path`, in order.
    pub fn heard(&self) -> Vec<String> {
        self.state.lock().unwrap().heard.clone()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let wrong = &self.state.lock().unwrap().wrong;
            assert!(wrong.is_empty(), "requests no client of ours may send: {wrong:?}");
        }
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Known>>>,
    method: Method,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut known = state.lock().unwrap();
    let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy().into_owned();
    known.heard.push(format!("{method} {path}"));
    let skew = if let Mood::Skewed(seconds) = known.mood { seconds } else { 0 };
    let mut answer = if let Some(page) = path.strip_prefix("/minio/health/") {
        health(&known.mood, page)
    } else {
        if let Some(wrong) = unsigned(&query, &headers) {
            known.wrong.push(format!("{method} {uri}: {wrong}"));
        }
        bucket(&mut known, &method, &path, &query, body)
    };
    let now = NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(skew);
    let date = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    answer.headers_mut().insert("date", date.parse().unwrap());
    answer
}

/// What is wrong with the signature. That it is the right one, real servers check.
fn unsigned(query: &BTreeMap<String, String>, headers: &HeaderMap) -> Option<String> {
    let part = |name: &str| query.get(name).map_or("", String::as_str);
    let credential = format!("{ACCESS}/20261123/us-east-1/s3/aws4_request");
    let signature = part("X-Amz-Signature");
    if part("X-Amz-Credential") != credential {
        return Some(format!("its credential is {}", part("X-Amz-Credential")));
    }
    if !part("X-Amz-Date").starts_with("20261123T03") || part("X-Amz-Expires") != "60" {
        return Some("its time is not the clock's".to_owned());
    }
    if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some("it has no signature".to_owned());
    }
    headers.contains_key("authorization").then(|| "it is signed twice".to_owned())
}

fn health(mood: &Mood, page: &str) -> Response {
    let status = match (mood, page) {
        (Mood::NotMinio | Mood::Says(..) | Mood::Moved, _) => {
            return error(404, "NoSuchBucket", "");
        }
        (Mood::Web, _) => return web(),
        (Mood::Overloaded, "live") => StatusCode::TOO_MANY_REQUESTS,
        (Mood::NoWriteQuorum, "cluster") => StatusCode::SERVICE_UNAVAILABLE,
        (_, "live" | "cluster" | "cluster/read") => StatusCode::OK,
        (_, other) => panic!("MinIO has no page {other}"),
    };
    (status, [("server", "MinIO")]).into_response()
}

fn bucket(
    known: &mut Known,
    method: &Method,
    path: &str,
    query: &BTreeMap<String, String>,
    body: Bytes,
) -> Response {
    match known.mood.clone() {
        Mood::Says(status, code, message) => return error(status, code, message),
        Mood::SaysToPut(status, code) if method == Method::PUT => return error(status, code, ""),
        Mood::Skewed(seconds) if seconds.abs() > 900 => {
            return error(403, "RequestTimeTooSkewed", "The difference is too large.");
        }
        Mood::Web => return web(),
        Mood::Moved => {
            let mut moved = error(301, "PermanentRedirect", "");
            moved.headers_mut().insert("x-amz-bucket-region", "eu-west-1".parse().unwrap());
            return moved;
        }
        Mood::Late(by) => known.hand.advance(by),
        Mood::Healthy
        | Mood::NotMinio
        | Mood::SaysToPut(..)
        | Mood::Skewed(_)
        | Mood::NoWriteQuorum
        | Mood::Overloaded
        | Mood::Corrupt
        | Mood::Endless => {}
    }
    let Some(key) = path.strip_prefix("/data-lake/").or_else(|| path.strip_prefix("/data-lake"))
    else {
        return error(404, "NoSuchBucket", "The specified bucket does not exist");
    };
    match (method.as_str(), key) {
        ("HEAD", "") => StatusCode::OK.into_response(),
        ("GET", "") if query.get("list-type").is_some_and(|kind| kind == "2") => list(known, query),
        ("PUT", key) if !key.is_empty() => {
            known.objects.insert(key.to_owned(), body);
            StatusCode::OK.into_response()
        }
        ("HEAD" | "GET", key) => match known.objects.get(key) {
            Some(_) if known.mood == Mood::Corrupt => "other bytes".into_response(),
            Some(body) => body.clone().into_response(),
            None => error(404, "NoSuchKey", ""),
        },
        ("DELETE", key) if !key.is_empty() => {
            known.objects.remove(key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => {
            known.wrong.push(format!("{method} {path}"));
            StatusCode::NOT_IMPLEMENTED.into_response()
        }
    }
}

fn list(known: &Known, query: &BTreeMap<String, String>) -> Response {
    let text = |name: &str| query.get(name).map_or("", String::as_str);
    let most: usize = text("max-keys").parse().unwrap();
    let after = text("continuation-token");
    let matching = known.objects.iter().filter(|(key, _)| {
        key.starts_with(text("prefix")) && (after.is_empty() || key.as_str() > after)
    });
    let page: Vec<_> = matching.take(most + 1).collect();
    let endless = known.mood == Mood::Endless;
    let cut = page.len() > most || endless;
    let entries = page.iter().take(most).enumerate().map(|(number, (key, body))| {
        let key = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
        let (size, second) = (body.len(), number % 60);
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-23T03:00:{second:02}.000Z</LastModified><Size>{size}</Size></Contents>"
        )
    });
    let entries: Vec<String> = entries.collect();
    let entries = entries.concat();
    let token = page.iter().take(most).next_back().map_or("more", |(key, _)| key.as_str());
    let token = if cut {
        format!(
            "<NextContinuationToken>{}</NextContinuationToken>",
            if endless { "a" } else { token }
        )
    } else {
        String::new()
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <EncodingType>url</EncodingType><IsTruncated>{cut}</IsTruncated>{token}{entries}</ListBucketResult>"
    )
    .into_response()
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message><Resource>/</Resource></Error>"
    );
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/xml")], body)
        .into_response()
}

fn web() -> Response {
    let page = "<html><title>Welcome to nginx!</title></html>";
    (StatusCode::METHOD_NOT_ALLOWED, [("content-type", "text/html")], page).into_response()
}
