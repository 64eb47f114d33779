//! Calls of the program's functions, made by Go's own protocol for debuggers.
//!
//! The protocol is described at `runtime·debugCallV2` in Go's `src/runtime/asm_amd64.s` (Go 1.17 and later). A thread that stands in a goroutine's code is sent
//! there as if that code had called it. The runtime looks whether the place is safe, starts a goroutine for the call on the same thread, to which it stays
//! locked, and asks for each next thing by an `int3` with a number in R12: for the call itself, for its results to be read, for its panic to be read, and
//! in the end for the registers to be put back.
//!
//! An expression may need several calls. Each next one is injected where the one before has just returned, on its goroutine: so the runtime keeps alive
//! what was returned, as it looks through all that a goroutine has which is interrupted in this way. When the last has returned and the expression has its
//! value, all of them are left, one after the other.
//!
//! The program runs while a call is under way, all threads of it, and whatever stops it then is told like any stop. The call stays pending, and goes on when
//! the program does.

use std::ops::Range;
use std::sync::Arc;

use spelunk_dwarf::{DwarfReg, FileAddr, ProcAddr};

use super::control::{Control, NOT_TRACED, failed};
use super::inspection::write_register;
use super::{DebugError, StopReason};
use crate::inspect::{
    CallBook, CallRequest, CallStatement, Frame, FrameRef, FrameScope, GoroutineContext, GoroutineStatus, Reached,
    ResultPlace, Tid, Whose, Write,
};
use crate::process::SavedThread;
use crate::trace::PassedAt;
use crate::value::{LoadConfig, Loader, Memory, Traits, Value};

/// The runtime's entry point.
const ENTRY: &str = "runtime.debugCallV2";
/// How much room the runtime needs on the goroutine's stack, in bytes.
const MIN_STACK: u64 = 256;
/// So many calls may be made for one expression: each is a goroutine that waits for the next.
const MAX_CALLS: usize = 256;
/// Where the runtime says what it wants.
const PROTOCOL: DwarfReg = DwarfReg(12);
/// Of the reason of a refusal no more bytes are read: its length is the program's to say.
const MAX_REASON: u64 = 1 << 10;

/// What a call has come to, for whoever asked for it.
#[derive(Clone, Debug)]
pub(crate) struct CallOutcome {
    /// The thread that made it.
    pub(crate) thread: Tid,
    /// The results, or what the expression has come to; `None` for an assignment, which has no value. Or why there is nothing.
    pub(crate) values: Result<Option<Vec<Value>>, String>,
}

/// An expression that is being evaluated, with its calls.
pub(super) struct Injection {
    /// Where the goroutine stands, as it was at the beginning: nobody moves it meanwhile.
    frame: Frame,
    context: Option<GoroutineContext>,
    /// The goroutine's `runtime.g`, and its stack at the beginning.
    goroutine: ProcAddr,
    stack: Option<Range<u64>>,
    /// Whether the thread has been told of the breakpoint at which it stands; it is not told again then when it goes on.
    stood: bool,
    /// At one address: the calls in it are known by theirs.
    statement: Arc<CallStatement>,
    config: LoadConfig,
    book: CallBook,
    /// The calls that have not been left, each injected where the one before has returned.
    under_way: Vec<Injected>,
    /// Set when nothing more is to be called.
    values: Option<Result<Option<Vec<Value>>, String>>,
}

/// A result and its bytes; those that nobody knows are missing.
type Returned = (ResultPlace, Vec<Option<u8>>);

/// A call that was injected.
struct Injected {
    request: CallRequest,
    /// What the thread was, and is to be again.
    saved: SavedThread,
    /// The stack that it was injected on.
    stack: Range<u64>,
}

/// What becomes of a thread that the protocol has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It goes on.
    GoOn,
    /// The expression is done with, and the thread stands where it stood.
    Finished,
}

/// An expression, or an assignment, that is to be evaluated with calls of the target's functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallWish {
    /// The goroutine.
    pub(crate) whose: Whose,
    /// The expression, or `what = value`.
    pub(crate) expression: String,
    /// How much of the results is loaded.
    pub(crate) config: LoadConfig,
    /// Whether no function may be handed a pointer into a stack.
    pub(crate) check_escape: bool,
}

impl Control {
    /// As [`super::Session::call_expression`].
    pub(super) fn start_call(&mut self, wish: CallWish) -> Result<(), DebugError> {
        self.require_stopped()?;
        let CallWish {
            whose,
            expression: text,
            config,
            check_escape,
        } = wish;
        let Whose::Goroutine(id) = whose else {
            return Err(failed("no goroutine selected"));
        };
        let goroutine = self.goroutine(id)?;
        let (Some(thread), GoroutineStatus::Running) = (goroutine.thread, goroutine.status) else {
            return Err(failed("selected goroutine not running"));
        };
        if self.injections.contains_key(&thread) {
            return Err(failed(
                "cannot call function while another function call is already in progress",
            ));
        }
        if self.binary.function_named(ENTRY).is_none() {
            return Err(failed("function calls not supported by this version of Go"));
        }
        let statement = CallStatement::parse(&text).map_err(failed)?;
        let context = self.context(whose);
        let frame = self.frame(FrameRef {
            whose,
            frame: 0,
            deferred: 0,
        })?;
        let stack = self.stack_span(goroutine.addr);
        let mut injection = Injection {
            frame,
            context,
            goroutine: goroutine.addr,
            stack: stack.clone(),
            stood: self.standing.contains_key(&thread),
            statement: Arc::new(statement),
            config,
            book: CallBook::new(stack.into_iter().collect(), check_escape),
            under_way: Vec::new(),
            values: None,
        };
        self.advance(thread, &mut injection);
        if !injection.under_way.is_empty() {
            self.injections.insert(thread, injection);
            return self.go_on();
        }
        // Nothing had to be called, or could be.
        let values = injection
            .values
            .unwrap_or_else(|| Err("nothing was evaluated".to_owned()));
        let values = values.map_err(DebugError::Failed)?;
        self.called = Some(CallOutcome {
            thread,
            values: Ok(values),
        });
        self.stop_for(thread, StopReason::CallReturned);
        Ok(())
    }

    /// As [`super::Session::call_outcome`].
    pub(super) fn call_outcome(&self) -> Option<CallOutcome> {
        self.seen.called.clone()
    }

    /// Whether a thread that has come to an `int3` of the program's own was stopped by the protocol.
    pub(super) fn is_call_trap(&self, thread: Tid) -> bool {
        if !self.injections.contains_key(&thread) {
            return false;
        }
        let registers = self
            .inferior
            .as_ref()
            .and_then(|inferior| inferior.general_registers(thread).ok());
        let Some(behind) = registers.and_then(|registers| registers.pc()) else {
            return false;
        };
        let at = self.bias.to_file(ProcAddr(behind.wrapping_sub(1)));
        self.binary
            .function_at(at)
            .is_some_and(|function| is_of_protocol(&function.name))
    }

    /// The protocol has stopped a thread, and everything else runs.
    pub(super) fn on_call_trap(&mut self, thread: Tid) {
        // What is read of results and panics is not to change meanwhile.
        if let Some(inferior) = self.inferior.as_mut()
            && let Err(error) = inferior.stop_all()
        {
            tracing::error!("the target could not be stopped: {error}");
            return self.on_lost(&error.to_string());
        }
        if self.obey(thread) == Then::GoOn
            && let Some(inferior) = self.inferior.as_mut()
            && let Err(error) = inferior.resume_all()
        {
            tracing::debug!("the target could not be resumed: {error}");
        }
    }

    /// Serves the threads that the protocol had stopped when all were; answers whether the target has come to rest by that.
    pub(super) fn serve_call_traps(&mut self) -> bool {
        while let Some(thread) = self.call_traps.pop() {
            if self.obey(thread) == Then::Finished {
                return true;
            }
        }
        false
    }

    /// Does what the runtime asks for.
    fn obey(&mut self, thread: Tid) -> Then {
        let Some(mut injection) = self.injections.remove(&thread) else {
            return Then::GoOn;
        };
        if let Err(error) = self.serve(thread, &mut injection) {
            let why = error.to_string();
            injection.values.get_or_insert(Err(why));
        }
        if !injection.under_way.is_empty() {
            self.injections.insert(thread, injection);
            return Then::GoOn;
        }
        self.called = Some(CallOutcome {
            thread,
            values: injection
                .values
                .unwrap_or_else(|| Err("the call was abandoned".to_owned())),
        });
        if injection.stood {
            // By no breakpoint, as in Delve: that was the stop before.
            self.standing.insert(thread, Vec::new());
        }
        self.stop_for(thread, StopReason::CallReturned);
        Then::Finished
    }

    fn serve(&mut self, thread: Tid, injection: &mut Injection) -> Result<(), DebugError> {
        /// The numbers are those of `runtime·debugCallV2`.
        const MAKE_CALL: u64 = 0;
        const READ_RESULTS: u64 = 1;
        const READ_PANIC: u64 = 2;
        const REFUSED: u64 = 8;
        const RESTORE: u64 = 16;

        let registers = self.traced()?.general_registers(thread).map_err(failed)?;
        let asked = registers.general(PROTOCOL);
        match asked {
            Some(MAKE_CALL) if injection.values.is_none() => match injection.under_way.last() {
                Some(injected) => self.enter(thread, &injected.request),
                None => Ok(()),
            },
            Some(READ_RESULTS) if injection.values.is_none() => {
                let results = match injection.under_way.last() {
                    Some(injected) => Some((injected.request.key, self.results(thread, &injected.request)?)),
                    None => None,
                };
                if let Some((key, results)) = results {
                    injection.book.keep(key, results);
                }
                injection.book.stacks.extend(self.own_stack(thread));
                self.advance(thread, injection);
                Ok(())
            }
            Some(READ_PANIC) => {
                let value = self.panic_value(thread, injection.config)?;
                injection.values.get_or_insert(Ok(Some(vec![value])));
                Ok(())
            }
            Some(REFUSED) => {
                let why = self.reason(thread)?;
                injection.values.get_or_insert(Err(why));
                Ok(())
            }
            Some(RESTORE) => {
                let Some(injected) = injection.under_way.pop() else {
                    return Ok(());
                };
                let moved = self.own_stack(thread).and_then(|now| {
                    let by = now.end.wrapping_sub(injected.stack.end);
                    (by != 0).then_some((injected.stack, by))
                });
                let inferior = self.traced_mut()?;
                inferior.restore_thread(thread, &injected.saved, moved).map_err(failed)
            }
            // A number that nobody knows asks for nothing, and neither does anything else once there is nothing more to call.
            _ => Ok(()),
        }
    }

    /// Evaluates as far as possible, and injects the next call.
    fn advance(&mut self, thread: Tid, injection: &mut Injection) {
        match self.reach(injection) {
            Ok(Reached::Values(values)) => injection.values = Some(Ok(Some(values))),
            Ok(Reached::Changes(changes)) => {
                let changed = changes
                    .into_iter()
                    .try_for_each(|change| self.change(thread, injection, change));
                injection.values = Some(changed.map(|()| None).map_err(|error| error.to_string()));
            }
            Ok(Reached::Call(request)) => {
                if let Err(error) = self.inject(thread, *request, injection) {
                    injection.values = Some(Err(error.to_string()));
                }
            }
            Err(why) => injection.values = Some(Err(why)),
        }
    }

    fn reach(&self, injection: &Injection) -> Result<Reached, String> {
        let memory = self.memory.as_ref().ok_or(NOT_TRACED)?;
        let scope = FrameScope::new(&self.binary, self.bias, &**memory, &injection.frame)
            .with_goroutine(injection.context)
            .with_calls(&injection.book);
        scope
            .evaluate_with_calls(&injection.statement, injection.config)
            .map_err(|error| error.to_string())
    }

    /// Makes a change that an assignment asks for. A register is that of the goroutine where it stood: it has its value again when the calls are left.
    fn change(&mut self, thread: Tid, injection: &mut Injection, change: Write) -> Result<(), DebugError> {
        if self.stack_span(injection.goroutine) != injection.stack {
            return Err(failed(
                "the goroutine's stack was moved while its functions were called; assign once more",
            ));
        }
        self.seen.forget_stacks();
        let inferior = self.traced_mut()?;
        match (change, injection.under_way.first_mut()) {
            (Write::Memory(addr, bytes), _) => inferior.memory().write(addr, &bytes).map_err(failed),
            (Write::Register(register, bytes), Some(first)) => {
                if !first.saved.set_register(register, &bytes) {
                    return Err(failed("the variable is in a register that cannot be set by a call"));
                }
                Ok(())
            }
            (Write::Register(register, bytes), None) => write_register(inferior, thread, register, &bytes),
        }
    }

    /// Has a thread call the runtime's entry point when it goes on.
    fn inject(&mut self, thread: Tid, request: CallRequest, injection: &mut Injection) -> Result<(), DebugError> {
        if injection.under_way.len() >= MAX_CALLS {
            return Err(DebugError::Failed(format!(
                "the expression makes more than {MAX_CALLS} calls"
            )));
        }
        let entry = self
            .binary
            .function_named(ENTRY)
            .map(|function| self.bias.to_proc(function.entry));
        let entry = entry.ok_or_else(|| failed("function calls not supported by this version of Go"))?;
        let stack = self
            .own_stack(thread)
            .ok_or_else(|| failed("selected goroutine not running"))?;
        let inferior = self.traced_mut()?;
        let saved = inferior.save_thread(thread).map_err(failed)?;
        let sp = saved.sp().0;
        if sp.saturating_sub(MIN_STACK) <= stack.start {
            return Err(failed("not enough stack space"));
        }
        let memory = inferior.memory();
        memory
            .write(ProcAddr(sp.wrapping_sub(8)), &saved.pc().0.to_le_bytes())
            .map_err(failed)?;
        // Two words below the return address.
        memory
            .write(ProcAddr(sp.wrapping_sub(24)), &request.frame_size.to_le_bytes())
            .map_err(failed)?;
        let mut registers = inferior.general_registers(thread).map_err(failed)?;
        registers.set_general(DwarfReg::RSP, Some(sp.wrapping_sub(8)));
        registers.set_general(DwarfReg::RA, Some(entry.0));
        inferior.set_registers(thread, &registers).map_err(failed)?;
        self.standing.remove(&thread);
        injection.under_way.push(Injected { request, saved, stack });
        Ok(())
    }

    /// Has a thread, which the runtime has made ready for it, enter the function.
    fn enter(&mut self, thread: Tid, request: &CallRequest) -> Result<(), DebugError> {
        let inferior = self.traced_mut()?;
        let mut registers = inferior.registers(thread).map_err(failed)?;
        let (Some(sp), Some(pc)) = (registers.sp(), registers.pc()) else {
            return Err(failed("the registers of the call are not known"));
        };
        let memory = inferior.memory();
        for (offset, bytes) in &request.stack {
            // What is the top of the stack now will be the canonical frame address of the function.
            memory
                .write(ProcAddr(sp.wrapping_add_signed(*offset)), bytes)
                .map_err(failed)?;
        }
        for (register, bytes) in &request.registers {
            if register.is_xmm() {
                let mut value = [0; 16];
                for (to, from) in value.iter_mut().zip(bytes) {
                    *to = *from;
                }
                inferior.set_vector(thread, *register, value).map_err(failed)?;
            } else {
                registers.set_general(*register, Some(u64::from_le_bytes(*bytes)));
            }
        }
        if let Some(closure) = request.closure {
            registers.set_general(DwarfReg::RDX, Some(closure.0));
        }
        memory
            .write(ProcAddr(sp.wrapping_sub(8)), &pc.to_le_bytes())
            .map_err(failed)?;
        registers.set_general(DwarfReg::RSP, Some(sp.wrapping_sub(8)));
        registers.set_general(DwarfReg::RA, Some(request.entry.0));
        inferior.set_registers(thread, &registers).map_err(failed)?;
        // A breakpoint at the function's first instruction is one that the program comes to.
        inferior.forget_told(thread);
        Ok(())
    }

    /// What a function has returned, whose call has just come back.
    fn results(&self, thread: Tid, request: &CallRequest) -> Result<Vec<Returned>, DebugError> {
        let inferior = self.traced()?;
        let registers = inferior.registers(thread).map_err(failed)?;
        let memory = inferior.memory();
        let sp = registers
            .sp()
            .ok_or_else(|| failed("the registers of the call are not known"))?;
        let mut results = Vec::with_capacity(request.results.len());
        for result in &request.results {
            // The runtime has no room for more.
            let size = usize::try_from(result.size.min(1 << 16)).unwrap_or(0);
            let bytes = match &result.place {
                None => vec![None; size],
                Some(PassedAt::Stack(offset)) => {
                    let mut bytes = vec![0; size];
                    memory
                        .read(ProcAddr(sp.wrapping_add_signed(*offset)), &mut bytes)
                        .map_err(failed)?;
                    bytes.into_iter().map(Some).collect()
                }
                Some(PassedAt::Registers { parts, .. }) => super::returns::from_registers(&registers, parts, size),
            };
            results.push((result.clone(), bytes));
        }
        if !request.fill.is_empty() {
            let room: Option<Vec<u8>> = results.first().and_then(|(_, bytes)| bytes.iter().copied().collect());
            let room = room
                .and_then(|bytes| bytes.first_chunk().copied())
                .map_or(0, u64::from_le_bytes);
            memory.write(ProcAddr(room), &request.fill).map_err(failed)?;
        }
        Ok(results)
    }

    /// The value of the panic that has ended a call.
    fn panic_value(&self, thread: Tid, config: LoadConfig) -> Result<Value, DebugError> {
        let inferior = self.traced()?;
        let registers = inferior.general_registers(thread).map_err(failed)?;
        let sp = registers.sp().ok_or_else(|| failed("could not get panic"))?;
        let ty = self
            .binary
            .type_named("interface {}")
            .ok_or_else(|| failed("could not get panic"))?;
        let memory = inferior.memory();
        let loader = Loader {
            binary: &self.binary,
            bias: self.bias,
            memory: &*memory,
            config,
        };
        let mut value = loader.load("~panic", ty, ProcAddr(sp));
        value.traits = value.traits.with(Traits::MADE_UP);
        Ok(value)
    }

    /// Why the runtime does not make a call: a string on top of the stack.
    fn reason(&self, thread: Tid) -> Result<String, DebugError> {
        let inferior = self.traced()?;
        let registers = inferior.general_registers(thread).map_err(failed)?;
        let sp = registers
            .sp()
            .ok_or_else(|| failed("could not get precheck error reason"))?;
        let memory = inferior.memory();
        let at = memory.read_uint(ProcAddr(sp), 8).map_err(failed)?;
        let len = memory.read_uint(ProcAddr(sp.wrapping_add(8)), 8).map_err(failed)?;
        let mut text = vec![0; usize::try_from(len.min(MAX_REASON)).unwrap_or(0)];
        memory.read(ProcAddr(at), &mut text).map_err(failed)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The program is let go while calls are under way. They return by themselves: where the runtime would ask for something nobody is there to be asked, and
    /// its `int3`s, which would kill the program, become instructions that do nothing. It puts the general registers back itself. What it leaves to debuggers
    /// are the flags and the vector registers, which hold nothing at the statement of a program without optimisations.
    pub(super) fn abandon_calls(&mut self) {
        const NOP: u8 = 0x90;
        if std::mem::take(&mut self.injections).is_empty() {
            return;
        }
        self.call_traps.clear();
        let Some(inferior) = self.inferior.as_mut() else { return };
        if let Err(error) = inferior.stop_all() {
            tracing::warn!("calls could not be abandoned: {error}");
            return;
        }
        let memory = inferior.memory();
        let binary = Arc::clone(&self.binary);
        for function in binary
            .functions()
            .iter()
            .filter(|function| is_of_protocol(&function.name))
        {
            let code = self.code.of(&binary, function);
            for at in code.traps() {
                if let Err(error) = memory.write(self.bias.to_proc(at), &[NOP]) {
                    tracing::warn!("a call could not be abandoned: {error}");
                }
            }
        }
    }

    /// The stack of the goroutine that a thread runs now.
    fn own_stack(&self, thread: Tid) -> Option<Range<u64>> {
        let goroutine = self.passer(thread, FileAddr(0))?.goroutine?;
        self.stack_span(goroutine.addr)
    }

    fn stack_span(&self, g: ProcAddr) -> Option<Range<u64>> {
        let (layout, memory) = (self.layout.as_ref()?, self.memory.as_ref()?);
        let word = |offset| memory.read_uint(ProcAddr(g.0.wrapping_add(offset)), 8).ok();
        Some(word(layout.g_stack_lo)?..word(layout.g_stack_hi)?)
    }
}

/// Whether a function is one of those in which the runtime speaks to debuggers. The assembler's static ones have no package.
fn is_of_protocol(name: &str) -> bool {
    name.strip_prefix("runtime.").unwrap_or(name).starts_with("debugCall")
}
