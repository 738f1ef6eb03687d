//! How durations are written: shared by the configuration and the YAML files, so that `1h 30m` means the same everywhere.

use std::time::Duration;

/// Longest duration text that is looked at, bytes.
const MAX_DURATION: usize = 64;

/// Reads `30s`, `10m`, `2h`, `7d` or a sum such as `1h 30m`. A day is 24 hours. Never negative.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || {
        let shown: String = text.chars().take(MAX_DURATION).collect();
        format!("`{}` is not a duration; write 30s, 10m, 2h, 7d or 1h 30m", shown.escape_debug())
    };
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > MAX_DURATION {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let milliseconds: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let part = number.checked_mul(milliseconds).ok_or_else(bad)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(bad)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// Writes what [`parse`] reads: `1h 30m`; zero is `0s`. Fractions of a millisecond are dropped.
pub fn format(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        let (count, left) = (rest / size, rest % size);
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
        rest = left;
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_back_as_it_is_written() {
        for (text, seconds) in
            [("0s", 0), ("30s", 30), ("10m", 600), ("1h 30m", 5400), ("7d", 604_800)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
        assert_eq!(parse("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(format(Duration::from_millis(1500)), "1s 500ms");
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_the_way_to_write_it() {
        let long = "1s ".repeat(30);
        for bad in
            ["", " ", "5", "m", "10 minuts", "-5m", "1.5h", "99999999999999999999d", "5µ", "\0"]
                .into_iter()
                .chain([long.as_str(), "18446744073709551615d"])
        {
            let error = parse(bad).unwrap_err();
            assert!(error.ends_with("write 30s, 10m, 2h, 7d or 1h 30m"), "{bad}: {error}");
        }
    }
}
