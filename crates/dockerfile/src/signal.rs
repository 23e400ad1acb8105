//! The signals of STOPSIGNAL.

/// The names of Linux's signals, without SIG, save the real-time ones.
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Tells whether `word`, variables replaced, is a signal: a number that is not zero, or a name
/// in any case, with or without SIG; real-time signals as `RTMIN+1`, `RTMAX-1`.
///
/// ```
/// assert!(xbuild_dockerfile::is_signal("sigterm"));
/// assert!(!xbuild_dockerfile::is_signal("SIGNAL"));
/// ```
///
/// **Source**: `signal(7)`.
pub fn is_signal(word: &str) -> bool {
    if let Ok(number) = word.parse::<i32>() {
        return number != 0;
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if NAMES.contains(&name) {
        return true;
    }
    let in_range = |offset: &str, most: u8| {
        offset.parse::<u8>().is_ok_and(|offset| (1..=most).contains(&offset))
    };
    name.strip_prefix("RTMIN+").is_some_and(|offset| in_range(offset, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|offset| in_range(offset, 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals() {
        for word in ["9", "SIGUSR1", "usr1", "SIGRTMIN+15", "RTMAX-14", "RTMIN"] {
            assert!(is_signal(word), "{word}");
        }
        for word in ["0", "", "SIG", "SIGFOO", "RTMIN+16", "RTMAX-0", "SIG$x", "9 9"] {
            assert!(!is_signal(word), "{word}");
        }
    }
}
