//! The starter of twins: the code that an emulator begins with.
//!
//! The kernel starts the emulator for a program of another architecture, and this code comes first.
//! It looks whether the program has a twin, one with the same result for this machine's own
//! processor, and whether the twin may run here. If so, it maps the twin and its loader in place of
//! the emulator and jumps to the loader, as the kernel would. If not, it jumps to the emulator's own
//! first instruction, as if it had not been there, or with the processor that it is to emulate as an
//! option. Either way it writes a byte into a pipe of the step, if there is one, which counts the
//! programs.
//!
//! It has no library, no memory of its own but its stack, and no relocations. `build.rs` compiles
//! it, `twins/graft.rs` puts it into emulators, `twins/table.rs` writes the table that it reads.
//!
//! **Source** — kernel `Documentation/admin-guide/binfmt-misc.rst`, flags P and O; `getauxval(3)`;
//! `elf(5)`.

#![no_std]
#![no_main]
#![no_builtins]
#![allow(unsafe_code)]

mod asked;
mod awk;

use core::arch::{asm, global_asm};
use core::mem::MaybeUninit;

const AT_NULL: u64 = 0;
const AT_IGNORE: u64 = 1;
const AT_EXECFD: u64 = 2;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_BASE: u64 = 7;
const AT_ENTRY: u64 = 9;
const AT_SECURE: u64 = 23;

const PAGE: u64 = 4096;

/// The kind of segments that are mapped, `PT_LOAD`.
const LOADED: u32 = 1;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const WRITE: u64 = 1;
    pub const CLOSE: u64 = 3;
    pub const PREAD: u64 = 17;
    pub const MMAP: u64 = 9;
    pub const MUNMAP: u64 = 11;
    pub const EXIT: u64 = 231;
    pub const OPENAT: u64 = 257;
    pub const GETDENTS: u64 = 217;
    pub const FACCESSAT: u64 = 269;
    pub const STATX: u64 = 332;
    pub const BRK: u64 = 12;
    pub const PRCTL: u64 = 157;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const WRITE: u64 = 64;
    pub const CLOSE: u64 = 57;
    pub const PREAD: u64 = 67;
    pub const MMAP: u64 = 222;
    pub const MUNMAP: u64 = 215;
    pub const EXIT: u64 = 94;
    pub const OPENAT: u64 = 56;
    pub const GETDENTS: u64 = 61;
    pub const FACCESSAT: u64 = 48;
    pub const STATX: u64 = 291;
    pub const BRK: u64 = 214;
    pub const PRCTL: u64 = 167;
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov rdi, rsp",
    "lea rsi, [rip + _start]",
    "and rsp, -16",
    "sub rsp, 16",
    "call {begin}",
    "mov rsp, rax",
    "mov rcx, rdx",
    "xor edx, edx",
    "xor ebp, ebp",
    "jmp rcx",
    begin = sym begin,
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl _start",
    "_start:",
    "mov x0, sp",
    "adr x1, _start",
    "sub sp, sp, #16",
    "bl {begin}",
    "mov sp, x0",
    "mov x16, x1",
    "mov x0, xzr",
    "mov x29, xzr",
    "mov x30, xzr",
    "br x16",
    begin = sym begin,
);

/// Makes a system call with up to six arguments.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: u64, words: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = words;
    let result: i64;
    // SAFETY: the registers are those of the kernel's convention; the callers answer for the
    // arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number as i64 => result, in("rdi") a, in("rsi") b,
             in("rdx") c, in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _,
             options(nostack));
    }
    result
}

/// Makes a system call with up to six arguments.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: u64, words: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = words;
    let result: i64;
    // SAFETY: as above.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as i64 => result, in("x1") b,
             in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

fn exit() -> ! {
    loop {
        // SAFETY: it takes no pointers.
        unsafe { call(number::EXIT, [127, 0, 0, 0, 0, 0]) };
    }
}

fn close(fd: u64) {
    // SAFETY: it takes no pointers.
    unsafe { call(number::CLOSE, [fd, 0, 0, 0, 0, 0]) };
}

const AT_FDCWD: u64 = -100_i64 as u64;

/// Opens a file to read. The path ends with a zero.
unsafe fn open(path: *const u8) -> Option<u64> {
    const CLOEXEC: u64 = 0o2_000_000;
    // SAFETY: the callers answer for the path.
    let fd = unsafe { call(number::OPENAT, [AT_FDCWD, path as u64, CLOEXEC, 0, 0, 0]) };
    u64::try_from(fd).ok()
}

/// Counts a program, by who runs it. Without anybody who reads the pipe it cannot be opened; a full
/// pipe does not wait.
fn count(who: u8) {
    const WRITE_CLOEXEC_NONBLOCK: u64 = 0o2_004_001;
    let path = COUNT.as_ptr() as u64;
    // SAFETY: the path ends with a zero; the byte lives until the call returns.
    unsafe {
        let fd = call(number::OPENAT, [AT_FDCWD, path, WRITE_CLOEXEC_NONBLOCK, 0, 0, 0]);
        if let Ok(fd) = u64::try_from(fd) {
            call(number::WRITE, [fd, &raw const who as u64, 1, 0, 0, 0]);
            close(fd);
        }
    }
}

/// Maps memory.
unsafe fn map(
    place: u64,
    length: u64,
    rights: u64,
    kind: u64,
    fd: u64,
    offset: u64,
) -> Option<u64> {
    // SAFETY: the callers answer for the place.
    let mapped = unsafe { call(number::MMAP, [place, length, rights, kind, fd, offset]) };
    u64::try_from(mapped).ok()
}

const READ: u64 = 1;
const WRITE: u64 = 2;
const EXECUTE: u64 = 4;
const PRIVATE: u64 = 2;
const FIXED: u64 = 0x10;
const ANONYMOUS: u64 = 0x20;
const FIXED_NOREPLACE: u64 = 0x100000;

/// What `twins/graft.rs` fills in: a mark to find it by, the address of this code in the emulator's
/// file, the emulator's own first instruction, and the processor that the emulator is told, with a zero
/// behind it; empty if it decides.
#[repr(C, align(8))]
struct Graft {
    mark: [u8; 16],
    code: u64,
    entry: u64,
    processor: [u8; 32],
}

#[used]
static GRAFT: Graft = Graft { mark: *b"xbuild's starter", code: 0, entry: 0, processor: [0; 32] };

/// The place to go on at: the stack, and the first instruction.
#[repr(C)]
struct Jump {
    stack: u64,
    entry: u64,
}

/// A program that was mapped.
struct Mapped {
    base: u64,
    end: u64,
    entry: u64,
    segments: u64,
    segment_count: u64,
}

/// Decides and prepares. `stack` is what the kernel left: argc, argv, envp and the auxiliary vector.
/// Below it is room for two words.
unsafe extern "C" fn begin(stack: *mut u64, code: u64) -> Jump {
    // SAFETY: the kernel made the stack.
    unsafe {
        // Not what the compiler sees.
        let graft = (&raw const GRAFT).read_volatile();
        let argc = *stack;
        let env = stack.add(argc as usize + 2);
        let emulator = || Jump {
            stack: with_processor(stack, env) as u64,
            entry: code - graft.code + graft.entry,
        };
        let mut auxiliary = env;
        while *auxiliary != 0 {
            auxiliary = auxiliary.add(1);
        }
        auxiliary = auxiliary.add(1);
        // The emulator's name, the program's path and its argv[0] are there.
        let Some(program) = value_of(auxiliary, AT_EXECFD).filter(|_| argc >= 3) else {
            return emulator();
        };
        let is_secure = value_of(auxiliary, AT_SECURE) != Some(0);
        let mapped = if is_secure { None } else { take_place(program, stack, env) };
        count(if mapped.is_some() { b'n' } else { b'q' });
        let Some((twin, loader)) = mapped else { return emulator() };
        close(program);
        let mut place = auxiliary;
        while *place != AT_NULL {
            let value = place.add(1);
            match *place {
                AT_EXECFD => *place = AT_IGNORE,
                AT_PHDR => *value = twin.segments,
                AT_PHENT => *value = size_of::<Segment>() as u64,
                AT_PHNUM => *value = twin.segment_count,
                AT_BASE => *value = loader.base,
                AT_ENTRY => *value = twin.entry,
                _ => {}
            }
            place = place.add(2);
        }
        // Without the first two arguments, which binfmt_misc put there.
        let stack = stack.add(2);
        *stack = argc - 2;
        let size = place.add(2) as u64 - auxiliary as u64;
        tell_kernel(&twin, stack, auxiliary as u64, size);
        Jump { stack: stack as u64, entry: loader.entry }
    }
}

/// Puts the option that names the processor before the emulator's other arguments; a variable of the
/// step comes before it. Returns where the arguments are then.
unsafe fn with_processor(stack: *mut u64, env: *mut u64) -> *mut u64 {
    // SAFETY: `begin` has these from the kernel, and room for two words below them.
    unsafe {
        let processor = (&raw const GRAFT.processor).cast::<u8>();
        let argc = *stack;
        if argc == 0
            || processor.read_volatile() == 0
            || Texts(env).any(|text| asked::after(text, PROCESSOR).is_some())
        {
            return stack;
        }
        let name = *stack.add(1);
        let stack = stack.sub(2);
        *stack = argc + 2;
        *stack.add(1) = name;
        *stack.add(2) = PROCESSOR_OPTION.as_ptr() as u64;
        *stack.add(3) = processor as u64;
        stack
    }
}

/// Tells the kernel where arguments, code and auxiliary vector are, for `/proc/PID/cmdline` and
/// others. A kernel that cannot be told shows what it started with.
unsafe fn tell_kernel(twin: &Mapped, stack: *mut u64, auxiliary: u64, size: u64) {
    const SET_MM: u64 = 35;
    const SET_MM_MAP: u64 = 14;
    // SAFETY: the words are those of `struct prctl_mm_map`; the strings lie one after the other.
    unsafe {
        let first = |list: *mut u64| *list;
        let argc = *stack as usize;
        let (arguments, env) = (stack.add(1), stack.add(argc + 2));
        let env_start = match first(env) {
            0 => first(arguments),
            start => start,
        };
        let end_of = |list: *mut u64| {
            let (mut place, mut last) = (list, 0);
            while *place != 0 {
                last = *place;
                place = place.add(1);
            }
            let mut end = last as *const u8;
            if last != 0 {
                while *end != 0 {
                    end = end.add(1);
                }
                end = end.add(1);
            }
            end as u64
        };
        let break_at = call(number::BRK, [0; 6]) as u64;
        let arguments_end = if first(env) == 0 { end_of(arguments) } else { env_start };
        let env_end = if first(env) == 0 { arguments_end } else { end_of(env) };
        let words: [u64; 13] = [
            twin.base,
            twin.end,
            twin.base,
            twin.end,
            break_at,
            break_at,
            stack as u64,
            first(arguments),
            arguments_end,
            if first(env) == 0 { arguments_end } else { env_start },
            env_end,
            auxiliary,
            // The size of the vector, and no other file as the program's.
            size | 0xffff_ffff << 32,
        ];
        let size = size_of::<[u64; 13]>() as u64;
        call(number::PRCTL, [SET_MM, SET_MM_MAP, words.as_ptr() as u64, size, 0, 0]);
    }
}

/// Returns an entry of the auxiliary vector.
unsafe fn value_of(auxiliary: *mut u64, kind: u64) -> Option<u64> {
    // SAFETY: its end is marked.
    unsafe {
        let mut place = auxiliary;
        while *place != AT_NULL {
            if *place == kind {
                return Some(*place.add(1));
            }
            place = place.add(2);
        }
    }
    None
}

const PROCESSOR: &[u8] = b"QEMU_CPU=";
const PROCESSOR_OPTION: &[u8] = b"-cpu\0";
const TABLE: &[u8] = b"/dev/.twin-table\0";
const COUNT: &[u8] = b"/dev/.twin-count\0";

/// Maps the twin of a program and its loader, if there is one and it may run.
unsafe fn take_place(program: u64, stack: *mut u64, env: *mut u64) -> Option<(Mapped, Mapped)> {
    // SAFETY: the table is mapped whole, and stays as it is while it is read.
    unsafe {
        let file = open(TABLE.as_ptr())?;
        let table = map(0, TABLE_SIZE, READ, PRIVATE, file, 0);
        close(file);
        let table = table? as *const u8;
        let row = find(program, table).filter(|row| suits(*row, table, stack.add(3), env));
        // The loader first: what is left of it if the program cannot be mapped is in nobody's way.
        let path = |row: *const u64, word| table.add(*row.add(word) as usize);
        let loader = row.and_then(|row| load(path(row, 8)));
        let twin = row.filter(|_| loader.is_some()).and_then(|row| load(path(row, 5)));
        if let Some((from, to)) =
            row.filter(|_| twin.is_some()).and_then(|row| exchange(row, table))
        {
            Texts(stack.add(3)).filter(|text| asked::is_same(text, from)).for_each(|text| {
                let place = text.as_ptr().cast_mut();
                (0..to.len()).for_each(|at| place.add(at).write_volatile(to[at]));
            });
        }
        call(number::MUNMAP, [table as u64, TABLE_SIZE, 0, 0, 0, 0]);
        Some((twin?, loader?))
    }
}

// ---- The table -----------------------------------------------------------------------------

/// The bytes of the table that are mapped. The file is as large.
const TABLE_SIZE: u64 = 64 << 10;
/// The 64-bit words of a row: inode, change time in seconds and nanoseconds, which arguments suit, and the
/// offsets of paths that there must not be, of the twin's path, of the names that it may be called by, or
/// zero, of paths that there must be, and of the loader's path. If a file is known by what it is, wherever it
/// is: zero, size, modification time in seconds, and in two more words the place of its build ID in the
/// file and the offset of that. Then the offsets of files with the texts that they must have, and of an
/// argument with the one in its place, or zero.
const ROW: usize = 13;
/// Every argument suits. Numbers that are not named here are the letters of options that there must not be.
const ANY: u64 = 0;
/// A program of awk that does not compute.
const AWK: u64 = 1;
/// The arguments are those of unpacking a package.
const UNPACK: u64 = 2;
/// The arguments are those with which apk changes packages.
const APK: u64 = 3;
/// The arguments are those with which a compiler makes what another compiler of its version makes, too.
const COMPILE: u64 = 4;
/// The arguments are those with which a compiler links: the row's argument is that of its plugin.
const LINK: u64 = 5;

/// Returns the row of the program behind a descriptor, if the program was not changed since the step
/// began, or is the build of a program that the row says.
unsafe fn find(program: u64, table: *const u8) -> Option<*const u64> {
    const EMPTY_PATH: u64 = 0x1000;
    const INODE_SIZE_AND_TIMES: u64 = 0x100 | 0x200 | 0x80 | 0x40;
    let mut stat = MaybeUninit::<[u64; 32]>::uninit();
    // SAFETY: a statx is 256 bytes, and the path is empty.
    let failed = unsafe {
        let (path, out) = (c"".as_ptr() as u64, stat.as_mut_ptr() as u64);
        call(number::STATX, [program, path, EMPTY_PATH, INODE_SIZE_AND_TIMES, out, 0])
    };
    if failed != 0 {
        return None;
    }
    // SAFETY: the kernel has written all of it.
    let stat = unsafe { stat.assume_init_ref() };
    // stx_ino, stx_ctime.tv_sec, stx_ctime.tv_nsec
    let (inode, seconds, nanos) = (stat[4], stat[12], stat[13] & 0xffff_ffff);
    // stx_size, stx_mtime.tv_sec
    let (size, modified) = (stat[5], stat[14]);
    // SAFETY: the writer of the table keeps the number of rows within its size.
    unsafe {
        let rows = *table.cast::<u64>() as usize;
        let mut row = table.cast::<u64>().add(2);
        for _ in 0..rows {
            let (first, second, third) = (*row, *row.add(1), *row.add(2));
            let is_same = (first, second, third) == (inode, seconds, nanos)
                || (first, second, third) == (0, size, modified)
                    && has_id(program, *row.add(9), table.add(*row.add(10) as usize));
            if is_same {
                return Some(row);
            }
            row = row.add(ROW);
        }
    }
    None
}

/// Returns whether a file has a build ID at a place.
unsafe fn has_id(program: u64, place: u64, id: *const u8) -> bool {
    const SIZE: usize = 20;
    let mut found = MaybeUninit::<[u8; SIZE]>::uninit();
    // SAFETY: the kernel writes no more than that; the writer of the table has as many bytes.
    unsafe {
        let out = found.as_mut_ptr();
        if call(number::PREAD, [program, out as u64, SIZE as u64, place, 0, 0]) != SIZE as i64 {
            return false;
        }
        (0..SIZE).all(|number| *out.cast::<u8>().add(number) == *id.add(number))
    }
}

/// Returns whether arguments, variables and files are such that the result cannot depend on the
/// processor. `arguments` begins with argv[0].
unsafe fn suits(row: *const u64, table: *const u8, arguments: *mut u64, env: *mut u64) -> bool {
    // SAFETY: both lists end with a null; the offsets are those of the table's writer.
    unsafe {
        let is_little_endian = *table.cast::<u64>().add(1) != 0;
        let names = *row.add(6) as usize;
        if names != 0 && !asked::is_called_by(Packed(table.add(names)), Texts(arguments)) {
            return false;
        }
        let options = || Texts(arguments.add(1));
        let is_right = match *row.add(3) {
            ANY => true,
            AWK => asked::is_plain_awk(options()),
            UNPACK => asked::is_unpack(options()),
            APK => asked::is_apk_change(options()),
            COMPILE => asked::is_compilation(options()),
            LINK => {
                exchange(row, table).is_some_and(|(plugin, _)| asked::is_link(options(), plugin))
            }
            letter => !asked::has_option(options(), letter as u8),
        };
        is_right
            && !asked::names_processor(options())
            && Texts(env).all(|variable| asked::is_harmless(variable, is_little_endian))
            && !Packed(table.add(*row.add(4) as usize)).any(is_there)
            && Packed(table.add(*row.add(7) as usize)).all(is_there)
            && have_texts(Packed(table.add(*row.add(11) as usize)))
    }
}

/// Returns an argument of the row, and the text of the same length that takes its place.
unsafe fn exchange(row: *const u64, table: *const u8) -> Option<(&'static [u8], &'static [u8])> {
    // SAFETY: the offset is that of the table's writer.
    unsafe {
        let place = *row.add(12) as usize;
        let mut texts = if place == 0 { return None } else { Packed(table.add(place)) };
        Some((texts.next()?, texts.next()?))
    }
}

/// Returns whether files have the texts that follow their paths. A path with a slash at its end is a folder's;
/// its text has the names that there may be in it, with a space after each.
fn have_texts(mut list: Packed) -> bool {
    let mut room = MaybeUninit::<[u8; ROOM]>::uninit();
    while let Some((path, text)) = list.next().zip(list.next()) {
        let is_folder = path.last() == Some(&b'/');
        let Some(length) = read(path, is_folder, &mut room) else { return false };
        // SAFETY: the kernel has written as much.
        let found = unsafe { core::slice::from_raw_parts(room.as_ptr().cast::<u8>(), length) };
        let is_right =
            if is_folder { asked::has_only(found, text) } else { asked::is_same(found, text) };
        if !is_right {
            return false;
        }
    }
    true
}

/// The bytes of a file, or of a folder's entries, that are read.
const ROOM: usize = 512;

/// Reads a file or the entries of a folder, and returns how many bytes these are; `None` if there are more
/// than that. A zero follows the path.
fn read(path: &[u8], is_folder: bool, room: &mut MaybeUninit<[u8; ROOM]>) -> Option<usize> {
    let number = if is_folder { number::GETDENTS } else { number::PREAD };
    let out = room.as_mut_ptr() as u64;
    // SAFETY: the kernel writes no more than there is room for.
    let (read, more) = unsafe {
        let file = open(path.as_ptr())?;
        let read = call(number, [file, out, ROOM as u64, 0, 0, 0]);
        // An entry that did not fit is an error, and the end is none.
        let more = if is_folder { call(number, [file, out, 0, 0, 0, 0]) } else { 0 };
        close(file);
        (read, more)
    };
    usize::try_from(read).ok().filter(|_| more == 0)
}

/// Returns whether there is a file. A zero follows the path.
fn is_there(path: &[u8]) -> bool {
    // SAFETY: the table's writer puts a zero after each path.
    unsafe { call(number::FACCESSAT, [AT_FDCWD, path.as_ptr() as u64, 0, 0, 0, 0]) == 0 }
}

/// The texts of a list that ends with a null, as the kernel leaves arguments and variables.
struct Texts(*const u64);

impl Iterator for Texts {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: the kernel ends texts with a zero and the list with a null; they stay where they are.
        unsafe {
            let text = *self.0 as *const u8;
            if text.is_null() {
                return None;
            }
            self.0 = self.0.add(1);
            Some(until_zero(text))
        }
    }
}

/// The texts of a list with a zero after each; the last one is empty.
struct Packed(*const u8);

impl Iterator for Packed {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: the table's writer ends texts and lists so.
        let text = unsafe { until_zero(self.0) };
        if text.is_empty() {
            return None;
        }
        // SAFETY: as above.
        self.0 = unsafe { self.0.add(text.len() + 1) };
        Some(text)
    }
}

/// Returns a text that ends with a zero, without it.
unsafe fn until_zero(text: *const u8) -> &'static [u8] {
    let mut length = 0;
    // SAFETY: the caller answers for the zero.
    unsafe {
        while *text.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(text, length)
    }
}

// ---- The loader ----------------------------------------------------------------------------

#[repr(C)]
struct Header {
    identity: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    segments: u64,
    sections: u64,
    flags: u32,
    size: u16,
    segment_size: u16,
    segment_count: u16,
    more: [u16; 3],
}

#[repr(C)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

/// Maps a program or a loader as the kernel would. A program that has a place of its own (`ET_EXEC`) is
/// mapped there, if nothing else is.
unsafe fn load(path: *const u8) -> Option<Mapped> {
    const ET_EXEC: u16 = 2;
    // SAFETY: it is a file of ours, whose headers were checked when it was written: they are in its
    // first page and its first segment, and the segments are in order.
    unsafe {
        let file = open(path)?;
        let Some(head) = map(0, PAGE, READ, PRIVATE, file, 0) else {
            close(file);
            return None;
        };
        let header = head as *const Header;
        let segments = (head + (*header).segments) as *const Segment;
        let count = (*header).segment_count as usize;
        let (mut start, mut end) = (u64::MAX, 0);
        for number in 0..count {
            let segment = &*segments.add(number);
            if segment.kind == LOADED {
                start = if start == u64::MAX { segment.address } else { start };
                end = segment.address + segment.memory_size;
            }
        }
        let length = up(end) - start;
        let (place, way) = match (*header).kind {
            ET_EXEC => (start, FIXED_NOREPLACE),
            _ => (0, 0),
        };
        // All of it, so that the parts lie together, with what the last one has beyond its file.
        let mapped = map(place, length, READ | WRITE, PRIVATE | ANONYMOUS | way, u64::MAX, 0);
        let mut is_mapped = mapped.is_some_and(|mapped| place == 0 || mapped == place);
        let at = mapped.unwrap_or(0);
        let base = at.wrapping_sub(start);
        for number in 0..count {
            let segment = &*segments.add(number);
            if is_mapped && segment.kind == LOADED {
                is_mapped = map_segment(base, segment, file);
            }
        }
        let program = Mapped {
            base: at,
            end: at + length,
            entry: base.wrapping_add((*header).entry),
            segments: at + (*header).segments,
            segment_count: count as u64,
        };
        if !is_mapped && mapped.is_some() {
            call(number::MUNMAP, [at, length, 0, 0, 0, 0]);
        }
        call(number::MUNMAP, [head, PAGE, 0, 0, 0, 0]);
        close(file);
        if is_mapped { Some(program) } else { None }
    }
}

/// Maps one segment over its part of the reserved memory.
unsafe fn map_segment(base: u64, segment: &Segment, file: u64) -> bool {
    let inside = segment.address & (PAGE - 1);
    let flag = |bit: u32, right: u64| if segment.flags & bit != 0 { right } else { 0 };
    let rights = flag(4, READ) | flag(2, WRITE) | flag(1, EXECUTE);
    let start = base.wrapping_add(segment.address);
    // SAFETY: the place was reserved for it.
    unsafe {
        let (length, offset) = (segment.file_size + inside, segment.offset - inside);
        if map(start - inside, length, rights, PRIVATE | FIXED, file, offset).is_none() {
            return false;
        }
        // The rest of the file's last page is part of the file, not of the segment.
        if rights & WRITE != 0 && segment.memory_size > segment.file_size {
            let mut place = start + segment.file_size;
            while place < up(start + segment.file_size) {
                (place as *mut u8).write_volatile(0);
                place += 1;
            }
        }
    }
    true
}

fn up(address: u64) -> u64 {
    (address + PAGE - 1) & !(PAGE - 1)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit()
}
