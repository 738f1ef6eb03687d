//! Times as pages show them: UTC, with how long ago.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::notify::wording;

/// `{ iso, full, short, ago }` for a `<time>` element. `short` is the clock, or the date when that is another day.
pub fn shown(at: Timestamp, now: Timestamp) -> Value {
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let short = if day(at) == day(now) { "%H:%M:%S" } else { "%b %d %H:%M" };
    let ago = if at <= now {
        format!("{} ago", wording::duration(now.duration_since(at)))
    } else {
        format!("in {}", wording::duration(at.duration_since(now)))
    };
    json!({
        "iso": at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "full": at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "short": at.strftime(short).to_string(),
        "ago": ago,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_day_shows_its_date() {
        let at = |text: &str| text.parse().unwrap();
        let now = at("2026-11-23T03:12:05Z");
        let same = shown(at("2026-11-23T02:12:00Z"), now);
        assert_eq!((&same["short"], &same["ago"]), (&json!("02:12:00"), &json!("1h 0m ago")));
        let other = shown(at("2026-11-20T02:12:00Z"), now);
        assert_eq!((&other["short"], &other["ago"]), (&json!("Nov 20 02:12"), &json!("3d 1h ago")));
        assert_eq!(shown(at("2026-11-23T03:12:35Z"), now)["ago"], "in 30s");
    }
}
