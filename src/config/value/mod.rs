//! Values that are written as text and checked when read.

mod bytes;
mod duration;
mod net;
mod rate;
mod secret;

pub use self::{
    bytes::ByteSize,
    duration::Duration,
    net::{HostPort, Listen, Network, Url},
    rate::Rate,
    secret::{Secret, SecretError},
};

/// Reads, writes and documents a type as the text of its `FromStr` and `Display`.
macro_rules! text_value {
    ($type:ident, $what:literal, $example:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "title": $what, "examples": [$example] })
            }
        }
    };
}
use text_value;

/// At most 64 characters of what somebody wrote, made harmless, for an error message.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}
