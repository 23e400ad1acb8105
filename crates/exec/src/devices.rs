//! The devices that every program may use, and the links beside them in `/dev`.

/// A device: its name in `/dev`, its major and its minor number.
pub(crate) type Device = (&'static str, u32, u32);

/// The devices.
pub(crate) const DEVICES: [Device; 6] = [
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];

/// The links to a process's own descriptors, with their targets.
pub(crate) const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];
