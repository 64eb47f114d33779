//! A thread has come to a stop site: does that concern anybody?
//!
//! Only that thread stands still while this is found out, so a condition that is false, or another goroutine's passing of a step's temporaries, costs the
//! rest of the program nothing.

use std::sync::Arc;

use spelunk_bpf::Flags;
use spelunk_dwarf::{CfaRule, FileAddr, ProcAddr};

use super::breakpoints::{Exception, Hits, count_of_goroutine};
use super::control::{Control, NOT_TRACED, Phase};
use super::inspection::MAX_DEPTH;
use super::probe_stops::is_own;
use super::temporary::{Follow, FrameIs, Kind, Returning, Temporary};
use super::{BreakpointId, Event, StopReason};
use crate::inspect::{
    Around, FrameScope, GoroutineContext, Registers, RunningGoroutine, Stack, Tid, Whose, running_goroutine, unwind,
};

/// A thread at a site.
pub(super) struct Passer {
    pub(super) thread: Tid,
    pub(super) addr: FileAddr,
    pub(super) registers: Registers,
    pub(super) goroutine: Option<RunningGoroutine>,
}

impl Passer {
    /// What the runtime's made-up variables mean in an expression here.
    fn context(&self) -> Option<GoroutineContext> {
        self.goroutine.as_ref().map(|goroutine| GoroutineContext {
            addr: goroutine.addr,
            stack_hi: goroutine.stack_hi,
            thread: Some(self.thread),
        })
    }
}

/// What a passing comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: the thread goes on.
    GoOn,
    /// All threads stop.
    Stop(StopReason),
    /// The thread has been moved on already.
    Moved,
}

/// A breakpoint that a thread has come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// Which.
    pub(super) id: BreakpointId,
    /// How far the kernel has decided whether it acts.
    pub(super) decided: Decided,
}

/// How far the kernel has decided whether a breakpoint acts on a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    /// Not at all: it has not seen the hit, or the condition had no value there. It has not counted it.
    NotAtAll,
    /// The condition was true, and the hit was counted, but not for its goroutine, whose number decides.
    ButForGoroutine,
    /// The condition was true, the hit was counted, and the hit condition holds.
    Wholly,
}

impl Decided {
    /// What the flags of a record say.
    pub(super) fn of(flags: Flags) -> Decided {
        if flags.has(Flags::CONDITION_UNKNOWN) {
            Decided::NotAtAll
        } else if flags.has(Flags::HITS_UNKNOWN) {
            Decided::ButForGoroutine
        } else {
            Decided::Wholly
        }
    }
}

/// What the temporaries at a site come to.
enum Arrival {
    /// Nothing.
    Not,
    /// The step has arrived.
    Arrived(Option<Returning>),
    /// The step goes on in the body of a range-over-func loop: its plan is made anew there.
    InBody,
}

impl Control {
    /// A thread has hit the int3 of a site; its program counter is on the site again.
    pub(super) fn on_site(&mut self, thread: Tid, addr: ProcAddr) {
        match self.judge(thread, addr) {
            Outcome::Stop(reason) => self.stop_for(thread, reason),
            Outcome::GoOn => self.resume_thread(thread),
            Outcome::Moved => {}
        }
    }

    /// As [`Control::on_site`] for a thread that has come there while all were being stopped: why it would have stopped them, if it would.
    pub(super) fn judge_at_stop(&mut self, thread: Tid, addr: ProcAddr) -> Option<StopReason> {
        match self.judge(thread, addr) {
            Outcome::Stop(reason) => Some(reason),
            Outcome::GoOn | Outcome::Moved => None,
        }
    }

    /// Lets one thread go on.
    pub(super) fn resume_thread(&mut self, thread: Tid) {
        self.standing.remove(&thread);
        let Some(inferior) = self.inferior.as_mut() else { return };
        if let Err(error) = inferior.resume(thread, false) {
            // A thread that was killed meanwhile is told of by its own event.
            tracing::debug!("thread {} could not be resumed: {error}", thread.0);
        }
    }

    /// The thread's registers and goroutine; `None` when it is gone.
    pub(super) fn passer(&self, thread: Tid, addr: FileAddr) -> Option<Passer> {
        let inferior = self.inferior.as_ref()?;
        let registers = inferior.general_registers(thread).ok()?;
        let goroutine = match (&self.layout, &self.memory) {
            (Some(layout), Some(memory)) => running_goroutine(&**memory, layout, &registers).ok().flatten(),
            _ => None,
        };
        Some(Passer {
            thread,
            addr,
            registers,
            goroutine,
        })
    }

    fn judge(&mut self, thread: Tid, addr: ProcAddr) -> Outcome {
        self.judge_arrival(thread, self.bias.to_file(addr), Vec::new())
    }

    /// What a thread's coming to an address means for the users of that, and for breakpoints whose probe there has stopped it.
    pub(super) fn judge_arrival(&mut self, thread: Tid, addr: FileAddr, mut arrived: Vec<Arrived>) -> Outcome {
        let mut temporaries = Vec::new();
        if let Some(users) = self.sites.users(addr) {
            for id in &users.breakpoints {
                if !arrived.iter().any(|arrived| arrived.id == *id) {
                    arrived.push(Arrived {
                        id: *id,
                        decided: Decided::NotAtAll,
                    });
                }
            }
            temporaries.clone_from(&users.temporaries);
        }
        if arrived.is_empty() && temporaries.is_empty() {
            return Outcome::GoOn;
        }
        // A client that is told of several knows them in the order in which they were set.
        arrived.sort_by_key(|arrived| arrived.id);
        let Some(passer) = self.passer(thread, addr) else {
            return Outcome::GoOn;
        };
        // Whoever was judged here is not judged again before it has gone on.
        let is_judged = !arrived.is_empty();
        let mut at = Vec::new();
        let mut failure = None;
        for Arrived { id, decided } in arrived {
            match self.passes_breakpoint(&passer, id, decided) {
                Ok(true) => at.push(id),
                Ok(false) => {}
                // A condition that cannot be evaluated stops the program, and the client is told why, as Delve does.
                Err(why) => {
                    at.push(id);
                    failure = failure.or(Some(why));
                }
            }
        }
        if is_judged {
            self.standing.insert(thread, at.clone());
        }
        let arrival = self.passes_temporaries(&passer, &temporaries);
        if let Some(step) = &mut self.step
            && step.seen.take_if(|seen| *seen == (thread, addr)).is_some()
        {
            return Outcome::GoOn;
        }
        if let Some(why) = failure {
            self.cancel_step_of(&passer);
            return Outcome::Stop(StopReason::Failed(why));
        }
        match arrival {
            Arrival::Arrived(returning) => {
                self.finish_step(&passer, returning);
                Outcome::Stop(StopReason::Step)
            }
            Arrival::InBody if self.phase == Phase::Stopped => {
                self.finish_step(&passer, None);
                Outcome::Stop(StopReason::Step)
            }
            Arrival::InBody => match self.step_on_in_body(&passer) {
                Ok(()) => Outcome::Moved,
                Err(error) => Outcome::Stop(StopReason::Failed(error.to_string())),
            },
            Arrival::Not if at.is_empty() => Outcome::GoOn,
            Arrival::Not => {
                // A breakpoint on the stepping goroutine ends its step; on another one it interrupts it.
                self.cancel_step_of(&passer);
                Outcome::Stop(self.breakpoint_reason(&passer, at))
            }
        }
    }

    fn breakpoint_reason(&mut self, passer: &Passer, at: Vec<BreakpointId>) -> StopReason {
        if at.contains(&Exception::UnrecoveredPanic.id()) {
            self.cancel_step();
            StopReason::UnrecoveredPanic {
                value: self.exception_text(passer, Exception::UnrecoveredPanic),
            }
        } else if at.contains(&Exception::FatalThrow.id()) {
            StopReason::FatalThrow {
                text: self.exception_text(passer, Exception::FatalThrow),
            }
        } else {
            StopReason::Breakpoint(at)
        }
    }

    /// Whether a breakpoint acts on this passing and is to stop the program. A logpoint logs, and does not. What the kernel has found true is looked at again:
    /// other threads may have changed what it has seen.
    fn passes_breakpoint(&mut self, passer: &Passer, id: BreakpointId, decided: Decided) -> Result<bool, String> {
        let goroutine = passer.goroutine.as_ref().map(|goroutine| goroutine.id);
        let Some(logical) = self.breakpoints.get(id) else {
            // The debugger's own have no terms. Any other was taken out after the thread had come to it.
            if is_own(id) {
                let tally = &mut self.own.entry(id).or_default().hits;
                tally.total += 1;
                if let Some(goroutine) = goroutine {
                    *tally.by_goroutine.entry(goroutine).or_default() += 1;
                }
            }
            return Ok(is_own(id));
        };
        let condition = logical.parsed.condition.clone();
        let told_apart = logical.told_apart;
        let held = condition.map_or(Ok(true), |condition| self.holds(passer, &condition));
        if held == Ok(false) {
            return Ok(false);
        }
        // One that has no value counts as one that holds, as in Delve.
        let acts = match decided {
            Decided::Wholly => {
                if !told_apart {
                    self.count_hit_of(id, goroutine);
                }
                true
            }
            Decided::ButForGoroutine => {
                let of_goroutine = self.count_hit_of(id, goroutine);
                let number = of_goroutine.or_else(|| self.breakpoints.get(id).map(|logical| self.hits_of(logical)));
                number.is_none_or(|number| self.hit_condition_holds(id, number))
            }
            Decided::NotAtAll => {
                let of_goroutine = self.count_hit_of(id, goroutine);
                self.count_hit(id, of_goroutine)
            }
        };
        if !acts {
            return Ok(false);
        }
        held?;
        let Some(logical) = self.breakpoints.get(id) else {
            return Ok(false);
        };
        if logical.recorded.is_some() {
            // What else stops here has taken its probe away meanwhile.
            let (file, line) = logical.at.clone().unwrap_or_default();
            self.events.suppress(&file, line, 1);
            return Ok(false);
        }
        if logical.stops() {
            return Ok(true);
        }
        self.log(passer, id);
        Ok(false)
    }

    /// Counts a hit of a goroutine; answers its number, where there is a goroutine.
    fn count_hit_of(&self, id: BreakpointId, goroutine: Option<i64>) -> Option<u64> {
        let logical = self.breakpoints.get(id)?;
        let goroutine = goroutine?;
        let here = count_of_goroutine(&logical.by_goroutine, goroutine);
        let in_kernel = match logical.hits {
            Hits::InKernel(counter) => {
                let pid = self.pid.cast_unsigned();
                self.probes.hits_of_goroutine(counter, pid, goroutine.cast_unsigned())
            }
            Hits::Here(_) => 0,
        };
        Some(here + in_kernel)
    }

    /// Counts a hit, which is the goroutine's `of_goroutine`th; answers whether the breakpoint acts on it by its hit condition.
    fn count_hit(&mut self, id: BreakpointId, of_goroutine: Option<u64>) -> bool {
        let Some(logical) = self.breakpoints.get_mut(id) else {
            return false;
        };
        let number = match logical.hits {
            Hits::Here(ref mut hits) => {
                *hits += 1;
                *hits
            }
            Hits::InKernel(counter) => self.probes.count_hit(counter),
        };
        let number = of_goroutine
            .filter(|_| logical.extra.hits_per_goroutine)
            .unwrap_or(number);
        self.hit_condition_holds(id, number)
    }

    fn hit_condition_holds(&self, id: BreakpointId, number: u64) -> bool {
        let logical = self.breakpoints.get(id);
        logical.is_some_and(|logical| {
            let condition = logical.parsed.hit_condition;
            condition.is_none_or(|condition| condition.holds(number))
        })
    }

    /// The stack of a thread that alone stands still, as deep as wanted.
    pub(super) fn stack_of(&self, passer: &Passer, depth: usize) -> Option<Stack> {
        let memory = self.memory.as_ref()?;
        Some(unwind(&self.binary, self.bias, &**memory, &passer.registers, depth))
    }

    fn holds(&self, passer: &Passer, condition: &crate::expr::Expr) -> Result<bool, String> {
        let stack = self.stack_of(passer, 1).ok_or(NOT_TRACED)?;
        let frame = stack.frames.first().ok_or("empty stack trace")?;
        let memory = self.memory.as_ref().ok_or(NOT_TRACED)?;
        let around = Around {
            hits: &|breakpoint| self.hits_by_name(breakpoint),
            frames: &|| self.stack_of(passer, MAX_DEPTH).map(Arc::new),
        };
        let scope = FrameScope::new(&self.binary, self.bias, &**memory, frame)
            .with_goroutine(passer.context())
            .with_around(around);
        scope.truth(condition).map_err(|error| match error.to_string() {
            own if own.starts_with("condition expression") => own,
            other => format!("error evaluating expression: {other}"),
        })
    }

    /// Writes the message of a logpoint that lies on a stop site.
    fn log(&mut self, passer: &Passer, id: BreakpointId) {
        let Some(logical) = self.breakpoints.get(id) else {
            return;
        };
        let Some(template) = logical.parsed.log.clone() else {
            return;
        };
        let (file, line) = logical.at.clone().unwrap_or_default();
        let (Some(stack), Some(memory)) = (self.stack_of(passer, 1), self.memory()) else {
            return;
        };
        let text = match stack.frames.first() {
            Some(frame) => {
                let scope = FrameScope::new(&self.binary, self.bias, &*memory, frame).with_goroutine(passer.context());
                super::message::text(&template, &scope)
            }
            None => "{eval err: empty stack trace}".to_owned(),
        };
        let _ = self.events.send(Event::Log {
            goroutine: passer.goroutine.as_ref().map_or(0, |goroutine| goroutine.id),
            text,
            file,
            line,
        });
    }

    fn passes_temporaries(&mut self, passer: &Passer, temporaries: &[Temporary]) -> Arrival {
        let mut arrival = Arrival::Not;
        let mut returning = None;
        for temporary in temporaries {
            if !temporary.counts || !self.concerns(passer, temporary) {
                continue;
            }
            match temporary.kind {
                Kind::Land => {
                    returning = returning.or_else(|| temporary.returning.clone());
                    arrival = Arrival::Arrived(None);
                }
                Kind::LandIfDeferred { on_return } => {
                    if self.is_deferred_call(passer, on_return) {
                        arrival = Arrival::Arrived(None);
                    }
                }
                Kind::FollowCall => self.follow_call(passer),
                Kind::FollowNewGoroutine => self.follow_new_goroutine(passer),
                Kind::StepOnInBody => {
                    if matches!(arrival, Arrival::Not) {
                        arrival = Arrival::InBody;
                    }
                }
                Kind::LeaveBody(body) => self.leave_body(body),
            }
        }
        match arrival {
            Arrival::Arrived(_) => Arrival::Arrived(returning),
            other => other,
        }
    }

    fn concerns(&mut self, passer: &Passer, temporary: &Temporary) -> bool {
        let same = match (temporary.follow, &passer.goroutine) {
            (Follow::Goroutine(id), Some(goroutine)) => goroutine.id == id,
            (Follow::Thread(thread), _) => passer.thread == thread,
            (Follow::Goroutine(_), None) => false,
        };
        same && match temporary.frame {
            FrameIs::Any => true,
            FrameIs::At(offset) => self.frame_offset(passer) == Some(offset),
            FrameIs::BodyOf(offset) => self.body_parent_offset(passer) == Some(offset),
        }
    }

    /// Where the innermost frame of a passer lies, as [`FrameIs::At`] measures it.
    pub(super) fn frame_offset(&mut self, passer: &Passer) -> Option<i64> {
        let CfaRule { register, offset } = self.cfa_rule(passer.addr)?;
        let cfa = passer.registers.general(register)?.wrapping_add_signed(offset);
        Some(match &passer.goroutine {
            Some(goroutine) if !goroutine.on_system_stack => cfa.wrapping_sub(goroutine.stack_hi.0).cast_signed(),
            _ => cfa.cast_signed(),
        })
    }

    /// The rule of an address: looked up once.
    fn cfa_rule(&mut self, addr: FileAddr) -> Option<CfaRule> {
        if let Some(rule) = self.cfa_rules.get(&addr) {
            return *rule;
        }
        let rule = self.binary.cfa(addr).ok();
        self.cfa_rules.insert(addr, rule);
        rule
    }

    /// The goroutine that a thread runs, or the thread itself.
    pub(super) fn whose(&self, thread: Tid) -> Whose {
        let Some(inferior) = self.inferior.as_ref() else {
            return Whose::Thread(thread);
        };
        let goroutine = match (&self.layout, &self.memory, inferior.general_registers(thread)) {
            (Some(layout), Some(memory), Ok(registers)) => {
                running_goroutine(&**memory, layout, &registers).ok().flatten()
            }
            _ => None,
        };
        goroutine.map_or(Whose::Thread(thread), |goroutine| Whose::Goroutine(goroutine.id))
    }

    /// Which thread a halt shows: the one that was selected by the kernel to begin with if it runs a goroutine, else any that does.
    pub(super) fn thread_to_show(&self) -> Tid {
        let first = Tid(self.pid);
        let Some(inferior) = self.inferior.as_ref() else {
            return first;
        };
        let runs_one = |thread: &Tid| matches!(self.whose(*thread), Whose::Goroutine(_));
        if runs_one(&first) {
            return first;
        }
        inferior.threads().into_iter().find(runs_one).unwrap_or(first)
    }
}
