//! Device nodes. The kernel refuses them in a user namespace, so an empty regular file with an
//! attribute stands in for each, from the step that makes it to the layer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The extended attribute of a stand-in: the text of a [`Device`].
pub const ATTRIBUTE: &str = "user.xbuild.device";

/// The kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// A device, as its node names it.
///
/// ```
/// use xbuild_model::device::{Device, DeviceKind};
///
/// let null = Device { kind: DeviceKind::Char, major: 1, minor: 3 };
/// assert_eq!(null.to_string(), "c 1 3");
/// assert_eq!(Device::parse(b"c 1 3"), Some(null));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device {
    /// Character or block.
    pub kind: DeviceKind,
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

impl Device {
    /// Returns the device of a number as the system call `mknod` takes it.
    ///
    /// **Source** — `linux/kdev_t.h`, `new_decode_dev`.
    pub fn from_number(kind: DeviceKind, number: u32) -> Self {
        let major = (number >> 8) & 0xfff;
        let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
        Self { kind, major, minor }
    }

    /// Reads the text that [`fmt::Display`] writes; `None` for any other.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut words = text.split(' ');
        let kind = match words.next()? {
            "c" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            _ => return None,
        };
        let device =
            Self { kind, major: words.next()?.parse().ok()?, minor: words.next()?.parse().ok()? };
        // One text for each device: no signs, no zeros in front.
        (device.to_string() == text).then_some(device)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        write!(f, "{kind} {} {}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_exact() {
        for text in ["c 1 3", "b 7 0", "b 0 0", "c 4095 1048575"] {
            assert_eq!(
                Device::parse(text.as_bytes()).map(|device| device.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "c",
            "c 1",
            "c 1 3 ",
            "c 1 3 4",
            "C 1 3",
            "c +1 3",
            "c 01 3",
            "c -1 3",
            "c  1 3",
            "p 1 3",
            "c 1 4294967296",
            "c 1 3\n",
        ] {
            assert_eq!(Device::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(Device::parse(b"c 1 \xff"), None);
    }

    #[test]
    fn numbers_have_two_halves() {
        let halves = |number| {
            let device = Device::from_number(DeviceKind::Block, number);
            (device.major, device.minor)
        };
        assert_eq!(halves(0x0103), (1, 3));
        assert_eq!(halves(0x0710_08ff), (8, 0x71ff));
        assert_eq!(halves(u32::MAX), (0xfff, 0xf_ffff));
    }
}
