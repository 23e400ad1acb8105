//! The architectures whose programs a RUN step can have, and how their ELF files look.
//!
//! Source: the ELF gABI, "ELF Header"; `e_machine` values of the processor supplements.

use xbuild_model::Platform;

/// An architecture that QEMU's user emulation or the kernel can run programs of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit Arm.
    Arm64,
    /// 32-bit Arm, little-endian, EABI.
    Arm,
    /// 32-bit x86.
    I386,
    /// 64-bit POWER, little-endian.
    Ppc64le,
    /// 64-bit POWER, big-endian.
    Ppc64,
    /// 64-bit IBM Z.
    S390x,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit MIPS, little-endian, n64.
    Mips64le,
    /// 64-bit MIPS, big-endian, n64.
    Mips64,
    /// 64-bit LoongArch.
    Loong64,
}

/// The length of the bytes that identify an ELF file's architecture: up to and with `e_machine`.
pub(crate) const IDENTITY: usize = 20;

/// A pattern for the beginning of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) magic: [u8; IDENTITY],
    pub(crate) mask: [u8; IDENTITY],
}

impl Arch {
    /// All of them, in the order in which they are listed to the user.
    pub const ALL: [Arch; 11] = [
        Arch::Amd64,
        Arch::Arm64,
        Arch::Arm,
        Arch::I386,
        Arch::Ppc64le,
        Arch::Ppc64,
        Arch::S390x,
        Arch::Riscv64,
        Arch::Mips64le,
        Arch::Mips64,
        Arch::Loong64,
    ];

    /// Returns the architecture that this program was built for, if it is in the table.
    pub fn host() -> Option<Self> {
        Self::of(&Platform::host())
    }

    /// Returns the architecture of a Linux platform; `None` if it is not in the table.
    pub fn of(platform: &Platform) -> Option<Self> {
        Self::ALL
            .into_iter()
            .filter(|_| platform.os() == "linux")
            .find(|arch| arch.oci_name() == platform.architecture())
    }

    /// Returns the name that images use, such as `arm64`.
    pub const fn oci_name(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
            Arch::Arm => "arm",
            Arch::I386 => "386",
            Arch::Ppc64le => "ppc64le",
            Arch::Ppc64 => "ppc64",
            Arch::S390x => "s390x",
            Arch::Riscv64 => "riscv64",
            Arch::Mips64le => "mips64le",
            Arch::Mips64 => "mips64",
            Arch::Loong64 => "loong64",
        }
    }

    /// Returns the name that QEMU uses, such as `aarch64`.
    pub const fn qemu_name(self) -> &'static str {
        match self {
            Arch::Amd64 => "x86_64",
            Arch::Arm64 => "aarch64",
            Arch::I386 => "i386",
            Arch::Mips64le => "mips64el",
            Arch::Loong64 => "loongarch64",
            Arch::Arm
            | Arch::Ppc64le
            | Arch::Ppc64
            | Arch::S390x
            | Arch::Riscv64
            | Arch::Mips64 => self.oci_name(),
        }
    }

    /// Returns the name that `uname -m` tells under QEMU, such as `aarch64`.
    pub(crate) const fn machine_name(self) -> &'static str {
        match self {
            Arch::Arm => "armv7l",
            Arch::I386 => "i686",
            Arch::Mips64le | Arch::Mips64 => "mips64",
            arch => arch.qemu_name(),
        }
    }

    /// Returns the 32-bit architecture that CPUs and kernels of this one often run too.
    pub const fn compat(self) -> Option<Self> {
        match self {
            Arch::Amd64 => Some(Arch::I386),
            Arch::Arm64 => Some(Arch::Arm),
            _ => None,
        }
    }

    /// Returns whether addresses have 64 bits.
    pub(crate) const fn is_64_bit(self) -> bool {
        !matches!(self, Arch::I386 | Arch::Arm)
    }

    /// Returns whether the lowest byte of a number comes first.
    pub(crate) const fn is_little_endian(self) -> bool {
        !matches!(self, Arch::S390x | Arch::Ppc64 | Arch::Mips64)
    }

    /// Returns `e_machine`.
    pub(crate) const fn machine(self) -> u16 {
        match self {
            Arch::Amd64 => 62,
            Arch::Arm64 => 183,
            Arch::Arm => 40,
            Arch::I386 => 3,
            Arch::Ppc64le | Arch::Ppc64 => 21,
            Arch::S390x => 22,
            Arch::Riscv64 => 243,
            Arch::Mips64le | Arch::Mips64 => 8,
            Arch::Loong64 => 258,
        }
    }

    /// Returns a 16-bit number in the architecture's byte order.
    pub(crate) const fn half(self, value: u16) -> [u8; 2] {
        if self.is_little_endian() { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    /// Returns the first bytes of an executable, up to and with `e_machine`.
    pub(crate) fn identity(self) -> [u8; IDENTITY] {
        const ET_EXEC: u16 = 2;
        let mut bytes = [0; IDENTITY];
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes[4] = if self.is_64_bit() { 2 } else { 1 };
        bytes[5] = if self.is_little_endian() { 1 } else { 2 };
        bytes[6] = 1;
        bytes[16..18].copy_from_slice(&self.half(ET_EXEC));
        bytes[18..].copy_from_slice(&self.half(self.machine()));
        bytes
    }

    /// Returns the pattern that recognises executables: fixed and position independent (`e_type` 2
    /// and 3) of this class, byte order and machine.
    ///
    /// `EI_OSABI` and `EI_ABIVERSION` may be anything, as with the kernel's own loader: toolchains
    /// mark files that use GNU extensions there. The rest of the padding is zero.
    pub(crate) fn pattern(self) -> Pattern {
        let mut mask = [0xff; IDENTITY];
        mask[7] = 0;
        mask[8] = 0;
        let low_byte_of_type = if self.is_little_endian() { 16 } else { 17 };
        mask[low_byte_of_type] = 0xfe;
        Pattern { magic: self.identity(), mask }
    }
}

impl Pattern {
    /// Returns whether a file with these first bytes matches.
    pub(crate) fn matches(&self, file: &[u8]) -> bool {
        let masked = |(byte, mask): (&u8, &u8)| byte & mask;
        file.len() >= IDENTITY
            && file.iter().zip(&self.mask).map(masked).eq(self
                .magic
                .iter()
                .zip(&self.mask)
                .map(masked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_images_and_qemu() {
        for (platform, qemu) in [
            ("linux/amd64", "x86_64"),
            ("linux/arm64/v8.2", "aarch64"),
            ("linux/arm/v5", "arm"),
            ("linux/386", "i386"),
            ("linux/mips64le", "mips64el"),
            ("linux/loong64", "loongarch64"),
            ("linux/s390x", "s390x"),
        ] {
            let arch = Arch::of(&platform.parse().unwrap()).unwrap();
            assert_eq!(arch.qemu_name(), qemu, "{platform}");
        }
        assert_eq!(Arch::of(&"windows/amd64".parse().unwrap()), None);
        assert_eq!(Arch::of(&"linux/sparc64".parse().unwrap()), None);
    }

    #[test]
    fn a_pattern_knows_only_its_own_executables() {
        for arch in Arch::ALL {
            let mut dynamic = arch.identity();
            dynamic[7] = 3;
            dynamic[if arch.is_little_endian() { 16 } else { 17 }] = 3;
            for other in Arch::ALL {
                assert_eq!(arch.pattern().matches(&other.identity()), arch == other);
                assert_eq!(other.pattern().matches(&dynamic), arch == other);
            }
            assert!(!arch.pattern().matches(&arch.identity()[..IDENTITY - 1]));
            let mut library = arch.identity();
            library[if arch.is_little_endian() { 16 } else { 17 }] = 1;
            assert!(!arch.pattern().matches(&library), "a relocatable object");
        }
    }
}
