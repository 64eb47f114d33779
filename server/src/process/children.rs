//! Processes that the traced one makes.
//!
//! The kernel seizes them with their parent, since they begin with its int3s. A child with memory of its own gets its code as it was and is let go at once.
//! A child of vfork(2) runs in its parent's memory until it executes a program (Go starts all its processes so), and would die of the first int3; it stays
//! traced that long, passing sites as if they were not there, and is let go when it has memory of its own.
//!
//! Where it matters what children execute ([`Inferior::hold_executed`]) both kinds stay traced until they do, and are held there until somebody has decided
//! what becomes of them.

use std::ffi::c_int;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::detach::STUCK;
use super::error::ProcessError;
use super::events::{Failure, event_of};
use super::inferior::{Inferior, ProcessEvent};
use super::ptrace;
use super::signals::SI_KERNEL;
use super::slots::How;
use super::wait::Report;
use crate::inspect::Tid;

/// A process that the traced one has made, and that is still traced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    /// What its memory is.
    memory: ChildMemory,
}

/// What the memory of a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChildMemory {
    /// That of the traced process.
    Shared,
    /// A copy, with the int3s that were there.
    Copied,
    /// A copy, without int3s.
    Clean,
}

/// `KCMP_VM` of kcmp(2): whether two processes have the same memory.
const KCMP_VM: c_int = 1;

fn same_memory(one: i32, other: Tid) -> bool {
    // SAFETY: kcmp takes five integers.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, one, other.0, KCMP_VM, 0, 0) };
    order == 0
}

/// Writes the original bytes to a child's copy of what was patched.
fn restore_copy(tid: Tid, patches: &[(u64, u8)]) {
    if patches.is_empty() {
        return;
    }
    // A child that is gone needs nothing.
    if let Ok(memory) = OpenOptions::new().write(true).open(format!("/proc/{}/mem", tid.0)) {
        for (addr, original) in patches {
            let _ = memory.write_all_at(&[*original], *addr);
        }
    }
}

impl Inferior {
    /// A thread or a child has made a process.
    pub(super) fn child_is_born(&mut self, tid: Tid) -> Result<(), Failure> {
        self.children.insert(
            tid,
            Child {
                memory: if same_memory(self.pid, tid) {
                    ChildMemory::Shared
                } else {
                    ChildMemory::Copied
                },
            },
        );
        match self.reports.left_of(tid) {
            Some(report) => self.child_has_stopped(report),
            None => Ok(()),
        }
    }

    /// Handles a stop of a child, which goes on in each case.
    pub(super) fn child_has_stopped(&mut self, report: Report) -> Result<(), Failure> {
        match self.try_child(report) {
            // Killed; its end is going to be reported.
            Err(Failure::Gone) => Ok(()),
            other => other,
        }
    }

    fn try_child(&mut self, Report { tid, status }: Report) -> Result<(), Failure> {
        let memory = self
            .children
            .get(&tid)
            .map_or(ChildMemory::Copied, |child| child.memory);
        let executes = event_of(status) == libc::PTRACE_EVENT_EXEC;
        if memory == ChildMemory::Copied && !executes {
            if !self.holds_executed {
                return self.let_child_go(tid, libc::WSTOPSIG(status), event_of(status));
            }
            self.clean_child(tid)?;
            self.children.insert(
                tid,
                Child {
                    memory: ChildMemory::Clean,
                },
            );
        }
        match event_of(status) {
            0 if memory == ChildMemory::Shared => self.child_got_signal(tid, libc::WSTOPSIG(status))?,
            0 => ptrace::cont(tid, libc::WSTOPSIG(status))?,
            libc::PTRACE_EVENT_EXEC => {
                self.children.remove(&tid);
                if let Ok(former) = i32::try_from(ptrace::event_message(tid)?) {
                    // The thread that has executed the program has the number of its process now.
                    self.children.remove(&Tid(former));
                }
                if self.holds_executed {
                    self.executed.insert(tid);
                    self.queue.push_back(ProcessEvent::ChildExecuted(tid));
                } else {
                    ptrace::detach(tid, 0)?;
                }
            }
            libc::PTRACE_EVENT_STOP if libc::WSTOPSIG(status) != libc::SIGTRAP => ptrace::listen(tid)?,
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => {
                let new = ptrace::event_message(tid)?;
                ptrace::cont(tid, 0)?;
                if let Ok(new) = i32::try_from(new) {
                    self.child_is_born(Tid(new))?;
                }
            }
            _ => ptrace::cont(tid, 0)?,
        }
        Ok(())
    }

    /// A child in our process's memory passes sites without a word.
    fn child_got_signal(&mut self, tid: Tid, signal: c_int) -> Result<(), Failure> {
        let mut raw = ptrace::registers(tid)?;
        if signal == libc::SIGTRAP && ptrace::siginfo(tid)?.code() == SI_KERNEL {
            let addr = raw.rip.wrapping_sub(1);
            if let Some(slot) = self.slots.of_instruction(addr) {
                raw.rip = addr;
                if self.memory.is_patched(addr) {
                    match &slot.how {
                        How::Emulate(emulation) => emulation.apply(&mut raw),
                        How::Run(at, _) => raw.rip = *at,
                    }
                }
                ptrace::set_registers(tid, &raw)?;
                return Ok(ptrace::cont(tid, 0)?);
            }
        }
        if let Some(place) = self.slots.place(raw.rip) {
            (raw.rip, raw.rsp) = place.original(raw.rsp);
            ptrace::set_registers(tid, &raw)?;
        }
        Ok(ptrace::cont(tid, signal)?)
    }

    /// Lets a stopped child with memory of its own go, with its code as it would be without us.
    fn let_child_go(&mut self, tid: Tid, signal: c_int, event: c_int) -> Result<(), Failure> {
        self.children.remove(&tid);
        self.clean_child(tid)?;
        let signal = if event == 0 { signal } else { 0 };
        Ok(ptrace::detach(tid, signal)?)
    }

    /// Gives a stopped child with memory of its own its code as it would be without us.
    fn clean_child(&self, tid: Tid) -> Result<(), Failure> {
        restore_copy(tid, &self.memory.all_patches());
        Ok(self.leave_slot(tid)?)
    }

    /// Says whether children are to be held where they have executed a program; each is told as [`ProcessEvent::ChildExecuted`]. Those that have memory of their
    /// own before that, and were made before this was said, were let go then.
    pub(crate) fn hold_executed(&mut self, hold: bool) {
        self.holds_executed = hold;
    }

    /// Lets a held child go; it executes its program as if nobody had looked.
    pub(crate) fn release_child(&mut self, child: Tid) {
        if self.executed.remove(&child) {
            // One that was killed meanwhile needs nothing, but that its parent is told, which waits for us.
            if ptrace::detach(child, 0).is_err() {
                let _ = self.reports.of(child);
            }
        }
    }

    /// Makes a held child a process of its own under ptrace, on the same thread, and to be ended as this one is. It is stopped before its first instruction.
    pub(crate) fn take_child(&mut self, child: Tid) -> Result<Inferior, ProcessError> {
        if !self.executed.contains(&child) {
            return Err(ProcessError::Gone(child.0));
        }
        let mut inferior = self.for_child(child)?;
        self.executed.remove(&child);
        match inferior.begin_at_exec() {
            Ok(()) => Ok(inferior),
            Err(Failure::Gone) => Err(ProcessError::Gone(child.0)),
            Err(Failure::Other(error)) => {
                // A child that cannot be followed is let go when this is dropped.
                inferior.kill_with_us = false;
                Err(error)
            }
        }
    }

    /// Moves a stopped child out of a slot.
    fn leave_slot(&self, tid: Tid) -> Result<(), Errno> {
        let mut raw = ptrace::registers(tid)?;
        if let Some(place) = self.slots.place(raw.rip) {
            (raw.rip, raw.rsp) = place.original(raw.rsp);
            ptrace::set_registers(tid, &raw)?;
        }
        Ok(())
    }

    /// Lets all children go, for the end of the tracing or of the process. Those in its memory find it without int3s.
    pub(super) fn let_children_go(&mut self) {
        let patches = self.memory.all_patches();
        for (addr, _) in &patches {
            // What cannot be written any more is not mapped any more.
            let _ = self.memory.restore(*addr);
        }
        while let Some(held) = self.executed.first().copied() {
            self.release_child(held);
        }
        let mut left: Vec<Tid> = std::mem::take(&mut self.children).into_keys().collect();
        for tid in &left {
            // Where this fails the child has ended, and its parent is told of that when we have taken note.
            let _ = ptrace::interrupt(*tid);
        }
        // One may wait in the kernel for another, whichever stops first.
        let begun = Instant::now();
        while !left.is_empty() && begun.elapsed() < STUCK {
            let _ = self.reports.gather();
            let mut born = Vec::new();
            let before = left.len();
            left.retain(|tid| match self.reports.known_of(*tid) {
                Some(report) => {
                    born.extend(self.leave_child(report, &patches));
                    false
                }
                None => true,
            });
            if left.len() == before {
                std::thread::sleep(Duration::from_millis(1));
            }
            left.extend(born);
        }
        if !left.is_empty() {
            tracing::warn!("children that do not stop are still traced: {left:?}");
        }
    }

    /// Lets a child go where it has stopped; answers one that it has just made, which is traced from its beginning.
    fn leave_child(&self, Report { tid, status }: Report, patches: &[(u64, u8)]) -> Option<Tid> {
        if !libc::WIFSTOPPED(status) {
            return None;
        }
        let event = event_of(status);
        let made = matches!(
            event,
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK
        );
        let born = made.then(|| ptrace::event_message(tid).ok()).flatten();
        let signal = if event == 0 { libc::WSTOPSIG(status) } else { 0 };
        let int3 = signal == libc::SIGTRAP && self.rewind_child(tid);
        // One that has just been made may have a copy of what was patched; one that has executed a program has memory that nobody has touched.
        if event != libc::PTRACE_EVENT_EXEC {
            restore_copy(tid, patches);
            let _ = self.leave_slot(tid);
        }
        let _ = ptrace::detach(tid, if int3 { 0 } else { signal });
        i32::try_from(born?).ok().map(Tid)
    }

    /// Whether the child was stopped by an int3 of ours, behind which it then stands no more.
    fn rewind_child(&self, tid: Tid) -> bool {
        let (Ok(info), Ok(mut raw)) = (ptrace::siginfo(tid), ptrace::registers(tid)) else {
            return false;
        };
        let addr = raw.rip.wrapping_sub(1);
        if info.code() != SI_KERNEL || self.slots.of_instruction(addr).is_none() {
            return false;
        }
        raw.rip = addr;
        ptrace::set_registers(tid, &raw).is_ok()
    }
}
