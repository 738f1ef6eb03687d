//! Amounts of resources: `500m`, `8Gi`, `1408Mi`.

/// Binary suffixes, largest first, with their size.
const BINARY: [(&str, i64); 5] =
    [("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, i64); 5] = [
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

/// A quantity in thousandths of its unit; `None` when the text is none or too big.
pub fn quantity(text: &str) -> Option<i64> {
    let factor = |suffix: &str| match suffix {
        "" => Some(1_000),
        "m" => Some(1),
        _ => BINARY
            .iter()
            .chain(&DECIMAL)
            .find(|(name, _)| *name == suffix)
            .and_then(|(_, size)| size.checked_mul(1_000)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let factor = factor(suffix)?;
    let mut total = i128::from(whole.parse::<i64>().ok()?) * i128::from(factor);
    if !fraction.is_empty() {
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        total += i128::from(fraction.parse::<i64>().ok()?) * i128::from(factor) / scale;
    }
    i64::try_from(total).ok()
}

/// Writes thousandths as the server does: bytes with the largest binary suffix that fits, anything else as decimal.
pub(super) fn show(milli: i64, bytes: bool) -> String {
    if milli % 1_000 != 0 {
        return format!("{milli}m");
    }
    let whole = milli / 1_000;
    let suffix = BINARY.iter().find(|(_, size)| bytes && whole != 0 && whole % size == 0);
    suffix.map_or_else(|| whole.to_string(), |(suffix, size)| format!("{}{suffix}", whole / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_as_the_server_does() {
        for (text, milli) in
            [("500m", 500), ("2", 2_000), ("1.5", 1_500), ("1k", 1_000_000), ("0", 0)]
        {
            assert_eq!(quantity(text), Some(milli), "{text}");
        }
        assert_eq!(quantity("1408Mi"), Some(1_408 * 1_024 * 1_024 * 1_000));
        for bad in ["", "Mi", "1MiB", "-1", "1e3", "99999999999999999999", "1.2.3"] {
            assert_eq!(quantity(bad), None, "{bad}");
        }
        for (text, bytes) in [("8Gi", true), ("1408Mi", true), ("1500", true), ("500m", false)] {
            assert_eq!(show(quantity(text).unwrap(), bytes), text);
        }
        assert_eq!(show(2_000, false), "2");
    }
}
