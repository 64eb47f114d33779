//! The process that stands in front of a server, so that killing the server harms no program it is attached to.
//!
//! A tracer must not die: when it does, the kernel delivers the SIGTRAP of every thread that was stopped at a breakpoint, and each thread runs on into
//! the breakpoints that are left, before anybody could take them out. A Go program ends with "SIGTRAP: trace trap" then. So the process that users,
//! editors and the terminal know is not the tracer. It forks before anything else happens, the child becomes the server, and the parent waits.
//! Whatever is sent to the parent reaches the child; if the parent is killed, the child is told by a parent-death signal, and ends its session as it does
//! on SIGTERM: what was attached is let go as it was, what was launched is ended.
//!
//! The server has a process group of its own: some editors kill whole groups with SIGKILL.

use std::process;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, setpgid};

/// The process that the user knows.
static GUARDIAN: OnceLock<Pid> = OnceLock::new();

/// What is passed on to the server.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Goes on as the server, in a process of its own. Must be called while the process has one thread.
///
/// Returns in the server only. On an error there is no guardian, and the caller is the server: a system that cannot fork will hardly debug anything,
/// but that is for the user to be told later.
pub(super) fn stand_in_front() {
    let mut ours = SigSet::empty();
    for signal in PASSED_ON {
        ours.add(signal);
    }
    ours.add(Signal::SIGCHLD);
    let mut before = SigSet::empty();
    if sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut before)).is_err() {
        return;
    }
    // Under whoever ignores the ends of children, the server's exit status would be lost.
    // SAFETY: no handler is installed.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    let guardian = getpid();
    // SAFETY: the process has one thread, as the caller promises, so the child may do whatever a process may.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let _ = GUARDIAN.set(guardian);
            become_server(guardian);
        }
        Ok(ForkResult::Parent { child }) => guard(child, &ours),
        Err(error) => tracing::warn!("the server runs without a guardian process: fork: {error}"),
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
}

/// The process id that the user knows the server by.
pub(super) fn visible_pid() -> u32 {
    GUARDIAN
        .get()
        .map_or_else(process::id, |pid| pid.as_raw().unsigned_abs())
}

fn become_server(guardian: Pid) {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = prctl::set_pdeathsig(Signal::SIGTERM);
    if getppid() != guardian {
        // It was killed before it could be noticed, and nobody else knows us.
        process::exit(1);
    }
}

/// Passes signals on until the server has ended, and ends as it did.
fn guard(server: Pid, signals: &SigSet) -> ! {
    // What whoever started us waits for the end of, such as a pipe for the log, is the server's.
    // SAFETY: nothing here uses a descriptor above standard error.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    loop {
        match waitpid(server, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => process::exit(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                eprintln!(
                    "the debug server was killed by {signal}; a program that it was attached to may not have survived this"
                );
                process::exit(128 + signal as i32);
            }
            Err(Errno::ECHILD) => process::exit(1),
            _ => {}
        }
        // A signal that came before is pending still, SIGCHLD too.
        if let Ok(received) = signals.wait()
            && received != Signal::SIGCHLD
        {
            let _ = kill(server, received);
        }
    }
}
