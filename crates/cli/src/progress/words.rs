//! Times, in words.

use std::time::Duration;

/// Returns a time in seconds, `12.3s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// Returns a number of seconds that something may still take, `3s` or `2m 05s`.
pub(crate) fn time_left(seconds: f64) -> String {
    // The conversion of floating-point numbers saturates.
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_few_digits() {
        assert_eq!(seconds(Duration::from_millis(12_345)), "12.3s");
        for (seconds, text) in [(0.2, "1s"), (59.0, "59s"), (61.0, "1m 01s"), (7_260.0, "2h 01m")] {
            assert_eq!(time_left(seconds), text);
        }
    }
}
