//! `20/m`.

use std::{fmt, str::FromStr, time::Duration};

use super::{shown, text_value};

/// So many in a second, a minute or an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

impl Rate {
    /// So many a minute.
    pub const fn per_minute(count: u32) -> Self {
        Self { count, unit: Unit::Minute }
    }

    /// How many; at least 1.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// In how long.
    pub const fn per(self) -> Duration {
        match self.unit {
            Unit::Second => Duration::from_secs(1),
            Unit::Minute => Duration::from_mins(1),
            Unit::Hour => Duration::from_hours(1),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |text: &str| {
            let (count, unit) = text.split_once('/')?;
            let unit = match unit.trim() {
                "s" => Unit::Second,
                "m" => Unit::Minute,
                "h" => Unit::Hour,
                _ => return None,
            };
            let count = count.trim();
            let digits = count.bytes().all(|b| b.is_ascii_digit());
            Some(Self { count: count.parse().ok().filter(|n| digits && *n > 0)?, unit })
        };
        read(text).ok_or_else(|| {
            format!("`{}` is not a rate; write 20/m (or /s, /h), at least 1", shown(text))
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

text_value!(Rate, "rate", "20/m");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written_and_nothing_else_is() {
        for text in ["20/m", "1/s", "4294967295/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for bad in ["", "20", "0/m", "-1/m", "+1/m", "20/d", "/m", "4294967296/h", "\0/m"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
