//! A small assembler: verdicts per call number in, classic BPF out.
//!
//! Blocks are lists of instructions that only jump forward within themselves and end in a return,
//! so a program is a chain of blocks.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_TRACE, SECCOMP_RET_USER_NOTIF, sock_filter,
};

use super::policy::{ATTACHMENTS, FAMILIES, NETLINK_PROTOCOLS, QUIET, REFUSED_IOCTLS};
use super::policy::{CLONE_NAMESPACES, Check, PERSONALITIES, Table, Verdict};

type Block = Vec<sock_filter>;

// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Returns the program that applies the table of the architecture that a call was made for.
/// Calls for an architecture without a table fail as unknown.
pub(super) fn assemble(tables: &[Table]) -> Block {
    let mut program = returning(SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    for table in tables.iter().rev() {
        let mut body = vec![load(NUMBER)];
        body.extend(search(&ranges(table)));
        program = if_equal(table.audit_arch, body, program);
    }
    program.insert(0, load(ARCHITECTURE));
    program
}

/// Returns whether a call stops for a tracer, or for a supervisor that records owners.
fn is_asked(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Trace(_)
            | Verdict::Notify
            | Verdict::Unknown
            | Verdict::Check(Check::Number { .. } | Check::Signal { .. } | Check::Attach)
    )
}

/// Returns the program that stops calls for a tracer and a supervisor as the tables say, and refuses
/// nothing.
pub(super) fn asking_only(tables: &[Table]) -> Block {
    let mut program = returning(SECCOMP_RET_ALLOW);
    for table in tables {
        let mut body = vec![load(NUMBER)];
        let asked = table.calls.iter().filter(|call| is_asked(call.1));
        let calls = asked.fold(returning(SECCOMP_RET_ALLOW), |rest, (number, verdict)| {
            if_equal(*number, leaf(*verdict), rest)
        });
        body.extend(calls);
        program = if_equal(table.audit_arch, body, program);
    }
    program.insert(0, load(ARCHITECTURE));
    program
}

/// Returns (first number, verdict) of each run of calls with the same verdict, from 0 on.
fn ranges(table: &Table) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    let mut add = |number: u32, verdict: Verdict| {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    };
    let mut next = 0;
    for (number, verdict) in &table.calls {
        if *number > next {
            add(next, Verdict::Unknown);
        }
        add(*number, *verdict);
        next = number + 1;
    }
    add(next, Verdict::Unknown);
    ranges
}

/// Returns a binary search for the accumulator's value, which is at least the first range's start.
fn search(ranges: &[(u32, Verdict)]) -> Block {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    branch(BPF_JGE, upper[0].0, search(upper), search(lower))
}

fn leaf(verdict: Verdict) -> Block {
    match verdict {
        Verdict::Allow => returning(SECCOMP_RET_ALLOW),
        Verdict::Refuse => refuse(libc::EPERM),
        Verdict::Unknown => refuse(libc::ENOSYS),
        Verdict::Check(check) => check_block(check),
        Verdict::Notify => returning(SECCOMP_RET_USER_NOTIF),
        Verdict::Trace(call) => returning(SECCOMP_RET_TRACE | call.data()),
    }
}

/// Returns the block that looks at the arguments. Only their low 32 bits count: the kernel takes
/// each of these as a 32-bit integer and ignores the bits above.
fn check_block(check: Check) -> Block {
    let allow = || returning(SECCOMP_RET_ALLOW);
    let one_of = |values: &[u32], found: Block, otherwise: Block| {
        values.iter().fold(otherwise, |rest, value| if_equal(*value, found.clone(), rest))
    };
    let (argument, body) = match check {
        Check::Clone => {
            let mut body = vec![statement(BPF_ALU | BPF_AND | BPF_K, CLONE_NAMESPACES)];
            body.extend(if_equal(0, allow(), refuse(libc::EPERM)));
            (0, body)
        }
        Check::Personality => (0, one_of(PERSONALITIES, allow(), refuse(libc::EPERM))),
        Check::Ioctl => (1, one_of(REFUSED_IOCTLS, refuse(libc::EPERM), allow())),
        Check::Socket => {
            let mut netlink = vec![load(argument_offset(2))];
            netlink.extend(one_of(NETLINK_PROTOCOLS, allow(), refuse(libc::EPERM)));
            let others = one_of(FAMILIES, allow(), refuse(libc::EAFNOSUPPORT));
            (0, if_equal(libc::AF_NETLINK as u32, netlink, others))
        }
        Check::Mknod => (1, mknod_body(2)),
        Check::Mknodat => (2, mknod_body(3)),
        Check::FromHere => {
            let here = libc::AT_FDCWD.cast_unsigned();
            (0, if_equal(here, returning(SECCOMP_RET_USER_NOTIF), allow()))
        }
        Check::Number { argument, number } => {
            let notify = returning(SECCOMP_RET_USER_NOTIF);
            (argument, if_equal(number, notify, allow()))
        }
        Check::Signal { argument } => {
            (argument, one_of(QUIET, allow(), returning(SECCOMP_RET_USER_NOTIF)))
        }
        Check::Attach => (0, one_of(ATTACHMENTS, returning(SECCOMP_RET_USER_NOTIF), allow())),
    };
    let mut block = vec![load(argument_offset(argument))];
    block.extend(body);
    block
}

/// Returns the block that looks at the file type of `mknod`, with the device's number in the argument
/// `device`. The kernel decides about character device 0:0, overlayfs's mark of a removed file.
fn mknod_body(device: u32) -> Block {
    let (allow, notify) = (returning(SECCOMP_RET_ALLOW), returning(SECCOMP_RET_USER_NOTIF));
    let mut character = vec![load(argument_offset(device))];
    character.extend(if_equal(0, allow.clone(), notify.clone()));
    let mut body = vec![statement(BPF_ALU | BPF_AND | BPF_K, libc::S_IFMT)];
    let others = if_equal(libc::S_IFBLK, notify, allow);
    body.extend(if_equal(libc::S_IFCHR, character, others));
    body
}

/// Returns the program without what needs a supervisor: the kernel gets those calls.
pub(super) fn unsupervised(program: &[sock_filter]) -> Block {
    let notify = returning(SECCOMP_RET_USER_NOTIF)[0];
    let is_notify = |found: &sock_filter| found.code == notify.code && found.k == notify.k;
    let allow = returning(SECCOMP_RET_ALLOW)[0];
    program.iter().map(|found| if is_notify(found) { allow } else { *found }).collect()
}

/// Returns where the low half of an argument is. Both hosts are little-endian.
const fn argument_offset(index: u32) -> u32 {
    16 + 8 * index
}

fn if_equal(value: u32, then: Block, otherwise: Block) -> Block {
    branch(BPF_JEQ, value, then, otherwise)
}

/// Returns `if accumulator <test> value { then } else { otherwise }`.
fn branch(test: u32, value: u32, then: Block, otherwise: Block) -> Block {
    let code = (BPF_JMP | test | BPF_K) as u16;
    let mut block = match u8::try_from(otherwise.len()) {
        Ok(distance) => vec![sock_filter { code, jt: distance, jf: 0, k: value }],
        // Conditional jumps reach 255 instructions; the unconditional one has 32 bits.
        Err(_) => vec![
            sock_filter { code, jt: 0, jf: 1, k: value },
            statement(BPF_JMP | BPF_JA, otherwise.len() as u32),
        ],
    };
    block.extend(otherwise);
    block.extend(then);
    block
}

fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn refuse(errno: i32) -> Block {
    returning(SECCOMP_RET_ERRNO | errno as u32)
}

fn returning(action: u32) -> Block {
    vec![statement(BPF_RET | BPF_K, action)]
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}
