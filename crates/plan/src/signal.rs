//! The signals that STOPSIGNAL can name.

/// The names of Linux's signals, without `SIG`.
const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Returns whether `text` is a signal: a number from 1, or a name in any case, with or without
/// `SIG`. `RTMIN+1` to `RTMIN+15` and `RTMAX-1` to `RTMAX-14` are names, too.
pub(crate) fn is_valid(text: &str) -> bool {
    if let Ok(number) = text.parse::<i32>() {
        return number > 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix, most| {
        let digits: Option<&str> = name.strip_prefix(prefix);
        digits.is_some_and(|d| {
            !d.starts_with('+') && d.parse().is_ok_and(|n| (1..=most).contains(&n))
        })
    };
    NAMES.contains(&name) || offset("RTMIN+", 15u8) || offset("RTMAX-", 14u8)
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn names_and_numbers() {
        for good in ["9", "SIGTERM", "term", "SIGUSR1", "SIGRTMIN+3", "RTMAX-14"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "0", "-1", "SIGNOPE", "SIG", "RTMIN+16", "RTMIN++1", "RTMAX-", "TERM "] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
