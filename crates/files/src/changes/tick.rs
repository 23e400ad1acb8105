//! The clock of a file system, which ticks a few hundred times in a second.

use std::fs::File;
use std::io;
use std::time::Duration;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use xbuild_layer::Mtime;

use crate::root::Stat;

/// How often the clock is looked at. The coarsest ones tick every 2 seconds; files of those are
/// looked at again the next time.
const LOOKS: u32 = 50;

/// Waits until the clock of the file system that `clock` is on has passed `time`, and returns its time.
/// It may give up and return an earlier one.
pub(super) fn pass(clock: &File, time: Option<Mtime>) -> io::Result<Mtime> {
    let mut now = look(clock)?;
    for _ in 0..LOOKS {
        if time.is_none_or(|time| now > time) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
        now = look(clock)?;
    }
    Ok(now)
}

/// Returns the time that a file changed now gets.
fn look(clock: &File) -> io::Result<Mtime> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    rustix::fs::futimens(clock, &times)?;
    Ok(Stat::from(rustix::fs::fstat(clock)?).ctime)
}
