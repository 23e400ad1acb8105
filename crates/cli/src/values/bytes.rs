//! Numbers of bytes.

/// Reads a number of bytes, perhaps with a unit: b, k, m or g, in powers of 1024. `None` for 0 and for
/// anything else.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|number| *number > 0)
}

/// Does the same, and reads 0 as well.
pub(crate) fn parse_or_zero(text: &str) -> Option<u64> {
    if text == "0" { Some(0) } else { parse(text) }
}
