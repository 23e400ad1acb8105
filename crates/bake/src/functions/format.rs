//! `format` and `formatlist`.
//!
//! **Source** — go-cty `function/stdlib/format.go`: the verbs and flags.

use super::args::{Args, Native};
use super::letters;
use crate::number;
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("format", |args| {
        let (format, rest) = (args.text(0)?, &args.values[1..]);
        formatted(&format, rest).map(Value::String)
    }),
    ("formatlist", list),
];

/// The widest field.
const WIDEST: usize = 10_000;

fn list(args: &Args<'_>) -> Result<Value, String> {
    let (format, rest) = (args.text(0)?, &args.values[1..]);
    let mut length = None;
    for value in rest {
        if let Some(elements) = value.as_elements() {
            let known = *length.get_or_insert(elements.len());
            if known != elements.len() {
                return Err(format!("the lists have {known} and {} elements", elements.len()));
            }
        }
    }
    let each = format.len()
        + rest
            .iter()
            .map(|value| match value {
                Value::List(_) | Value::Set(_) => 0,
                value => value.weight(),
            })
            .sum::<usize>();
    args.within(length.unwrap_or(1).saturating_mul(each))?;
    let lines = (0..length.unwrap_or(1)).map(|at| {
        let values = rest.iter().map(|value| match value.as_elements() {
            Some(elements) => elements[at].clone(),
            None => value.clone(),
        });
        formatted(&format, &values.collect::<Vec<_>>())
    });
    Ok(Value::texts(lines.collect::<Result<Vec<_>, _>>()?))
}

/// A verb with what stands before it.
#[derive(Debug, Default)]
struct Verb {
    is_sharp: bool,
    is_left: bool,
    is_signed: bool,
    is_spaced: bool,
    is_zero: bool,
    width: usize,
    precision: Option<usize>,
    /// Which argument it takes, counted from 1.
    index: Option<usize>,
    letter: char,
}

fn formatted(format: &str, values: &[Value]) -> Result<String, String> {
    let mut result = String::new();
    let mut chars = format.chars().peekable();
    let mut next = 0;
    let mut used = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            result.push(c);
            continue;
        }
        let verb = verb(&mut chars)?;
        if verb.letter == '%' {
            result.push('%');
            continue;
        }
        if let Some(index) = verb.index {
            next = index.checked_sub(1).ok_or("arguments are counted from 1")?;
        }
        let value = values.get(next);
        let value = value.ok_or_else(|| format!("%{} has no argument", verb.letter))?;
        result.push_str(&padded(&verb, written(&verb, value)?));
        next += 1;
        used = used.max(next);
    }
    match used < values.len() {
        true => Err(format!("{} arguments for {used} verbs", values.len())),
        false => Ok(result),
    }
}

fn verb(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Verb, String> {
    let mut verb = Verb::default();
    while let Some(flag) = chars.peek() {
        match flag {
            '#' => verb.is_sharp = true,
            '-' => verb.is_left = true,
            '+' => verb.is_signed = true,
            ' ' => verb.is_spaced = true,
            '0' => verb.is_zero = true,
            _ => break,
        }
        chars.next();
    }
    verb.width = digits(chars).unwrap_or(0);
    if chars.next_if_eq(&'.').is_some() {
        verb.precision = Some(digits(chars).unwrap_or(0));
    }
    if chars.next_if_eq(&'[').is_some() {
        let index: String = chars.by_ref().take_while(|c| *c != ']').collect();
        verb.index = Some(index.parse().map_err(|_| format!("[{index}] is no argument"))?);
    }
    verb.letter = chars.next().ok_or("the format ends with %")?;
    Ok(verb)
}

/// Reads a number of columns or digits.
fn digits(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        let digit = usize::try_from(digit).unwrap_or(0);
        number = Some((number.unwrap_or(0) * 10 + digit).min(WIDEST));
    }
    number
}

fn padded(verb: &Verb, text: String) -> String {
    let length = letters::characters(&text).len();
    let missing = verb.width.saturating_sub(length);
    if missing == 0 {
        return text;
    }
    if verb.is_left {
        return text + &" ".repeat(missing);
    }
    if verb.is_zero {
        // Zeros stand behind the sign and the mark of the base.
        let digits = text.trim_start_matches(['-', '+', ' ']);
        let digits = if verb.is_sharp { without_base(digits) } else { digits };
        let sign = text.len() - digits.len();
        return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
    }
    " ".repeat(missing) + &text
}

fn written(verb: &Verb, value: &Value) -> Result<String, String> {
    let wrong =
        |expected: &str| format!("%{}: expected {expected}, found {}", verb.letter, value.kind());
    let number = || value.as_number().ok_or_else(|| wrong("a number"));
    let signed = |n: f64, text: String| match n.is_sign_negative() && n != 0.0 {
        true => format!("-{text}"),
        false if verb.is_signed => format!("+{text}"),
        false if verb.is_spaced => format!(" {text}"),
        false => text,
    };
    let text = match verb.letter {
        'v' if verb.is_sharp => value.json_text(),
        'v' => match value {
            Value::Null => "null".to_owned(),
            Value::Number(n) => signed(*n, general(n.abs(), None)),
            value => value.as_text().unwrap_or_else(|| value.json_text()),
        },
        't' => value.as_bool().ok_or_else(|| wrong("a bool"))?.to_string(),
        'b' | 'd' | 'o' | 'x' | 'X' => {
            let n = number()?;
            signed(n, integer(verb, n.abs()).ok_or_else(|| wrong("an integer"))?)
        }
        'e' | 'E' => {
            let text = exponent(number()?.abs(), verb.precision.unwrap_or(6));
            let text = signed(number()?, text);
            if verb.letter == 'E' { text.to_uppercase() } else { text }
        }
        'f' => signed(
            number()?,
            format!("{:.*}", verb.precision.unwrap_or(6).min(300), number()?.abs()),
        ),
        'g' => signed(number()?, general(number()?.abs(), verb.precision)),
        'G' => signed(number()?, general(number()?.abs(), verb.precision).to_uppercase()),
        's' | 'q' => {
            let text = value.as_text().ok_or_else(|| wrong("a string"))?;
            let text = match verb.precision {
                Some(precision) => letters::characters(&text).into_iter().take(precision).collect(),
                None => text,
            };
            match verb.letter {
                'q' => serde_json::Value::String(text).to_string(),
                _ => text,
            }
        }
        other => return Err(format!("%{other} is no verb of format")),
    };
    Ok(text)
}

/// Writes an integer in the base of a verb. `None` for a number that is none, or is not kept exactly
/// where its digits are not those of the decimal form.
fn integer(verb: &Verb, number: f64) -> Option<String> {
    if verb.letter == 'd' {
        return (number.fract() == 0.0).then(|| format!("{number}"));
    }
    let digits = number::integer(number)?;
    let mark = |mark| if verb.is_sharp { mark } else { "" };
    Some(match verb.letter {
        'b' => format!("{}{digits:b}", mark("0b")),
        'o' => format!("{}{digits:o}", mark("0")),
        'x' => format!("{}{digits:x}", mark("0x")),
        _ => format!("{}{digits:X}", mark("0X")),
    })
}

/// Returns digits without the mark of their base.
fn without_base(text: &str) -> &str {
    let marks = ["0x", "0X", "0b"];
    marks.iter().find_map(|mark| text.strip_prefix(mark)).unwrap_or(text)
}

/// Writes a number as Go's `%g`: large and small ones as `1.5e+06`.
fn general(number: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.clamp(1, 300));
    let text = match precision {
        Some(precision) => format!("{number:.*e}", precision - 1),
        None => format!("{number:e}"),
    };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = if digits.contains('.') { digits.trim_end_matches('0') } else { digits };
    let digits = digits.trim_end_matches('.');
    let count = digits.len() - usize::from(digits.contains('.'));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let length = |n| i64::try_from(n).unwrap_or(i64::MAX);
    let limit = match precision {
        // The digits that are there suffice if there is no zero behind them.
        Some(precision) if precision > count && length(count) > exponent => length(count),
        Some(precision) => length(precision),
        None => 6,
    };
    if exponent < -4 || exponent >= limit {
        let (sign, exponent) = (if exponent < 0 { '-' } else { '+' }, exponent.abs());
        return format!("{digits}e{sign}{exponent:02}");
    }
    format!("{}", format!("{digits}e{exponent}").parse().unwrap_or(number))
}

/// Writes a number as `1.5e+06`.
fn exponent(number: f64, precision: usize) -> String {
    let text = format!("{number:.*e}", precision.min(300));
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}
