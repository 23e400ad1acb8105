//! `--chown` and the owner of a WORKDIR.

use xbuild_model::passwd::{self, UserError};

use super::env::{CopyWarning, ReadFile};
use crate::CopyError;

/// Returns uid and gid of a `user[:group]`.
///
/// A number stands for itself; without a group, it is the group as well. A name is looked up, and
/// brings its primary group. An unknown user is 0, with a warning; an unknown group is ignored,
/// with a warning. So BuildKit has it.
///
/// **Errors** — [`CopyError::Owner`] for a name in an image that has no such file at all.
pub(super) fn look_up(
    text: &str,
    read_file: &ReadFile<'_>,
    warnings: &mut Vec<CopyWarning>,
) -> Result<(u32, u32), CopyError> {
    let (user, group) = split(text);
    let mut unknown = |name: &str| {
        if !name.is_empty() {
            warnings.push(CopyWarning::UnknownOwner { name: name.to_owned() });
        }
    };
    let (uid, user_gid) = match number(text, user)? {
        Some(id) => (id, id),
        None if user.is_empty() => (0, 0),
        None => {
            let missing = || UserError::NoSuchUser { name: user.to_owned() };
            let passwd = read_text(read_file, b"etc/passwd", text, missing)?;
            match passwd::look_up_user(user, &passwd, "") {
                Ok(found) => (found.uid.raw(), found.gid.raw()),
                Err(UserError::NoSuchUser { .. }) => {
                    unknown(user);
                    (0, 0)
                }
                Err(source) => return Err(CopyError::Owner { text: text.to_owned(), source }),
            }
        }
    };
    let Some(group) = group else { return Ok((uid, user_gid)) };
    let gid = match number(text, group)? {
        Some(id) => id,
        None if group.is_empty() => user_gid,
        None => {
            let missing = || UserError::NoSuchGroup { name: group.to_owned() };
            let groups = read_text(read_file, b"etc/group", text, missing)?;
            match passwd::look_up_group(group, &groups) {
                Ok(gid) => gid.raw(),
                Err(UserError::NoSuchGroup { .. }) => {
                    unknown(group);
                    user_gid
                }
                Err(source) => return Err(CopyError::Owner { text: text.to_owned(), source }),
            }
        }
    };
    Ok((uid, gid))
}

/// Returns uid and gid of a `user[:group]` with numbers.
///
/// **Errors** — [`CopyError::OwnerOfLink`] if one of them is a name.
pub(super) fn numbers(text: &str) -> Result<(u32, u32), CopyError> {
    let (user, group) = split(text);
    let named = || CopyError::OwnerOfLink { text: text.to_owned() };
    let uid = number(text, user)?.ok_or_else(named)?;
    let gid = match group {
        Some(group) => number(text, group)?.ok_or_else(named)?,
        None => uid,
    };
    Ok((uid, gid))
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)))
}

/// Returns the number of a user or group; `None` if it is a name.
fn number(text: &str, part: &str) -> Result<Option<u32>, CopyError> {
    let unsigned = part.strip_prefix(['-', '+']).unwrap_or(part);
    let is_number = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && unsigned != part {
        return Err(CopyError::SignedOwner { text: text.to_owned() });
    }
    passwd::parse_id(part).map_err(|source| CopyError::Owner { text: text.to_owned(), source })
}

/// Reads a file of the image; without it, the owner `text` cannot be looked up.
fn read_text(
    read_file: &ReadFile<'_>,
    path: &[u8],
    text: &str,
    missing: impl FnOnce() -> UserError,
) -> Result<String, CopyError> {
    let bytes = read_file(path).map_err(|source| CopyError::Layers { source })?;
    let bytes =
        bytes.ok_or_else(|| CopyError::Owner { text: text.to_owned(), source: missing() })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use xbuild_model::StepFailure;

    use super::*;

    fn files(path: &[u8]) -> Result<Option<Vec<u8>>, StepFailure> {
        Ok(match path {
            b"etc/passwd" => Some(b"root:x:0:0::/:\napp:x:1234:2345::/:\n12:x:0:0::/:\n".to_vec()),
            b"etc/group" => Some(b"staff:x:50:\n".to_vec()),
            _ => None,
        })
    }

    #[test]
    fn names_bring_their_group_and_numbers_are_their_own() {
        for (text, expected) in [
            ("app", (1234, 2345)),
            ("app:staff", (1234, 50)),
            ("app:", (1234, 2345)),
            (":staff", (0, 50)),
            ("1234", (1234, 1234)),
            ("12", (12, 12)),
            ("4321:7", (4321, 7)),
            ("root:0", (0, 0)),
        ] {
            let mut warnings = Vec::new();
            assert_eq!(look_up(text, &files, &mut warnings).unwrap(), expected, "{text}");
            assert_eq!(warnings, []);
        }
    }

    #[test]
    fn unknown_names_are_zero_with_a_warning() {
        for (text, expected) in
            [("ghost", (0, 0)), ("app:ghost", (1234, 2345)), ("7:ghost", (7, 7))]
        {
            let mut warnings = Vec::new();
            assert_eq!(look_up(text, &files, &mut warnings).unwrap(), expected, "{text}");
            assert_eq!(warnings, [CopyWarning::UnknownOwner { name: "ghost".to_owned() }]);
        }
    }

    #[test]
    fn names_need_the_files_of_the_image() {
        let none = |_: &[u8]| Ok(None);
        for text in ["app", "app:1", "1:staff"] {
            let error = look_up(text, &none, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, CopyError::Owner { .. }), "{text}: {error}");
        }
        assert_eq!(look_up("1:2", &none, &mut Vec::new()).unwrap(), (1, 2));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in ["4294967296", "-1", "+5", "0:-1", "2147483648", "0:4294967296"] {
            assert!(look_up(text, &files, &mut Vec::new()).is_err(), "{text}");
            assert!(numbers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_link_copy_takes_numbers_only() {
        assert_eq!(numbers("3:4").unwrap(), (3, 4));
        assert_eq!(numbers("3").unwrap(), (3, 3));
        for text in ["app", "3:staff", ":50", "app:50"] {
            assert!(matches!(numbers(text), Err(CopyError::OwnerOfLink { .. })), "{text}");
        }
    }
}
