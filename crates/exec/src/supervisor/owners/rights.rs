//! The rights that a process of another identity has by what it sees: to the kernel it is root.
//!
//! **Source** — `capabilities(7)`, § Effect of user ID changes on capabilities; `capget(2)`.

use rustix::io::Errno;

use super::identity::Identity;
use super::thread::Thread;
use super::{memory, status};
use crate::supervisor::reply::Reply;

/// The versions of the call's structures.
const ONE_WORD: u32 = 0x1998_0330;
const TWO_WORDS: [u32; 2] = [0x2007_1026, 0x2008_0522];

/// Answers `capget` for the caller's own process.
pub(super) fn capabilities(
    thread: &Thread<'_>,
    identity: &Identity,
    (header, data): (u64, u64),
) -> Result<Reply, Errno> {
    let mut bytes = [0; 8];
    if identity.keeps() == (true, true) || data == 0 {
        return Ok(Reply::Continue);
    }
    if memory::read(thread, header, &mut bytes).is_err() {
        return Ok(Reply::Continue);
    }
    let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte]));
    let words = match word(0) {
        ONE_WORD => 1,
        version if TWO_WORDS.contains(&version) => 2,
        _ => return Ok(Reply::Continue),
    };
    let text = status::read(thread.number)?;
    if word(4) != 0 && Some(word(4)) != status::own_number(&text) {
        return Ok(Reply::Continue);
    }
    let changed = status::changed(&text, identity);
    let bits = |name: &str| {
        let line = changed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0)
    };
    let sets = [bits("CapEff"), bits("CapPrm"), bits("CapInh")];
    let halves = (0..words).flat_map(|half| sets.map(|set| (set >> (32 * half)) as u32));
    let bytes: Vec<u8> = halves.flat_map(u32::to_ne_bytes).collect();
    memory::write(thread, data, &bytes)?;
    Ok(Reply::Returns(0))
}
