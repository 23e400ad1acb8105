//! A credential and its secret.

use std::fmt;

/// A secret text. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The proof of a user's identity at one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// User name and password.
    Basic {
        /// The user.
        user: String,
        /// The password, or a token that stands for it.
        password: Secret,
    },
    /// An OAuth refresh token, to be exchanged at the registry's token server.
    Identity {
        /// The token.
        token: Secret,
    },
    /// A token that is sent as it is.
    Bearer {
        /// The token.
        token: Secret,
    },
}
