//! Amounts as Kubernetes writes them: `500m`, `1.5Gi`, `2e3`.

/// An amount in thousandths of its unit (cores, bytes, pieces), so that `500m` is exact. Saturates beyond 8 PiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(pub i64);

/// Suffixes with their factor in thousandths.
const SUFFIXES: [(&str, i128); 13] = [
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("Pi", 1_000 << 50),
    ("Ei", 1_000 << 60),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
];

impl Quantity {
    /// Reads one; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > 40 {
            return None;
        }
        // metrics-server writes cores in billionths.
        for (suffix, per) in [("n", 1_000_000), ("u", 1_000)] {
            if let Some(number) = text.strip_suffix(suffix) {
                return Some(Self(number.parse::<i64>().ok()? / per));
            }
        }
        if let Some((number, exponent)) = text
            .split_once(['e', 'E'])
            .filter(|(_, e)| e.starts_with(|c: char| c.is_ascii_digit() || c == '+'))
        {
            let exponent: u32 =
                exponent.trim_start_matches('+').parse().ok().filter(|e| *e <= 18)?;
            return decimal(number, 1_000 * 10_i128.pow(exponent));
        }
        let (number, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
            .unwrap_or((text, 1_000));
        decimal(number, factor)
    }

    /// Whole units: bytes, pieces.
    pub fn whole(self) -> i64 {
        self.0 / 1_000
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What share of `whole` this is, in per cent; `None` when there is no whole.
    pub fn percent_of(self, whole: Self) -> Option<i64> {
        let share = i128::from(self.0) * 100 / i128::from(whole.0.max(1));
        (whole.0 > 0).then(|| i64::try_from(share).unwrap_or(i64::MAX))
    }
}

fn decimal(number: &str, factor: i128) -> Option<Quantity> {
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |rest| (-1, rest));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut sum = whole.checked_mul(factor)?;
    let mut place = factor;
    for digit in part.bytes().take(12) {
        place /= 10;
        sum = sum.checked_add(place * i128::from(digit - b'0'))?;
    }
    Some(Quantity(i64::try_from(sum.checked_mul(sign)?).unwrap_or(if sign < 0 {
        i64::MIN
    } else {
        i64::MAX
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_the_api_server_writes_is_read() {
        for (text, thousandths) in [
            ("2", 2_000),
            ("500m", 500),
            ("1.5", 1_500),
            (".5", 500),
            ("1Gi", 1_073_741_824_000),
            ("1.5Ki", 1_536_000),
            ("128974848", 128_974_848_000),
            ("129e6", 129_000_000_000),
            ("129M", 129_000_000_000),
            ("1E", i64::MAX),
            ("8Ei", i64::MAX),
            ("183216543n", 183),
            ("250000u", 250),
            ("-1", -1_000),
            ("0", 0),
        ] {
            assert_eq!(Quantity::parse(text), Some(Quantity(thousandths)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for bad in
            ["", "Gi", "1.2.3", "1 Gi", "0x10", "1e99", "NaN", "1e-3", "é", &"9".repeat(65_536)]
        {
            assert_eq!(Quantity::parse(bad), None, "{bad:.20}");
        }
    }

    #[test]
    fn shares_are_whole_per_cents_and_of_nothing_there_is_none() {
        let of = |a: &str, b: &str| Quantity::parse(a)?.percent_of(Quantity::parse(b)?);
        assert_eq!((of("30Gi", "32Gi"), of("1", "0"), of("3", "2")), (Some(93), None, Some(150)));
    }
}
