//! The ranges of subordinate ids that the administrator gave to a user: `/etc/subuid`,
//! `/etc/subgid`.
//!
//! Source: `subuid(5)`, `subgid(5)`.

/// Consecutive ids of this machine, or of the namespace that xbuild runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The first id.
    pub start: u32,
    /// How many; at least one.
    pub count: u32,
}

impl Range {
    /// Returns whether the id is one of these.
    pub fn contains(&self, id: u32) -> bool {
        self.start <= id && id - self.start < self.count
    }

    /// Returns whether all ids of `other` are of these.
    pub fn covers(&self, other: &Range) -> bool {
        self.contains(other.start) && self.count - (other.start - self.start) >= other.count
    }
}

/// Returns the ranges of a user, who may be listed by name or by number, in the file's order.
/// Lines that make no sense are skipped, as `newuidmap` does.
pub(crate) fn ranges(text: &str, user: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [owner, start, count] = fields[..] else { return None };
            if owner.is_empty() || (owner != number && Some(owner) != user) {
                return None;
            }
            let range = Range { start: start.parse().ok()?, count: count.parse().ok()? };
            let fits = range.count > 0 && range.start.checked_add(range.count).is_some();
            fits.then_some(range)
        })
        .collect()
}

/// Returns the name of a user in the text of a passwd file.
pub(crate) fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Returns the ids that exist, from the text of a `/proc/*/uid_map`.
pub(crate) fn existing(map: &str) -> Vec<Range> {
    map.lines()
        .filter_map(|line| {
            let fields: Vec<u32> =
                line.split_whitespace().map(|f| f.parse().ok()).collect::<Option<_>>()?;
            let [start, _, count] = fields[..] else { return None };
            (count > 0).then_some(Range { start, count })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_ranges_by_name_and_number() {
        let text = "alice:100000:65536\n1000:300000:10\nbob:1:2\n# alice:5:5\nalice:nonsense:1\n\
                    alice:1:0\nalice:4294967290:100\n:7:7\n";
        let range = |start, count| Range { start, count };
        assert_eq!(ranges(text, Some("alice"), 1000), [range(100_000, 65_536), range(300_000, 10)]);
        assert_eq!(ranges(text, None, 1000), [range(300_000, 10)]);
        assert_eq!(ranges(text, Some("carol"), 1), []);
    }

    #[test]
    fn reads_names_and_maps() {
        assert_eq!(user_name("root:x:0:0::/:\na:x:7:7::/:\n", 7).as_deref(), Some("a"));
        assert_eq!(user_name("broken\n", 7), None);
        let whole = existing("         0          0 4294967295\n");
        assert_eq!(whole, [Range { start: 0, count: u32::MAX }]);
        assert!(whole[0].covers(&Range { start: 100_000, count: 65_536 }));
        assert!(!Range { start: 0, count: 10 }.covers(&Range { start: 5, count: 6 }));
    }
}
