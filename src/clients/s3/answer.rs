//! What an answer of S3 means. The status alone says little: 403 may be a right that is missing, a wrong key or a wrong
//! clock, and each needs another person. The word that tells is `<Code>` in the body, which a HEAD does not have.

use jiff::{Timestamp, fmt::rfc2822};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clients::{http::Response, one_line, words};

/// Longest reason kept, characters.
const MAX_REASON: usize = 200;

words! {
    /// Why a bucket did not answer as it should.
    FailureKind {
        /// The host name has no address.
        Unresolved => "unresolved",
        /// Nothing listens there.
        Refused => "refused",
        /// No answer in time.
        Timeout => "timeout",
        /// The network gave another error.
        Unreachable => "unreachable",
        /// The TLS handshake failed, or this machine does not trust the certificate.
        Tls => "tls",
        /// The key is known, but may not do this.
        AccessDenied => "access_denied",
        /// The access key does not exist, the secret key is wrong, or a signature is missing.
        BadCredentials => "bad_credentials",
        /// The clocks of this machine and the server differ too much.
        ClockSkew => "clock_skew",
        /// The bucket is in another region than the configuration says.
        WrongRegion => "wrong_region",
        /// There is no such bucket.
        NoSuchBucket => "no_such_bucket",
        /// There is no such object.
        NoSuchKey => "no_such_key",
        /// Asked to slow down.
        Throttled => "throttled",
        /// No space is left.
        StorageFull => "storage_full",
        /// The server starts, has no quorum, or says that it is not available.
        NotReady => "not_ready",
        /// The server failed inside.
        InternalError => "internal_error",
        /// What answers does not speak S3.
        NotS3 => "not_s3",
        /// Other bytes came back than were written.
        Corrupt => "corrupt",
        /// Something this version has no word for; the reason has the server's.
        Unexpected => "unexpected",
    }
}

/// A failed call, in the words of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub kind: FailureKind,
    /// Status of the answer; `None` when there was none.
    pub status: Option<u16>,
    /// S3's own code, such as `SlowDown`; empty when there was none.
    pub code: String,
    /// Why, on one line.
    pub reason: String,
}

impl Fault {
    /// A failure without an answer.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, status: None, code: String::new(), reason: reason.into() }
    }
}

/// The body of an answer of success, else the fault it means.
pub(super) fn accepted(answer: &Response) -> Result<String, Fault> {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    if (200..300).contains(&answer.status) {
        if answer.cut {
            let why = format!("the answer is longer than {} bytes", answer.body.len());
            return Err(Fault {
                status: Some(answer.status),
                ..Fault::new(FailureKind::NotS3, why)
            });
        }
        return Ok(body);
    }
    let code = element(&body, "Code").unwrap_or_default();
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let region = header("x-amz-bucket-region").map(str::to_owned);
    let region = region.or_else(|| element(&body, "Region"));
    let kind = kind(answer.status, &code, region.is_some());
    let mut reason = element(&body, "Message").unwrap_or_default();
    if let (FailureKind::WrongRegion, Some(region)) = (kind, region) {
        reason = format!("the bucket is in region {}", one_line(&region, 60));
    }
    let html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if code.is_empty() && html {
        "a web page came back, not S3".clone_into(&mut reason);
    }
    Err(Fault { kind, status: Some(answer.status), code, reason })
}

fn kind(status: u16, code: &str, region: bool) -> FailureKind {
    match code {
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => FailureKind::AccessDenied,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "NotSignedUp"
        | "MissingSecurityHeader" => FailureKind::BadCredentials,
        "RequestTimeTooSkewed" | "RequestExpired" => FailureKind::ClockSkew,
        "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => {
            FailureKind::WrongRegion
        }
        "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" if region => {
            FailureKind::WrongRegion
        }
        "NoSuchBucket" => FailureKind::NoSuchBucket,
        "NoSuchKey" => FailureKind::NoSuchKey,
        "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "TooManyRequests" => FailureKind::Throttled,
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => {
            FailureKind::StorageFull
        }
        "ServiceUnavailable"
        | "XMinioServerNotInitialized"
        | "XMinioReadQuorum"
        | "XMinioWriteQuorum" => FailureKind::NotReady,
        "InternalError" => FailureKind::InternalError,
        _ => match status {
            301 | 307 | 308 if region => FailureKind::WrongRegion,
            401 | 403 => FailureKind::AccessDenied,
            404 => FailureKind::NoSuchBucket,
            429 => FailureKind::Throttled,
            503 => FailureKind::NotReady,
            507 => FailureKind::StorageFull,
            500..=599 => FailureKind::InternalError,
            _ if code.is_empty() => FailureKind::NotS3,
            _ => FailureKind::Unexpected,
        },
    }
}

/// The text of the first element of this name, on one line. Errors of S3 are flat; a whole XML parser would only add ways
/// to fail on an answer that is malformed anyway.
fn element(body: &str, name: &str) -> Option<String> {
    let open = format!("<{name}>");
    let from = body.find(&open)? + open.len();
    let text = &body[from..];
    let text = &text[..text.find("</")?];
    let plain = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    let plain = plain.replace("&#39;", "'").replace("&apos;", "'").replace("&amp;", "&");
    let line = one_line(&plain, MAX_REASON);
    (!line.is_empty()).then_some(line)
}

/// How many seconds the server's clock is ahead of ours, by its `Date`.
pub(super) fn skew(answer: &Response, now: Timestamp) -> Option<i64> {
    let date = answer.headers.get("date")?.to_str().ok()?;
    let theirs = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(theirs.duration_since(now).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::http::HeaderMap;

    fn answer(status: u16, body: &str) -> Response {
        Response { status, headers: HeaderMap::new(), body: body.into(), cut: false }
    }

    fn error(code: &str, message: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
    }

    #[test]
    fn the_code_decides_and_the_status_only_without_one() {
        let cases = [
            (403, "AccessDenied", FailureKind::AccessDenied),
            (403, "InvalidAccessKeyId", FailureKind::BadCredentials),
            (403, "SignatureDoesNotMatch", FailureKind::BadCredentials),
            (403, "ExpiredToken", FailureKind::BadCredentials),
            (403, "RequestTimeTooSkewed", FailureKind::ClockSkew),
            (404, "NoSuchBucket", FailureKind::NoSuchBucket),
            (404, "NoSuchKey", FailureKind::NoSuchKey),
            (503, "SlowDown", FailureKind::Throttled),
            (503, "ServiceUnavailable", FailureKind::NotReady),
            (503, "XMinioServerNotInitialized", FailureKind::NotReady),
            (507, "XMinioStorageFull", FailureKind::StorageFull),
            (500, "InternalError", FailureKind::InternalError),
            (400, "SomethingNew", FailureKind::Unexpected),
        ];
        for (status, code, kind) in cases {
            let fault = accepted(&answer(status, &error(code, "no"))).unwrap_err();
            assert_eq!((fault.kind, fault.code.as_str()), (kind, code));
            assert_eq!((fault.status, fault.reason.as_str()), (Some(status), "no"));
        }
        for (status, kind) in [
            (403, FailureKind::AccessDenied),
            (404, FailureKind::NoSuchBucket),
            (429, FailureKind::Throttled),
            (502, FailureKind::InternalError),
            (507, FailureKind::StorageFull),
            (301, FailureKind::NotS3),
            (405, FailureKind::NotS3),
        ] {
            assert_eq!(accepted(&answer(status, "")).unwrap_err().kind, kind, "{status}");
        }
    }

    #[test]
    fn another_region_is_named_from_the_header_or_the_body() {
        let mut moved = answer(301, &error("PermanentRedirect", "use the endpoint"));
        moved.headers.insert("x-amz-bucket-region", "eu-central-1".parse().unwrap());
        let fault = accepted(&moved).unwrap_err();
        assert_eq!(fault.kind, FailureKind::WrongRegion);
        assert_eq!(fault.reason, "the bucket is in region eu-central-1");
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>garage</Region></Error>";
        let fault = accepted(&answer(400, body)).unwrap_err();
        assert_eq!(fault.reason, "the bucket is in region garage");
    }

    #[test]
    fn hostile_bodies_stay_short_and_on_one_line() {
        let long = error("A\n\u{1b}[31mB", &"x ".repeat(65_536));
        let fault = accepted(&answer(500, &long)).unwrap_err();
        assert_eq!(fault.code, "A [31mB");
        assert!(fault.reason.chars().count() <= MAX_REASON + 1);
        for odd in ["<Code>", "<Code></Code>", "</Code><Code>", "\0", "<Code>a</Message>"] {
            drop(accepted(&answer(500, odd)));
        }
        let cut = Response { cut: true, ..answer(200, "<List") };
        assert_eq!(accepted(&cut).unwrap_err().kind, FailureKind::NotS3);
    }

    #[test]
    fn the_servers_clock_is_read_from_its_date() {
        let now = "2026-11-23T03:12:00Z".parse().unwrap();
        let mut answer = answer(200, "");
        assert_eq!(skew(&answer, now), None);
        answer.headers.insert("date", "Mon, 23 Nov 2026 03:22:00 GMT".parse().unwrap());
        assert_eq!(skew(&answer, now), Some(600));
        answer.headers.insert("date", "yesterday".parse().unwrap());
        assert_eq!(skew(&answer, now), None);
    }
}
