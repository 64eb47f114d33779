//! What a stopped program shows: goroutines, stacks, scopes, variables.
//!
//! Everything here looks through [`Stopped`], which a process under ptrace implements, and a core file can. Nothing here knows ptrace or a protocol,
//! and nothing here moves the program.

mod allocation;
mod ancestors;
mod assign;
mod calls;
mod channel_waiters;
mod deferred;
mod defers;
mod escape;
mod frame_memory;
mod g;
mod goroutine;
mod labels;
mod libraries;
mod package_variables;
mod places;
mod registers;
mod scope;
mod stack;
mod stack_window;
mod start_function;
#[cfg(test)]
mod tests;
mod threads;
mod unwind;
mod wait_reason;
mod walk;

pub(crate) use ancestors::{Ancestor, ancestors};
pub(crate) use assign::Write;
pub(crate) use calls::{CallBook, CallRequest, CallStatement, Reached, ResultPlace};
pub(crate) use deferred::{Deferred, deferred_by_frame};
pub(crate) use defers::{DeferLayout, deferred_calls};
pub(crate) use g::{RunningGoroutine, load_bias, running_goroutine};
pub(crate) use goroutine::{goroutine, goroutines, is_users};
pub(crate) use libraries::{Library, libraries};
pub(crate) use package_variables::{all_package_variables, package_variables};
pub(crate) use registers::Registers;
pub(crate) use scope::{Around, FrameScope, GoroutineContext};
pub(crate) use stack::{StackOptions, stack, stack_with, unwind};
pub(crate) use threads::{ThreadState, threads};

use std::sync::Arc;

use spelunk_dwarf::{Binary, FileAddr, FunctionInfo, LoadBias, ProcAddr};

use crate::value::{Memory, Value};

/// A thread's number in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tid(pub(crate) i32);

/// A program none of whose threads moves.
pub(crate) trait Stopped {
    /// What describes it.
    fn binary(&self) -> &Arc<Binary>;
    /// Where that binary lies in the process.
    fn bias(&self) -> LoadBias;
    /// Its memory, as it would be without a debugger: what was patched reads as the original.
    fn memory(&self) -> &dyn Memory;
    /// Its threads, in ascending order.
    fn threads(&self) -> Vec<Tid>;
    /// A thread's registers, the vector registers included.
    fn registers(&self, thread: Tid) -> Result<Registers, InspectError>;
}

/// Why something could not be looked at. The text is a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InspectError {
    /// No goroutine has that number.
    #[error("unknown goroutine {0}")]
    UnknownGoroutine(i64),
    /// The stack has no frame of that number.
    #[error("frame {frame} does not exist in goroutine {goroutine}")]
    UnknownFrame {
        /// The goroutine.
        goroutine: i64,
        /// Counted from 0, the innermost.
        frame: usize,
    },
    /// Carries a whole sentence from the layer that failed.
    #[error("{0}")]
    Failed(String),
}

/// Whose stack is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Whose {
    /// A goroutine's, by its number.
    Goroutine(i64),
    /// That of a thread which runs no goroutine.
    Thread(Tid),
}

/// A place in the program's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The program counter.
    pub(crate) pc: ProcAddr,
    /// The source file as the binary names it.
    pub(crate) file: Option<Arc<str>>,
    /// Its line; 0 when unknown.
    pub(crate) line: u32,
    /// The function; the inlined one where the code was inlined.
    pub(crate) function: Option<Arc<str>>,
}

/// A goroutine's state (`runtime/runtime2.go`, the constants `_Gidle` and following, without the scan bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoroutineStatus {
    /// `_Gidle`
    Idle,
    /// `_Grunnable`
    Runnable,
    /// `_Grunning`
    Running,
    /// `_Gsyscall`
    Syscall,
    /// `_Gwaiting`
    Waiting,
    /// `_Gdead`
    Dead,
    /// `_Gcopystack`
    CopyStack,
    /// `_Gpreempted`
    Preempted,
    /// A number that this program's runtime is not known to use.
    Other(u32),
}

/// A goroutine at a stop.
#[derive(Clone, Debug)]
#[allow(
    dead_code,
    reason = "DAP has no place for why a goroutine waits, and Delve's clients expect none"
)]
pub(crate) struct Goroutine {
    /// `g.goid`
    pub(crate) id: i64,
    /// Where its `g` is.
    pub(crate) addr: ProcAddr,
    /// The thread that runs it, if one does.
    pub(crate) thread: Option<Tid>,
    /// What it does.
    pub(crate) status: GoroutineStatus,
    /// The same as the runtime's number, without the scan bit.
    pub(crate) status_number: u32,
    /// Why it waits, in the runtime's own words (`runtime.waitReasonStrings`); empty when it does not wait.
    pub(crate) wait_reason: Arc<str>,
    /// The same as the runtime's number (`g.waitreason`), which means something only while it waits.
    pub(crate) wait_reason_number: u8,
    /// Since when it waits, in the runtime's nanoseconds (`g.waitsince`); 0 when unknown.
    pub(crate) wait_since: i64,
    /// The upper end of its stack, from which stack depths are measured.
    pub(crate) stack_hi: ProcAddr,
    /// Where it stands.
    pub(crate) current: Location,
    /// Where it stands in code that is not the runtime's: the innermost frame outside of packages `runtime` and below, as Delve's `UserCurrent`.
    pub(crate) user_current: Location,
    /// The `go` statement that started it.
    pub(crate) go_statement: Location,
    /// Its first function.
    pub(crate) start: Location,
    /// Labels that `runtime/pprof` hung on it, sorted by key.
    pub(crate) labels: Vec<(String, String)>,
    /// Whether the runtime started it for itself (garbage collector, finalizers): `runtime.isSystemGoroutine`.
    pub(crate) is_system: bool,
}

/// One call on a stack; an inlined call is a frame of its own.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Where it stands: for the innermost frame the next instruction, for others the return address.
    pub(crate) pc: ProcAddr,
    /// The address to look up lines, variables and inlined calls with: within the call instruction for a frame that has called, `pc` for one that was
    /// stopped or interrupted.
    pub(crate) lookup_pc: FileAddr,
    /// File, line and function as the source shows them.
    pub(crate) location: Location,
    /// The function whose code it is, which differs from `location.function` for an inlined call; `None` for code without debug information.
    pub(crate) info: Option<Arc<FunctionInfo>>,
    /// How many inlined calls of `lookup_pc` enclose this one: 0 for the function itself, 1 for the outermost inlined call in it, and so on, as an index
    /// plus one into [`spelunk_dwarf::Scope::inlined_at`].
    pub(crate) inline_depth: usize,
    /// The canonical frame address.
    pub(crate) cfa: ProcAddr,
    /// The registers as they are in this frame; those that a callee may have changed without a trace are unknown.
    pub(crate) registers: Registers,
    /// On a thread's system stack rather than the goroutine's.
    pub(crate) on_system_stack: bool,
    /// Of the body of a loop over a function: the frames of the bodies and of the function that it stands in, innermost first, where they were looked for. Their
    /// variables are in scope in the body.
    pub(crate) enclosing: Option<Arc<[Frame]>>,
    /// Where on the stack the return address lies; `None` for the last frame and for inlined ones.
    #[allow(dead_code, reason = "what holds a walk over a stack together, for tests")]
    pub(crate) return_address_at: Option<ProcAddr>,
}

/// A stack as far as it was asked for and could be unwound.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Innermost first.
    pub(crate) frames: Vec<Frame>,
    /// Whether the last frame is the goroutine's first function.
    pub(crate) complete: bool,
    /// Why unwinding ended early.
    pub(crate) error: Option<String>,
    /// The address that could not be read, if that is why.
    pub(crate) unreadable_at: Option<ProcAddr>,
}

/// A frame of a stack by its number, 0 the innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FrameRef {
    /// Whose stack.
    pub(crate) whose: Whose,
    /// Which frame.
    pub(crate) frame: usize,
    /// The number of a deferred call of that frame, the next one to be made being 1; 0 for the frame itself.
    pub(crate) deferred: usize,
}

/// A variable of a frame with its value.
#[derive(Clone, Debug)]
pub(crate) struct ScopedValue {
    /// The value; its name is the variable's.
    pub(crate) value: Value,
    /// A parameter.
    pub(crate) is_parameter: bool,
    /// A result.
    pub(crate) is_result: bool,
    /// A variable of the same name in a block further in hides it.
    pub(crate) shadowed: bool,
    /// The line of its declaration, 0 when unknown.
    #[allow(dead_code, reason = "tells variables of one name apart, in tests")]
    pub(crate) decl_line: u32,
}
