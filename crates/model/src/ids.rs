//! User and group ids, in two numberings that must not be confused.
//!
//! A *host* id is numbered as in the namespace that xbuild was started in: the owner of a file as
//! the main process sees it, a line of `/etc/subuid`. A *guest* id is numbered as inside the
//! build's user namespace, which is how images number theirs.

use serde::{Deserialize, Serialize};

/// An id of one kind and one numbering.
pub trait Id: Copy + Ord {
    /// Returns the id with this number.
    fn from_raw(number: u32) -> Self;

    /// Returns the number.
    fn raw(self) -> u32;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u32);

        impl $name {
            /// The id of root.
            pub const ROOT: Self = Self(0);

            /// Returns the id with this number.
            pub const fn new(number: u32) -> Self {
                Self(number)
            }

            /// Returns the number.
            pub const fn raw(self) -> u32 {
                self.0
            }
        }

        impl Id for $name {
            fn from_raw(number: u32) -> Self {
                Self(number)
            }

            fn raw(self) -> u32 {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A user id of the namespace that xbuild was started in.
    HostUid
}
id! {
    /// A group id of the namespace that xbuild was started in.
    HostGid
}
id! {
    /// A user id inside the build's user namespace, and in images.
    GuestUid
}
id! {
    /// A group id inside the build's user namespace, and in images.
    GuestGid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_travel_as_plain_numbers() {
        let uid = GuestUid::new(1234);
        assert_eq!(serde_json::to_string(&uid).unwrap(), "1234");
        assert_eq!(serde_json::from_str::<GuestUid>("1234").unwrap(), uid);
        assert_eq!((uid.to_string(), HostGid::ROOT.raw()), ("1234".to_owned(), 0));
    }
}
