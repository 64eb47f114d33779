//! What the binary says about the addresses that stacks hold, each asked for once: ten thousand goroutines stand in a handful of places.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use spelunk_dwarf::{Binary, FileAddr, Function, FunctionInfo, LoadBias, ProcAddr, UnwindRow};

use super::Location;

/// A function that unwinding cannot treat as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// None of these.
    Ordinary,
    /// Nothing has called it: `runtime.goexit`, under each goroutine's first function.
    GoroutineEnd,
    /// Nothing has called it: the start of a thread or of the program.
    ThreadEnd,
    /// What runs on the system stack below it was called from a goroutine, whose registers are in `g.sched`: `runtime.systemstack`, and `runtime.newstack`,
    /// which `runtime.morestack` calls.
    SystemStack,
    /// As `SystemStack`; but where the scheduler has let go of the goroutine, nothing has called it: `runtime.mcall`.
    Mcall,
    /// Where the goroutine seems to be whose thread is in `SystemStack` (`runtime.systemstack_switch`): it has called nothing.
    SystemStackSwitch,
    /// Go calls C, on the system stack: `runtime.asmcgocall`.
    CallsC,
    /// C calls Go: `runtime.cgocallback`.
    CalledByC,
    /// A signal handler that the kernel has called: `runtime.sigtramp`.
    SignalEntry,
    /// Where a signal handler returns to: `runtime.sigreturn__sigaction`, or a function of the C library.
    SignalReturn,
    /// Injected by a signal handler, as if the interrupted instruction had called it: `runtime.sigpanic`, `runtime.asyncPreempt`, `runtime.debugCallV2`.
    Injected,
    /// Calls code that the kernel provides, on the system stack or on a stack that it has aligned: `runtime.nanotime1` and its like. Where it was called
    /// from is then in `m.vdsoPC` and `m.vdsoSP`.
    CallsVdso,
    /// The system call that makes a thread: `runtime.clone`.
    Clone,
}

impl Role {
    /// By the function's name in Go 1.21 to 1.27 (`runtime/asm_amd64.s`, `sys_linux_amd64.s`, `time_linux_amd64.s`, `preempt_amd64.s`).
    pub(super) fn of(name: &str) -> Role {
        match name.strip_prefix("runtime.") {
            Some("goexit") => Role::GoroutineEnd,
            Some("rt0_go" | "mstart") => Role::ThreadEnd,
            Some("systemstack" | "newstack" | "morestack") => Role::SystemStack,
            Some("mcall") => Role::Mcall,
            Some("systemstack_switch") => Role::SystemStackSwitch,
            Some("asmcgocall") => Role::CallsC,
            Some("cgocallback") => Role::CalledByC,
            Some("sigtramp" | "cgoSigtramp") => Role::SignalEntry,
            Some("sigreturn__sigaction" | "sigreturn") => Role::SignalReturn,
            Some("sigpanic" | "asyncPreempt" | "debugCallV2") => Role::Injected,
            Some("nanotime1" | "walltime" | "vgetrandom1") => Role::CallsVdso,
            Some("clone") => Role::Clone,
            None if name == "time.now" => Role::CallsVdso,
            _ => Role::Ordinary,
        }
    }
}

/// What the binary says about one address.
pub(super) struct Place<'b> {
    /// The address.
    pub(super) addr: FileAddr,
    /// The function whose code it is, not looking at inlined calls.
    pub(super) function: Option<&'b Function>,
    /// That function's name; C functions have the prefix that Delve gives them, `C.`.
    pub(super) name: Option<Arc<str>>,
    /// What unwinding has to know of that function.
    pub(super) role: Role,
    /// Whether it is Go, which keeps no register but RSP and RBP over a call, or C.
    pub(super) is_go: bool,
    /// How to unwind from there; `None` where nothing describes it.
    pub(super) row: Option<Arc<UnwindRow>>,
    line: OnceCell<Line>,
    info: OnceCell<Option<Arc<FunctionInfo>>>,
}

struct Line {
    file: Option<Arc<str>>,
    line: u32,
}

/// The places that were asked for so far.
pub(super) struct Places<'b> {
    binary: &'b Binary,
    bias: LoadBias,
    known: RefCell<HashMap<FileAddr, Rc<Place<'b>>>>,
}

impl<'b> Places<'b> {
    pub(super) fn new(binary: &'b Binary, bias: LoadBias) -> Places<'b> {
        Places {
            binary,
            bias,
            known: RefCell::default(),
        }
    }

    pub(super) fn bias(&self) -> LoadBias {
        self.bias
    }

    /// The place at `addr`. It need not be the beginning of an instruction.
    pub(super) fn at(&self, addr: FileAddr) -> Rc<Place<'b>> {
        if let Some(known) = self.known.borrow().get(&addr) {
            return Rc::clone(known);
        }
        let function = self.binary.function_at(addr);
        let written_in = self.binary.is_go_code(addr);
        let place = Rc::new(Place {
            addr,
            function,
            role: function.map_or(Role::Ordinary, |function| Role::of(&function.name)),
            is_go: written_in == Some(true),
            name: function.map(|function| match written_in {
                Some(false) => Arc::from(format!("C.{}", function.name)),
                _ => Arc::from(&*function.name),
            }),
            row: self.binary.unwind_row(addr).ok(),
            line: OnceCell::new(),
            info: OnceCell::new(),
        });
        self.known.borrow_mut().insert(addr, Rc::clone(&place));
        place
    }

    /// Whether the instruction in front of an address calls a function by its address, as all do that leave a goroutine's stack for a system stack.
    pub(super) fn is_behind_call(&self, addr: FileAddr) -> bool {
        let call = addr.offset(-5).and_then(|at| self.binary.code(at, 5));
        let Some([0xe8, distance @ ..]) = call else {
            return false;
        };
        let target = <[u8; 4]>::try_from(distance)
            .ok()
            .and_then(|distance| addr.offset(i64::from(i32::from_le_bytes(distance))));
        target.is_some_and(|target| {
            self.binary
                .function_at(target)
                .is_some_and(|called| called.entry == target)
        })
    }

    /// The description of the function at a place; `None` where there is none, as in C libraries.
    pub(super) fn info(&self, place: &Place<'b>) -> Option<Arc<FunctionInfo>> {
        let read = || self.binary.function_info(place.function?).ok();
        place.info.get_or_init(read).clone()
    }

    /// The source line of a place, and the function whose code it is, for a program counter that may lie an instruction further on.
    pub(super) fn location(&self, place: &Place<'b>, pc: ProcAddr) -> Location {
        let line = place.line.get_or_init(|| {
            let (file, line) = match self.binary.line_at(place.addr) {
                Some((file, line)) => (Some(file), line),
                None => (None, 0),
            };
            Line { file, line }
        });
        Location {
            pc,
            file: line.file.clone(),
            line: line.line,
            function: place.name.clone(),
        }
    }
}
