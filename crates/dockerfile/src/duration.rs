//! Durations as in `--interval=1m30s`.

/// The units and their length in nanoseconds. `ms` stands before `m`, which begins it.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Returns the nanoseconds in `text`: decimal numbers, each with a unit, as in `1h1.5s`; or `0`.
/// Returns `None` for other texts, for negative durations, and for more than an `i64` holds (the
/// type of these members in an image config).
pub(crate) fn parse(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, scale) = UNITS.into_iter().find(|(unit, _)| after.starts_with(unit))?;
        rest = &after[unit.len()..];
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        total = total.checked_add(part(fraction, scale))?;
    }
    (total <= i64::MAX as u64).then_some(total)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Returns `0.fraction * scale`, rounded down.
fn part(fraction: &str, scale: u64) -> u64 {
    let (mut numerator, mut denominator) = (0_u128, 1_u128);
    // The longest unit has 13 digits of nanoseconds, so later digits are worth less than one
    // nanosecond.
    for digit in fraction.bytes().take(18) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    u64::try_from(numerator * u128::from(scale) / denominator).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1m30s", Some(90_000_000_000)),
            ("2500ms", Some(2_500_000_000)),
            ("+1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("0.0000001s", Some(100)),
            ("3µs7ns", Some(3_007)),
            ("2562047h", Some(9_223_369_200_000_000_000)),
            ("2562048h", None),
            ("99999999999999999999s", None),
            ("", None),
            ("5", None),
            ("-5s", None),
            ("5x", None),
            (".s", None),
            ("1s5", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
