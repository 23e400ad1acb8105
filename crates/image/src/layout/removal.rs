//! Removing images from a layout in a folder.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use oci_spec::image::ANNOTATION_REF_NAME;
use serde_json::Value;
use xbuild_model::{Descriptor, Digest, Index};

use crate::document::MAX_MANIFEST;
use crate::error::LayoutError;
use crate::layout::reader::Layout;
use crate::layout::writer::{INDEX_NAME, index_bytes, publish};

/// The hexadecimal digits of a digest.
const DIGEST: usize = 64;

impl Layout {
    /// Removes images from the layout in the folder `path`, by tag and digest, and then the blobs that
    /// no other image needs: those of these images, and others that are older than `unused_since`. An
    /// image that has another digest by now stays. Returns the number of blobs that were removed.
    ///
    /// The caller has locked the layout against other writers, from before it chose the images.
    ///
    /// **Errors** — [`LayoutError::NotALayout`] for an archive, and those of reading and writing files. The
    /// layout is whole after any error: blobs go after the entries of `index.json`.
    pub fn remove(
        path: &Path,
        images: &HashSet<(String, Digest)>,
        unused_since: SystemTime,
    ) -> Result<usize, LayoutError> {
        if !path.is_dir() {
            let reason = "it is an archive, of which nothing can be removed";
            return Err(LayoutError::NotALayout { path: path.to_owned(), reason });
        }
        let mut index = Self::open(path)?.index().clone();
        let tag = |entry: &Descriptor| entry.annotations.get(ANNOTATION_REF_NAME).cloned();
        let is_gone = |entry: &Descriptor| {
            tag(entry).is_some_and(|tag| images.contains(&(tag, entry.digest.clone())))
        };
        let gone: Vec<Descriptor> =
            index.manifests.extract_if(.., |entry| is_gone(entry)).collect();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| LayoutError::Io { path, source }
        };
        let blobs = path.join("blobs/sha256");
        let of_gone = reachable(&blobs, gone.iter().map(|entry| entry.digest.hex()))
            .map_err(failed(&blobs))?;
        let used = reachable(&blobs, roots(&index)).map_err(failed(&blobs))?;
        let bytes = index_bytes(index);
        let file = path.join(INDEX_NAME);
        publish(&file, |file| io::Write::write_all(file, &bytes)).map_err(failed(&file))?;
        let mut count = 0;
        for entry in fs::read_dir(&blobs).map_err(failed(&blobs))? {
            let entry = entry.map_err(failed(&blobs))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !is_digest(&name) || used.contains(&name) {
                continue;
            }
            let is_old = || {
                let modified = entry.metadata().and_then(|meta| meta.modified());
                modified.is_ok_and(|time| time < unused_since)
            };
            if of_gone.contains(&name) || is_old() {
                fs::remove_file(entry.path()).map_err(failed(&entry.path()))?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Returns the digests that an index names, also in entries of other tools that are none of ours.
fn roots(index: &Index) -> Vec<String> {
    let mut found: Vec<String> = index.manifests.iter().map(|entry| entry.digest.hex()).collect();
    index.unreadable.iter().for_each(|value| mentioned(value, &mut found));
    found
}

/// Returns these blobs and all that their documents mention, as hexadecimal digits.
fn reachable(blobs: &Path, from: impl IntoIterator<Item = String>) -> io::Result<HashSet<String>> {
    let (mut found, mut queue) = (HashSet::new(), Vec::from_iter(from));
    while let Some(name) = queue.pop() {
        let path = blobs.join(&name);
        if !found.insert(name) {
            continue;
        }
        let is_document = fs::metadata(&path).is_ok_and(|meta| meta.len() <= MAX_MANIFEST);
        let bytes = match is_document.then(|| fs::read(&path)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Some(Ok(bytes)) => bytes,
            _ => continue,
        };
        // Anything that is no document is a layer.
        if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
            mentioned(&value, &mut queue);
        }
    }
    Ok(found)
}

/// Collects all digests that a document mentions.
fn mentioned(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let name = text.strip_prefix("sha256:").filter(|name| is_digest(name));
            found.extend(name.map(str::to_owned));
        }
        Value::Array(list) => list.iter().for_each(|value| mentioned(value, found)),
        Value::Object(map) => map.values().for_each(|value| mentioned(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_digest(name: &str) -> bool {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    name.len() == DIGEST && name.bytes().all(is_hex)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn blob(&self, bytes: &[u8]) -> Descriptor {
            let blob = Descriptor::of("x", bytes);
            let folder = self.0.path().join("blobs/sha256");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(blob.digest.hex()), bytes).unwrap();
            blob
        }

        fn has(&self, blob: &Descriptor) -> bool {
            self.0.path().join("blobs/sha256").join(blob.digest.hex()).exists()
        }

        /// Writes a manifest of some blobs.
        fn manifest(&self, blobs: &[&Descriptor]) -> Descriptor {
            let digests: Vec<String> = blobs.iter().map(|blob| blob.digest.to_string()).collect();
            self.blob(serde_json::json!({ "layers": digests }).to_string().as_bytes())
        }

        fn index(&self, entries: &[(&str, &Descriptor)], foreign: Value) {
            let entry = |(tag, blob): &(&str, &Descriptor)| {
                let annotations = serde_json::json!({ ANNOTATION_REF_NAME: tag });
                serde_json::json!({
                    "mediaType": "x", "size": blob.size, "digest": blob.digest,
                    "annotations": annotations,
                })
            };
            let mut entries: Vec<Value> = entries.iter().map(entry).collect();
            entries.push(foreign);
            let index = serde_json::json!({ "schemaVersion": 2, "manifests": entries });
            fs::write(self.0.path().join("index.json"), index.to_string()).unwrap();
            fs::write(self.0.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
                .unwrap();
        }
    }

    #[test]
    fn only_what_no_other_image_needs_goes() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let [both, old, new, foreign, orphan] =
            ["both", "old", "new", "foreign", "orphan"].map(|text| folder.blob(text.as_bytes()));
        let one = folder.manifest(&[&both, &old]);
        let two = folder.manifest(&[&both, &new]);
        let other = serde_json::json!({ "what": { "digest": foreign.digest } });
        folder.index(&[("one", &one), ("two", &two)], other);
        let long_ago = SystemTime::UNIX_EPOCH;
        let name = |tag: &str, blob: &Descriptor| (tag.to_owned(), blob.digest.clone());
        // Somebody has given the tag to another image meanwhile.
        let wrong = HashSet::from([name("one", &two), name("three", &one)]);
        assert_eq!(Layout::remove(folder.0.path(), &wrong, long_ago).unwrap(), 0);
        let gone = HashSet::from([name("one", &one)]);
        assert_eq!(Layout::remove(folder.0.path(), &gone, long_ago).unwrap(), 2);
        assert!(!folder.has(&one) && !folder.has(&old));
        let kept = [&two, &both, &new, &foreign, &orphan];
        assert!(kept.iter().all(|blob| folder.has(blob)));
        let layout = Layout::open(folder.0.path()).unwrap();
        assert_eq!(layout.all_tags().collect::<Vec<_>>(), ["two"]);
        assert_eq!(layout.index().unreadable.len(), 1);
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(Layout::remove(folder.0.path(), &HashSet::new(), later).unwrap(), 1);
        assert!(!folder.has(&orphan) && folder.has(&foreign));
    }

    #[test]
    fn an_archive_stays_as_it_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Layout::remove(file.path(), &HashSet::new(), SystemTime::now()).unwrap_err();
        assert!(matches!(error, LayoutError::NotALayout { .. }), "{error}");
    }
}
