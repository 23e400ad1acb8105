//! The registers of a stopped thread, as far as system calls go.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod none;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(super) use aarch64::Registers;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) use none::Registers;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::Registers;
