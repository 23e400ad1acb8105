//! Copying images between the store, registries, layouts and archives.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use xbuild_image::{Built, Layout, NamedContent, gather};
use xbuild_model::{BlobSource, Digest, Platform, Reference};
use xbuild_store::ImageRecord;

use super::save::{ArchiveForm, Saved, is_index};
use super::shelf::{Shelf, repository};
use crate::error::{ImageError, ImagesError};
use crate::import;

/// A place of an image, as skopeo spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePlace {
    /// `NAME`: the store.
    Store(String),
    /// `docker://NAME`: a registry.
    Registry(Reference),
    /// `oci:DIR[:TAG]`: a layout; `oci-archive:FILE[:TAG]`: a layout in a tar file.
    Layout {
        /// The folder or file.
        path: PathBuf,
        /// The tag, or the digest of an image to read.
        tag: Option<String>,
        /// Whether it is a file.
        is_archive: bool,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    Docker {
        /// The file.
        path: PathBuf,
        /// The name in it.
        name: Option<Reference>,
    },
}

impl fmt::Display for ImagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, name) = match self {
            Self::Store(name) => return f.write_str(name),
            Self::Registry(name) => return write!(f, "docker://{name}"),
            Self::Layout { path, tag, is_archive: false } => ("oci", path, tag.clone()),
            Self::Layout { path, tag, is_archive: true } => ("oci-archive", path, tag.clone()),
            Self::Docker { path, name } => {
                ("docker-archive", path, name.as_ref().map(ToString::to_string))
            }
        };
        write!(f, "{prefix}:{}", path.display())?;
        name.iter().try_for_each(|name| write!(f, ":{name}"))
    }
}

/// The spellings of skopeo that are refused, each with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("containers-storage:", "podman's storage is its own: use `podman save` and `xbuild load`"),
    ("docker-daemon:", "use `docker save` and `xbuild load`, or `xbuild save` and `docker load`"),
    ("dir:", "use oci:DIR, a layout that other tools read, too"),
    ("sif:", "Singularity images are not implemented"),
    ("ostree:", "OSTree is not implemented"),
    ("tarball:", "build it: FROM scratch, ADD FILE /"),
];

impl ImagePlace {
    /// Reads a place.
    ///
    /// **Errors** — [`ImagesError::Place`] names what is refused, and why.
    pub fn parse(text: &str) -> Result<Self, ImagesError> {
        let fail =
            |reason: &str| ImagesError::Place { place: text.to_owned(), reason: reason.to_owned() };
        if let Some((_, reason)) = REFUSED.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return Err(fail(reason));
        }
        let split = |rest: &str| match rest.split_once(':') {
            Some((path, name)) => (PathBuf::from(path), Some(name.to_owned())),
            None => (PathBuf::from(rest), None),
        };
        if text.starts_with("oci-layout://") {
            return match import::place(text)? {
                import::Place::Layout(path, tag) => {
                    Ok(Self::Layout { is_archive: path.is_file(), path, tag })
                }
                _ => Err(fail("expected oci-layout://DIR[:TAG][@DIGEST]")),
            };
        }
        for (prefix, is_archive) in [("oci:", false), ("oci-archive:", true)] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (path, tag) = split(rest);
                let is_empty = path.as_os_str().is_empty();
                return match is_empty || tag.as_deref() == Some("") {
                    true => Err(fail("expected a path, and perhaps a colon and a tag")),
                    false => Ok(Self::Layout { path, tag, is_archive }),
                };
            }
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            let (path, name) = split(rest);
            let name = name.map(|name| name.parse::<Reference>()).transpose()?;
            return Ok(Self::Docker { path, name });
        }
        if let Some(name) = text.strip_prefix("docker://") {
            return Ok(Self::Registry(name.parse()?));
        }
        if text.contains("://") {
            return Err(fail(
                "the places are NAME of the store, docker://NAME, oci:DIR[:TAG], \
                 oci-archive:FILE[:TAG] and docker-archive:FILE[:NAME]",
            ));
        }
        Ok(Self::Store(text.to_owned()))
    }
}

impl Shelf {
    /// Copies an image for platforms, or for all if there are none. Returns the digest of the copy,
    /// which differs from that of the source if platforms were left out of an index, and where an
    /// archive for Docker needs other compressions.
    pub fn copy(
        &self,
        from: &ImagePlace,
        to: &ImagePlace,
        platforms: &[Platform],
    ) -> Result<Digest, ImagesError> {
        let host;
        let is_for_docker = matches!(to, ImagePlace::Docker { .. });
        let platforms = match platforms {
            [] if is_for_docker && self.has_index(from)? => {
                host = self.only_host(&from.to_string());
                &host[..]
            }
            given => given,
        };
        let built = self.source(from, platforms)?;
        self.put(built, to)
    }

    /// Returns an image, and where its blobs are.
    fn source(&self, from: &ImagePlace, platforms: &[Platform]) -> Result<Built<'_>, ImagesError> {
        match from {
            ImagePlace::Store(name) => self.open_record(&self.find(name)?, platforms),
            ImagePlace::Registry(name) => {
                let documents = self.client.documents(name).map_err(ImageError::from)?;
                let content = gather(&documents, platforms).map_err(ImageError::from)?;
                Ok(self.built(content, &|_| repository(name)))
            }
            ImagePlace::Layout { path, tag, .. } => {
                let layout = Layout::open(path)?;
                let content = gather(&layout.documents(tag.as_deref())?, platforms)?;
                Ok(self.built(content, &|_| BlobSource::Layout { path: path.clone() }))
            }
            ImagePlace::Docker { path, name } => {
                let record = self.one_of(path, name.as_ref())?;
                self.open_record(&record, platforms)
            }
        }
    }

    fn open_record(
        &self,
        record: &ImageRecord,
        platforms: &[Platform],
    ) -> Result<Built<'_>, ImagesError> {
        let image = self.image(record);
        Ok(self.built(gather(&image, platforms)?, &|blob| image.source(blob)))
    }

    /// Returns whether a place has an index.
    fn has_index(&self, from: &ImagePlace) -> Result<bool, ImagesError> {
        // An archive for Docker has none.
        let has_none = matches!(from, ImagePlace::Docker { .. });
        Ok(!has_none && is_index(&self.source(from, &[])?.content.root().descriptor))
    }

    /// Brings the image of a name, or the only one, out of an archive into the store.
    fn one_of(&self, path: &Path, name: Option<&Reference>) -> Result<ImageRecord, ImagesError> {
        let loaded = self.bring(Some(path), &mut io::empty())?;
        let found = match (name, &loaded[..]) {
            (Some(name), all) => all.iter().find(|image| image.names.contains(name)),
            (None, [one]) => Some(one),
            (None, _) => None,
        };
        let found = found.ok_or_else(|| {
            let names = loaded.iter().flat_map(|image| &image.names).map(ToString::to_string);
            let names: Vec<String> = names.collect();
            let reason = format!("name one of its images: it has {}", names.join(", "));
            ImagesError::Place { place: path.display().to_string(), reason }
        })?;
        Ok(ImageRecord::new(path.display().to_string(), found.target.clone()))
    }

    /// Writes an image to a place.
    fn put<'a>(&'a self, built: Built<'a>, to: &ImagePlace) -> Result<Digest, ImagesError> {
        let root = built.content.root().descriptor.clone();
        let mut nowhere = io::sink();
        let stdout: &mut dyn Write = &mut nowhere;
        match to {
            ImagePlace::Registry(name) => return self.send(&built, name),
            ImagePlace::Store(name) => {
                let name: Reference = name.parse()?;
                self.take(&built.content, &|blob| {
                    built.base(blob).cloned().unwrap_or(BlobSource::Store)
                })?;
                self.name(&name, &root)?;
            }
            ImagePlace::Layout { path, tag, is_archive: false } => {
                let image = NamedContent { built: &built, names: &[], tag: tag.as_deref() };
                image.alone().write_folder(path)?;
            }
            ImagePlace::Layout { path, tag, is_archive: true } => {
                let saved = Saved { built, names: Vec::new(), tag: tag.clone() };
                self.write(vec![saved], ArchiveForm::Oci, (Some(path), stdout))?;
            }
            ImagePlace::Docker { path, name } => {
                let names = name.iter().cloned().collect();
                let saved = Saved { built, names, tag: None };
                self.write(vec![saved], ArchiveForm::Docker, (Some(path), stdout))?;
            }
        }
        Ok(root.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spelt_as_skopeo_spells_them() {
        let layout = |path: &str, tag: Option<&str>, is_archive| {
            let (path, tag) = (PathBuf::from(path), tag.map(str::to_owned));
            ImagePlace::Layout { path, tag, is_archive }
        };
        let name: Reference = "r.example/a:1".parse().unwrap();
        for (text, expected) in [
            ("r.example/a:1", ImagePlace::Store("r.example/a:1".into())),
            ("docker://r.example/a:1", ImagePlace::Registry(name.clone())),
            ("oci:dir", layout("dir", None, false)),
            ("oci:/a/b:t", layout("/a/b", Some("t"), false)),
            ("oci-archive:a.tar:r.example/a:1", layout("a.tar", Some("r.example/a:1"), true)),
            ("oci-layout://nothere:t", layout("nothere", Some("t"), false)),
            (
                "docker-archive:a.tar:r.example/a:1",
                ImagePlace::Docker { path: "a.tar".into(), name: Some(name) },
            ),
            ("docker-archive:a.tar", ImagePlace::Docker { path: "a.tar".into(), name: None }),
        ] {
            assert_eq!(ImagePlace::parse(text).unwrap(), expected, "{text}");
        }
        for (text, word) in [
            ("containers-storage:a", "podman save"),
            ("docker-daemon:a", "docker save"),
            ("dir:a", "oci:DIR"),
            ("sif:a", "Singularity"),
            ("oci:", "expected a path"),
            ("oci:a:", "a tag"),
            ("https://r.example/a", "docker://NAME"),
            ("docker-archive:a:UPPER", "invalid image reference"),
        ] {
            let error = ImagePlace::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
