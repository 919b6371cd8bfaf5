//! A process without io_uring: what container runtimes do by default.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What `command` starts is refused its first ring, and every other.
pub fn refuse_io_uring(command: &mut Command) {
    // SAFETY: between fork and exec only prctl is called; nothing is allocated.
    unsafe { command.pre_exec(refuse) };
}

/// io_uring_setup answers EPERM from now on, in this process and what it starts.
fn refuse() -> io::Result<()> {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        instruction(LOAD_NUMBER, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 0, 1, libc::SYS_io_uring_setup as u32),
        instruction(RETURN, 0, 0, refused),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes numbers only; the second a program that lives through it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
