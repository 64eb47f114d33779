//! System calls made by the traced process on our behalf.
//!
//! One stopped thread is sent to a `syscall` instruction that the process has anyhow, for one step, and gets its registers back. A system call that the
//! thread was stopped in goes on as after any stop, as the register by which the kernel knows of it is put back too.

use nix::errno::Errno;
use spelunk_dwarf::ProcAddr;

use super::events::event_of;
use super::inferior::Inferior;
use super::maps::{self, Mapping};
use super::ptrace;
use super::threads::{Halt, State};
use crate::inspect::Tid;
use crate::value::Memory;

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// How much of a mapping is searched at a time.
const CHUNK: u64 = 1 << 20;

impl Inferior {
    /// Has some thread make a system call; if none is stopped, all are for a moment. Answers its result.
    pub(super) fn call_in_process(&mut self, number: i64, arguments: [u64; 6]) -> Result<u64, Errno> {
        let able = |inferior: &Inferior| {
            let with = |wanted: &[Halt]| {
                let mut threads = inferior.threads.values();
                threads.find(|thread| wanted.iter().any(|halt| thread.state == State::Stopped(*halt)))
            };
            with(&[Halt::Signal, Halt::Event])
                .or_else(|| with(&[Halt::Group]))
                .map(|thread| thread.tid)
        };
        if let Some(tid) = able(self) {
            return self.call_on(tid, number, arguments);
        }
        self.stop_threads().map_err(|_| Errno::ESRCH)?;
        let tid = able(self).ok_or(Errno::ESRCH)?;
        let result = self.call_on(tid, number, arguments);
        self.carry_on_all().map_err(|_| Errno::ESRCH)?;
        result
    }

    fn call_on(&mut self, tid: Tid, number: i64, arguments: [u64; 6]) -> Result<u64, Errno> {
        let instruction = self.syscall_instruction()?;
        let thread = self.threads.get_mut(&tid).ok_or(Errno::ESRCH)?;
        let halt = thread.state;
        thread.hold_back()?;
        let saved = thread.registers()?;
        let mut call = saved;
        call.rip = instruction;
        // No system call is to be begun again before ours.
        call.orig_rax = u64::MAX;
        call.rax = number as u64;
        [call.rdi, call.rsi, call.rdx, call.r10, call.r8, call.r9] = arguments;
        ptrace::set_registers(tid, &call)?;
        let result = loop {
            ptrace::single_step(tid, 0)?;
            let report = self.reports.of(tid)?;
            if !libc::WIFSTOPPED(report.status) {
                self.reports.put_back(report);
                thread.state = State::Running;
                return Err(Errno::ESRCH);
            }
            if event_of(report.status) != 0 {
                continue;
            }
            let info = ptrace::siginfo(tid)?;
            if info.signal() == libc::SIGTRAP && info.may_end_step(self.pid) {
                let now = ptrace::registers(tid)?;
                if now.rip == instruction + SYSCALL.len() as u64 {
                    break now.rax;
                }
            } else if !info.is_our_continuation() {
                thread.held.hold(info);
            }
        };
        thread.has_stopped(Halt::Signal);
        thread.set_registers(saved);
        if halt == State::Stopped(Halt::Group) {
            // Back into the stop of job control, which is still in force for the process.
            ptrace::interrupt(tid)?;
            thread.let_go(ptrace::cont)?;
            let report = self.reports.of(tid)?;
            if libc::WIFSTOPPED(report.status) {
                thread.has_stopped(Halt::Group);
            } else {
                self.reports.put_back(report);
            }
        }
        // A system call fails with a small negative number.
        match Errno::from_raw((result as i64).wrapping_neg().try_into().unwrap_or(0)) {
            Errno::UnknownErrno => Ok(result),
            error => Err(error),
        }
    }

    /// Finds a `syscall` instruction: the kernel's own code that is mapped into each process has one, else the program.
    pub(super) fn syscall_instruction(&mut self) -> Result<u64, Errno> {
        if let Some(known) = self.syscall_at {
            return Ok(known);
        }
        let mut maps =
            maps::of(self.pid).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        maps.retain(|mapping| mapping.executable && mapping.name != "[vsyscall]");
        maps.sort_by_key(|mapping| mapping.name != "[vdso]");
        let found = maps.iter().find_map(|mapping| self.find_syscall(mapping));
        self.syscall_at = found;
        found.ok_or(Errno::ENOSYS)
    }

    fn find_syscall(&self, mapping: &Mapping) -> Option<u64> {
        let mut at = mapping.addresses.start;
        while at < mapping.addresses.end {
            // One byte more than the step, so that an instruction across the border is found.
            let len = (mapping.addresses.end - at).min(CHUNK + 1);
            let mut code = vec![0; len as usize];
            self.memory.read(ProcAddr(at), &mut code).ok()?;
            let found = code
                .windows(2)
                .position(|bytes| bytes == SYSCALL)
                .map(|offset| at + offset as u64)
                .filter(|found| !self.memory.is_patched(*found) && !self.memory.is_patched(*found + 1));
            if found.is_some() {
                return found;
            }
            at += CHUNK;
        }
        None
    }
}
