//! `uname`: a program that runs natively in a step of another platform is told that platform's
//! machine, as QEMU tells it to the others.
//!
//! **Source** — `uname(2)`; `struct new_utsname` of the kernel.

use crate::seccomp::notice::Call;
use crate::supervisor::memory;
use crate::supervisor::reply::Reply;
use crate::supervisor::scene::Machine;
use crate::supervisor::thread::Thread;

/// Bytes of a field, with its zero.
const FIELD: usize = 65;
const FIELDS: usize = 6;
/// The places of the two fields that differ from this process's own.
const HOST: usize = 1;
const MACHINE: usize = 4;

/// Answers the call of a thread; `None` for any other call.
pub(super) fn answer(call: &Call, thread: &Thread<'_>, machine: &Machine) -> Option<Reply> {
    if call.name != "uname" {
        return None;
    }
    let written = memory::write(thread, call.args[0], &text(machine));
    Some(written.map_or_else(Reply::Fails, |()| Reply::Returns(0)))
}

fn text(machine: &Machine) -> [u8; FIELD * FIELDS] {
    let own = rustix::system::uname();
    let fields = [own.sysname(), own.nodename(), own.release(), own.version(), own.machine()];
    let mut text = [0; FIELD * FIELDS];
    for (number, place) in text.chunks_exact_mut(FIELD).enumerate() {
        let bytes = match number {
            HOST => machine.host.as_bytes(),
            MACHINE => machine.name.as_bytes(),
            number => fields.get(number).map_or(&b""[..], |field| field.to_bytes()),
        };
        let length = bytes.len().min(FIELD - 1);
        place[..length].copy_from_slice(&bytes[..length]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fields_are_the_steps() {
        let text = text(&Machine { name: "s390x", host: "h".repeat(100) });
        let field = |number: usize| {
            let bytes = &text[number * FIELD..(number + 1) * FIELD];
            String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap()).into_owned()
        };
        assert_eq!(
            (field(0), field(4), field(1)),
            ("Linux".into(), "s390x".into(), "h".repeat(64))
        );
        assert_eq!(field(2), rustix::system::uname().release().to_string_lossy());
    }
}
