//! Tracing with ptrace: each call and each return stops its thread for a moment. What is read is what the kernel's probes would copy, and it is printed alike.

use std::collections::HashMap;
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use spelunk_bpf::{Moment, RecordView, Reg, Shown, SiteId};
use spelunk_dwarf::{Binary, DwarfError, DwarfReg, LoadBias, ProcAddr, RuntimeLayout};

use super::engine::Installed;
use super::function::SitePlan;
use super::printer::Printer;
use super::record::Live;
use crate::inspect::{Tid, running_goroutine};
use crate::process::{ExitStatus, Inferior, ProcessError, ProcessEvent};

/// Why a trace ends before the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The program has ended.
    Exited(ExitStatus),
    /// Somebody has had enough.
    Told,
    /// Nobody reads the lines any more.
    Unread,
}

/// Why a trace could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum StopsError {
    /// The binary does not say what is needed of the runtime.
    #[error("{0}")]
    Dwarf(#[from] DwarfError),
    /// The process could not be prepared.
    #[error("{0}")]
    Process(#[from] ProcessError),
}

/// A process whose calls are traced by stopping it.
pub(super) struct Stops {
    inferior: Inferior,
    layout: RuntimeLayout,
    bias: LoadBias,
    sites: HashMap<ProcAddr, Vec<Arc<Installed<()>>>>,
}

impl Stops {
    /// Puts a breakpoint on each site of a stopped process.
    pub(super) fn new(
        mut inferior: Inferior,
        binary: &Binary,
        bias: LoadBias,
        plans: Vec<SitePlan>,
    ) -> Result<Stops, StopsError> {
        let layout = binary.runtime_layout()?;
        let mut sites: HashMap<ProcAddr, Vec<Arc<Installed<()>>>> = HashMap::new();
        for (number, plan) in (0..).zip(plans) {
            let addr = bias.to_proc(plan.addr);
            inferior.insert_site(addr)?;
            sites.entry(addr).or_default().push(Arc::new(Installed {
                plan,
                owner: (),
                // Nothing is lost, so nobody has to know whether a growth was.
                growth: None,
                id: SiteId::numbered(number),
            }));
        }
        Ok(Stops {
            inferior,
            layout,
            bias,
            sites,
        })
    }

    /// Lets the program run and prints what it passes. `told` says, after a kick, whether somebody has had enough.
    pub(super) fn run(&mut self, printer: &mut Printer, told: &dyn Fn() -> bool) -> Result<Over, ProcessError> {
        self.inferior.resume_all()?;
        loop {
            match self.inferior.next_event()? {
                ProcessEvent::Site { thread, addr } => {
                    self.hit(thread, addr, printer);
                    if printer.flush().is_err() {
                        return Ok(Over::Unread);
                    }
                    self.inferior.resume(thread, false)?;
                }
                ProcessEvent::HardcodedBreakpoint { thread }
                | ProcessEvent::Stepped { thread }
                | ProcessEvent::StoppedByProbe { thread } => {
                    self.inferior.resume(thread, false)?;
                }
                ProcessEvent::Kicked if told() => return Ok(Over::Told),
                ProcessEvent::Exited(status) => return Ok(Over::Exited(status)),
                _ => {}
            }
        }
    }

    /// The process, as it is after the last event.
    pub(super) fn into_inferior(self) -> Inferior {
        self.inferior
    }

    fn hit(&self, thread: Tid, addr: ProcAddr, printer: &mut Printer) {
        // A thread that was killed at this moment has nothing left to show.
        let (Some(sites), Ok(registers)) = (self.sites.get(&addr), self.inferior.registers(thread)) else {
            return;
        };
        let memory = self.inferior.memory();
        let goroutine = running_goroutine(&*memory, &self.layout, &registers).ok().flatten();
        let moment = Moment {
            time: clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
                now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
            }),
            thread: thread.0.cast_unsigned(),
            process: self.inferior.pid().cast_unsigned(),
            goroutine: goroutine.as_ref().map_or(0, |goroutine| goroutine.id),
            g: goroutine.as_ref().map_or(0, |goroutine| goroutine.addr.0),
            stack_hi: goroutine.as_ref().map_or(0, |goroutine| goroutine.stack_hi.0),
            on_system_stack: goroutine.as_ref().is_some_and(|goroutine| goroutine.on_system_stack),
            bias: self.bias.bytes().cast_unsigned(),
        };
        let live = Live {
            memory: &*memory,
            registers: &registers,
        };
        // Of several on one instruction, the call is planned last and comes first, as in the kernel.
        for site in sites.iter().rev() {
            let record = moment.record(site.id, &site.plan.plan, &Stopped(live));
            if let Ok(view) = RecordView::new(&record) {
                printer.record(site, &view, Some(live));
            }
        }
    }
}

/// A stopped thread, as records are made of it.
struct Stopped<'a>(Live<'a>);

impl Shown for Stopped<'_> {
    fn register(&self, register: Reg) -> u64 {
        let number = match register {
            Reg::Rax => 0,
            Reg::Rdx => 1,
            Reg::Rcx => 2,
            Reg::Rbx => 3,
            Reg::Rsi => 4,
            Reg::Rdi => 5,
            Reg::Rbp => 6,
            Reg::Rsp => 7,
            Reg::R8 => 8,
            Reg::R9 => 9,
            Reg::R10 => 10,
            Reg::R11 => 11,
            Reg::R12 => 12,
            Reg::R13 => 13,
            Reg::R14 => 14,
            Reg::R15 => 15,
            Reg::Rip => 16,
            Reg::Rflags => return self.0.registers.flags.unwrap_or(0),
        };
        // A stopped thread has all of them.
        self.0.registers.general(DwarfReg(number)).unwrap_or(0)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        self.0.memory.read(ProcAddr(address), bytes).is_ok()
    }
}
