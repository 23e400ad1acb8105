//! Dates in headers. **Source** — RFC 9110 § 5.6.7 Date/Time Formats.

/// Returns the seconds since the epoch of `Sun, 06 Nov 1994 08:49:37 GMT`; `None` before 1970.
pub(crate) fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let number = |text: &str| text.parse::<u64>().ok();
    let (day, year) = (number(day)?, number(year)?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    let time: Vec<u64> = time.split(':').map(number).collect::<Option<_>>()?;
    let [hour, minute, second] = time[..] else { return None };
    if !(1970..=9999).contains(&year)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month];
    let leap_day = if month > 1 { leap_days(year) - leap_days(year - 1) } else { 0 };
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let days = years + before + leap_day + day - 1;
    Some(days * 86400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sat, 29 Feb 2020 23:59:59 GMT", Some(1_583_020_799)),
            ("Sun, 01 Mar 2020 00:00:00 GMT", Some(1_583_020_800)),
            ("Tue, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }
}
