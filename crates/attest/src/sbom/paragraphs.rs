//! Databases of paragraphs with lines `NAME: VALUE`, and a blank line after each.

use super::package::{Listing, Package, Unread, value_of};

/// One paragraph.
pub(super) struct Paragraph<'a> {
    lines: Vec<&'a str>,
}

impl Paragraph<'_> {
    /// Returns the value of a field; empty if it is absent.
    pub(super) fn field(&self, name: &str) -> &str {
        self.lines.iter().find_map(|line| value_of(line, name, ':')).unwrap_or_default()
    }
}

/// Returns the packages that `package` finds in the paragraphs, `None` for those that are not installed.
/// Tells of packages without a name or version, and of a text whose end is missing.
pub(super) fn read(text: &str, package: impl Fn(&Paragraph<'_>) -> Option<Package>) -> Listing {
    let mut listing = Listing::default();
    let (mut broken, mut first_broken) = (0, 0);
    let mut paragraph = Paragraph { lines: Vec::new() };
    let (mut number, mut count) = (0, 0);
    for line in text.lines().chain([""]) {
        number += 1;
        if !line.trim().is_empty() {
            paragraph.lines.push(line);
            continue;
        }
        if paragraph.lines.is_empty() {
            continue;
        }
        count += 1;
        match package(&paragraph) {
            Some(package) if package.name.is_empty() || package.version.is_empty() => {
                broken += 1;
                if broken == 1 {
                    first_broken = number - paragraph.lines.len();
                }
                listing.packages.push(package);
            }
            found => listing.packages.extend(found),
        }
        paragraph.lines.clear();
    }
    if broken > 0 {
        listing.unread = Some(Unread::Entries { count: broken, line: first_broken });
    } else if count > 1 && !text.ends_with('\n') {
        // Package managers end each line. A file that somebody made of one paragraph need not.
        listing.unread = Some(Unread::CutOff);
    }
    listing
}
