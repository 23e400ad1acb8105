//! Users and groups from the text of an image's `/etc/passwd` and `/etc/group`.
//!
//! Pure look-ups: the callers read the files, at most [`MAX_SIZE`] bytes of a regular file, from
//! inside the image. NSS is never asked.

use xbuild_wording::quoted;

use crate::ids::{GuestGid, GuestUid};

/// The most bytes of a passwd or group file. Larger files are refused.
pub const MAX_SIZE: u64 = 10 << 20;

/// The largest uid or gid; `chown` and `setuid` treat some numbers above it as "no id".
pub const MAX_ID: u32 = i32::MAX as u32;

/// A user, with the groups of its processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: GuestUid,
    /// The primary group.
    pub gid: GuestGid,
    /// Supplementary groups, ascending, the primary one among them.
    pub groups: Vec<GuestGid>,
    /// The home folder, `/` if the passwd file names none.
    pub home: String,
}

/// Why a user or group cannot be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// A name that the passwd file lacks.
    #[error("no such user {name} in the image's /etc/passwd", name = quoted(.name))]
    NoSuchUser {
        /// The name.
        name: String,
    },
    /// A name that the group file lacks.
    #[error("no such group {name} in the image's /etc/group", name = quoted(.name))]
    NoSuchGroup {
        /// The name.
        name: String,
    },
    /// A number above [`MAX_ID`].
    #[error("invalid user or group id {text}: the largest is {MAX_ID}")]
    IdTooLarge {
        /// The number.
        text: String,
    },
}

/// Returns the number of an id that is written in decimal digits; `None` for any other text.
///
/// **Errors** — [`UserError::IdTooLarge`].
pub fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(UserError::IdTooLarge { text: text.chars().take(40).collect() }),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.splitn(7, ':').collect();
        let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
        Some(PasswdEntry { name, uid: id_field(uid)?, gid: id_field(gid)?, home })
    })
}

/// Yields (name, gid, members) of a group file.
fn group_entries(text: &str) -> impl Iterator<Item = (&str, GuestGid, &str)> {
    text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.splitn(4, ':').collect();
        let [name, _, gid, ref members @ ..] = fields[..] else { return None };
        Some((name, GuestGid::new(id_field(gid)?), members.first().copied().unwrap_or_default()))
    })
}

fn id_field(text: &str) -> Option<u32> {
    parse_id(text.trim()).ok().flatten()
}

/// Returns the user that a process with this `USER` runs as.
///
/// A number wins over a name. A written group is the only one. Without a written group the user has
/// the primary and supplementary groups of the files, or group 0 if the passwd file lacks the number.
///
/// **Source** — Dockerfile reference § USER.
pub fn look_up_user(spec: &str, passwd: &str, group: &str) -> Result<User, UserError> {
    let (user, group_spec) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = parse_id(user)?;
    let entry = match number {
        Some(uid) => passwd_entries(passwd).find(|e| e.uid == uid),
        None => passwd_entries(passwd).find(|e| e.name == user),
    };
    if number.is_none() && entry.is_none() {
        return Err(UserError::NoSuchUser { name: user.to_owned() });
    }
    let uid = entry.as_ref().map_or(number.unwrap_or(0), |e| e.uid);
    let home = entry.as_ref().map(|e| e.home).filter(|h| !h.is_empty()).unwrap_or("/").to_owned();
    let (gid, mut groups) = match group_spec {
        Some(spec) => (look_up_group(spec, group)?, Vec::new()),
        None => {
            let gid = GuestGid::new(entry.as_ref().map_or(0, |e| e.gid));
            let member = |members: &str| {
                entry.as_ref().is_some_and(|e| members.split(',').any(|m| m.trim() == e.name))
            };
            (gid, group_entries(group).filter(|g| member(g.2)).map(|g| g.1).collect())
        }
    };
    // A file may deny access to the primary group: a set-group-ID program must not escape that.
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(User { uid: GuestUid::new(uid), gid, groups, home })
}

/// Returns the id of a group, by number or name.
pub fn look_up_group(spec: &str, group: &str) -> Result<GuestGid, UserError> {
    if let Some(gid) = parse_id(spec)? {
        return Ok(GuestGid::new(gid));
    }
    group_entries(group)
        .find(|(name, _, _)| *name == spec)
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| UserError::NoSuchGroup { name: spec.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1234:2345::/home/app:/bin/sh\n4294967296:x:0:0::/:\n1000:x:0:0::/:\n";
    const GROUP: &str =
        "root:x:0:\nstaff:x:50:app\nappgrp:x:2345:\nbig:x:60:other,app\nwheel:x:10:root,other\n";

    #[test]
    fn finds_users() {
        for (spec, uid, gid, groups, home) in [
            ("", 0, 0, vec![0, 10], "/root"),
            ("app", 1234, 2345, vec![50, 60, 2345], "/home/app"),
            ("1234", 1234, 2345, vec![50, 60, 2345], "/home/app"),
            ("app:staff", 1234, 50, vec![50], "/home/app"),
            ("77", 77, 0, vec![0], "/"),
            ("77:88", 77, 88, vec![88], "/"),
            ("1000", 1000, 0, vec![0], "/"),
            ("app:", 1234, 2345, vec![50, 60, 2345], "/home/app"),
            (":staff", 0, 50, vec![50], "/root"),
        ] {
            let user = look_up_user(spec, PASSWD, GROUP).unwrap();
            let found: Vec<u32> = user.groups.iter().map(|gid| gid.raw()).collect();
            assert_eq!(
                (user.uid.raw(), user.gid.raw(), found, &*user.home),
                (uid, gid, groups, home),
                "{spec}"
            );
        }
    }

    #[test]
    fn refuses_strangers_and_numbers_that_wrap() {
        for spec in ["stranger", "app:strangers", "4294967296", "2147483648", "-1", "0x0"] {
            assert!(look_up_user(spec, PASSWD, GROUP).is_err(), "{spec}");
        }
    }
}
