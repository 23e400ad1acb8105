//! Finding out what an `execve` would execute, in the way of the thread that makes it.

use rustix::io::Errno;

use super::abi::Call;
use super::header::{Header, LOOKED_AT};
use super::scratch::{Areas, Scratch};
use super::session::{Fault, Session};
use super::vector::Word;
use crate::arch::Arch;

/// The longest path with its NUL: the kernel's own limit.
const PATH_LIMIT: usize = 4096;

/// Scripts whose interpreters are scripts: as many as the kernel follows, which counts the program
/// at the end as one more.
const SCRIPT_LIMIT: usize = 5;

/// The arguments of `execve` or `execveat`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// The folder that a relative path starts from.
    pub(super) folder: i32,
    pub(super) path: u64,
    pub(super) argv: u64,
    pub(super) envp: u64,
    pub(super) flags: i32,
}

impl Request {
    /// Reads the arguments of the call that a thread is at.
    pub(super) fn read(session: &Session, is_execveat: bool) -> Self {
        let argument = |index| session.argument(index);
        // The kernel takes descriptors and flags as 32-bit integers.
        let integer = |index| (session.argument(index) as u32).cast_signed();
        match is_execveat {
            false => Self {
                folder: libc::AT_FDCWD,
                path: argument(0),
                argv: argument(1),
                envp: argument(2),
                flags: 0,
            },
            true => Self {
                folder: integer(0),
                path: argument(1),
                argv: argument(2),
                envp: argument(3),
                flags: integer(4),
            },
        }
    }
}

/// A program for an emulator.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) arch: Arch,
    /// The path that names the file or the first script, as programs see it.
    pub(super) path: Vec<u8>,
    /// The interpreter of each script with its argument, outermost script first; the last one is the
    /// program. Empty if the file is the program.
    pub(super) interpreters: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Whether the program would have the rights of its file.
    pub(super) has_rights: bool,
}

impl Foreign {
    /// Returns the arguments of the emulator before those that stay as they are. `argv0` is the
    /// address of the program's own first argument. The last one is the path of the file.
    pub(super) fn words(&self, argv0: Option<u64>) -> Vec<Word> {
        let text = |bytes: &[u8]| Word::Text(bytes.to_vec());
        let program = self.interpreters.last().map_or(&self.path, |(path, _)| path);
        let mut words = vec![
            Word::Text(format!("qemu-{}", self.arch.qemu_name()).into_bytes()),
            text(b"-0"),
            match argv0 {
                Some(address) if self.interpreters.is_empty() => Word::At(address),
                None if self.interpreters.is_empty() => text(b""),
                _ => text(program),
            },
            // The emulator must not take it for an option.
            match program.first() {
                Some(b'-') => Word::Text([b"./", program.as_slice()].concat()),
                _ => text(program),
            },
        ];
        // Each script is an argument of its interpreter: the innermost comes first.
        for (level, (_, argument)) in self.interpreters.iter().enumerate().rev() {
            words.extend(argument.as_deref().map(text));
            let script = match level.checked_sub(1).and_then(|outer| self.interpreters.get(outer)) {
                Some((path, _)) => path,
                None => &self.path,
            };
            words.push(text(script));
        }
        words
    }

    /// Returns the remark that the program lacks the rights of its file.
    pub(super) fn lost_rights(&self) -> String {
        let program = self.interpreters.last().map_or(&self.path, |(path, _)| path);
        format!(
            "{} runs without the set-user-ID, set-group-ID or file capabilities that it has: its \
             emulator was put in front of it by interception of execve, and the kernel looks at \
             the emulator's file",
            String::from_utf8_lossy(program)
        )
    }
}

/// The file to look at.
#[derive(Debug, Clone, Copy)]
struct Place {
    folder: i32,
    path: u64,
    flags: i32,
}

/// The answer to a look at one file.
struct Looked {
    header: Header,
    /// Whether a program has rights from its file that its caller lacks.
    has_rights: bool,
}

/// Looks a program up. `None` if the kernel is to deal with it.
///
/// **Errors** — [`Fault::Failed`] if the `execve` must fail like that.
pub(super) fn look_up(
    session: &mut Session,
    scratch: &mut Scratch,
    request: &Request,
    emulated: &[Arch],
) -> Result<Option<Foreign>, Fault> {
    let known = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    if request.flags & !known != 0 {
        return Ok(None);
    }
    let Some(path) = kernels(session.read_text(request.path, PATH_LIMIT))? else { return Ok(None) };
    let is_open = path.is_empty() && request.flags & libc::AT_EMPTY_PATH != 0;
    let mut place = Place { folder: request.folder, path: request.path, flags: request.flags };
    let mut interpreters = Vec::new();
    let areas = scratch.areas(session)?;
    loop {
        let is_open = is_open && interpreters.is_empty();
        let file =
            if is_open { reopen(session, areas, place.folder) } else { open(session, place) };
        let Some(file) = kernels(file)? else { return Ok(None) };
        let looked = look_into(session, areas, file, emulated);
        session.call(Call::Close, &[file])?;
        let Some(Looked { header, has_rights }) = kernels(looked)? else { return Ok(None) };
        if header == Header::Other || !may_execute(session, place)? {
            return Ok(None);
        }
        match header {
            Header::Program(arch) => {
                let path = visible_path(session, request, path, is_open)?;
                return Ok(Some(Foreign { arch, path, interpreters, has_rights }));
            }
            Header::Script(path, argument) if interpreters.len() < SCRIPT_LIMIT => {
                session.write(areas.path, &[path.as_slice(), b"\0"].concat())?;
                place = Place { folder: libc::AT_FDCWD, path: areas.path, flags: 0 };
                interpreters.push((path, argument));
            }
            Header::Script(..) | Header::Other => return Ok(None),
        }
    }
}

/// Leaves a failure to the kernel, which will fail in the same way; only a lack of descriptors or
/// memory is final.
fn kernels<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Failed(errno))
            if !matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM) =>
        {
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

/// Returns a descriptor or flags in the form of an argument.
fn number(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

/// `O_LARGEFILE` of the kernel; the C library has 0 for it where its programs need none.
const LARGE_FILE: i32 = if cfg!(target_arch = "aarch64") { 0o400_000 } else { 0o100_000 };

/// A file may be a pipe or a device, so opening it must neither wait nor take a terminal.
const OPEN: i32 = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY | LARGE_FILE;

fn open(session: &mut Session, place: Place) -> Result<u64, Fault> {
    let link = place.flags & libc::AT_SYMLINK_NOFOLLOW != 0;
    let flags = OPEN | if link { libc::O_NOFOLLOW } else { 0 };
    session.call(Call::Openat, &[number(place.folder), place.path, number(flags)])
}

/// Opens a file again that the thread has open, perhaps only as a place.
fn reopen(session: &mut Session, areas: Areas, descriptor: i32) -> Result<u64, Fault> {
    let path = format!("/proc/self/fd/{descriptor}\0");
    session.write(areas.buffer, path.as_bytes())?;
    session.call(Call::Openat, &[number(libc::AT_FDCWD), areas.buffer, number(OPEN)])
}

/// Looks at an open file. Anything but a regular file is the kernel's to refuse.
fn look_into(
    session: &mut Session,
    areas: Areas,
    file: u64,
    emulated: &[Arch],
) -> Result<Looked, Fault> {
    let Areas { buffer, .. } = areas;
    let owner = Owner::read(session, buffer, file)?;
    if owner.mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(Looked { header: Header::Other, has_rights: false });
    }
    let mut head = vec![0; LOOKED_AT];
    let length = session.call(Call::Pread, &[file, buffer, LOOKED_AT as u64])?;
    head.truncate(usize::try_from(length).unwrap_or(0));
    session.read(buffer, &mut head)?;
    let header = Header::new(&head, emulated.iter().copied());
    let is_program = matches!(header, Header::Program(_));
    let has_rights =
        is_program && (owner.gives_more(session)? || has_capabilities(session, buffer, file)?);
    Ok(Looked { header, has_rights })
}

/// The mode and the owner of a file.
struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Owner {
    /// **Source** — `statx(2)`: the same form for all processors.
    fn read(session: &mut Session, buffer: u64, file: u64) -> Result<Self, Fault> {
        let basic = number(libc::STATX_BASIC_STATS.cast_signed());
        session.write(buffer, b"\0")?;
        let (empty, answer) = (buffer, buffer + 8);
        session.call(Call::Statx, &[file, empty, number(libc::AT_EMPTY_PATH), basic, answer])?;
        let mut bytes = [0; 32];
        session.read(answer, &mut bytes)?;
        let word = |at: usize| {
            let [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            u32::from_le_bytes([a, b, c, d])
        };
        // stx_uid, stx_gid, and the 16 bits of stx_mode.
        Ok(Self { uid: word(20), gid: word(24), mode: word(28) & 0xffff })
    }

    /// Returns whether the kernel would give the caller of this program another user or group.
    fn gives_more(&self, session: &mut Session) -> Result<bool, Fault> {
        let group = libc::S_ISGID | libc::S_IXGRP;
        Ok((self.mode & libc::S_ISUID != 0
            && session.call(Call::Geteuid, &[])? != u64::from(self.uid))
            || (self.mode & group == group
                && session.call(Call::Getegid, &[])? != u64::from(self.gid)))
    }
}

/// Returns whether a file has capabilities.
fn has_capabilities(session: &mut Session, buffer: u64, file: u64) -> Result<bool, Fault> {
    session.write(buffer, b"security.capability\0")?;
    match session.call(Call::Fgetxattr, &[file, buffer, 0, 0]) {
        Ok(size) => Ok(size > 0),
        Err(Fault::Failed(_)) => Ok(false),
        Err(lost) => Err(lost),
    }
}

/// Returns whether the thread has the right to execute a file, as the kernel checks it: also on a
/// mount that is `noexec`.
fn may_execute(session: &mut Session, place: Place) -> Result<bool, Fault> {
    let Place { folder, path, flags } = place;
    let execute = libc::X_OK as u64;
    let flags = number(flags | libc::AT_EACCESS);
    let answer = session.call(Call::Faccessat2, &[number(folder), path, execute, flags]);
    let answer = match answer {
        // Before Linux 5.8. The older call asks for the real user, not for the effective one.
        Err(Fault::Failed(Errno::NOSYS)) if place.flags == 0 => {
            session.call(Call::Faccessat, &[number(folder), path, execute])
        }
        Err(Fault::Failed(Errno::NOSYS)) => Ok(0),
        answer => answer,
    };
    match answer {
        Ok(_) => Ok(true),
        Err(Fault::Failed(_)) => Ok(false),
        Err(lost) => Err(lost),
    }
}

/// Returns the path by which programs can open the file, as the kernel tells it to interpreters.
///
/// **Errors** — `ENOENT` if the path leads through a descriptor that is closed by then.
fn visible_path(
    session: &mut Session,
    request: &Request,
    path: Vec<u8>,
    is_open: bool,
) -> Result<Vec<u8>, Fault> {
    let folder = request.folder;
    if !is_open && (folder == libc::AT_FDCWD || path.starts_with(b"/")) {
        return Ok(path);
    }
    let flags = session.call(Call::Fcntl, &[number(folder), libc::F_GETFD as u64])?;
    if flags & libc::FD_CLOEXEC as u64 != 0 {
        return Err(Errno::NOENT.into());
    }
    let mut visible = format!("/dev/fd/{folder}").into_bytes();
    if !is_open {
        visible.push(b'/');
        visible.extend(path);
    }
    Ok(visible)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(path: &str, interpreters: &[(&str, Option<&str>)]) -> Foreign {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let interpreters =
            interpreters.iter().map(|(path, argument)| (bytes(path), argument.map(bytes)));
        Foreign {
            arch: Arch::Arm64,
            path: bytes(path),
            interpreters: interpreters.collect(),
            has_rights: false,
        }
    }

    fn words(foreign: &Foreign, argv0: Option<u64>) -> Vec<String> {
        let word = |word: Word| match word {
            Word::Text(text) => String::from_utf8(text).unwrap(),
            Word::At(address) => format!("@{address}"),
        };
        foreign.words(argv0).into_iter().map(word).collect()
    }

    #[test]
    fn a_program_keeps_its_own_name() {
        let program = foreign("/bin/cat", &[]);
        assert_eq!(words(&program, Some(7)), ["qemu-aarch64", "-0", "@7", "/bin/cat"]);
        assert_eq!(words(&program, None), ["qemu-aarch64", "-0", "", "/bin/cat"]);
        assert_eq!(words(&foreign("-x", &[]), Some(7))[2..], ["@7", "./-x"]);
    }

    #[test]
    fn scripts_are_arguments_of_their_interpreters() {
        let one = foreign("run", &[("/bin/sh", Some("-e"))]);
        assert_eq!(words(&one, Some(7))[2..], ["/bin/sh", "/bin/sh", "-e", "run"]);
        let two = foreign("./outer", &[("/inner", Some("a b")), ("/bin/sh", None)]);
        assert_eq!(words(&two, Some(7))[2..], ["/bin/sh", "/bin/sh", "/inner", "a b", "./outer"]);
        let odd = foreign("-s", &[("-i", None)]);
        assert_eq!(words(&odd, None)[2..], ["-i", "./-i", "-s"]);
    }
}
