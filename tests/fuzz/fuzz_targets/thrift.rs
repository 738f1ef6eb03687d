//! What may answer at a metastore's port: any bytes.
//!
//! A reply holds no more than its bytes; what is complete stays complete with more bytes behind it; a beginning is never
//! taken for a mistake.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::clients::hive::thrift::{self, Error, Reply, Value};

fuzz_target!(|bytes: &[u8]| {
    let method = method(bytes);
    // A double may be NaN, which is unlike itself: what is compared is what is shown.
    let whole = thrift::decode(bytes, method);
    let shown = format!("{whole:?}");
    for end in [bytes.len() / 2, bytes.len() * 7 / 8, bytes.len().saturating_sub(1)] {
        match thrift::decode(&bytes[..end], method) {
            Err(Error::Incomplete) => {}
            Err(Error::Malformed(_)) => {
                assert!(matches!(whole, Err(Error::Malformed(_))), "{shown}")
            }
            Ok(beginning) => assert_eq!(format!("{:?}", Ok::<_, Error>(beginning)), shown),
        }
    }
    match &whole {
        Ok(Reply::Result(value)) => {
            let (values, held) = weight(value);
            assert!(
                held <= bytes.len() && values <= bytes.len() + 65_536,
                "{values} values, {held} bytes"
            );
        }
        // Bytes that are no UTF-8 become U+FFFD, of three bytes.
        Ok(Reply::Declared { message, .. } | Reply::Application { message, .. }) => {
            assert!(message.len() <= bytes.len() * 3);
        }
        Err(Error::Incomplete) => {}
        Err(Error::Malformed(why)) => {
            assert!(!why.is_empty() && why.len() <= 600, "{} bytes", why.len())
        }
    }
    if bytes.len() <= thrift::MAX_REPLY {
        assert_eq!(thrift::unframe(&thrift::frame(bytes)), Ok(bytes));
    }
    drop(thrift::unframe(bytes));
});

/// The method the bytes themselves name, so that the fuzzer need not guess it.
fn method(bytes: &[u8]) -> &str {
    let named = || {
        let length = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
        let end = usize::try_from(length).ok()?.checked_add(8)?;
        std::str::from_utf8(bytes.get(8..end)?).ok()
    };
    named().unwrap_or("getStatus")
}

/// How many values, and how many bytes of text.
fn weight(value: &Value) -> (usize, usize) {
    let inner: Vec<&Value> = match value {
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => vec![],
        Value::Bytes(bytes) => return (1, bytes.len()),
        Value::Struct(fields) => fields.iter().map(|(_, value)| value).collect(),
        Value::List(items) => items.iter().collect(),
        Value::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
    };
    inner.into_iter().map(weight).fold((1, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}
