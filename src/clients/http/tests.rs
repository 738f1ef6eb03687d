//! The HTTP client against small servers on loopback.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use axum::{
    Router,
    http::{HeaderMap as Headers, StatusCode},
    routing::{get, post},
};

use super::*;

async fn serve(app: Router) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

fn client(allow: &[&str]) -> Client {
    Client::new(Guard { allow: allow.iter().map(|c| c.parse().unwrap()).collect() }).unwrap()
}

#[tokio::test]
async fn every_status_is_an_answer_and_a_redirect_is_not_followed() {
    let app = Router::new()
        .route("/", get(|| async { (StatusCode::FOUND, [("location", "/elsewhere")], "moved") }))
        .route("/elsewhere", get(|| async { StatusCode::OK }));
    let answer = client(&[]).send(Request::get(serve(app).await, "ask")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice(), answer.cut), (302, &b"moved"[..], false));
}

#[tokio::test]
async fn a_body_is_read_up_to_the_bound() {
    let app = Router::new().route("/", get(|| async { "0123456789" }));
    let url = serve(app).await;
    let client = client(&[]);
    let ask = |max| client.send(Request::get(url.clone(), "ask").max_bytes(max));
    let (short, exact) = (ask(4).await.unwrap(), ask(10).await.unwrap());
    assert_eq!((short.body.as_slice(), short.cut), (&b"0123"[..], true));
    assert_eq!((exact.body.len(), exact.cut), (10, false));
}

#[tokio::test]
async fn a_post_carries_body_type_and_token() {
    async fn echo(headers: Headers, body: String) -> String {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        format!("{} {} {body}", header("authorization"), header("content-type"))
    }
    let url = serve(Router::new().route("/", post(echo))).await;
    let request = Request::post(url, "post", "{}", "application/json").bearer(&"t0ken\n".into());
    assert!(request.headers.iter().any(|(_, value)| value.is_sensitive()));
    let answer = client(&[]).send(request).await.unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), "Bearer t0ken application/json {}");
}

#[tokio::test]
async fn a_token_no_header_can_carry_is_refused_before_anything_is_sent() {
    for token in ["", " \n", "a\nX-Evil: 1", "a\0b"] {
        let request =
            Request::get("http://127.0.0.1:1/".parse().unwrap(), "ask").bearer(&token.into());
        let error = client(&[]).send(request).await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied, "{token:?}");
    }
}

#[tokio::test]
async fn an_error_never_shows_userinfo_or_query() {
    let url: Url = "http://user:hunter2@127.0.0.1:1/?key=hunter2".parse().unwrap();
    let error = client(&[]).send(Request::get(url, "ask Prometheus")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.reason.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_a_timeout() {
    let app = Router::new().route("/", get(std::future::pending::<&str>));
    let request = Request::get(serve(app).await, "ask").timeout(Duration::from_millis(50));
    assert_eq!(client(&[]).send(request).await.unwrap_err().kind, Kind::Timeout);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let error = client(&[]).send(Request::get(url, "ask")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
}

#[tokio::test]
async fn an_untrusted_name_that_resolves_to_loopback_is_refused_even_when_everything_is_allowed() {
    let port = serve(Router::new().route("/", get(|| async { "in" }))).await.port().unwrap();
    let open = client(&["0.0.0.0/0", "::/0"]);
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1"] {
        let url: Url = format!("http://{host}:{port}/").parse().unwrap();
        let request = Request::get(url, "probe").trust(Trust::Untrusted);
        let error = open.send(request).await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied, "{host}: {error}");
        assert!(error.reason.contains("loopback"), "{host}: {error}");
    }
}

#[tokio::test]
async fn an_untrusted_address_outside_the_list_names_the_setting() {
    let request =
        Request::get("http://10.1.2.3/".parse().unwrap(), "probe the UI").trust(Trust::Untrusted);
    let error = client(&["192.168.0.0/16"]).send(request).await.unwrap_err();
    insta::assert_snapshot!(error, @"could not probe the UI: 10.1.2.3 is outside the allowed networks; add its network to `egress.allow` to permit it");
}

#[tokio::test]
async fn only_http_and_https_are_called() {
    for url in ["file:///etc/passwd", "ftp://example.org/", "gopher://x/"] {
        let error = client(&[]).send(Request::get(url.parse().unwrap(), "ask")).await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied, "{url}");
    }
}
