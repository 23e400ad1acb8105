//! The ranges of subordinate ids that the administrator gave to a user: `/etc/subuid`,
//! `/etc/subgid`.
//!
//! Source: `subuid(5)`, `subgid(5)`.

use xbuild_model::ids::{HostUid, Id};

/// Consecutive ids of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range<I> {
    /// The first id.
    pub start: I,
    /// The number of ids; at least one.
    pub count: u32,
}

impl<I: Id> Range<I> {
    /// Returns whether the id is one of these.
    pub fn contains(&self, id: I) -> bool {
        self.start <= id && id.raw() - self.start.raw() < self.count
    }

    /// Returns whether all ids of `other` are of these.
    pub fn covers(&self, other: &Self) -> bool {
        let skipped = other.start.raw().wrapping_sub(self.start.raw());
        self.contains(other.start) && self.count - skipped >= other.count
    }
}

/// Returns the ranges of a user, who may be listed by name or by number, in the file's order.
/// Lines that make no sense are skipped, as `newuidmap` does.
pub(crate) fn ranges<I: Id>(text: &str, user: Option<&str>, uid: HostUid) -> Vec<Range<I>> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [owner, start, count] = fields[..] else { return None };
            if owner.is_empty() || (owner != number && Some(owner) != user) {
                return None;
            }
            let (start, count): (u32, u32) = (start.parse().ok()?, count.parse().ok()?);
            let fits = count > 0 && start.checked_add(count).is_some();
            fits.then_some(Range { start: I::from_raw(start), count })
        })
        .collect()
}

/// Returns the first id above all ranges of these files, from 100,000 on.
pub(crate) fn first_free(files: [&str; 2]) -> u32 {
    let end = |line: &str| {
        let mut fields = line.trim().split(':').skip(1).map(str::parse::<u32>);
        let (Ok(start), Ok(count)) = (fields.next()?, fields.next()?) else { return None };
        start.checked_add(count)
    };
    files.iter().flat_map(|text| text.lines()).filter_map(end).fold(100_000, u32::max)
}

/// Returns the name of a user in the text of a passwd file.
pub(crate) fn user_name(passwd: &str, uid: HostUid) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid.raw())).then(|| name.to_owned())
    })
}

/// Returns the ids that exist, from the text of a `/proc/*/uid_map`.
pub(crate) fn existing<I: Id>(map: &str) -> Vec<Range<I>> {
    map.lines()
        .filter_map(|line| {
            let fields: Vec<u32> =
                line.split_whitespace().map(|f| f.parse().ok()).collect::<Option<_>>()?;
            let [start, _, count] = fields[..] else { return None };
            (count > 0).then_some(Range { start: I::from_raw(start), count })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ids_are_above_all_ranges() {
        assert_eq!(first_free(["", ""]), 100_000);
        let files = ["a:100000:65536\nb:x:1\n", "a:100000:65536\nb:165536:65536\nc:4294967295:9"];
        assert_eq!(first_free(files), 231_072);
    }

    #[test]
    fn finds_ranges_by_name_and_number() {
        let text = "alice:100000:65536\n1000:300000:10\nbob:1:2\n# alice:5:5\nalice:nonsense:1\n\
                    alice:1:0\nalice:4294967290:100\n:7:7\n";
        let range = |start, count| Range { start: HostUid::new(start), count };
        let ranges = |text, user, uid| ranges(text, user, HostUid::new(uid));
        assert_eq!(ranges(text, Some("alice"), 1000), [range(100_000, 65_536), range(300_000, 10)]);
        assert_eq!(ranges(text, None, 1000), [range(300_000, 10)]);
        assert_eq!(ranges(text, Some("carol"), 1), []);
    }

    #[test]
    fn reads_names_and_maps() {
        assert_eq!(
            user_name("root:x:0:0::/:\na:x:7:7::/:\n", HostUid::new(7)).as_deref(),
            Some("a")
        );
        assert_eq!(user_name("broken\n", HostUid::new(7)), None);
        let whole = existing("         0          0 4294967295\n");
        let range = |start, count| Range { start: HostUid::new(start), count };
        assert_eq!(whole, [range(0, u32::MAX)]);
        assert!(whole[0].covers(&range(100_000, 65_536)));
        assert!(!range(0, 10).covers(&range(5, 6)));
        assert!(!range(10, 10).covers(&range(5, 6)));
    }
}
