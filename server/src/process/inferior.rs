//! A process under ptrace.
//!
//! All of ptrace(2) for one process must be called by one thread, so an [`Inferior`] stays on the thread that made it. Its state is a table of threads,
//! each with what it was let go for ([`Purpose`]) and whether the caller wants it to run. What the kernel reports is handled in `events`, letting a thread
//! go in `resume`, the end in `detach`.
//!
//! A thread may be killed between any two requests. Each then fails with `ESRCH`, which is never an error here: the kernel tells the thread's end.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::signal::{SigEvent, SigevNotify};
use nix::sys::timer::Timer;
use nix::time::ClockId;
use nix::unistd::gettid;
use spelunk_dwarf::{DwarfReg, ProcAddr};

use super::children::Child;
use super::error::ProcessError;
use super::kick::{KICK, Kicked, Kicker};
use super::memory::ProcessMemory;
use super::ptrace;
use super::registers;
use super::slots::Slots;
use super::status::ThreadStatus;
use super::threads::{Halt, Purpose, State, Thread};
use super::wait::{Report, Reports};
use super::watch::ExitStatus;
use crate::inspect::{Registers, Tid};

/// How a process is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seize {
    /// It was launched by us, and is to end with us, however we end.
    pub(crate) kill_with_us: bool,
}

/// Something that happened in a traced process.
///
/// The thread that is named has stopped and waits for [`Inferior::resume`], except where the text says otherwise; all others are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessEvent {
    /// A thread has come to a site; its program counter is at the site's instruction, which has not been executed.
    Site {
        /// The thread.
        thread: Tid,
        /// The site.
        addr: ProcAddr,
    },
    /// The instruction that [`Inferior::resume`] was asked to step has been executed. There may be a site where the thread stands now: it counts as told.
    Stepped {
        /// The thread.
        thread: Tid,
    },
    /// A thread has executed an `int3` of the program's own, and stands behind it.
    HardcodedBreakpoint {
        /// The thread.
        thread: Tid,
    },
    /// The program of a kernel probe has raised SIGSTOP for a thread, which has executed the probed instruction and nothing behind it. The signal is gone.
    StoppedByProbe {
        /// The thread.
        thread: Tid,
    },
    /// Somebody used the [`Kicker`]. No thread was stopped.
    Kicked,
    /// A thread was created; it runs.
    ThreadBorn(Tid),
    /// A thread has ended.
    ThreadGone(Tid),
    /// The process executes another program: there is one thread, stopped before the first instruction, and no site.
    Exec,
    /// A child executes a program, before whose first instruction it is held until [`Inferior::take_child`] or [`Inferior::release_child`]: see
    /// [`Inferior::hold_executed`]. No thread of the process was stopped.
    ChildExecuted(Tid),
    /// The process is gone. This is told once, and nothing afterwards.
    Exited(ExitStatus),
}

/// A process under ptrace. Dropped, it is let go as it was, or killed if it was to end with us; also when the thread panics.
#[derive(Debug)]
pub(crate) struct Inferior {
    pub(super) pid: i32,
    pub(super) kill_with_us: bool,
    pub(super) threads: BTreeMap<Tid, Thread>,
    pub(super) children: HashMap<Tid, Child>,
    /// Whether children are held where they have executed a program.
    pub(super) holds_executed: bool,
    /// Children that are held there.
    pub(super) executed: BTreeSet<Tid>,
    pub(super) memory: Arc<ProcessMemory>,
    pub(super) slots: Slots,
    /// Instructions under kernel probes that may stop their thread: whoever was told to stand at one passes it in a slot, past the probe.
    pub(super) probed: BTreeSet<u64>,
    pub(super) reports: Reports,
    /// Events that wait to be told.
    pub(super) queue: VecDeque<ProcessEvent>,
    /// All threads are being stopped: whoever reports stays stopped.
    pub(super) stopping: bool,
    /// How it ended.
    pub(super) ended: Option<ExitStatus>,
    /// A `syscall` instruction in the process.
    pub(super) syscall_at: Option<u64>,
    kicked: Kicked,
    /// Ends a wait that takes too long, by a signal to this thread.
    pub(super) timer: Timer,
    /// Requests of ptrace must come from the thread that made this.
    on_this_thread: PhantomData<*const ()>,
}

pub(super) fn proc_error(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> ProcessError {
    let path = path.into();
    move |error| ProcessError::Proc { path, error }
}

impl Inferior {
    pub(super) fn new(pid: i32, how: Seize) -> Result<Inferior, ProcessError> {
        let kicked = Kicked::here().map_err(|error| ProcessError::System {
            attempted: "prepare the tracing thread",
            error: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        })?;
        Inferior::make(pid, how, kicked, Reports::default())
    }

    /// As [`Inferior::new`] for a child, which the thread of this one traces, too.
    pub(super) fn for_child(&self, child: Tid) -> Result<Inferior, ProcessError> {
        let how = Seize {
            kill_with_us: self.kill_with_us,
        };
        let mut inferior = Inferior::make(child.0, how, self.kicked.shared(), self.reports.shared())?;
        inferior.holds_executed = self.holds_executed;
        Ok(inferior)
    }

    fn make(pid: i32, how: Seize, kicked: Kicked, reports: Reports) -> Result<Inferior, ProcessError> {
        let to_us = SigevNotify::SigevThreadId {
            signal: KICK,
            thread_id: gettid().as_raw(),
            si_value: 0,
        };
        let timer =
            Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(to_us)).map_err(ProcessError::system("make a timer"))?;
        let memory = ProcessMemory::open(pid).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => ProcessError::Gone(pid),
            Some(libc::EACCES | libc::EPERM) => ProcessError::NotPermitted { pid },
            _ => proc_error(format!("/proc/{pid}/mem"))(error),
        })?;
        Ok(Inferior {
            pid,
            kill_with_us: how.kill_with_us,
            threads: BTreeMap::new(),
            children: HashMap::new(),
            holds_executed: false,
            executed: BTreeSet::new(),
            memory: Arc::new(memory),
            slots: Slots::default(),
            probed: BTreeSet::new(),
            reports,
            queue: VecDeque::new(),
            stopping: false,
            ended: None,
            syscall_at: None,
            kicked,
            timer,
            on_this_thread: PhantomData,
        })
    }

    /// The process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Its threads, in ascending order.
    pub(crate) fn threads(&self) -> Vec<Tid> {
        self.threads.keys().copied().collect()
    }

    /// Whether a thread is stopped, so that its registers can be had. After [`Inferior::stop_all`] this is so for all but those that are stuck in the
    /// kernel and those that have ended.
    pub(crate) fn is_stopped(&self, thread: Tid) -> bool {
        self.threads.get(&thread).is_some_and(Thread::is_stopped)
    }

    pub(super) fn thread(&self, thread: Tid) -> Result<&Thread, ProcessError> {
        self.threads.get(&thread).ok_or(ProcessError::NoThread(thread))
    }

    pub(super) fn thread_mut(&mut self, thread: Tid) -> Result<&mut Thread, ProcessError> {
        self.threads.get_mut(&thread).ok_or(ProcessError::NoThread(thread))
    }

    /// A stopped thread's registers, the vector registers included.
    pub(crate) fn registers(&self, thread: Tid) -> Result<Registers, ProcessError> {
        let mut registers = self.general_registers(thread)?;
        let vectors = ptrace::fp_registers(thread).map_err(ProcessError::system("read vector registers"))?;
        registers.set_vectors(Some(registers::vectors(&vectors)));
        Ok(registers)
    }

    /// A stopped thread's registers without the vector registers: no system call after the first time.
    pub(crate) fn general_registers(&self, thread: Tid) -> Result<Registers, ProcessError> {
        Ok(registers::general(
            &self.original_registers(thread, "read registers of")?,
        ))
    }

    /// The registers as they would be without slots.
    pub(super) fn original_registers(
        &self,
        thread: Tid,
        attempted: &'static str,
    ) -> Result<libc::user_regs_struct, ProcessError> {
        let known = self.thread(thread)?;
        if !known.is_stopped() {
            return Err(ProcessError::NotStopped { thread, attempted });
        }
        let mut raw = known.registers().map_err(ProcessError::system("read registers"))?;
        if let Some(place) = self.slots.place(raw.rip) {
            (raw.rip, raw.rsp) = place.original(raw.rsp);
        }
        Ok(raw)
    }

    /// Sets what is known in `registers`: the general registers and the flags. A site at a new program counter counts as told.
    pub(crate) fn set_registers(&mut self, thread: Tid, registers: &Registers) -> Result<(), ProcessError> {
        let mut raw = self.original_registers(thread, "set registers of")?;
        let in_slot = self
            .slots
            .place(
                self.thread(thread)?
                    .registers()
                    .map_err(ProcessError::system("read registers"))?
                    .rip,
            )
            .is_some();
        let before = raw.rip;
        registers::apply(registers, &mut raw);
        let thread = self.thread_mut(thread)?;
        if raw.rip != before {
            // An interrupted system call is not begun again somewhere else.
            raw.orig_rax = u64::MAX;
        }
        if raw.rip != before || in_slot {
            thread.told_at = Some(raw.rip);
        }
        thread.set_registers(raw);
        thread.write_registers().map_err(ProcessError::system("set registers"))
    }

    /// Sets one of XMM0 to XMM15, by DWARF's number.
    pub(crate) fn set_vector(&mut self, thread: Tid, register: DwarfReg, value: [u8; 16]) -> Result<(), ProcessError> {
        if !self.thread(thread)?.is_stopped() {
            return Err(ProcessError::NotStopped {
                thread,
                attempted: "set a vector register of",
            });
        }
        let failed = ProcessError::system("set a vector register");
        let set = || {
            let mut raw = ptrace::fp_registers(thread)?;
            if !registers::set_vector(&mut raw, register, value) {
                return Err(Errno::EINVAL);
            }
            ptrace::set_fp_registers(thread, &raw)
        };
        set().map_err(failed)
    }

    /// The process's memory, for any thread and at any time.
    pub(crate) fn memory(&self) -> Arc<ProcessMemory> {
        self.memory.clone()
    }

    /// What calls the tracing thread out of [`Inferior::next_event`].
    pub(crate) fn kicker(&self) -> Kicker {
        self.kicked.kicker()
    }

    /// The events that [`Inferior::next_event`] will tell without waiting, in order.
    pub(crate) fn queued(&self) -> impl Iterator<Item = ProcessEvent> {
        self.queue.iter().copied().filter(|event| !self.is_stale(event))
    }

    /// Where a stopped thread stands at a site whose instruction it will execute without telling of it: it has told already, or the site was put there under
    /// its feet.
    pub(crate) fn told_at(&self, tid: Tid) -> Option<ProcAddr> {
        let thread = self.threads.get(&tid)?;
        let at = thread.told_at.filter(|_| thread.is_stopped())?;
        thread
            .registers()
            .is_ok_and(|raw| raw.rip == at)
            .then_some(ProcAddr(at))
    }

    /// A hit of a site that was removed before it could be told.
    fn is_stale(&self, event: &ProcessEvent) -> bool {
        matches!(event, ProcessEvent::Site { addr, .. } if !self.memory.is_patched(addr.0))
    }

    /// Waits for the next event. Events that were queued come first, but a kick comes before them.
    pub(crate) fn next_event(&mut self) -> Result<ProcessEvent, ProcessError> {
        loop {
            if self.kicked.take() {
                return Ok(ProcessEvent::Kicked);
            }
            let known = self.news_of_others();
            if let Some(event) = self.poll()? {
                return Ok(event);
            }
            if self.ended.is_some() {
                return Err(ProcessError::Ended(self.pid));
            }
            if known != self.news_of_others() {
                // What was left there for want of knowing whose it is may be ours by now.
                continue;
            }
            let reports = &self.reports;
            match self.kicked.interruptible(|| reports.await_any()) {
                Some(Ok(())) | None => {}
                Some(Err(Errno::ECHILD)) => return Ok(self.has_ended(ExitStatus::Unknown)),
                Some(Err(error)) => return Err(ProcessError::system("wait for the process")(error)),
            }
        }
    }

    /// The next event that is there already, without waiting; `None` where there is none, also of a process that has ended. Kicks are left to
    /// [`Inferior::was_kicked`]. For several processes that one thread traces: each is asked, and [`Inferior::await_news`] waits for all of them.
    pub(crate) fn poll(&mut self) -> Result<Option<ProcessEvent>, ProcessError> {
        self.reclaim();
        loop {
            if let Some(event) = self.queue.pop_front() {
                if let Some(event) = self.tell(event)? {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.ended.is_some() {
                return Ok(None);
            }
            let Some(report) = self.reports.pop() else {
                return Ok(None);
            };
            if let Some(event) = self.handle(report)? {
                return Ok(Some(event));
            }
        }
    }

    /// Whether somebody used the [`Kicker`] since this was last asked.
    pub(crate) fn was_kicked(&self) -> bool {
        self.kicked.take()
    }

    /// How often a process that this thread traces has come upon news of another. When that has not changed while each was polled, none has news waiting.
    pub(crate) fn news_of_others(&self) -> u64 {
        self.reports.times_left()
    }

    /// Waits until the kernel tells something of any process that this thread traces, or somebody uses the [`Kicker`]. None of these processes may have news
    /// waiting: see [`Inferior::news_of_others`].
    pub(crate) fn await_news(&self) -> Result<(), ProcessError> {
        self.reports.forget_ends();
        let reports = &self.reports;
        match self.kicked.interruptible(|| reports.await_any()) {
            Some(Err(error)) => Err(ProcessError::system("wait for the processes")(error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Takes back what another process that this thread traces has left because it was not its own.
    pub(super) fn reclaim(&self) {
        // Also when there is no other any more: it may have left something before.
        self.reports.reclaim(|report| self.owns(*report));
    }

    /// Whether a report is about this process, or a child that is held for it.
    pub(super) fn owns(&self, report: Report) -> bool {
        let tid = report.tid;
        tid.0 == self.pid
            || self.threads.contains_key(&tid)
            || self.children.contains_key(&tid)
            || self.executed.contains(&tid)
            || (libc::WIFSTOPPED(report.status)
                && ThreadStatus::of_any(tid).is_some_and(|status| status.process == self.pid))
    }

    /// Makes a queued event one that is told; `None` for one that has become void, whose thread goes on.
    fn tell(&mut self, event: ProcessEvent) -> Result<Option<ProcessEvent>, ProcessError> {
        let stale = self.is_stale(&event);
        let Some(tid) = event.stopped_thread(self.pid) else {
            return Ok(Some(event));
        };
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Ok(None);
        };
        thread.queued = false;
        if stale {
            thread.told_at = None;
            self.carry_on(tid)?;
            return Ok(None);
        }
        thread.wanted = false;
        Ok(Some(event))
    }

    pub(super) fn enqueue(&mut self, event: ProcessEvent) {
        if let Some(tid) = event.stopped_thread(self.pid)
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            thread.queued = true;
        }
        self.queue.push_back(event);
    }

    /// The thread is no more, and with it what was to be told of its stops.
    pub(super) fn forget(&mut self, tid: Tid) -> bool {
        let pid = self.pid;
        self.queue.retain(|event| event.stopped_thread(pid) != Some(tid));
        self.threads.remove(&tid).is_some()
    }

    pub(super) fn has_ended(&mut self, status: ExitStatus) -> ProcessEvent {
        self.ended = Some(status);
        self.threads.clear();
        self.queue.clear();
        ProcessEvent::Exited(status)
    }

    /// Lets one stopped thread go on. With `step`, for one instruction (a call is entered), told as [`ProcessEvent::Stepped`]; signals are held back
    /// meanwhile, except those that the instruction causes.
    ///
    /// A site that was told of this thread where it stands, or set while it stood there, is passed without the int3 being lifted, and so is any with `step`. A site
    /// that the thread has only arrived at is told first. For a thread whose event waits to be told this does nothing but remember the wish.
    pub(crate) fn resume(&mut self, thread: Tid, step: bool) -> Result<(), ProcessError> {
        if self.ended.is_some() {
            return Ok(());
        }
        let Some(known) = self.threads.get_mut(&thread) else {
            // It has ended, which is told.
            return Ok(());
        };
        known.wanted = true;
        known.purpose = if step { Purpose::Step } else { Purpose::Run };
        if known.state == State::InKernel {
            known.state = State::Running;
        }
        if known.queued || !known.is_stopped() {
            return Ok(());
        }
        if step
            && let Ok(raw) = known.registers()
            && known.state != State::Stopped(Halt::Group)
        {
            known.told_at = Some(raw.rip);
        }
        self.go(thread)
    }

    /// Lets all stopped threads go on; those whose event waits to be told, after that.
    pub(crate) fn resume_all(&mut self) -> Result<(), ProcessError> {
        for thread in self.threads() {
            if self.threads.contains_key(&thread) {
                self.resume(thread, false)?;
            }
        }
        Ok(())
    }

    /// Lets the threads go on that were stopped for our own work.
    pub(super) fn carry_on_all(&mut self) -> Result<(), ProcessError> {
        for tid in self.threads() {
            self.carry_on(tid)?;
        }
        Ok(())
    }

    /// Lets a thread go on, if the caller wants it to.
    pub(super) fn carry_on(&mut self, tid: Tid) -> Result<(), ProcessError> {
        let goes = self
            .threads
            .get(&tid)
            .is_some_and(|thread| thread.wanted && !thread.queued && thread.is_stopped());
        if goes && !self.stopping { self.go(tid) } else { Ok(()) }
    }
}

impl ProcessEvent {
    /// The thread of process `pid` that stands still because of the event.
    fn stopped_thread(&self, pid: i32) -> Option<Tid> {
        match self {
            ProcessEvent::Exec => Some(Tid(pid)),
            ProcessEvent::Site { thread, .. }
            | ProcessEvent::Stepped { thread }
            | ProcessEvent::HardcodedBreakpoint { thread }
            | ProcessEvent::StoppedByProbe { thread } => Some(*thread),
            ProcessEvent::Kicked
            | ProcessEvent::ChildExecuted(_)
            | ProcessEvent::ThreadBorn(_)
            | ProcessEvent::ThreadGone(_)
            | ProcessEvent::Exited(_) => None,
        }
    }
}
