//! Archives of images, read as they come: an OCI layout in a tar file, or what `docker save` writes.
//!
//! The members go to a sink in their order, so an archive may come from a pipe. Their names are keys
//! and never paths of this machine.

use std::collections::HashMap;
use std::io::{self, Read};

use xbuild_model::Digest;

use crate::member_headers::{Bounded, MAX_PATH};

/// Members of an archive at most: an image has some hundred.
const MAX_MEMBERS: usize = 100_000;
/// Links that are followed from a member to its file.
const MAX_LINKS: usize = 8;

/// Takes the bytes of a member, to its end, and returns their digest and number.
pub type MemberSink<'a> = dyn FnMut(&mut dyn Read) -> io::Result<(Digest, u64)> + 'a;

/// The members of an archive that was read.
#[derive(Debug, Default)]
pub struct Members {
    files: HashMap<String, (Digest, u64)>,
    /// Path -> path of its target.
    links: HashMap<String, String>,
}

impl Members {
    /// Reads a tar archive to its end. Regular files go to `sink`; links are remembered, since older
    /// archives of Docker have them for layers that images share.
    pub fn read(input: impl Read, sink: &mut MemberSink<'_>) -> io::Result<Self> {
        let mut members = Self::default();
        let (input, bound) = Bounded::new(input);
        let mut archive = tar::Archive::new(input);
        let mut entries = archive.entries()?;
        for _ in 0..MAX_MEMBERS {
            bound.headers();
            let Some(entry) = entries.next() else { return Ok(members) };
            let mut entry = entry?;
            bound.contents();
            members.add(&mut entry, sink)?;
            // Contents that nobody has read are no part of the next headers.
            io::copy(&mut entry, &mut io::sink())?;
        }
        Err(io::Error::other("it has too many members"))
    }

    fn add(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        sink: &mut MemberSink<'_>,
    ) -> io::Result<()> {
        let Some(path) = entry.path()?.to_str().and_then(|path| clean("", path)) else {
            return Ok(());
        };
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let found = sink(entry)?;
            if found.1 != entry.size() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.files.insert(path, found);
        } else if kind.is_symlink() || kind.is_hard_link() {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let from = if kind.is_symlink() { folder } else { "" };
            let target = entry.link_name()?;
            if let Some(target) = target.as_ref().and_then(|target| clean(from, target.to_str()?)) {
                self.links.insert(path, target);
            }
        }
        Ok(())
    }

    /// Returns the digest and the size in bytes of a member.
    pub fn get(&self, path: &str) -> Option<&(Digest, u64)> {
        let mut path = clean("", path)?;
        for _ in 0..MAX_LINKS {
            match (self.files.get(&path), self.links.get(&path)) {
                (Some(found), _) => return Some(found),
                (None, Some(target)) => path.clone_from(target),
                (None, None) => return None,
            }
        }
        None
    }
}

/// Returns a path without `.` and `..`, begun in a folder; `None` if it is too long.
fn clean(folder: &str, path: &str) -> Option<String> {
    if path.len() > MAX_PATH {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    let folder = if path.starts_with('/') { "" } else { folder };
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> io::Result<Members> {
        let mut tar = tar::Builder::new(Vec::new());
        build(&mut tar);
        let bytes = tar.into_inner()?;
        Members::read(&bytes[..], &mut |member| {
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes)?;
            Ok((Digest::of(&bytes), bytes.len() as u64))
        })
    }

    #[test]
    fn members_are_found_by_path_and_over_links() {
        let members = read(|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            tar.append_data(&mut header, "./a/layer.tar", &b"x"[..]).unwrap();
            for (from, to) in [("b/layer.tar", "../a/layer.tar"), ("c", "d"), ("d", "c")] {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, from, to).unwrap();
            }
        })
        .unwrap();
        let found = (Digest::of(b"x"), 1);
        for path in ["a/layer.tar", "./a/layer.tar", "b/layer.tar", "/b/../a/layer.tar"] {
            assert_eq!(members.get(path), Some(&found), "{path}");
        }
        for path in ["", "a", "c", "d", "../x"] {
            assert_eq!(members.get(path), None, "{path}");
        }
    }

    #[test]
    fn headers_without_end_are_not_kept_in_memory() {
        for kind in
            [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader]
        {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(1 << 40);
            header.set_cksum();
            let endless = io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(b'a'));
            let failed = Members::read(endless, &mut |_| panic!("there is no member"));
            assert!(failed.unwrap_err().to_string().contains("too long a header"), "{kind:?}");
        }
        // The contents of a member that is neither a file nor a link are no header.
        let members = read(|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(3 << 20);
            tar.append_data(&mut header, "a", &vec![0; 3 << 20][..]).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(3 << 20);
            let long = "long/".repeat(100);
            tar.append_data(&mut header, &long, &vec![0; 3 << 20][..]).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            tar.append_data(&mut header, "too/".repeat(400), &b"x"[..]).unwrap();
        })
        .unwrap();
        assert_eq!(members.files.len(), 1);
        assert_eq!(members.get(&"long/".repeat(100)).unwrap().1, 3 << 20);
    }

    #[test]
    fn a_torn_archive_is_an_error() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2000);
        tar.append_data(&mut header, "a", &[1; 2000][..]).unwrap();
        let bytes = tar.into_inner().unwrap();
        let torn = Members::read(&bytes[..1000], &mut |member| {
            Ok((Digest::of(b""), io::copy(member, &mut io::sink())?))
        });
        assert_eq!(torn.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
