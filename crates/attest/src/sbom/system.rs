//! The system of an image.

use super::package::value_of;

/// The paths that [`System::read`] reads, the first that is there.
pub const SYSTEM_FILES: &[&str] = &["etc/os-release", "usr/lib/os-release"];

/// The system of an image, as it names itself.
///
/// **Source** — `os-release(5)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VERSION_ID`, such as `12`.
    pub version: String,
}

impl System {
    /// Reads `os-release`.
    pub fn read(text: &str) -> Self {
        let value = |name: &str| {
            let found = text.lines().find_map(|line| value_of(line.trim(), name, '='));
            found.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
        };
        Self { id: value("ID"), version: value("VERSION_ID") }
    }

    /// Returns the namespace of its packages.
    pub(super) fn namespace<'a>(&'a self, default: &'a str) -> &'a str {
        if self.id.is_empty() { default } else { &self.id }
    }

    /// Returns `ID-VERSION`, as far as they are known.
    pub(super) fn distro(&self) -> String {
        match (&*self.id, &*self.version) {
            ("", _) => String::new(),
            (id, "") => id.to_owned(),
            (id, version) => format!("{id}-{version}"),
        }
    }
}
