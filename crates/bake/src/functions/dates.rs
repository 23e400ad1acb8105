//! Functions of times.

use std::collections::BTreeMap;

use jiff::civil::Weekday;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ZonedDateTime};
use xbuild_wording::quoted;

use super::args::Native;
use crate::number;
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("formatdate", |args| {
        args.count(2)?;
        formatted(&args.text(0)?, &parsed(&args.text(1)?)?)
    }),
    ("formattimestamp", |args| {
        args.count(2)?;
        let time = match args.any(1)? {
            Value::Number(_) => at(args.integer(1)?)?,
            _ => parsed(&args.text(1)?)?,
        };
        match args.text(0)?.as_str() {
            "X" => Ok(Value::text(time.timestamp().as_second().to_string())),
            format => formatted(format, &time),
        }
    }),
    ("timeadd", |args| {
        args.count(2)?;
        let (time, by) = (parsed(&args.text(0)?)?, duration(&args.text(1)?)?);
        let time = time.checked_add(by).map_err(|error| error.to_string())?;
        Ok(Value::text(rfc3339(&time)))
    }),
    ("timestamp", |args| {
        args.count(0)?;
        Ok(Value::text(rfc3339(&at(args.world.now)?)))
    }),
    ("unixtimestampparse", |args| {
        args.count(1)?;
        Ok(Value::Map(parts(&at(args.integer(0)?)?)))
    }),
];

fn at(seconds: i64) -> Result<ZonedDateTime, String> {
    let time = Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    Ok(time.to_zoned_datetime(TimeZone::UTC))
}

/// Reads a time of RFC 3339, which keeps its offset.
fn parsed(text: &str) -> Result<ZonedDateTime, String> {
    let fail = || {
        format!("{text} is no time of RFC 3339, such as 2026-01-02T03:04:05Z", text = quoted(&text))
    };
    let pieces = DateTimeParser::new().parse_pieces(text).map_err(|_| fail())?;
    let time = pieces.time().ok_or_else(fail)?;
    let offset = match pieces.offset().ok_or_else(fail)? {
        jiff::fmt::temporal::PiecesOffset::Numeric(numeric) => numeric.offset(),
        _ => Offset::UTC,
    };
    let zone = TimeZone::fixed(offset);
    pieces.date().to_datetime(time).to_zoned_datetime(zone).map_err(|_| fail())
}

/// Writes a time in whole seconds, as go-cty does.
fn rfc3339(time: &ZonedDateTime) -> String {
    let (date, clock) = (time.date(), time.time());
    let (year, month, day) = (date.year(), date.month(), date.day());
    let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
    let zone = zone(time, ":", "Z");
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
}

/// Returns the offset of a time: `+01:00` with a separator, or a name for none.
fn zone(time: &ZonedDateTime, separator: &str, utc: &str) -> String {
    let seconds = time.offset().seconds();
    if seconds == 0 {
        return utc.to_owned();
    }
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

/// Reads a duration of Go: `1h30m`, `-1.5s`, `100ms`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let fail = || format!("{text} is no duration, such as 1h30m or -10s", text = quoted(&text));
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fail)?;
        let count: f64 = rest[..end].parse().map_err(|_| fail())?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        let unit = match &rest[end..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(fail()),
        };
        seconds += count * unit;
        rest = &rest[unit_end..];
    }
    if text.trim_start_matches(['+', '-']).is_empty() {
        return Err(fail());
    }
    SignedDuration::try_from_secs_f64(sign * seconds).map_err(|_| fail())
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn month(time: &ZonedDateTime) -> &'static str {
    usize::try_from(time.month() - 1).ok().and_then(|at| MONTHS.get(at)).unwrap_or(&"")
}

fn weekday(time: &ZonedDateTime) -> &'static str {
    match time.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

fn parts(time: &ZonedDateTime) -> BTreeMap<String, Value> {
    let week = time.date().iso_week_date();
    let number = |n: i64| Value::Number(number::from_integer(n));
    let pairs = [
        ("day", number(time.day().into())),
        ("hour", number(time.hour().into())),
        ("iso_week", number(week.week().into())),
        ("iso_year", number(week.year().into())),
        ("minute", number(time.minute().into())),
        ("month", number(time.month().into())),
        ("month_name", Value::text(month(time))),
        ("rfc3339", Value::text(rfc3339(time))),
        ("second", number(time.second().into())),
        ("weekday", number(time.weekday().to_sunday_zero_offset().into())),
        ("weekday_name", Value::text(weekday(time))),
        ("year", number(time.year().into())),
        ("year_day", number(time.day_of_year().into())),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Writes a time in a format of `YYYY`, `MM`, `DD`, `hh`, .. and of texts in single quotes.
fn formatted(format: &str, time: &ZonedDateTime) -> Result<Value, String> {
    let chars: Vec<char> = format.chars().collect();
    let mut result = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        if c == '\'' {
            at = literal(&chars, at + 1, &mut result)?;
            continue;
        }
        let count = chars[at..].iter().take_while(|next| **next == c).count();
        if c.is_ascii_alphabetic() {
            let run: String = chars[at..at + count].iter().collect();
            let piece = piece(&run, time);
            result.push_str(&piece.ok_or_else(|| {
                format!("{run} has no meaning in a format of times", run = quoted(&run))
            })?);
        } else {
            result.extend(&chars[at..at + count]);
        }
        at += count;
    }
    Ok(Value::String(result))
}

/// Copies a text in quotes, two quotes for one, and returns the index behind it.
fn literal(chars: &[char], mut at: usize, result: &mut String) -> Result<usize, String> {
    loop {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('\''), Some('\'')) => {
                result.push('\'');
                at += 2;
            }
            (Some('\''), _) => return Ok(at + 1),
            (Some(c), _) => {
                result.push(*c);
                at += 1;
            }
            (None, _) => return Err("a quote of the format has no end".to_owned()),
        }
    }
}

fn piece(run: &str, time: &ZonedDateTime) -> Option<String> {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    Some(match run {
        "YYYY" => format!("{:04}", time.year()),
        "YY" => format!("{:02}", time.year().rem_euclid(100)),
        "MMMM" => month(time).to_owned(),
        "MMM" => month(time).chars().take(3).collect(),
        "MM" => format!("{:02}", time.month()),
        "M" => time.month().to_string(),
        "DD" => format!("{:02}", time.day()),
        "D" => time.day().to_string(),
        "EEEE" => weekday(time).to_owned(),
        "EEE" => weekday(time).chars().take(3).collect(),
        "hh" => format!("{:02}", time.hour()),
        "h" => time.hour().to_string(),
        "HH" => format!("{hour12:02}"),
        "H" => hour12.to_string(),
        "AA" => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        "aa" => if time.hour() < 12 { "am" } else { "pm" }.to_owned(),
        "mm" => format!("{:02}", time.minute()),
        "m" => time.minute().to_string(),
        "ss" => format!("{:02}", time.second()),
        "s" => time.second().to_string(),
        "ZZZZZ" => zone(time, ":", "+00:00"),
        "ZZZZ" => zone(time, "", "+0000"),
        "ZZZ" => zone(time, "", "UTC"),
        "Z" => zone(time, ":", "Z"),
        _ => return None,
    })
}
