//! The table of all hints: each is a function that returns a [`Hint`](crate::Hint).
//!
//! A command of xbuild stands in backticks, as `` `xbuild prune` ``, and is one that can be typed; a
//! test of the command line reads all of them, and looks every option up.

/// Makes the functions of a part of the table, and [`TABLE`]'s rows: names, and texts with their
/// arguments in braces.
macro_rules! hints {
    ($($name:ident($($arg:ident),*) = $text:literal;)*) => {
        $(
            #[doc = concat!("```text\n", $text, "\n```")]
            #[must_use]
            pub fn $name($($arg: impl std::fmt::Display),*) -> $crate::Hint {
                $crate::Hint::new(format_args!($text).to_string())
            }
        )*

        pub(super) const ROWS: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}

mod bake;
mod cache;
mod config;
mod dockerfile;
mod emulators;
mod images;
mod isolation;
mod machine;
mod next;
mod options;
mod others;
mod places;
mod registries;
mod steps;
mod store;
mod words;

pub use bake::*;
pub use cache::*;
pub use config::*;
pub use dockerfile::*;
pub use emulators::*;
pub use images::*;
pub use isolation::*;
pub use machine::*;
pub use next::*;
pub use options::*;
pub use others::*;
pub use places::*;
pub use registries::*;
pub use steps::*;
pub use store::*;
pub use words::*;

/// All hints, by topics: the name of each, and its text with its arguments in braces (a brace that
/// is shown is doubled).
pub const TABLE: &[&[(&str, &str)]] = &[
    bake::ROWS,
    cache::ROWS,
    config::ROWS,
    dockerfile::ROWS,
    emulators::ROWS,
    images::ROWS,
    isolation::ROWS,
    machine::ROWS,
    next::ROWS,
    options::ROWS,
    others::ROWS,
    places::ROWS,
    registries::ROWS,
    steps::ROWS,
    store::ROWS,
    words::ROWS,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_hint_is_one_line_without_a_period() {
        let mut texts = BTreeSet::new();
        for (name, text) in TABLE.iter().flat_map(|rows| rows.iter()) {
            assert!(!text.is_empty() && !text.ends_with('.'), "{name}");
            assert!(!text.contains(['\n', '\t']) && !text.contains("  "), "{name}");
            assert!(text.matches('`').count() % 2 == 0, "{name}");
            assert!(texts.insert(text), "{name} is another hint, too");
        }
    }

    #[test]
    fn arguments_are_put_in_their_places() {
        assert_eq!(
            *pull_first("linux/arm64", "app:1"),
            *"get it first: `xbuild pull --platform linux/arm64 app:1`"
        );
        assert_eq!(*either("one", "two"), *"one; or two");
        assert!(platform_in_name().contains("{arch}"));
    }
}
