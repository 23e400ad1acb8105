//! The list of written files, for comparing it with the list of another build.

use sha2::{Digest as _, Sha256};
use xbuild_layer::Kind;
use xbuild_model::Digest;

use super::key::Key;
use super::outline::Outline;
use super::sources::Sources;
use super::staged::Staged;
use crate::source::Content;

/// Calls `visit` for each file, folders excepted, see [`xbuild_model::seam::Selection::files`].
pub(super) fn visit(outline: &Outline, sources: &Sources, visit: &mut dyn FnMut(&[u8], u64)) {
    let mut in_image = Vec::new();
    for (path, file) in outline.files().filter(|(_, file)| file.kind != Kind::Dir) {
        let name = match &file.content {
            Content::Context(found) => found.path(),
            Content::Archive { number, .. } => sources.archives[*number].file().path(),
            Content::None | Content::Inline(_) | Content::Layer { .. } => {
                in_image.clear();
                in_image.push(b'/');
                in_image.extend_from_slice(path);
                &in_image
            }
        };
        visit(name, hash(file, sources));
    }
}

/// Returns a short hash of a file. It leaves out the owner: a name of an owner is looked up in the
/// layers below, which does not change the file.
fn hash(file: &Staged, sources: &Sources) -> u64 {
    let mut key = Key(Sha256::new());
    key.numbers([file.meta.mode, 0, 0]);
    key.file(file);
    if let Content::Archive { number, .. } = file.content {
        key.field(b'a', &sources.archives[number].hash().0);
    }
    Digest::from_sha256(key.0.finalize().into()).prefix()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use xbuild_model::file_op::{CopyRequest, FileOp, InlineFile};

    use super::super::Origin;
    use super::super::fixture::{folder, prepare, request, stack};

    /// Returns the list of a COPY of a context with these files.
    fn list(files: &str, request: CopyRequest) -> BTreeMap<String, u64> {
        let folder = folder(files, "");
        let origin = Origin::Context(folder.context.clone());
        let prepared = prepare(None, Some(origin), &FileOp::Copy(request)).unwrap();
        let mut list = BTreeMap::new();
        prepared.files(&mut |name, hash| {
            list.insert(String::from_utf8_lossy(name).into_owned(), hash);
        });
        list
    }

    const FILES: &str = "
        f d/a 0644 - A
        f d/sub/b 0644 - B
        l d/link a";

    #[test]
    fn files_have_the_names_that_they_have_where_they_come_from() {
        let contents = "inline".to_owned();
        let inline = vec![InlineFile { name: "written".to_owned(), contents }];
        let listed = list(FILES, CopyRequest { inline, ..request("COPY d /to/") });
        let names: Vec<&str> = listed.keys().map(String::as_str).collect();
        assert_eq!(names, ["/to/link", "/to/written", "d/a", "d/sub/b"]);

        let (tree, source) = stack(&["d d 0755 0:0\nf d/a 0644 0:0 A"]);
        let copy = FileOp::Copy(request("COPY d /to/"));
        let prepared = prepare(None, Some(Origin::Layers { tree, source }), &copy).unwrap();
        let mut names = Vec::new();
        prepared.files(&mut |name, _| names.push(String::from_utf8_lossy(name).into_owned()));
        assert_eq!(names, ["/to/a"]);
    }

    #[test]
    fn a_hash_tells_of_the_file_alone() {
        let before = list(FILES, request("COPY d /to/"));
        let changed = |files: &str, line: &str| {
            let after = list(files, request(line));
            let differs = |name: &&String| after.get(*name) != before.get(*name);
            before.keys().filter(differs).cloned().collect::<Vec<_>>()
        };
        assert_eq!(changed(FILES, "COPY --chown=1:2 d /to/"), [""; 0]);
        assert_eq!(changed(&FILES.replace("- B", "- C"), "COPY d /to/"), ["d/sub/b"]);
        assert_eq!(changed(&FILES.replace("a 0644", "a 0600"), "COPY d /to/"), ["d/a"]);
        assert_eq!(changed(&FILES.replace("link a", "link b"), "COPY d /to/"), ["/to/link"]);
    }
}
