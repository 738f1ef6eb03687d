//! The part of Apache Thrift that a read-only metastore client needs: strict binary protocol, bytes in, values out, no IO.
//!
//! Written here because every generated client brings a stack of a hundred packages for four calls. The bytes come from
//! another process that may be broken or not a metastore at all, so everything is bounded before it is allocated: the
//! reply's size, the number of values in it and how deep they nest. Text is kept as bytes until someone reads it.
//! The protocol does not say in advance how long a reply is; a reply is complete when it parses, see [`decode`].

/// Longest reply that is read, bytes.
pub const MAX_REPLY: usize = 1024 * 1024;
/// Most values (fields, items, keys) in one reply.
const MAX_VALUES: usize = 65_536;
/// Deepest nesting of structs and collections.
const MAX_DEPTH: usize = 32;
/// Version 1 of the strict protocol; the low byte is the message type.
const VERSION: u32 = 0x8001_0000;
const CALL: u8 = 1;
const REPLY: u8 = 2;
const EXCEPTION: u8 = 3;
const SEQUENCE: i32 = 1;

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The call's result.
    Result(Value),
    /// An exception the call declares: its field in the IDL and its message.
    Declared {
        /// 1 for the first declared exception.
        field: i16,
        /// Its first text field.
        message: String,
    },
    /// A `TApplicationException`: the server could not run the call at all.
    Application {
        /// 1 is "unknown method", 6 "internal error".
        code: i64,
        /// The server's words.
        message: String,
    },
}

/// A decoded value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `byte`, `i16`, `i32` and `i64`
    Int(i64),
    /// `double`
    Double(f64),
    /// `string` and `binary`
    Bytes(Vec<u8>),
    /// A struct's fields by id.
    Struct(Vec<(i16, Value)>),
    /// `list` and `set`
    List(Vec<Value>),
    /// `map`
    Map(Vec<(Value, Value)>),
}

/// Why bytes are not a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They are the beginning of one.
    #[error("the reply is not complete")]
    Incomplete,
    /// They can never become one.
    #[error("{0}")]
    Malformed(String),
}

impl Value {
    /// The text of a string, invalid UTF-8 replaced.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Struct(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    fn field(&self, id: i16) -> Option<&Self> {
        match self {
            Self::Struct(fields) => fields.iter().find(|f| f.0 == id).map(|f| &f.1),
            Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Bytes(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }
}

/// The bytes of a call whose arguments are all strings, numbered from 1.
pub fn encode(method: &str, arguments: &[&str]) -> Vec<u8> {
    let mut out = (VERSION | u32::from(CALL)).to_be_bytes().to_vec();
    put_bytes(&mut out, method);
    out.extend(SEQUENCE.to_be_bytes());
    for (id, argument) in (1_i16..).zip(arguments) {
        out.push(kind::STRING);
        out.extend(id.to_be_bytes());
        put_bytes(&mut out, argument);
    }
    out.push(kind::STOP);
    out
}

fn put_bytes(out: &mut Vec<u8>, text: &str) {
    // Our own arguments are far below 2 GiB; `Client` checks them.
    out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

/// The same bytes for a server with `hive.metastore.thrift.framed.transport.enabled`.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    out.extend(message);
    out
}

/// What is inside a frame, once all of it is there.
pub fn unframe(bytes: &[u8]) -> Result<&[u8], Error> {
    let mut reader = Reader::new(bytes);
    let length = reader.length("frame")?;
    reader.take(length)
}

/// Decodes the reply to `method`.
pub fn decode(bytes: &[u8], method: &str) -> Result<Reply, Error> {
    let mut reader = Reader::new(bytes);
    let version = reader.u32()?;
    if version & 0xffff_0000 != VERSION {
        let start = bytes[..bytes.len().min(16)].escape_ascii();
        return malformed(format!("not strict binary Thrift; it starts with `{start}`"));
    }
    let length = reader.length("method name")?;
    let name = reader.take(length)?;
    if name != method.as_bytes() {
        let name = name[..name.len().min(64)].escape_ascii();
        return malformed(format!("the reply is to `{name}`, the call was `{method}`"));
    }
    let sequence = reader.u32()?;
    if i64::from(sequence) != i64::from(SEQUENCE) {
        return malformed(format!("the reply has sequence {sequence}, the call had {SEQUENCE}"));
    }
    let body = reader.value(kind::STRUCT, 0)?;
    match version.to_be_bytes()[3] {
        REPLY => result(body),
        EXCEPTION => {
            let code = if let Some(Value::Int(code)) = body.field(2) { *code } else { 0 };
            Ok(Reply::Application { code, message: message(&body) })
        }
        other => malformed(format!("message type {other} is not a reply")),
    }
}

/// Field 0 is the result; every other field is a declared exception.
fn result(body: Value) -> Result<Reply, Error> {
    let Value::Struct(fields) = body else { return malformed("the reply is not a struct") };
    match fields.into_iter().next() {
        Some((0, value)) => Ok(Reply::Result(value)),
        Some((field, exception)) => Ok(Reply::Declared { field, message: message(&exception) }),
        None => malformed("the reply has neither a result nor an exception"),
    }
}

fn message(exception: &Value) -> String {
    exception.field(1).and_then(Value::text).unwrap_or_default()
}

fn malformed<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Malformed(why.into()))
}

/// Type ids on the wire.
mod kind {
    pub const STOP: u8 = 0;
    pub const BOOL: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const DOUBLE: u8 = 4;
    pub const I16: u8 = 6;
    pub const I32: u8 = 8;
    pub const I64: u8 = 10;
    pub const STRING: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const MAP: u8 = 13;
    pub const SET: u8 = 14;
    pub const LIST: u8 = 15;
}

struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, values: 0 }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// A length in bytes; refused at once when no reply may hold that many.
    fn length(&mut self, what: &str) -> Result<usize, Error> {
        let length = self.u32()?;
        match usize::try_from(length) {
            Ok(length) if length <= MAX_REPLY => Ok(length),
            _ => malformed(format!("a {what} of {length} bytes; at most {MAX_REPLY} are read")),
        }
    }

    /// A number of items; refused at once when no reply may hold that many.
    fn count(&mut self, what: &str) -> Result<usize, Error> {
        let count = self.u32()?;
        match usize::try_from(count) {
            Ok(count) if count <= MAX_VALUES => Ok(count),
            _ => malformed(format!("a {what} of {count} items; at most {MAX_VALUES} are read")),
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<Value, Error> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return malformed(format!("more than {MAX_VALUES} values"));
        }
        if depth > MAX_DEPTH {
            return malformed(format!("nested more than {MAX_DEPTH} deep"));
        }
        Ok(match kind {
            kind::BOOL => Value::Bool(self.byte()? != 0),
            kind::BYTE => Value::Int(i8::from_be_bytes(self.array()?).into()),
            kind::DOUBLE => Value::Double(f64::from_be_bytes(self.array()?)),
            kind::I16 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            kind::I32 => Value::Int(i32::from_be_bytes(self.array()?).into()),
            kind::I64 => Value::Int(i64::from_be_bytes(self.array()?)),
            kind::STRING => {
                let length = self.length("string")?;
                Value::Bytes(self.take(length)?.to_vec())
            }
            kind::STRUCT => self.fields(depth)?,
            kind::MAP => self.map(depth)?,
            kind::SET | kind::LIST => self.list(depth)?,
            other => return malformed(format!("unknown type {other}")),
        })
    }

    fn fields(&mut self, depth: usize) -> Result<Value, Error> {
        let mut fields = vec![];
        loop {
            let kind = self.byte()?;
            if kind == kind::STOP {
                return Ok(Value::Struct(fields));
            }
            let id = i16::from_be_bytes(self.array()?);
            fields.push((id, self.value(kind, depth + 1)?));
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Error> {
        let kind = self.byte()?;
        let count = self.count("list")?;
        let mut items = vec![];
        for _ in 0..count {
            items.push(self.value(kind, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Error> {
        let (key, value) = (self.byte()?, self.byte()?);
        let count = self.count("map")?;
        let mut entries = vec![];
        for _ in 0..count {
            entries.push((self.value(key, depth + 1)?, self.value(value, depth + 1)?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    macro_rules! recorded {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/fixtures/hive/derby/", $name)).as_slice()
        };
    }

    fn text(value: &str) -> Value {
        Value::Bytes(value.into())
    }

    #[test]
    fn calls_are_the_bytes_a_real_metastore_answered() {
        assert_eq!(encode("getStatus", &[]), recorded!("getStatus.req.bin"));
        assert_eq!(encode("get_all_databases", &[]), recorded!("get_all_databases.req.bin"));
        assert_eq!(
            encode("get_table", &["default", "nope"]),
            recorded!("get_table_missing.req.bin")
        );
        assert_eq!(frame(&encode("getStatus", &[])), recorded!("bad_framed.req.bin"));
    }

    #[test]
    fn recorded_replies_are_understood() {
        let result = |bytes, method| decode(bytes, method).unwrap();
        assert_eq!(
            result(recorded!("getStatus.resp.bin"), "getStatus"),
            Reply::Result(Value::Int(2))
        );
        assert_eq!(
            result(recorded!("getVersion.resp.bin"), "getVersion"),
            Reply::Result(text("3.0"))
        );
        assert_eq!(
            result(recorded!("get_all_databases.resp.bin"), "get_all_databases"),
            Reply::Result(Value::List(vec![text("default")]))
        );
        let Reply::Result(database) =
            result(recorded!("get_database_default.resp.bin"), "get_database")
        else {
            panic!("a database has fields")
        };
        assert_eq!(database.field(1), Some(&text("default")));
    }

    #[test]
    fn recorded_exceptions_keep_the_servers_words() {
        assert_eq!(
            decode(recorded!("get_table_missing.resp.bin"), "get_table").unwrap(),
            Reply::Declared { field: 2, message: "default.nope table not found".to_owned() }
        );
        assert_eq!(
            decode(recorded!("unknown_method.resp.bin"), "no_such_method").unwrap(),
            Reply::Application {
                code: 1,
                message: "Invalid method name: 'no_such_method'".to_owned()
            }
        );
    }

    #[test]
    fn every_proper_beginning_of_a_reply_is_incomplete_and_framed_replies_too() {
        let whole = recorded!("get_table_missing.resp.bin");
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end], "get_table"), Err(Error::Incomplete), "{end}");
        }
        let framed = frame(whole);
        assert_eq!(unframe(&framed), Ok(whole));
        assert_eq!(unframe(&framed[..framed.len() - 1]), Err(Error::Incomplete));
    }

    #[test]
    fn what_is_not_a_reply_is_refused_with_the_reason() {
        let said = |bytes: &[u8]| decode(bytes, "getStatus").unwrap_err().to_string();
        insta::assert_snapshot!(said(b"HTTP/1.1 400 Bad Request\r\n"), @r"not strict binary Thrift; it starts with `HTTP/1.1 400 Bad`");
        insta::assert_snapshot!(said(recorded!("getVersion.resp.bin")), @"the reply is to `getVersion`, the call was `getStatus`");
        insta::assert_snapshot!(said(recorded!("getStatus.req.bin")), @"message type 1 is not a reply");
        insta::assert_snapshot!(said(&[0x80, 1, 0, 2, 0xff, 0xff, 0xff, 0xff]), @"a method name of 4294967295 bytes; at most 1048576 are read");
    }

    /// A reply to `x` whose body is `body`.
    fn reply(body: &[u8]) -> Vec<u8> {
        [&[0x80, 1, 0, 2, 0, 0, 0, 1, b'x', 0, 0, 0, 1], body].concat()
    }

    #[test]
    fn a_huge_list_or_a_deep_nest_is_refused_before_it_is_built() {
        let list = reply(&[kind::LIST, 0, 0, kind::I64, 0x7f, 0xff, 0xff, 0xff]);
        insta::assert_snapshot!(decode(&list, "x").unwrap_err(), @"a list of 2147483647 items; at most 65536 are read");
        let deep = reply(&[kind::STRUCT, 0, 0].repeat(MAX_DEPTH + 2));
        insta::assert_snapshot!(decode(&deep, "x").unwrap_err(), @"nested more than 32 deep");
        let wide = reply(&[kind::BOOL, 0, 0, 1].repeat(MAX_VALUES + 1));
        insta::assert_snapshot!(decode(&wide, "x").unwrap_err(), @"more than 65536 values");
        let empty = reply(&[kind::STOP]);
        insta::assert_snapshot!(decode(&empty, "x").unwrap_err(), @"the reply has neither a result nor an exception");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            drop(decode(&bytes, "x"));
            drop(unframe(&bytes));
            drop(decode(&reply(&bytes), "x"));
        }

        #[test]
        fn one_wrong_byte_in_a_recorded_reply_never_panics(at in 0_usize..142, byte in any::<u8>()) {
            let mut bytes = recorded!("get_database_default.resp.bin").to_vec();
            bytes[at] = byte;
            drop(decode(&bytes, "get_database"));
        }

        #[test]
        fn every_call_of_text_arguments_is_unambiguous(a in ".{0,40}", b in ".{0,40}") {
            let call = encode("x", &[&a, &b]);
            let mut reader = Reader::new(&call[13..]);
            let arguments = reader.value(kind::STRUCT, 0).unwrap();
            prop_assert_eq!(arguments, Value::Struct(vec![(1, text(&a)), (2, text(&b))]));
            prop_assert!(reader.rest.is_empty());
        }
    }
}
