//! Why a connection failed, in the words of the one that knows.

use std::error::Error;
use std::{fmt, io};

/// An error of the HTTP library with the text of its innermost cause: those around it only say that a request
/// was sent.
#[derive(Debug)]
pub struct Reason(reqwest::Error);

impl Reason {
    pub(crate) fn new(error: reqwest::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause: &(dyn Error + 'static) = &self.0;
        while let Some(inner) = within(cause) {
            cause = inner;
        }
        write!(f, "{cause}")
    }
}

impl Error for Reason {}

/// Returns the cause of an error. The `source` of an `io::Error` skips the error that it wraps.
pub(crate) fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}
