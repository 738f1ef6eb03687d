//! What is hidden, and what must stay readable.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn secrets_are_masked_and_the_rest_is_kept() {
    let jwt = format!("{}.{}.{}", "eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0In0", "c2lnbmF0dXJl");
    for (text, expected) in [
        ("postgres://hive:s3cr3t@db:5432/x?a=b", "postgres://hive:***@db:5432/x?a=b"),
        (
            "jdbc:postgresql://db/x?user=a&password=b%20c&ssl=1",
            "jdbc:postgresql://db/x?user=a&password=***&ssl=1",
        ),
        (
            "jdbc:sqlserver://h:1;user=a;password=p4ss;x=y",
            "jdbc:sqlserver://h:1;user=a;password=***;x=y",
        ),
        ("jdbc:oracle:thin:scott/tiger@//h:1521/x", "jdbc:oracle:thin:scott/***@//h:1521/x"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer ***"),
        (r#"{"Authorization": "Basic dXNlcjpwYXNz"}"#, r#"{"Authorization": "Basic ***"}"#),
        ("curl -H 'authorization: tok'", "curl -H 'authorization: ***'"),
        ("got bearer abcdefghijklmnop!", "got bearer ***!"),
        ("spark.hadoop.fs.s3a.secret.key=abc/def+g", "spark.hadoop.fs.s3a.secret.key=***"),
        (
            "(spark.hadoop.fs.s3a.access.key,AKIAIOSFODNN7EXAMPLE)",
            "(spark.hadoop.fs.s3a.access.key,***)",
        ),
        (
            "fs.azure.account.key.me.blob.core.windows.net = k1==",
            "fs.azure.account.key.me.blob.core.windows.net = ***",
        ),
        ("AWS_SECRET_ACCESS_KEY=\"wJalr/XUtn\"", "AWS_SECRET_ACCESS_KEY=\"***\""),
        ("export DB_PASSWORD='a b c'", "export DB_PASSWORD='***'"),
        ("password: hunter2, user: x", "password: ***, user: x"),
        (r#"{\"client_secret\": \"abc\"}"#, r#"{\"client_secret\": \"***\"}"#),
        ("id?X-Amz-Signature=abc&X-Amz-Date=1", "id?X-Amz-Signature=***&X-Amz-Date=1"),
        ("--password geheim --conf a=b", "--password *** --conf a=b"),
        ("slack xoxb-1234567890-abcdef end", "slack *** end"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345.", "***."),
        (&format!("jwt {jwt} x"), "jwt *** x"),
        ("https://hooks.slack.com/services/T0/B0/abc", "https://hooks.slack.com/services/***"),
        ("Set-Cookie: id=abc; Path=/", "Set-Cookie: ***"),
        ("auth_token=abcdefgh x", "auth_token=*** x"),
    ] {
        assert_eq!(redact(text), expected);
        assert_eq!(redact(expected), expected, "twice");
    }
}

#[test]
fn a_private_key_loses_its_body_and_no_line() {
    let text =
        "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc+/=\n-----END RSA PRIVATE KEY-----\nb\r\n";
    assert_eq!(
        redact(text),
        "a\n-----BEGIN RSA PRIVATE KEY-----\n***\n***\n-----END RSA PRIVATE KEY-----\nb\r\n"
    );
    let cut = "-----BEGIN PRIVATE KEY-----\nMIIE\n26/11/23 04:50:54 INFO next line\n";
    assert_eq!(redact(cut), "-----BEGIN PRIVATE KEY-----\n***\n26/11/23 04:50:54 INFO next line\n");
    let inline = r#"{"k":"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"}"#;
    assert_eq!(
        redact(inline),
        r#"{"k":"-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\n"}"#
    );
}

#[test]
fn ordinary_lines_stay_as_they_are() {
    for text in [
        "at org.apache.spark.SecretManager.java:55",
        "\tat org.apache.hadoop.security.token.Token.renew(Token.java:481)",
        "org.apache.spark.SecurityManager: SecurityManager: authentication disabled; ui acls disabled",
        "Unexpected token: FROM at line 3",
        "spark.hadoop.fs.s3a.secret.key=*********(redacted)",
        "Class org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider: not found",
        "s3a://bucket/key=2026-01-01/part-0000",
        "No AWS Credentials provided by TemporaryAWSCredentialsProvider : Access key, secret key or session token is unset",
        "spark://CoarseGrainedScheduler@10.0.0.1:7078",
        "primary key: id; foreign key: customer_id",
        "secret \"hive-password\" not found",
        "MountVolume.SetUp failed for volume \"token\" : secret \"db-credentials\" not found",
        "Caused by: java.lang.RuntimeException: key not found: spark.app.name",
        "",
    ] {
        assert!(matches!(redact(text), Cow::Borrowed(_)), "{text} became {}", redact(text));
    }
}

#[test]
fn json_is_redacted_by_name_and_by_content() {
    let mut value = json!({
        "password": "x", "tokens": 3, "retries": 2, "empty_password": "",
        "env": [{ "name": "DB_PASSWORD", "value": "y" }, { "name": "MODE", "value": "z" }],
        "sparkProperties": [["spark.ssl.keyPassword", "k"], ["spark.app.name", "etl"]],
        "nested": { "apiKey": 7, "url": "http://u:p@h/" },
        "secretRef": { "name": "db", "key": "url" },
    });
    redact_json(&mut value);
    assert_eq!(
        value,
        json!({
            "password": "***", "tokens": 3, "retries": 2, "empty_password": "",
            "env": [{ "name": "DB_PASSWORD", "value": "***" }, { "name": "MODE", "value": "z" }],
            "sparkProperties": [["spark.ssl.keyPassword", "***"], ["spark.app.name", "etl"]],
            "nested": { "apiKey": "***", "url": "http://u:***@h/" },
            "secretRef": { "name": "db", "key": "url" },
        })
    );
}

#[test]
fn an_end_inside_the_head_of_a_key_repeats_nothing() {
    let odd = "-----BEGIN PRIVATE  KEY-----x -----BEGIN PRIVATE KEY-----y-----END z api_key: --";
    assert_eq!(redact(&redact(odd)), redact(odd));
    let text = "-----BEGIN x -----END y PRIVATE KEY-----\nrest of the log";
    let once = redact(text).into_owned();
    assert_eq!(redact(&once), once);
    assert_eq!(once.matches("-----END").count(), 1, "{once}");
    assert!(once.ends_with("rest of the log"), "{once}");
}

#[test]
fn what_a_mask_uncovers_is_masked_too() {
    let text = "pg://use*r:huntpassword=pajdbc:pg://u:sent@er2hun;er2@db/op";
    assert_eq!(redact(text), "pg://use*r:***@db/op");
    // However deep it goes: each of these uncovers the one around it.
    let deep =
        (0..40).fold("x://a:b@c".to_owned(), |inner, n| format!("u{n}://u:password={inner};d@e"));
    let once = redact(&deep).into_owned();
    assert_eq!(redact(&once), once);
    assert!(!once.contains("a:b"), "{once}");
}

proptest! {
    #[test]
    fn twice_is_once_and_lines_stay(text in "(?s)(password|token|key|://|Bearer |:|=|@|\"|'|-----BEGIN PRIVATE KEY-----|\n|[a-z0-9* ]{1,6}){0,30}") {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once), once.as_str());
        prop_assert_eq!(once.matches('\n').count(), text.matches('\n').count());
    }
}
