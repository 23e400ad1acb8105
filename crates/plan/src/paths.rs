//! Paths of the image as text: nothing here looks at files.

/// Returns `path` below `folder` if it is relative, absolute and without `.`, `..` and doubled or
/// trailing slashes. `..` stops at the root.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let base = if path.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns the destination of a copy as [`join`] does, with a slash at its end if it was written
/// as a folder: with a slash or `.` at its end, or empty.
pub(crate) fn destination(folder: &str, path: &str) -> String {
    let mut joined = join(folder, path);
    let folder = path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
    if folder && joined != "/" {
        joined.push('/');
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_in_the_working_directory() {
        for (folder, path, expected) in [
            ("/", "/", "/"),
            ("/", "a", "/a"),
            ("/a", "b/c", "/a/b/c"),
            ("/a", "/b//c/.", "/b/c"),
            ("/a", "./b/../c//", "/a/c"),
            ("/a", "../../../x", "/x"),
            ("", "x", "/x"),
            ("rel", "x", "/rel/x"),
        ] {
            assert_eq!(join(folder, path), expected, "{folder} {path}");
        }
    }

    #[test]
    fn a_destination_written_as_a_folder_ends_in_a_slash() {
        for (path, expected) in [
            ("x", "/w/x"),
            ("x/", "/w/x/"),
            ("./x/", "/w/x/"),
            (".", "/w/"),
            ("", "/w/"),
            ("x/.", "/w/x/"),
            ("..", "/"),
            ("/", "/"),
            ("/x/../../../y/b", "/y/b"),
            ("/x//", "/x/"),
        ] {
            assert_eq!(destination("/w", path), expected, "{path}");
        }
    }
}
