//! The requests of ptrace(2) that the engine makes, each a function with types.
//!
//! `nix` has no `PTRACE_LISTEN`, `PTRACE_PEEKSIGINFO` or the floating-point registers, and its `waitpid` loses stops by real-time signals, so the
//! system call is made here. Every request fails with `ESRCH` when the thread is gone, or was woken by SIGKILL between two requests: the callers
//! take that for what it is, and wait for the news of its end.

use std::ffi::{c_int, c_uint, c_void};
use std::ptr;

use libc::{user_fpregs_struct, user_regs_struct};
use nix::errno::Errno;

use super::signals::SigInfo;
use crate::inspect::Tid;

/// What is asked of every traced thread: its clones, forks and executed programs are told of.
pub(super) const OPTIONS: c_int =
    libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACEVFORK | libc::PTRACE_O_TRACEEXEC;

fn request(request: c_uint, tid: Tid, addr: usize, data: *mut c_void) -> Result<(), Errno> {
    // SAFETY: each caller passes, for `data`, what the request reads or writes: a live object of the type that ptrace(2) names, or a number.
    let done = unsafe { libc::ptrace(request, tid.0, addr, data) };
    if done == -1 { Err(Errno::last()) } else { Ok(()) }
}

fn number(value: c_int) -> *mut c_void {
    ptr::without_provenance_mut(value as usize)
}

/// Becomes the tracer of a thread without stopping it.
pub(super) fn seize(tid: Tid, options: c_int) -> Result<(), Errno> {
    request(libc::PTRACE_SEIZE, tid, 0, number(options))
}

/// Stops a running thread, or one that listens in a job-control stop; it is told as `PTRACE_EVENT_STOP`, unless another stop comes before.
pub(super) fn interrupt(tid: Tid) -> Result<(), Errno> {
    request(libc::PTRACE_INTERRUPT, tid, 0, ptr::null_mut())
}

/// Lets a thread run; `signal` (or 0) is what becomes of the signal it was stopped for.
pub(super) fn cont(tid: Tid, signal: c_int) -> Result<(), Errno> {
    request(libc::PTRACE_CONT, tid, 0, number(signal))
}

/// Lets a thread execute one instruction.
pub(super) fn single_step(tid: Tid, signal: c_int) -> Result<(), Errno> {
    request(libc::PTRACE_SINGLESTEP, tid, 0, number(signal))
}

/// Leaves a thread in its job-control stop until SIGCONT ends that.
pub(super) fn listen(tid: Tid) -> Result<(), Errno> {
    request(libc::PTRACE_LISTEN, tid, 0, ptr::null_mut())
}

/// Ends the tracing of a stopped thread, which goes on with `signal`.
pub(super) fn detach(tid: Tid, signal: c_int) -> Result<(), Errno> {
    request(libc::PTRACE_DETACH, tid, 0, number(signal))
}

/// The general registers.
pub(super) fn registers(tid: Tid) -> Result<user_regs_struct, Errno> {
    // SAFETY: the structure is plain numbers, for which zero is a value.
    let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETREGS, tid, 0, (&raw mut registers).cast())?;
    Ok(registers)
}

/// Sets the general registers.
pub(super) fn set_registers(tid: Tid, registers: &user_regs_struct) -> Result<(), Errno> {
    request(libc::PTRACE_SETREGS, tid, 0, ptr::from_ref(registers).cast_mut().cast())
}

/// The registers of the legacy area of XSAVE, XMM0 to XMM15 among them.
pub(super) fn fp_registers(tid: Tid) -> Result<user_fpregs_struct, Errno> {
    // SAFETY: the structure is plain numbers, for which zero is a value.
    let mut registers: user_fpregs_struct = unsafe { std::mem::zeroed() };
    request(libc::PTRACE_GETFPREGS, tid, 0, (&raw mut registers).cast())?;
    Ok(registers)
}

/// Sets the registers of the legacy area of XSAVE; the upper halves of wider vector registers stay.
pub(super) fn set_fp_registers(tid: Tid, registers: &user_fpregs_struct) -> Result<(), Errno> {
    request(
        libc::PTRACE_SETFPREGS,
        tid,
        0,
        ptr::from_ref(registers).cast_mut().cast(),
    )
}

/// What is known of the signal, or other reason, that a thread is stopped for.
pub(super) fn siginfo(tid: Tid) -> Result<SigInfo, Errno> {
    let mut info = SigInfo::default();
    request(libc::PTRACE_GETSIGINFO, tid, 0, (&raw mut info).cast())?;
    Ok(info)
}

/// Replaces what the program will be told of the signal that is delivered next.
pub(super) fn set_siginfo(tid: Tid, info: &SigInfo) -> Result<(), Errno> {
    request(libc::PTRACE_SETSIGINFO, tid, 0, ptr::from_ref(info).cast_mut().cast())
}

/// The number that goes with an event: a new thread's or process's, or the former number of a thread that executed a program.
pub(super) fn event_message(tid: Tid) -> Result<i64, Errno> {
    let mut message: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, tid, 0, (&raw mut message).cast())?;
    Ok(message as i64)
}

/// `struct ptrace_peeksiginfo_args` of ptrace(2).
#[repr(C)]
struct Peek {
    offset: u64,
    flags: u32,
    count: i32,
}

/// The signals that wait for a stopped thread alone, without taking them; at most 16.
pub(super) fn pending_signals(tid: Tid) -> Result<Vec<SigInfo>, Errno> {
    let peek = Peek {
        offset: 0,
        flags: 0,
        count: 16,
    };
    let mut infos = [const { SigInfo::ZERO }; 16];
    // SAFETY: the kernel reads `peek` and writes at most `count` siginfo structures of 128 bytes into `infos`, which has room for them.
    let count = unsafe {
        libc::ptrace(
            libc::PTRACE_PEEKSIGINFO,
            tid.0,
            &raw const peek,
            infos.as_mut_ptr().cast::<c_void>(),
        )
    };
    let count = usize::try_from(count).map_err(|_| Errno::last())?;
    Ok(infos.into_iter().take(count).collect())
}

/// Sends a signal to one thread of a process.
pub(super) fn tgkill(pid: i32, tid: Tid, signal: c_int) -> Result<(), Errno> {
    // SAFETY: tgkill takes three integers.
    let done = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid.0, signal) };
    if done == -1 { Err(Errno::last()) } else { Ok(()) }
}

/// The regset that is the area of XSAVE: `NT_X86_XSTATE` in the kernel's `include/uapi/linux/elf.h`.
const NT_X86_XSTATE: usize = 0x202;

/// The whole area of XSAVE, in the standard format, as far as it fits into `area`; gives how many bytes of it were filled.
pub(super) fn xsave(tid: Tid, area: &mut [u8]) -> Result<usize, Errno> {
    let mut vector = libc::iovec {
        iov_base: area.as_mut_ptr().cast(),
        iov_len: area.len(),
    };
    request(libc::PTRACE_GETREGSET, tid, NT_X86_XSTATE, (&raw mut vector).cast())?;
    Ok(vector.iov_len.min(area.len()))
}

/// Sets all that the area of XSAVE holds; `area` must be as long as [`xsave`] filled it.
pub(super) fn set_xsave(tid: Tid, area: &[u8]) -> Result<(), Errno> {
    let mut vector = libc::iovec {
        // The kernel only reads it.
        iov_base: area.as_ptr().cast_mut().cast(),
        iov_len: area.len(),
    };
    request(libc::PTRACE_SETREGSET, tid, NT_X86_XSTATE, (&raw mut vector).cast())?;
    Ok(())
}
