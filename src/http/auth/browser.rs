//! What a browser tells us about where a request comes from.

use axum::http::{HeaderMap, header};

use super::one;
use crate::http::problem::Problem;

/// The open mode's conditions: nothing in between, a name of this machine, and no other site's page behind it. A name of
/// this machine matters because any site may resolve its own name to 127.0.0.1. `key` is what to configure instead.
pub fn check_open(headers: &HeaderMap, key: &str) -> Result<(), Problem> {
    let between = headers.keys().map(header::HeaderName::as_str).find(|name| {
        matches!(*name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    });
    if let Some(name) = between {
        return Err(Problem::forbidden(format!(
            "this came through a proxy (header `{name}`), but without a credential only this machine is answered; add `{key}`"
        )));
    }
    let host = one(headers, &header::HOST).unwrap_or("");
    if !is_this_machine(host) {
        let host: String = host.chars().take(80).collect();
        return Err(Problem::forbidden(format!(
            "without a credential only http://localhost, http://127.0.0.1 and http://[::1] are answered, not `{}`; use one of them, or add `{key}`",
            host.escape_debug()
        )));
    }
    match headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(_) if same_origin(headers, host) => Ok(()),
        Some(_) => Err(Problem::forbidden("a page of another site asked for this")),
    }
}

/// Refuses what a page of another site makes a browser send. `public` is our own origin, for proxies that rewrite `Host`.
pub fn check_same_site(headers: &HeaderMap, public: Option<&str>) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or(""));
    let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or(""));
    let ours = match (site, origin) {
        (None, None) => true,
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => {
            let host = one(headers, &header::HOST).unwrap_or("");
            same_origin(headers, host) || public.is_some_and(|public| public == origin)
        }
    };
    if ours {
        return Ok(());
    }
    Err(Problem::forbidden(
        "a page of another site sent this form; open Paramedic's own page and press the button there",
    ))
}

fn same_origin(headers: &HeaderMap, host: &str) -> bool {
    let origin = one(headers, &header::ORIGIN).unwrap_or("");
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host))
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, port)) => return inside == "::1" && (port.is_empty() || is_port(port)),
        None => host,
    };
    let (name, port) = name.find(':').map_or((name, ""), |at| name.split_at(at));
    let local = name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1";
    local && (port.is_empty() || is_port(port))
}

/// `:9095`.
fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or("");
    digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        });
        let mut all = HeaderMap::new();
        for (name, value) in pairs {
            all.append(name, value);
        }
        all
    }

    #[test]
    fn only_names_of_this_machine_are_answered_without_a_credential() {
        for host in ["localhost", "LOCALHOST:9095", "127.0.0.1:1", "[::1]", "[::1]:9095"] {
            assert!(check_open(&headers(&[("host", host)]), "k").is_ok(), "{host}");
        }
        let far = [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil:80",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "[::1",
            "[::1]x",
            "[::2]",
            "10.0.0.1",
            "localhost:80:80",
            "user@localhost",
        ];
        for host in far {
            assert!(check_open(&headers(&[("host", host)]), "k").is_err(), "{host}");
        }
        assert!(check_open(&headers(&[]), "k").is_err());
        assert!(
            check_open(&headers(&[("host", "localhost"), ("host", "localhost")]), "k").is_err()
        );
    }

    #[test]
    fn nothing_that_came_through_a_proxy_is_answered_without_a_credential() {
        for name in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "via", "x-real-ip"] {
            let refused =
                check_open(&headers(&[("host", "localhost"), (name, "x")]), "server.tokens");
            assert!(refused.unwrap_err().detail().contains("add `server.tokens`"), "{name}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused_and_our_own_is_not() {
        let at = |pairs: &[(&str, &str)]| {
            let all = [&[("host", "pm.example:9095")], pairs].concat();
            check_same_site(&headers(&all), Some("https://pm.example")).is_ok()
        };
        assert!(at(&[]));
        assert!(at(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(at(&[("origin", "http://pm.example:9095")]));
        assert!(at(&[("origin", "https://pm.example")]));
        for bad in
            ["null", "", "https://evil.example", "http://pm.example:9095.evil", "pm.example:9095"]
        {
            assert!(!at(&[("origin", bad)]), "{bad}");
        }
        for bad in ["cross-site", "same-site", "none", "", "Same-Origin"] {
            assert!(!at(&[("sec-fetch-site", bad), ("origin", "http://pm.example:9095")]), "{bad}");
        }
        assert!(!at(&[("origin", "http://pm.example:9095"), ("origin", "https://evil.example")]));
    }
}
