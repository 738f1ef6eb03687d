//! The on-call files as they are written. Only shape is checked here; [`super`] turns it into the model.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

/// Text with its place.
pub(super) type Text = Spanned<String>;

/// One file; every section may be spread over several files.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub people: Vec<Person>,
    pub calendars: BTreeMap<String, Spanned<Calendar>>,
    pub schedules: Vec<Schedule>,
    pub policies: Vec<Policy>,
    pub overrides: Vec<Spanned<Override>>,
    pub teams: Vec<Team>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Person {
    pub id: Text,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub time_zone: Option<Text>,
    pub contacts: BTreeMap<String, Text>,
    pub notify: Spanned<BTreeMap<String, Spanned<Vec<Rule>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub at: Text,
    pub by: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calendar {
    pub time_zone: Text,
    pub days: Vec<Text>,
    pub from: Text,
    pub to: Text,
    #[serde(default)]
    pub holidays: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schedule {
    pub id: Text,
    pub time_zone: Text,
    pub layers: Vec<Spanned<Layer>>,
}

/// `rotate` with `handoff`, or `at`, or `every`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layer {
    #[serde(default)]
    pub rotate: Option<Text>,
    #[serde(default)]
    pub handoff: Option<Text>,
    #[serde(default)]
    pub at: Vec<Text>,
    #[serde(default)]
    pub every: Option<Text>,
    pub since: Text,
    pub people: Vec<Spanned<Member>>,
    #[serde(default)]
    pub only: Option<Only>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Only {
    pub days: Vec<Text>,
    pub from: Text,
    pub to: Text,
}

/// A person, or a version of the whole list.
#[derive(Debug)]
pub(super) enum Member {
    Person(String),
    Version(Version),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub from: Text,
    pub list: Vec<Text>,
    #[serde(default)]
    pub first: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub id: Text,
    pub steps: Vec<Step>,
    #[serde(default)]
    pub repeat: Option<Repeat>,
    #[serde(default)]
    pub then: Option<Spanned<Then>>,
    #[serde(default)]
    pub ack_expires: BTreeMap<String, Text>,
    #[serde(default)]
    pub hold: BTreeMap<String, Spanned<Hold>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub at: Text,
    #[serde(default)]
    pub page: Vec<Text>,
    #[serde(default)]
    pub post: Vec<Text>,
    #[serde(default)]
    pub only: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repeat {
    pub every: Text,
    pub times: Spanned<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Then {
    pub page: Vec<Text>,
    pub every: Text,
}

/// `{ until: calendar }` or `{ digest: "Mon-Fri 09:30", to: channel:x }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    #[serde(default)]
    pub until: Option<Text>,
    #[serde(default)]
    pub digest: Option<Text>,
    #[serde(default)]
    pub to: Option<Text>,
}

/// One of `replace` with `with`, `add`, `remove`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Override {
    pub schedule: Text,
    pub from: Text,
    pub to: Text,
    #[serde(default)]
    pub replace: Option<Text>,
    #[serde(default)]
    pub with: Option<Text>,
    #[serde(default)]
    pub add: Option<Text>,
    #[serde(default)]
    pub remove: Option<Text>,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub created: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Team {
    pub id: Text,
    #[serde(default)]
    pub owns: Vec<Text>,
    pub policy: Text,
    #[serde(default)]
    pub channels: Vec<Text>,
    #[serde(default)]
    pub user_errors: Option<UserErrors>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserErrors {
    pub channel: Text,
    #[serde(default)]
    pub max: Option<Text>,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a person's id, or { from: 2026-01-05, list: [ana, raj] }")
            }

            fn visit_str<E>(self, id: &str) -> Result<Member, E> {
                Ok(Member::Person(id.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
                Version::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(Member::Version)
            }
        }

        deserializer.deserialize_any(Either)
    }
}
