//! The programs of an emulated step: how many ran natively, and which took time under the emulator.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most programs that are named.
const NAMED: usize = 5;

/// The compilers and linkers that are known, by the names of their programs.
const COMPILERS: [&str; 22] = [
    "cc1", "cc1plus", "as", "ld", "ld.bfd", "ld.gold", "lto1", "collect2", "f951", "gnat1",
    "clang", "lld", "rustc", "compile", "link", "javac", "ghc", "tsc", "esbuild", "ocamlopt",
    "swiftc", "zig",
];

/// The share of the emulated time, in percent, from which on compilers are most of it.
const MOSTLY: u128 = 50;

/// The emulated time of compilers from which on there is something to gain.
const WORTH_IT: Duration = Duration::from_secs(10);

/// The programs of one or more emulated steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The programs that started natively.
    pub natively: u64,
    /// The programs that started under the emulator.
    pub emulated: u64,
    /// The processor time under the emulator by program, estimated from samples. The paths are those
    /// that the programs were started by.
    pub times: BTreeMap<String, Duration>,
}

impl Usage {
    /// Adds another step.
    pub fn add(&mut self, other: &Self) {
        self.natively += other.natively;
        self.emulated += other.emulated;
        for (program, time) in &other.times {
            *self.times.entry(program.clone()).or_default() += *time;
        }
    }

    /// Returns the programs by their names, those with most time first.
    fn by_name(&self) -> Vec<(&str, Duration)> {
        let mut names: BTreeMap<&str, Duration> = BTreeMap::new();
        for (path, time) in &self.times {
            *names.entry(path.rsplit('/').next().unwrap_or(path)).or_default() += *time;
        }
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by_key(|(_, time)| Reverse(*time));
        names
    }

    /// Returns the compiler that took most time, if most of the emulated time was that of compilers and
    /// there is something to gain.
    pub fn compiler(&self) -> Option<&str> {
        let total: Duration = self.times.values().sum();
        let mut compilers = self.by_name();
        compilers.retain(|(name, _)| COMPILERS.contains(name));
        let time: Duration = compilers.iter().map(|(_, time)| *time).sum();
        let is_most = time.as_millis() * 100 >= total.as_millis() * MOSTLY;
        let (first, _) = compilers.first()?;
        (is_most && time >= WORTH_IT).then_some(*first)
    }
}

impl fmt::Display for Usage {
    /// Writes `7 programs ran natively, 1 under QEMU; most time under QEMU: dpkg 2.2s, sed 0.1s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs = if self.natively == 1 { "program" } else { "programs" };
        write!(f, "{} {programs} ran natively, {} under QEMU", self.natively, self.emulated)?;
        for (number, (name, time)) in self.by_name().into_iter().take(NAMED).enumerate() {
            f.write_str(if number == 0 { "; most time under QEMU: " } else { ", " })?;
            write!(f, "{} {:.1}s", name.escape_default(), time.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(times: &[(&str, u64)]) -> Usage {
        let time = |(path, seconds): &(&str, u64)| {
            ((*path).to_owned(), Duration::from_millis(seconds * 1000))
        };
        Usage { natively: 2, emulated: 3, times: times.iter().map(time).collect() }
    }

    #[test]
    fn five_programs_are_named() {
        assert_eq!(usage(&[]).to_string(), "2 programs ran natively, 3 under QEMU");
        let mut all = usage(&[("/bin/a", 1), ("/x/b", 9), ("c", 3), ("/d", 4), ("/e", 5)]);
        all.add(&usage(&[("/f", 6), ("/usr/bin/a", 1)]));
        assert_eq!(
            all.to_string(),
            "4 programs ran natively, 6 under QEMU; most time under QEMU: b 9.0s, f 6.0s, e 5.0s, \
             d 4.0s, c 3.0s"
        );
    }

    #[test]
    fn compilers_that_took_most_time_are_named() {
        let gcc = "/usr/lib/gcc/aarch64-linux-gnu/12/cc1";
        assert_eq!(usage(&[(gcc, 10), ("/bin/make", 9)]).compiler(), Some("cc1"));
        assert_eq!(usage(&[(gcc, 6), ("/usr/bin/as", 5), ("sh", 10)]).compiler(), Some("cc1"));
        assert_eq!(usage(&[(gcc, 10), ("/bin/make", 11)]).compiler(), None);
        assert_eq!(usage(&[(gcc, 9)]).compiler(), None, "not worth it");
        assert_eq!(usage(&[("/usr/bin/python3", 90)]).compiler(), None);
    }
}
