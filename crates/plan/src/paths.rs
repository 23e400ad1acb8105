//! Paths of the image as text: nothing here looks at files.

/// Returns `path`, below `folder` if it is relative, as an absolute path without `.`, `..` and
/// doubled or trailing slashes. `..` stops at the root.
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

/// Returns the destination of a copy as [`join`] does, with a slash at its end if it was written as
/// a folder: empty, or with a slash or `.` at its end.
pub(crate) fn destination(folder: &str, path: &str) -> String {
    let mut joined = join(folder, path);
    let folder = path.is_empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
    if folder && joined != "/" {
        joined.push('/');
    }
    joined
}

/// Returns the shortest path of the same meaning, relative if `path` is; `.` if nothing is left.
pub fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    match (is_absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

/// Returns the last part of a path; empty for a path without parts.
pub(crate) fn base(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
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
    fn clean_paths_are_as_short_as_can_be() {
        for (path, expected) in [
            ("", "."),
            ("/", "/"),
            ("//a/./b//", "/a/b"),
            ("a/../..", ".."),
            ("../../x/..", "../.."),
            ("/../a/..", "/"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
        assert_eq!([base("/a/b/"), base("a"), base("/")], ["b", "a", ""]);
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
