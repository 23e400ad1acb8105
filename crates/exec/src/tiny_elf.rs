//! The smallest programs of each architecture: they end with the number of their arguments, the
//! program's name included, as exit status.
//!
//! A run of one shows that the kernel, or an emulator behind it, runs programs of the architecture
//! and hands the arguments over unchanged. Each is one loadable segment that holds the ELF
//! headers and a handful of instructions: load the word at the stack pointer, which is `argc`,
//! and call `exit_group`.
//!
//! Source: the ELF gABI; the processor supplements, "process initialisation".

use crate::arch::Arch;

/// The address of the file in memory; a multiple of the largest page size in use, 64 KiB.
const BASE: u64 = 0x40_0000;
const ALIGNMENT: u64 = 0x1_0000;

/// Returns the program as a file.
pub(crate) fn program(arch: Arch) -> Vec<u8> {
    let code = instructions(arch);
    // Sizes of the ELF header and of one program header.
    let (header, segment) = if arch.is_64_bit() { (64, 56) } else { (52, 32) };
    let size = header + segment + code.len() as u64;
    let mut file = File { arch, bytes: arch.identity().to_vec() };
    file.word(1); // e_version
    file.address(BASE + header + segment); // e_entry
    file.address(header); // e_phoff
    file.address(0); // e_shoff
    file.word(flags(arch));
    for half in [header as u16, segment as u16, 1, 0, 0, 0] {
        file.bytes.extend(arch.half(half));
    }
    const LOAD: u32 = 1;
    const READ_EXECUTE: u32 = 5;
    file.word(LOAD);
    if arch.is_64_bit() {
        file.word(READ_EXECUTE);
    }
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz
    for address in [0, BASE, BASE, size, size] {
        file.address(address);
    }
    if !arch.is_64_bit() {
        file.word(READ_EXECUTE);
    }
    file.address(ALIGNMENT);
    file.bytes.extend(code);
    file.bytes
}

struct File {
    arch: Arch,
    bytes: Vec<u8>,
}

impl File {
    fn word(&mut self, value: u32) {
        self.bytes.extend(word(self.arch, value));
    }

    fn address(&mut self, value: u64) {
        match (self.arch.is_64_bit(), self.arch.is_little_endian()) {
            (true, true) => self.bytes.extend(value.to_le_bytes()),
            (true, false) => self.bytes.extend(value.to_be_bytes()),
            (false, _) => self.word(value as u32),
        }
    }
}

fn word(arch: Arch, value: u32) -> [u8; 4] {
    if arch.is_little_endian() { value.to_le_bytes() } else { value.to_be_bytes() }
}

/// Returns `e_flags`: the ABI, where the architecture has several.
fn flags(arch: Arch) -> u32 {
    match arch {
        Arch::Arm => 0x0500_0000,                     // EABI 5
        Arch::Ppc64 | Arch::Ppc64le => 2,             // ELFv2: the entry is code, not a descriptor
        Arch::Mips64 | Arch::Mips64le => 0x8000_0000, // MIPS64 release 2
        Arch::Loong64 => 0x43,                        // object ABI 1, double float
        _ => 0,
    }
}

fn instructions(arch: Arch) -> Vec<u8> {
    let words: [u32; 3] = match arch {
        // mov (%rsp), %edi; mov $231, %eax; syscall
        Arch::Amd64 => return b"\x8b\x3c\x24\xb8\xe7\x00\x00\x00\x0f\x05".to_vec(),
        // mov (%esp), %ebx; mov $252, %eax; int $0x80
        Arch::I386 => return b"\x8b\x1c\x24\xb8\xfc\x00\x00\x00\xcd\x80".to_vec(),
        // lg %r2, 0(%r15); svc 248
        Arch::S390x => return b"\xe3\x20\xf0\x00\x00\x04\x0a\xf8".to_vec(),
        // ldr w0, [sp]; mov x8, #94; svc #0
        Arch::Arm64 => [0xb940_03e0, 0xd280_0bc8, 0xd400_0001],
        // ldr r0, [sp]; mov r7, #248; svc #0
        Arch::Arm => [0xe59d_0000, 0xe3a0_70f8, 0xef00_0000],
        // ld r3, 0(r1); li r0, 234; sc
        Arch::Ppc64 | Arch::Ppc64le => [0xe861_0000, 0x3800_00ea, 0x4400_0002],
        // ld a0, 0(sp); li a7, 94; ecall
        Arch::Riscv64 => [0x0001_3503, 0x05e0_0893, 0x0000_0073],
        // ld $a0, 0($sp); li $v0, 5205; syscall
        Arch::Mips64 | Arch::Mips64le => [0xdfa4_0000, 0x2402_1455, 0x0000_000c],
        // ld.d $a0, $sp, 0; addi.w $a7, $zero, 94; syscall 0
        Arch::Loong64 => [0x28c0_0064, 0x0281_780b, 0x002b_0000],
    };
    words.into_iter().flat_map(|instruction| word(arch, instruction)).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_program_says_how_many_arguments_it_got() {
        let dir = tempfile::tempdir().unwrap();
        for arch in Arch::ALL {
            let file = dir.path().join(arch.oci_name());
            std::fs::write(&file, program(arch)).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
            let emulator = format!("qemu-{}-static", arch.qemu_name());
            match std::process::Command::new(&emulator).arg(&file).args(["a", "b"]).status() {
                Ok(status) => assert_eq!(status.code(), Some(3), "{arch:?}: {status}"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    println!("skipped: no {emulator}");
                }
                Err(error) => panic!("{emulator}: {error}"),
            }
        }
    }
}
