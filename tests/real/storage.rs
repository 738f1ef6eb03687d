//! A bucket's ladder and its lists against a real S3 server.

use std::time::Duration;

use paramedic::{
    clients::{
        http::{self, Method, Request},
        s3::{Canary, Client, Deadlines, FailureKind, Ladder, RungName, Settings},
    },
    ops::clock::Clock,
};

use crate::bed::{Bed, moto::Moto};

fn client(moto: &Moto, bucket: &str) -> Client {
    let settings = Settings {
        endpoint: moto.url.parse().unwrap(),
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        keys: Some(("AKIDEXAMPLE".into(), "secret".into())),
        path_style: true,
    };
    Client::new(http::Client::new(http::Guard::default()).unwrap(), settings).unwrap()
}

async fn put(moto: &Moto, path: &str, body: &str) {
    let url = format!("{}/{path}", moto.url).parse().unwrap();
    let mut request = Request::new(Method::PUT, url, "prepare the bucket");
    request.body = Some(body.as_bytes().to_vec());
    let http = http::Client::new(http::Guard::default()).unwrap();
    http.send(request).await.unwrap().error_for_status("prepare the bucket").unwrap();
}

async fn climb(client: &Client, canary: Option<&Canary>) -> Ladder {
    // On a busy machine a healthy answer may take long; "slow" is not what these stories are about.
    let deadlines = Deadlines { slow: Duration::from_mins(1), ..Deadlines::default() };
    client.ladder(&deadlines, canary, &Clock::System).await
}

#[tokio::test]
async fn a_bucket_is_well_then_missing_then_frozen_then_dead() {
    let bed = Bed::new();
    let mut moto = Moto::start(&bed).await;
    put(&moto, "lake", "").await;
    let lake = client(&moto, "lake");
    let canary = Canary { key: "ops/canary.1".to_owned(), body: b"x".to_vec() };
    let well = climb(&lake, Some(&canary)).await;
    assert_eq!((well.verdict(), well.minio), ("ok", false), "{well:?}");
    assert_eq!(well.rungs.last().unwrap().name, RungName::Delete);
    assert_eq!(lake.list("", 1, &Clock::System).await.unwrap().objects, 0);

    let missing = climb(&client(&moto, "puddle"), None).await;
    assert_eq!(missing.verdict(), "no_such_bucket", "{missing:?}");
    assert_eq!(missing.rungs.last().unwrap().code, "NoSuchBucket");

    moto.process.freeze();
    let frozen = climb(&lake, None).await;
    assert_eq!(frozen.verdict(), "timeout", "{frozen:?}");
    moto.process.thaw();

    moto.process.kill();
    let dead = climb(&lake, None).await;
    assert_eq!((dead.verdict(), dead.rungs.last().unwrap().name), ("refused", RungName::Tcp));
    let fault = lake.list("", 1, &Clock::System).await.unwrap_err();
    assert_eq!(fault.kind, FailureKind::Unreachable);
}

#[tokio::test]
async fn a_prefix_is_counted_over_pages_and_odd_keys_are_read() {
    let bed = Bed::new();
    let moto = Moto::start(&bed).await;
    put(&moto, "lake", "").await;
    for number in 0..1_005 {
        put(&moto, &format!("lake/day%3D1/part-{number}"), "ab").await;
    }
    for odd in ["day%3D1/_SUCCESS", "day%3D1/a%20b%2Bc%26%C3%A4", "day%3D2/x"] {
        put(&moto, &format!("lake/{odd}"), "").await;
    }
    let lake = client(&moto, "lake");
    let all = lake.list("day=1/", 5, &Clock::System).await.unwrap();
    assert_eq!((all.objects, all.bytes, all.cut), (1_007, 2_010, false));
    let first = lake.list("day=1/", 1, &Clock::System).await.unwrap();
    assert_eq!((first.objects, first.cut), (1_000, true));
    let odd = lake.list("day=1/a b+c&", 1, &Clock::System).await.unwrap();
    assert_eq!(odd.newest.unwrap().0, "day=1/a b+c&ä");
    assert!(lake.exists("day=1/_SUCCESS", &Clock::System).await.unwrap());
    assert!(!lake.exists("day=2/_SUCCESS", &Clock::System).await.unwrap());
}
