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
    Symbolic(Vec<Command>),
}

/// One change of a mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Clear(u32),
    Set(u32),
    /// `X`: these bits, for folders and for files that somebody could execute before all changes.
    SetIfExecutable(u32),
    /// Copies the permissions of the class whose bits begin at `from`, counted from the right, to the
    /// classes of the bits `to`.
    Copy {
        from: u32,
        to: u32,
        operation: Operation,
    },
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
        let mut commands = Vec::new();
        for part in text.split(',') {
            parse_part(part, &mut commands).ok_or_else(fail)?;
        }
        Ok(Self(Change::Symbolic(commands)))
    }

    /// Returns the new mode of a file or folder with this mode.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match &self.0 {
            Change::Exact(mode) => *mode,
            Change::Symbolic(commands) => commands
                .iter()
                .fold(mode, |now, command| command.apply(now, is_dir || mode & EXECUTE != 0)),
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
fn parse_part(part: &str, commands: &mut Vec<Command>) -> Option<()> {
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
        parse_permissions(&rest[1..end], operation, who, commands)?;
        rest = &rest[end..];
    }
    Some(())
}

/// Parses the permissions of one operation on classes. As in the reference, those before a copied
/// class and after it are operations of their own: `g=wu` is `g=w,g=u`.
fn parse_permissions(
    text: &str,
    operation: Operation,
    mut who: u32,
    commands: &mut Vec<Command>,
) -> Option<()> {
    let (mut bits, mut if_executable) = (0, 0);
    // Setting clears, even without permissions.
    let mut is_open = operation == Operation::Set;
    for permission in text.chars() {
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= EXECUTE,
            'X' if operation == Operation::Remove => bits |= EXECUTE,
            'X' => if_executable = EXECUTE,
            's' => bits |= 0o6000,
            't' if who != OTHER => {
                bits |= STICKY;
                who |= STICKY;
            }
            't' => {}
            'u' | 'g' | 'o' => {
                if bits != 0 {
                    push(operation, who, bits, commands);
                }
                commands.extend(
                    (if_executable != 0).then_some(Command::SetIfExecutable(who & EXECUTE)),
                );
                (bits, if_executable, is_open) = (0, 0, false);
                let from = match permission {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                commands.push(Command::Copy { from, to: who & 0o777, operation });
            }
            _ => return None,
        }
    }
    if bits != 0 || is_open {
        push(operation, who, bits, commands);
    }
    commands.extend((if_executable != 0).then_some(Command::SetIfExecutable(who & EXECUTE)));
    Some(())
}

/// Adds the change of bits within those of the classes.
fn push(operation: Operation, who: u32, bits: u32, commands: &mut Vec<Command>) {
    match operation {
        Operation::Add => commands.push(Command::Set(bits & who)),
        Operation::Remove => commands.push(Command::Clear(bits & who)),
        Operation::Set => commands.extend([Command::Clear(who), Command::Set(bits & who)]),
    }
}

impl Command {
    fn apply(self, mode: u32, is_executable: bool) -> u32 {
        match self {
            Self::Clear(bits) => mode & !bits,
            Self::Set(bits) => mode | bits,
            Self::SetIfExecutable(bits) => mode | if is_executable { bits } else { 0 },
            Self::Copy { from, to, operation } => {
                let class = mode >> from & 0o7;
                let bits = (class << 6 | class << 3 | class) & to;
                match operation {
                    Operation::Add => mode | bits,
                    Operation::Remove => mode & !bits,
                    Operation::Set => mode & !to | bits,
                }
            }
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
            ("a-X", 0o644, false, 0o644),
            ("+x,a-X", 0o644, false, 0o644),
            ("+X", 0o644, false, 0o644),
            ("u+x,+X", 0o644, false, 0o744),
            // A copy leaves set-id bits alone; other permissions beside it are changes before and after.
            ("u=g", 0o6750, false, 0o6550),
            ("g=u", 0o2700, false, 0o2770),
            ("g+uo", 0o604, false, 0o664),
            ("g=uo", 0o604, false, 0o644),
            ("g=wu", 0o500, false, 0o550),
            ("g=ux", 0o600, false, 0o610),
            ("o-u", 0o507, false, 0o502),
            ("g=uX", 0o700, false, 0o770),
            ("=", 0o7777, false, 0o1000),
            ("u=s", 0o755, false, 0o4055),
            ("o=t", 0o1777, true, 0o1770),
            ("u=rwx,g=u,o=g-w", 0o000, false, 0o775),
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
