//! The place that emulators are installed from.

use std::path::{Path, PathBuf};

/// The place that emulators are installed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmulatorSource {
    /// The folders of `PATH`.
    SearchPath,
    /// A folder, or the file of one emulator.
    Place(PathBuf),
    /// An image: a reference, `docker-image://REF` or `oci-layout://DIR[:TAG][@DIGEST]`.
    Image(String),
}

impl EmulatorSource {
    /// The image that emulators come from unless another source is named. Its programs are static,
    /// and built for amd64, arm64 and more hosts.
    pub const DEFAULT: &'static str = "docker.io/tonistiigi/binfmt";

    /// Reads the name of a source: `PATH` is the search path; a name with a scheme is an image; a
    /// path that exists, or that can be nothing else, is a folder or file; all else is an image.
    pub fn of_name(name: &str) -> Self {
        let is_image = ["oci-layout://", "docker-image://"].iter().any(|s| name.starts_with(s));
        let is_path = name.starts_with(['/', '.']) || Path::new(name).exists();
        match name {
            "PATH" => Self::SearchPath,
            _ if is_path && !is_image => Self::Place(PathBuf::from(name)),
            _ => Self::Image(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_kind_of_source_it_is() {
        let image = |name: &str| EmulatorSource::Image(name.to_owned());
        let place = |name: &str| EmulatorSource::Place(PathBuf::from(name));
        for (name, expected) in [
            ("PATH", EmulatorSource::SearchPath),
            ("/nowhere/at-all", place("/nowhere/at-all")),
            ("./binfmt", place("./binfmt")),
            // The folder of this crate has one.
            ("src", place("src")),
            ("docker-image://src", image("docker-image://src")),
            ("oci-layout:///a:tag", image("oci-layout:///a:tag")),
            ("tonistiigi/binfmt:latest", image("tonistiigi/binfmt:latest")),
        ] {
            assert_eq!(EmulatorSource::of_name(name), expected, "{name}");
        }
    }
}
