//! Time zones by IANA name, from the database inside the binary: the host's own may be older, and two replicas must agree.

use std::sync::OnceLock;

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{TimeZone, TimeZoneDatabase},
};

use crate::domain::suggest::closest;

/// Abbreviations people write; each names an offset that is wrong half of the year, or no zone at all.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("EST", "America/New_York"),
    ("EDT", "America/New_York"),
    ("EST5EDT", "America/New_York"),
    ("CST", "America/Chicago or Asia/Shanghai"),
    ("CDT", "America/Chicago"),
    ("CST6CDT", "America/Chicago"),
    ("MST", "America/Denver or America/Phoenix"),
    ("MDT", "America/Denver"),
    ("MST7MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("PST8PDT", "America/Los_Angeles"),
    ("HST", "Pacific/Honolulu"),
    ("GMT", "Europe/London or UTC"),
    ("BST", "Europe/London"),
    ("WET", "Europe/Lisbon"),
    ("CET", "Europe/Berlin"),
    ("CEST", "Europe/Berlin"),
    ("MET", "Europe/Berlin"),
    ("EET", "Europe/Athens"),
    ("EEST", "Europe/Athens"),
    ("MSK", "Europe/Moscow"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("AEST", "Australia/Sydney"),
];

/// The zone of an IANA name (links such as `Asia/Calcutta` included), or why there is none and what to write.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    if let Some((_, instead)) = ABBREVIATIONS.iter().find(|(a, _)| a.eq_ignore_ascii_case(name)) {
        return Err(format!(
            "`{name}` is an abbreviation without daylight-saving rules; write the place: {instead}"
        ));
    }
    let shown: String = name.chars().take(64).collect();
    let unknown = || format!("there is no time zone `{}`", shown.escape_debug());
    if name.len() > 64 || name.eq_ignore_ascii_case("local") || name.starts_with(['+', '-']) {
        return Err(format!("{}; write an IANA name such as Europe/Berlin or UTC", unknown()));
    }
    database().get(name).map_err(|_| {
        let known: Vec<_> = database().available().map(|n| n.to_string()).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        match closest(name, &known) {
            Some(meant) => format!("{}; did you mean {meant}?", unknown()),
            None => format!("{}; write an IANA name such as Europe/Berlin or UTC", unknown()),
        }
    })
}

/// The zone's name, for people.
pub fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// The instant of a civil time: a gap shifts forward by its length, a fold takes the first pass.
pub(crate) fn instant(civil: DateTime, zone: &TimeZone) -> Timestamp {
    // Out of range only beyond the year 9999.
    zone.to_ambiguous_timestamp(civil).compatible().unwrap_or(Timestamp::MAX)
}

pub(super) fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_or_a_link_is_a_zone() {
        for name in ["Europe/Berlin", "Asia/Calcutta", "UTC", "America/Argentina/Ushuaia"] {
            assert!(zone(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn an_abbreviation_is_refused_with_the_place_to_write() {
        insta::assert_snapshot!(zone("CET").unwrap_err(), @"`CET` is an abbreviation without daylight-saving rules; write the place: Europe/Berlin");
        assert!(zone("est").unwrap_err().contains("America/New_York"));
    }

    #[test]
    fn a_misspelt_or_hostile_name_is_refused() {
        insta::assert_snapshot!(zone("Europe/Belrin").unwrap_err(), @"there is no time zone `Europe/Belrin`; did you mean Europe/Berlin?");
        let long = "x".repeat(1 << 16);
        for bad in ["", "\0", "../../etc/passwd", "local", "+02:00", "Mars/Olympus", &long] {
            assert!(zone(bad).unwrap_err().len() < 200, "{bad:.20}");
        }
    }
}
