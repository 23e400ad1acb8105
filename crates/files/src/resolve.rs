//! Following symbolic links by their text, in a tree that need not be on a disk.

use xbuild_layer::path::{self, MAX_LINKS};
use xbuild_layer::{ResolveError, ShownPath};

use crate::CopyError;

/// Returns `path` with symbolic links followed. `follow` returns the target of a path that is a
/// link.
pub(crate) fn resolve(
    path: &[u8],
    follow_last: bool,
    mut follow: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, CopyError>,
) -> Result<Vec<u8>, CopyError> {
    let mut found: Vec<u8> = Vec::new();
    // The remaining parts, the next one last.
    let mut todo: Vec<Vec<u8>> = Vec::new();
    let push = |todo: &mut Vec<Vec<u8>>, text: &[u8]| {
        let parts = text.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let at = todo.len();
        todo.extend(parts.map(<[u8]>::to_vec));
        todo[at..].reverse();
    };
    push(&mut todo, path);
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == b".." {
            found.truncate(path::parent(&found).len());
            continue;
        }
        let next = path::join(&found, &part);
        if next.len() > path::MAX_PATH {
            return Err(ResolveError::TooLong { path: ShownPath(path.to_vec()) }.into());
        }
        let target = if todo.is_empty() && !follow_last { None } else { follow(&next)? };
        match target {
            Some(_) if links == MAX_LINKS => {
                return Err(ResolveError::Loop { path: ShownPath(path.to_vec()) }.into());
            }
            Some(target) => {
                links += 1;
                if target.starts_with(b"/") {
                    found.clear();
                }
                push(&mut todo, &target);
            }
            None => found = next,
        }
    }
    Ok(found)
}
