//! A Hive Metastore that answers with the bytes a real one (2.3.9) sent, in the moods in which real ones were seen.
//!
//! It is strict: a call it was not recorded with, or a byte after the first call of a mood that answers none, fails the
//! test. Time is the test's: a mood that hangs moves the test's clock instead of waiting.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use paramedic::ops::clock::Manual;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../fixtures/hive/derby/", $name, ".resp.bin")).as_slice()
    };
}

/// How the metastore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Everything answers; the only table is `testbed.t1`, and it answers "not found" for others.
    Healthy,
    /// `getStatus` says ALIVE, calls that need the database never return (its database is stopped).
    DatabaseStopped,
    /// `get_all_databases` returns, `get_table` never does (a lock in its database).
    TableLocked,
    /// Connections are accepted and nothing is ever answered (stopped process, exhausted pool).
    Frozen,
    /// Connections are closed without a byte (it wants SASL, TLS or HTTP).
    OtherProtocol,
    /// Unframed calls are closed without a byte, framed ones are answered.
    FramedOnly,
    /// Every answer comes this many milliseconds late.
    Late(u64),
    /// It answers HTTP.
    Web,
    /// It closes in the middle of the reply to `get_all_databases`.
    CutOff,
    /// `get_all_databases` promises two billion of them.
    Liar,
    /// It sends 2 MiB of one string for `get_all_databases`.
    Flood,
    /// `getStatus` says STARTING.
    Starting,
}

/// A running fake.
pub struct Metastore {
    /// `127.0.0.1:port`.
    pub address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Metastore {
    /// Starts one. `hand` moves the clock of the test when the mood hangs or is late.
    pub async fn start(mood: Mood, hand: Manual) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(vec![]));
        let log = Arc::clone(&heard);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let server = Server { mood, hand: hand.clone(), log: Arc::clone(&log) };
                tokio::spawn(server.serve(stream));
            }
        });
        Self { address, heard }
    }

    /// The calls so far, in order; `connect` and `close` frame each connection.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until every connection is closed, at most 10 seconds.
    pub async fn until_closed(&self) {
        let count = |what| self.heard().iter().filter(|heard| *heard == what).count();
        let closed = async {
            while count("connect") > count("close") {
                tokio::task::yield_now().await;
            }
        };
        let bound = Duration::from_secs(10);
        assert!(tokio::time::timeout(bound, closed).await.is_ok(), "left open: {:?}", self.heard());
    }
}

struct Server {
    mood: Mood,
    hand: Manual,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn hear(&self, what: &str) {
        self.log.lock().unwrap().push(what.to_owned());
    }

    async fn serve(self, mut stream: TcpStream) {
        self.hear("connect");
        while let Some(call) = self.call(&mut stream).await {
            self.hear(&call);
            if !self.answer(&mut stream, &call).await {
                break;
            }
        }
        self.hear("close");
    }

    /// Reads one call and checks every byte of it; `None` when the client closed.
    async fn call(&self, stream: &mut TcpStream) -> Option<String> {
        let mut start = [0; 4];
        if stream.read_exact(&mut start).await.is_err() {
            return None;
        }
        let framed = start != [0x80, 1, 0, 1];
        match (self.mood, framed) {
            (Mood::FramedOnly, true) => drop(stream.read_exact(&mut start).await.unwrap()),
            (Mood::FramedOnly, false) => return Some("unframed".to_owned()),
            (Mood::OtherProtocol, true) => return Some("framed".to_owned()),
            _ => {}
        }
        assert_eq!(start, [0x80, 1, 0, 1], "only strict calls");
        let method = text(stream).await;
        assert_eq!(number(stream).await, 1, "one call at a time");
        let mut arguments = vec![];
        while stream.read_u8().await.unwrap() == 0x0b {
            assert_eq!(usize::from(stream.read_u16().await.unwrap()), arguments.len() + 1);
            arguments.push(text(stream).await);
        }
        Some([method, arguments.join(".")].join(" ").trim_end().to_owned())
    }

    /// Answers one call; false closes the connection.
    async fn answer(&self, stream: &mut TcpStream, call: &str) -> bool {
        let database = call != "getStatus";
        match self.mood {
            Mood::DatabaseStopped if !database => {}
            Mood::TableLocked if !call.starts_with("get_table") => {}
            Mood::DatabaseStopped | Mood::TableLocked | Mood::Frozen => {
                return self.hang(stream).await;
            }
            Mood::OtherProtocol => return false,
            Mood::FramedOnly if call == "unframed" => return false,
            Mood::FramedOnly => {
                let reply = reply(call);
                stream.write_u32(u32::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(reply).await.unwrap();
                return true;
            }
            Mood::Late(ms) => self.hand.advance(Duration::from_millis(ms)),
            Mood::Web => {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
                return false;
            }
            Mood::CutOff if database => {
                stream.write_all(&reply(call)[..20]).await.unwrap();
                return false;
            }
            Mood::Liar if database => {
                let mut lie = reply(call).to_vec();
                lie.truncate(33);
                lie.extend([0x7f, 0xff, 0xff, 0xff]);
                stream.write_all(&lie).await.unwrap();
                return true;
            }
            Mood::Flood if database => {
                let mut flood = reply(call)[..33].to_vec();
                flood.extend([0, 0, 0, 2, 0, 0x0f, 0xff, 0xff]); // two strings, the first just within the bound
                flood.resize(2 * 1024 * 1024, b'x');
                // The client hangs up before the end of it.
                drop(stream.write_all(&flood).await);
                return false;
            }
            Mood::Healthy | Mood::CutOff | Mood::Liar | Mood::Flood => {}
            Mood::Starting => {
                let mut starting = reply(call).to_vec();
                starting[27] = 1;
                stream.write_all(&starting).await.unwrap();
                return true;
            }
        }
        stream.write_all(reply(call)).await.unwrap();
        true
    }

    /// Never answers; lets so much of the test's time pass that every deadline is over.
    async fn hang(&self, stream: &mut TcpStream) -> bool {
        self.hand.advance(Duration::from_mins(2));
        assert_eq!(
            stream.read(&mut [0; 1]).await.unwrap_or(0),
            0,
            "the client gives up and closes"
        );
        false
    }
}

fn reply(call: &str) -> &'static [u8] {
    match call {
        "getStatus" => recorded!("getStatus"),
        "get_all_databases" => recorded!("get_all_databases"),
        "get_table default.nope" => recorded!("get_table_missing"),
        // No get_table of an existing table was recorded; for the client any struct is a table.
        "get_table default.t1" => {
            b"\x80\x01\x00\x02\x00\x00\x00\x09get_table\x00\x00\x00\x01\x0c\x00\x00\x0b\x00\x01\x00\x00\x00\x02t1\x00\x00"
        }
        other => panic!("the fake metastore has no recorded answer to `{other}`"),
    }
}

async fn number(stream: &mut TcpStream) -> u32 {
    stream.read_u32().await.unwrap()
}

async fn text(stream: &mut TcpStream) -> String {
    let length = usize::try_from(number(stream).await).unwrap();
    assert!(length < 1024, "a name of {length} bytes");
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}
