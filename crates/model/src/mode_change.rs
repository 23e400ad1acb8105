//! `--chmod`.

use xbuild_wording::quoted;

/// The change that `--chmod` makes to the modes of copied files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange(Change);

/// The value of `--chmod` is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid --chmod {text}: expected an octal mode of at most 7777, or changes such as u=rwX,go-w", text = quoted(.text)
)]
pub struct ModeError {
    /// The beginning of the value.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// The mode, as a number.
    Exact(u32),
    /// Changes, in order.
    Symbolic(Vec<Clause>),
}

/// One operation such as `go-w`, ready to be applied to a mode.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    operation: Operation,
    /// The bits of the clause's classes.
    who: u32,
    /// The bits to set or clear, within `who`.
    bits: u32,
    /// `X`: execution, for folders and for files that somebody may execute already.
    execute_if_any: bool,
    /// `u`, `g` or `o`: the place of that class's bits, counted from the right.
    copied: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Set,
}

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o0007;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o0111;

impl ModeChange {
    /// Parses an octal mode, or changes as in chmod(1): clauses of classes (`ugoa`), operators
    /// (`+-=`) and permissions (`rwxXst`, or one of `ugo` to copy a class), joined by commas.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        let fail = || ModeError { text: text.chars().take(100).collect() };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o7777);
            return mode.map(|mode| Self(Change::Exact(mode))).ok_or_else(fail);
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            parse_part(part, &mut clauses).ok_or_else(fail)?;
        }
        Ok(Self(Change::Symbolic(clauses)))
    }

    /// Returns the new mode of a file or folder with this mode.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.0 {
            Change::Exact(mode) => *mode,
            Change::Symbolic(clauses) => clauses
                .iter()
                .fold(mode, |now, clause| clause.apply(now, is_dir || mode & EXECUTE != 0)),
        }
    }

    /// Returns the mode of folders that are made on the way: as in the reference, octal modes
    /// apply to them, without set-uid, set-gid and sticky.
    pub fn of_parents(change: Option<&Self>) -> u32 {
        match change.map(|change| &change.0) {
            Some(Change::Exact(mode)) => mode & 0o777,
            _ => 0o755,
        }
    }
}

/// Parses classes followed by one or more operations.
fn parse_part(part: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let operators = ['+', '-', '='];
    let at = part.find(operators)?;
    let (classes, mut rest) = part.split_at(at);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHER,
            'a' => USER | GROUP | OTHER,
            _ => return None,
        };
    }
    if who == 0 {
        who = USER | GROUP | OTHER;
    }
    while let Some(operator) = rest.chars().next() {
        let operation = match operator {
            '+' => Operation::Add,
            '-' => Operation::Remove,
            _ => Operation::Set,
        };
        let end = rest[1..].find(operators).map_or(rest.len(), |next| next + 1);
        let mut clause = Clause { operation, who, bits: 0, execute_if_any: false, copied: None };
        for permission in rest[1..end].chars() {
            match permission {
                'r' => clause.bits |= 0o444 & who,
                'w' => clause.bits |= 0o222 & who,
                'x' => clause.bits |= EXECUTE & who,
                'X' => clause.execute_if_any = true,
                's' => clause.bits |= 0o6000 & who,
                't' if who != OTHER => {
                    clause.bits |= STICKY;
                    clause.who |= STICKY;
                }
                't' => {}
                'u' => clause.copied = Some(6),
                'g' => clause.copied = Some(3),
                'o' => clause.copied = Some(0),
                _ => return None,
            }
        }
        clauses.push(clause);
        rest = &rest[end..];
    }
    Some(())
}

impl Clause {
    fn apply(&self, mode: u32, may_execute: bool) -> u32 {
        let mut bits = self.bits;
        if self.execute_if_any && may_execute {
            bits |= EXECUTE & self.who;
        }
        if let Some(shift) = self.copied {
            let class = mode >> shift & 0o7;
            bits |= (class << 6 | class << 3 | class) & self.who;
        }
        match self.operation {
            Operation::Add => mode | bits,
            Operation::Remove => mode & !bits,
            Operation::Set => mode & !self.who | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_modes_stand_for_themselves() {
        for (text, expected) in [("755", 0o755), ("0", 0), ("4755", 0o4755), ("07777", 0o7777)] {
            assert_eq!(ModeChange::parse(text).unwrap().apply(0o123, false), expected);
        }
        for text in ["10777", "8", "0o755", "755x", "99999999999999999999", "7 5"] {
            assert!(ModeChange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn symbolic_modes_are_those_of_chmod() {
        for (text, mode, is_dir, expected) in [
            ("+x", 0o644, false, 0o755),
            ("u=rwX,go=rX", 0o640, false, 0o644),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("go-w", 0o666, false, 0o644),
            ("go=", 0o777, false, 0o700),
            ("a+r,u+w", 0o000, false, 0o644),
            ("go=u-w", 0o700, false, 0o755),
            ("u+s", 0o755, false, 0o4755),
            ("g+s", 0o755, true, 0o2755),
            ("+t", 0o777, true, 0o1777),
            ("o+t", 0o777, true, 0o777),
            ("u=g", 0o750, false, 0o550),
            ("u-s", 0o4755, false, 0o755),
            ("=r", 0o7777, false, 0o1444),
            ("a-X", 0o755, false, 0o644),
        ] {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(change.apply(mode, is_dir), expected, "{text} {mode:o}");
        }
        for text in ["", "x", "u", "z+x", "u+y", "u+x,", ",u+x", "u+rw g+r"] {
            assert!(ModeChange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn folders_on_the_way_take_octal_permissions() {
        let of = |text: &str| ModeChange::of_parents(Some(&ModeChange::parse(text).unwrap()));
        assert_eq!(of("4711"), 0o711);
        assert_eq!(of("u=rwx"), 0o755);
        assert_eq!(ModeChange::of_parents(None), 0o755);
    }
}
