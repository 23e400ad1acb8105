//! Keys: hashes of files and their places.

use sha2::{Digest as _, Sha256};
use xbuild_layer::{ContentHash, Kind};

use super::staged::Staged;

/// An unfinished key. Each field has a tag and its length, so fields cannot run into each other.
pub(super) struct Key(pub(super) Sha256);

impl Key {
    /// Adds the kind, contents and attributes of a file, but neither mode nor owner.
    pub(super) fn file(&mut self, file: &Staged) {
        for (name, value) in &file.meta.xattrs {
            self.field(b'x', name);
            self.field(b'v', value);
        }
        match &file.kind {
            Kind::Dir => self.field(b'd', b""),
            Kind::File { size } => {
                self.field(b'r', &size.to_le_bytes());
                if let Some(ContentHash(hash)) = &file.hash {
                    self.field(b'h', hash);
                }
            }
            Kind::Symlink { target } => self.field(b's', target),
            Kind::HardLink { target } => self.field(b'l', target),
            Kind::CharDevice { major, minor } => {
                self.field(b'c', b"");
                self.numbers([*major, *minor, 0]);
            }
            Kind::BlockDevice { major, minor } => {
                self.field(b'b', b"");
                self.numbers([*major, *minor, 0]);
            }
            Kind::Fifo => self.field(b'p', b""),
        }
    }

    pub(super) fn field(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update([tag]);
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn numbers(&mut self, numbers: [u32; 3]) {
        numbers.iter().for_each(|number| self.0.update(number.to_le_bytes()));
    }
}
