//! One TCP connection to a metastore: sends a call, reads until its reply is complete, never more than the bound.
//!
//! Deadlines are the ladder's: it drops the future, and with it the connection, which closes at once. A metastore serves
//! every open connection with one thread of a bounded pool, so a checker that lingers is part of the problem it looks for.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    ladder::{FailureKind, Fault},
    thrift::{self, Reply, Value},
};

/// An open connection.
pub(super) struct Connection {
    stream: TcpStream,
    framed: bool,
}

impl Connection {
    /// Connects to the first address that accepts.
    pub(super) async fn open(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(Self { stream, framed: false }),
                Err(error) => last = Some(refusal(&error, address)),
            }
        }
        Err(last.unwrap_or_else(|| {
            Fault::new(FailureKind::Unresolved, "the name has no address".to_owned())
        }))
    }

    /// Wraps every message in a frame from now on.
    pub(super) fn framed(mut self) -> Self {
        self.framed = true;
        self
    }

    /// One call and its result. A declared exception of `get_table` number 2 is "no such object".
    pub(super) async fn call(&mut self, method: &str, arguments: &[&str]) -> Result<Value, Fault> {
        let call = thrift::encode(method, arguments);
        let call = if self.framed { thrift::frame(&call) } else { call };
        self.stream.write_all(&call).await.map_err(|error| broken(&error, 0))?;
        match self.reply(method).await? {
            Reply::Result(value) => Ok(value),
            Reply::Declared { field, message } => {
                let fault = Fault::new(FailureKind::Exception, message);
                Err(if method == "get_table" && field == 2 { fault.absent() } else { fault })
            }
            Reply::Application { code: 1, message } => Err(Fault::new(
                FailureKind::Exception,
                format!("this server does not know the call: {message}"),
            )),
            Reply::Application { code, message } => {
                Err(Fault::new(FailureKind::Exception, format!("{message} (code {code})")))
            }
        }
    }

    async fn reply(&mut self, method: &str) -> Result<Reply, Fault> {
        let malformed = |why: String| Fault::new(FailureKind::Malformed, why);
        let mut bytes = vec![];
        loop {
            let room = thrift::MAX_REPLY - bytes.len();
            if room == 0 {
                return Err(malformed(format!("the reply is longer than {} bytes", bytes.len())));
            }
            let mut part = (&mut self.stream).take(room as u64);
            let count = part.read_buf(&mut bytes).await.map_err(|e| broken(&e, bytes.len()))?;
            if count == 0 {
                return Err(closed(bytes.len()));
            }
            let message = if self.framed { thrift::unframe(&bytes) } else { Ok(bytes.as_slice()) };
            match message.and_then(|message| thrift::decode(message, method)) {
                Ok(reply) => return Ok(reply),
                Err(thrift::Error::Incomplete) => {}
                Err(thrift::Error::Malformed(why)) => return Err(malformed(why)),
            }
        }
    }
}

fn refusal(error: &io::Error, address: &SocketAddr) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Fault::new(FailureKind::Refused, format!("nothing listens on {address}"))
        }
        io::ErrorKind::TimedOut => {
            Fault::new(FailureKind::Timeout, format!("no connection to {address} in time"))
        }
        _ => Fault::new(FailureKind::Unreachable, format!("{address}: {error}")),
    }
}

/// A connection that broke while it was used. A reset before any byte is what some kernels make of a plain close.
fn broken(error: &io::Error, received: usize) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => closed(received),
        _ => Fault::new(FailureKind::Unreachable, error.to_string()),
    }
}

fn closed(received: usize) -> Fault {
    if received == 0 {
        let why = "the server closed the connection without a byte; it may want SASL, TLS, HTTP or another transport";
        Fault::new(FailureKind::ClosedWithoutReply, why.to_owned())
    } else {
        let why = format!("the server closed the connection after {received} bytes of a reply");
        Fault::new(FailureKind::Malformed, why)
    }
}
