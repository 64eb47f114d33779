//! Signals of the traced program: what is known of one, and those that are held back for a while.

use std::ffi::c_int;

/// The kernel's `siginfo_t` (include/uapi/asm-generic/siginfo.h) as ptrace passes it: 128 bytes, which go back as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub(super) struct SigInfo([u8; 128]);

impl Default for SigInfo {
    fn default() -> SigInfo {
        SigInfo::ZERO
    }
}

/// `SI_KERNEL`: sent by the kernel, an int3 or a probe's program among others.
pub(super) const SI_KERNEL: c_int = 0x80;
/// `SI_USER`: sent by kill(2), or by the kernel on its own behalf with no sender, as after a single-stepped system call.
const SI_USER: c_int = 0;
/// `SI_TKILL`: sent by tgkill(2).
const SI_TKILL: c_int = -6;

impl SigInfo {
    /// No signal.
    pub(super) const ZERO: SigInfo = SigInfo([0; 128]);

    /// From the bytes of the kernel's structure.
    pub(super) fn from_bytes(bytes: [u8; 128]) -> SigInfo {
        SigInfo(bytes)
    }

    /// A SIGCONT by which this process has ended a stop that a probe had caused; the program is not to see it.
    pub(super) fn is_our_continuation(&self) -> bool {
        self.signal() == libc::SIGCONT && self.is_ours()
    }

    fn int(&self, at: usize) -> c_int {
        let mut raw = [0; 4];
        raw.copy_from_slice(&self.0[at..at + 4]);
        c_int::from_ne_bytes(raw)
    }

    /// `si_signo`
    pub(super) fn signal(&self) -> c_int {
        self.int(0)
    }

    /// `si_code`
    pub(super) fn code(&self) -> c_int {
        self.int(8)
    }

    /// `si_pid`, of a signal that somebody sent.
    pub(super) fn sender(&self) -> c_int {
        self.int(16)
    }

    /// Replaces `si_addr`, of a fault.
    pub(super) fn set_addr(&mut self, addr: u64) {
        self.0[16..24].copy_from_slice(&addr.to_ne_bytes());
    }

    /// Whether the instruction at the program counter caused the signal: it must be delivered there and then.
    pub(super) fn is_fault(&self) -> bool {
        matches!(
            self.signal(),
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL | libc::SIGSYS | libc::SIGTRAP
        ) && self.code() > 0
    }

    /// Whether `si_addr` is the address of the instruction rather than of what it accessed.
    pub(super) fn addresses_code(&self) -> bool {
        matches!(self.signal(), libc::SIGFPE | libc::SIGILL)
    }

    /// Whether this process sent it by kill(2) or tgkill(2).
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.code(), SI_USER | SI_TKILL) && u32::try_from(self.sender()) == Ok(std::process::id())
    }

    /// A SIGSTOP that a probe's program raised (`bpf_send_signal` in the kernel's `kernel/trace/bpf_trace.c`): nobody else sends it as the kernel.
    pub(super) fn is_stop_by_probe(&self) -> bool {
        self.signal() == libc::SIGSTOP && self.code() == SI_KERNEL
    }

    /// Whether a SIGTRAP may be the end of a single step of a thread of `pid`.
    ///
    /// The processor's trap has `TRAP_TRACE` or `TRAP_BRKPT`, the exit of a stepped system call `SI_USER` without a sender, a step over a probed instruction
    /// `SI_USER` with the process itself as the sender, and the start of a signal handler `SIGTRAP`. What another process sent is a signal.
    pub(super) fn may_end_step(&self, pid: i32) -> bool {
        match self.code() {
            SI_USER => self.sender() == 0 || self.sender() == pid,
            SI_TKILL => false,
            code => code > 0,
        }
    }

    /// Whether a thread stopped with this can be given another signal instead: not so at the start of a signal handler, where the kernel ignores what
    /// the tracer answers.
    pub(super) fn takes_injection(&self) -> bool {
        self.code() != libc::SIGTRAP
    }
}

/// Signals taken from a thread while it was single-stepped or in a slot, to be delivered in order afterwards.
#[derive(Debug, Default)]
pub(super) struct HeldSignals(Vec<Held>);

#[derive(Debug)]
struct Held {
    info: SigInfo,
    /// The thread was sent the same signal again, to be stopped for it.
    recalled: bool,
}

/// The first real-time signal of the kernel; of those below, at most one waits for a thread.
const FIRST_REAL_TIME: c_int = 32;

impl HeldSignals {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Holds one more. A standard signal that is held already is dropped, as the kernel drops one that is pending already.
    pub(super) fn hold(&mut self, info: SigInfo) {
        let standard = info.signal() < FIRST_REAL_TIME;
        if standard && self.0.iter().any(|held| held.info.signal() == info.signal()) {
            return;
        }
        self.0.push(Held { info, recalled: false });
    }

    /// Takes the first that is to be delivered next.
    pub(super) fn take(&mut self) -> Option<SigInfo> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.0.remove(0).info)
    }

    /// Forgets those that would stop the process, as SIGCONT does with pending ones (signal(7)).
    pub(super) fn forget_stops(&mut self) {
        self.0.retain(|held| !stops(held.info.signal()));
    }

    /// Those the thread must be sent again, as it is stopped where none can be injected; each is answered once.
    pub(super) fn recall(&mut self) -> Vec<c_int> {
        let mut signals = Vec::new();
        for held in &mut self.0 {
            if !held.recalled {
                held.recalled = true;
                signals.push(held.info.signal());
            }
        }
        signals
    }

    /// The thread is stopped for `arrived`. Where that is the repetition of a held signal, what is to be delivered in its place.
    ///
    /// A standard signal that was pending already has swallowed our repetition: it stands for both.
    pub(super) fn arrived(&mut self, arrived: &SigInfo) -> Option<SigInfo> {
        let at = self
            .0
            .iter()
            .position(|held| held.recalled && held.info.signal() == arrived.signal())?;
        if arrived.is_ours() {
            return Some(self.0.remove(at).info);
        }
        if arrived.signal() < FIRST_REAL_TIME {
            self.0.remove(at);
        }
        None
    }
}

/// Whether a signal's default action is the stop of job control.
pub(super) fn stops(signal: c_int) -> bool {
    matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(signal: c_int, code: c_int, sender: c_int) -> SigInfo {
        let mut raw = [0u8; 128];
        raw[..4].copy_from_slice(&signal.to_ne_bytes());
        raw[8..12].copy_from_slice(&code.to_ne_bytes());
        raw[16..20].copy_from_slice(&sender.to_ne_bytes());
        SigInfo(raw)
    }

    #[test]
    fn a_standard_signal_is_held_once_and_a_real_time_signal_each_time() {
        let mut held = HeldSignals::default();
        held.hold(info(libc::SIGURG, SI_TKILL, 1));
        held.hold(info(libc::SIGURG, SI_TKILL, 2));
        held.hold(info(40, SI_USER, 3));
        held.hold(info(40, SI_USER, 4));
        let senders: Vec<_> = std::iter::from_fn(|| held.take()).map(|info| info.sender()).collect();
        assert_eq!(senders, [1, 3, 4]);
    }

    #[test]
    fn a_repetition_brings_the_held_signal_back() {
        let us = std::process::id() as c_int;
        let mut held = HeldSignals::default();
        held.hold(info(libc::SIGTERM, SI_USER, 77));
        assert_eq!(
            held.arrived(&info(libc::SIGTERM, SI_TKILL, us)),
            None,
            "not sent again yet"
        );
        assert_eq!(held.recall(), [libc::SIGTERM]);
        assert_eq!(held.recall(), [0; 0], "once is enough");
        let back = held.arrived(&info(libc::SIGTERM, SI_TKILL, us)).expect("the held one");
        assert_eq!(back.sender(), 77);
        assert!(held.is_empty());
    }

    #[test]
    fn a_pending_signal_stands_for_the_repetition_that_it_swallowed() {
        let mut held = HeldSignals::default();
        held.hold(info(libc::SIGTERM, SI_USER, 77));
        held.recall();
        assert_eq!(held.arrived(&info(libc::SIGTERM, SI_USER, 78)), None);
        assert!(held.is_empty());
    }

    #[test]
    fn a_continuation_ends_held_stops() {
        let mut held = HeldSignals::default();
        for signal in [libc::SIGTSTP, libc::SIGTERM, libc::SIGSTOP] {
            held.hold(info(signal, SI_USER, 77));
        }
        held.forget_stops();
        assert_eq!(held.take().map(|info| info.signal()), Some(libc::SIGTERM));
        assert!(held.is_empty());
    }

    #[test]
    fn a_trap_after_our_step_is_its_end_whatever_its_code() {
        let pid = 4321;
        for (code, sender, ends) in [
            (2, 0, true),
            (1, 0, true),
            (SI_USER, 0, true),
            (SI_USER, pid, true),
            (SI_USER, 99, false),
            (SI_TKILL, pid, false),
            (libc::SIGTRAP, 0, true),
        ] {
            assert_eq!(
                info(libc::SIGTRAP, code, sender).may_end_step(pid),
                ends,
                "code {code}, sender {sender}"
            );
        }
    }
}
