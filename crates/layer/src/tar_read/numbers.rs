//! The two forms of numbers in headers: in fields of fixed length, and in records.

/// Reads the number of a field: octal digits between spaces and NULs, or base 256 if the first bit
/// is set. An empty field is zero.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(&first) if first & 0x80 != 0 => {
            // The bit after the flag is the sign of a two's complement number.
            let start: i64 = if first & 0x40 != 0 { -1 } else { 0 };
            let first = i64::from(first & 0x7f) | (start << 7);
            field[1..]
                .iter()
                .try_fold(first, |value, &byte| Some(value.checked_mul(256)? | i64::from(byte)))
        }
        _ => {
            let blank = |byte: u8| matches!(byte, b' ' | 0);
            let begin = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
            let (digits, rest) = match field[begin..].iter().position(|&byte| blank(byte)) {
                Some(end) => field[begin..].split_at(end),
                None => (&field[begin..], &b""[..]),
            };
            if !rest.iter().all(|&byte| blank(byte)) {
                return None;
            }
            digits.iter().try_fold(0_i64, |value, &digit| match digit {
                b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

/// Reads a decimal number that fits in 63 bits. Only digits are allowed.
pub(super) fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"0x00644\0", None),
            (b"064\x0044\0\0", None),
            (b"\x80\0\0\0\0\0\x01\x00", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }
}
