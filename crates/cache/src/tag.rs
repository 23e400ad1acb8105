//! The tags of cache documents.
//!
//! The grammar of tags allows 128 characters; these have at most 84.

use xbuild_model::Digest;

use crate::{Scope, TrailId};

/// The kind of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagKind {
    /// The record of a step.
    Record,
    /// The trail of a build.
    Trail,
    /// A cache mount.
    Mount,
}

impl TagKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Record => "c1",
            Self::Trail => "t1",
            Self::Mount => "m1",
        }
    }
}

/// A tag of a cache document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheTag {
    /// The kind of the document.
    pub kind: TagKind,
    /// [`Scope::id`].
    pub scope: String,
    /// The key of the step, or the identity of the build or mount: 64 hexadecimal digits.
    pub id: String,
}

impl CacheTag {
    /// Returns the tag of the step with a key.
    pub fn of_record(scope: &Scope, key: &Digest) -> Self {
        Self { kind: TagKind::Record, scope: scope.id(), id: key.hex() }
    }

    /// Returns the tag of the trail of a build.
    pub fn of_trail(scope: &Scope, id: &TrailId) -> Self {
        Self { kind: TagKind::Trail, scope: scope.id(), id: id.hex() }
    }

    /// Returns the tag of a cache mount.
    pub fn of_mount(scope: &Scope, id: &Digest) -> Self {
        Self { kind: TagKind::Mount, scope: scope.id(), id: id.hex() }
    }

    /// Reads a tag; `None` for one of another document.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (prefix, scope, id) = (parts.next()?, parts.next()?, parts.next()?);
        let kinds = [TagKind::Record, TagKind::Trail, TagKind::Mount];
        let kind = kinds.into_iter().find(|kind| kind.prefix() == prefix)?;
        let is_hex = |text: &str, length| {
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_whole = parts.next().is_none() && is_hex(scope, 16) && is_hex(id, 64);
        is_whole.then(|| Self { kind, scope: scope.to_owned(), id: id.to_owned() })
    }
}

impl std::fmt::Display for CacheTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}-{}", self.kind.prefix(), self.scope, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_it_was_written() {
        let (scope, key) = (Scope::new("main").unwrap(), Digest::of(b"key"));
        for tag in [CacheTag::of_record(&scope, &key), CacheTag::of_mount(&scope, &key)] {
            let text = tag.to_string();
            assert_eq!(text.len(), 84);
            assert_eq!(CacheTag::parse(&text), Some(tag));
        }
    }

    #[test]
    fn other_tags_are_none_of_ours() {
        let good = CacheTag::of_record(&Scope::new("main").unwrap(), &Digest::of(b"")).to_string();
        assert!(CacheTag::parse(&good).is_some());
        for bad in [
            "latest".to_owned(),
            good.replace("c1", "c2"),
            good.replace("c1", "C1"),
            good.to_uppercase(),
            format!("{good}0"),
            format!("{good}-x"),
            good[..good.len() - 1].to_owned(),
        ] {
            assert_eq!(CacheTag::parse(&bad), None, "{bad}");
        }
    }
}
