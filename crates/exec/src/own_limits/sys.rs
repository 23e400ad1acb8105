//! The signal for files that grow beyond the limit. Nothing else of the limits is `unsafe`.
#![allow(unsafe_code)]

/// Makes a write beyond the limit of file sizes fail in place of ending this process. Programs that it
/// executes do not inherit this.
pub(super) fn survive_file_limit() {
    extern "C" fn go_on(_: libc::c_int) {}
    let handler = go_on as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler does nothing.
    unsafe { libc::signal(libc::SIGXFSZ, handler) };
}
