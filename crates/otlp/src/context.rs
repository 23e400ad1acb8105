//! The trace that this one is a part of.

use std::fmt;

/// The span of another program that a build is a part of, such as a job's.
///
/// **Source** — W3C Trace Context, § traceparent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// Whether the other program records the trace.
    pub is_sampled: bool,
    /// What tracing systems say to each other, as it was given; empty if nothing is.
    pub state: String,
}

/// A text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextError;

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 00-TRACE-SPAN-FLAGS with 32, 16 and 2 hexadecimal digits")
    }
}

impl std::error::Error for ContextError {}

impl Parent {
    /// Reads the values of `TRACEPARENT` and `TRACESTATE`.
    ///
    /// A later version than 00 may have further fields.
    ///
    /// **Errors** — the text has another form, or an id is all zeros.
    pub fn parse(text: &str, state: &str) -> Result<Self, ContextError> {
        let mut fields = text.split('-');
        let mut field = || fields.next().ok_or(ContextError);
        let [version]: [u8; 1] = hex(field()?)?;
        let trace_id: [u8; 16] = hex(field()?)?;
        let span_id: [u8; 8] = hex(field()?)?;
        let [flags]: [u8; 1] = hex(field()?)?;
        let has_more = fields.next().is_some();
        if version == 0xff || version == 0 && has_more || trace_id == [0; 16] || span_id == [0; 8] {
            return Err(ContextError);
        }
        Ok(Self { trace_id, span_id, is_sampled: flags & 1 == 1, state: state.to_owned() })
    }
}

/// Reads lower-case hexadecimal digits.
fn hex<const N: usize>(text: &str) -> Result<[u8; N], ContextError> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != N * 2 || !text.as_bytes().iter().all(is_digit) {
        return Err(ContextError);
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| ContextError)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_parent_has_a_trace_and_a_span() {
        let text = format!("00-{TRACE}-b7ad6b7169203331-01");
        let parent = Parent::parse(&text, "a=1").unwrap();
        assert_eq!(parent.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(parent.span_id[7], 0x31);
        assert!(parent.is_sampled);
        assert_eq!(parent.state, "a=1");
        assert!(!Parent::parse(&text.replace("-01", "-00"), "").unwrap().is_sampled);
        assert!(Parent::parse(&format!("cc-{TRACE}-b7ad6b7169203331-01-new"), "").is_ok());
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-b7ad6b7169203331"),
            format!("00-{TRACE}-b7ad6b7169203331-01-more"),
            format!("ff-{TRACE}-b7ad6b7169203331-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "ä".repeat(16)),
            format!("00-{TRACE}-b7ad6b716920333+-01"),
        ] {
            assert_eq!(Parent::parse(&text, ""), Err(ContextError), "{text}");
        }
    }
}
