//! A walk over a stack, from callee to caller: over signal handlers, from a thread's system stack to its goroutine's, and through C and back.
//!
//! What is special about Go's stacks is in [`Role`]; how the runtime changes stacks is described in `runtime/asm_amd64.s` (`systemstack`, `mcall`,
//! `morestack`, `asmcgocall`, `cgocallback`) and at the top of `runtime/cgocall.go`.

use std::rc::Rc;

use spelunk_dwarf::{DwarfReg, ProcAddr, RuntimeLayout};

use super::Registers;
use super::g::{G, Saved, m_field};
use super::places::{Place, Places, Role};
use super::unwind::{Step, UnwindError, return_from, step};
use crate::value::{Memory, ReadError};

/// A program does not handle more signals at a time: each handler runs with most signals blocked.
const MAX_SIGNAL_FRAMES: u32 = 16;

/// Where the kernel keeps the interrupted registers on the stack of a signal handler, as distances from its `ucontext` in the order of DWARF's register
/// numbers, RAX to R15 and RIP (the kernel's `arch/x86/include/uapi/asm/sigcontext.h`, `struct sigcontext_64`, behind the 40 bytes of `uc_flags`, `uc_link`
/// and `uc_stack`).
const IN_UCONTEXT: [usize; 17] = [
    144, 136, 152, 128, 112, 104, 120, 160, 40, 48, 56, 64, 72, 80, 88, 96, 168,
];
/// As much of it as that is.
const UCONTEXT_SIZE: usize = 176;

/// Where `runtime.asmcgocall` keeps the goroutine and how deep it was in its stack, as distances from the stack pointer during its call of C: since Go 1.22
/// or later, and before. The first holds the `g`, or nil where it was on a system stack already; then the second holds the stack pointer itself.
const ASMCGOCALL_SLOTS: [(i64, i64); 2] = [(8, 0), (48, 40)];

/// One call, inlined ones not told apart.
pub(super) struct Call<'b> {
    /// Where it stands.
    pub(super) pc: ProcAddr,
    /// Where to look its code up.
    pub(super) place: Rc<Place<'b>>,
    /// Its canonical frame address; the stack pointer where it cannot be found.
    pub(super) cfa: ProcAddr,
    /// The registers in it.
    pub(super) registers: Registers,
    /// Whether it is on a system or signal stack.
    pub(super) on_system_stack: bool,
    /// Where its return address lies, if it returns on the same stack.
    pub(super) return_address_at: Option<ProcAddr>,
}

/// Whether the program counter is that of the next instruction, or behind a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Exactly,
    BehindCall,
}

/// The registers in a caller; `None` at the end of the stack.
type Caller = Option<(Registers, Stands)>;

/// Why a walk is over.
enum End {
    /// It has reached a function that nothing has called.
    Complete,
    /// It has gone over more signal handlers than can be.
    Cut,
    Failed(UnwindError),
}

/// A walk over a stack.
pub(super) struct Walk<'p, 'b> {
    places: &'p Places<'b>,
    memory: &'p dyn Memory,
    layout: Option<&'p RuntimeLayout>,
    /// The goroutine whose stack this is, or for which the system stack is used.
    goroutine: Option<&'p G>,
    /// The thread's `m`, 0 without one.
    m: ProcAddr,
    /// Where C left off when it called Go on this thread; unknown until it is needed.
    g0_sp: Option<u64>,
    registers: Registers,
    stands: Stands,
    innermost: bool,
    on_system_stack: bool,
    /// The last frame address on the goroutine's stack and on the system stack: they must grow, or damaged memory would be walked in circles.
    last_cfa: [Option<u64>; 2],
    signal_frames: u32,
    changes_stacks: bool,
    outside: Outside,
    end: Option<End>,
}

/// What a stack is that is not the one which the goroutine calls its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outside {
    /// That of the thread.
    System,
    /// The one it leaves: it is being moved to another, which is called its own already (`runtime.copystack`).
    Left,
}

/// What is walked over.
pub(super) struct Start<'p> {
    /// The runtime's layout; without it no stack is changed.
    pub(super) layout: Option<&'p RuntimeLayout>,
    /// The goroutine.
    pub(super) goroutine: Option<&'p G>,
    /// The `m` of the thread whose registers these are.
    pub(super) m: ProcAddr,
    /// The registers to begin with.
    pub(super) registers: Registers,
    /// Whether the walk goes from a system stack to the goroutine's, and through C.
    pub(super) changes_stacks: bool,
}

/// The registers of a goroutine that does not run.
pub(super) fn saved_registers(saved: Saved) -> Registers {
    let mut registers = Registers::default();
    registers.set_general(DwarfReg::RA, Some(saved.pc));
    registers.set_general(DwarfReg::RSP, Some(saved.sp));
    registers.set_general(DwarfReg::RBP, Some(saved.bp));
    registers
}

impl<'p, 'b> Walk<'p, 'b> {
    pub(super) fn new(places: &'p Places<'b>, memory: &'p dyn Memory, start: Start<'p>) -> Walk<'p, 'b> {
        let mut walk = Walk {
            places,
            memory,
            layout: start.layout,
            goroutine: start.goroutine,
            m: start.m,
            g0_sp: None,
            registers: start.registers,
            stands: Stands::Exactly,
            innermost: true,
            on_system_stack: true,
            last_cfa: [None; 2],
            signal_frames: 0,
            changes_stacks: start.changes_stacks,
            outside: Outside::System,
            end: None,
        };
        walk.look_where_we_are();
        walk
    }

    /// Whether the walk has reached a function that nothing has called.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.end, Some(End::Complete))
    }

    /// Why the walk ended before that.
    pub(super) fn error(&self) -> Option<&UnwindError> {
        match &self.end {
            Some(End::Failed(error)) => Some(error),
            _ => None,
        }
    }

    /// The next call, innermost first; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Call<'b>> {
        while self.end.is_none() {
            let shown = self.advance();
            if shown.is_some() {
                return shown;
            }
        }
        None
    }

    /// Goes one call further; gives none for the runtime's entry into a signal handler, which only stands between the handler and what it interrupted.
    fn advance(&mut self) -> Option<Call<'b>> {
        let pc = ProcAddr(self.registers.pc().unwrap_or(0));
        let place = self.place_of(pc);
        let mut call = Call {
            pc,
            cfa: ProcAddr(self.registers.sp().unwrap_or(0)),
            registers: self.registers.clone(),
            on_system_stack: self.on_system_stack,
            return_address_at: None,
            place: Rc::clone(&place),
        };
        let innermost = self.innermost;
        let found = step(&place, self.memory, &self.registers).and_then(|step| {
            call.cfa = step.cfa;
            self.check_growth(step.cfa, pc)?;
            Ok(step)
        });
        let return_address_at = found.as_ref().ok().and_then(|step| step.return_address_at);
        match self.caller(&place, found) {
            Ok(Some((registers, stands))) => {
                // Elsewhere it goes on upon another stack.
                call.return_address_at = return_address_at.filter(|_| registers.sp() == Some(call.cfa.0));
                self.registers = registers;
                self.stands = stands;
                self.innermost = false;
                self.look_where_we_are();
            }
            Ok(None) => {
                self.end.get_or_insert(End::Complete);
            }
            Err(error) => self.end = Some(End::Failed(error)),
        }
        let hidden = place.role == Role::SignalEntry && !innermost && self.end.is_none();
        (!hidden).then_some(call)
    }

    fn look_where_we_are(&mut self) {
        let sp = self.registers.sp().unwrap_or(0);
        let owned = self.goroutine.is_some_and(|goroutine| goroutine.owns(sp));
        self.on_system_stack = !owned && self.outside == Outside::System;
    }

    /// The place to look a program counter up at: a call may be the last instruction of its line, or of its function.
    fn place_of(&self, pc: ProcAddr) -> Rc<Place<'b>> {
        let exact = self.places.bias().to_file(pc);
        if self.stands == Stands::BehindCall
            && let Some(before) = exact.offset(-1)
        {
            let place = self.places.at(before);
            // Nothing was called there: the runtime made it look so.
            if place.role != Role::SystemStackSwitch {
                return place;
            }
        }
        self.places.at(exact)
    }

    fn check_growth(&mut self, cfa: ProcAddr, pc: ProcAddr) -> Result<(), UnwindError> {
        let last = &mut self.last_cfa[usize::from(self.on_system_stack)];
        if last.is_some_and(|last| cfa.0 <= last) {
            return Err(UnwindError::Circle { pc, cfa });
        }
        *last = Some(cfa.0);
        Ok(())
    }

    /// Where the function at `place` was called from, or what comes in place of that.
    fn caller(&mut self, place: &Place<'b>, found: Result<Step, UnwindError>) -> Result<Caller, UnwindError> {
        let role = match place.role {
            Role::SystemStack | Role::Mcall | Role::CallsC | Role::CalledByC if !self.changes_stacks => Role::Ordinary,
            role => role,
        };
        match role {
            Role::GoroutineEnd | Role::ThreadEnd => return Ok(None),
            Role::SystemStack | Role::Mcall if self.on_system_stack => {
                let Some(goroutine) = self.goroutine else {
                    return Ok(None);
                };
                let leaves = goroutine.sched.sp != 0 && !goroutine.owns(goroutine.sched.sp);
                self.outside = if leaves { Outside::Left } else { Outside::System };
                return Ok(Some(self.on_the_goroutine(goroutine.sched)));
            }
            Role::CallsC if self.on_system_stack && !self.innermost => {
                if let Some(caller) = self.caller_of_c(place)? {
                    return Ok(Some(caller));
                }
            }
            Role::CalledByC if !self.on_system_stack && !self.innermost => {
                if let Some(caller) = self.called_by_c(place)? {
                    return Ok(Some(caller));
                }
            }
            Role::SignalEntry => return self.caller_of_handler(found?.cfa),
            Role::SignalReturn if self.innermost => {
                return self.interrupted(ProcAddr(self.registers.sp().unwrap_or(0)));
            }
            Role::CallsVdso => {
                if let Some(registers) = self.before_vdso()? {
                    return Ok(Some((registers, Stands::BehindCall)));
                }
            }
            _ if place.function.is_none() && self.innermost => {
                if let Some(caller) = self.out_of_foreign_code()? {
                    return Ok(Some(caller));
                }
            }
            _ => {}
        }
        let Some(caller) = found?.caller else {
            return Ok(None);
        };
        let returns_to = ProcAddr(caller.pc().unwrap_or(0).wrapping_sub(1));
        if place.role == Role::Clone || place.row.is_none() {
            // On a new thread's stack there is nothing yet; and a frame pointer is a guess, which a return address in code confirms.
            if self
                .places
                .at(self.places.bias().to_file(returns_to))
                .function
                .is_none()
            {
                let pc = ProcAddr(self.registers.pc().unwrap_or(0));
                return match place.role {
                    Role::Clone => Ok(None),
                    _ => Err(UnwindError::Undescribed(pc)),
                };
            }
        }
        let stands = match place.role {
            Role::Injected => Stands::Exactly,
            _ => Stands::BehindCall,
        };
        Ok(Some((caller, stands)))
    }

    /// What a signal handler interrupted. The kernel puts the registers right above the return address of the function that it calls.
    fn caller_of_handler(&mut self, cfa: ProcAddr) -> Result<Caller, UnwindError> {
        let caller = return_from(self.memory, cfa)?;
        let returns_to = self
            .places
            .at(self.places.bias().to_file(ProcAddr(caller.pc().unwrap_or(0))));
        if returns_to.function.is_some() && returns_to.role != Role::SignalReturn {
            // A C function that looks at signals first has called it (`runtime.SetCgoTraceback`).
            return Ok(Some((caller, Stands::BehindCall)));
        }
        self.interrupted(cfa)
    }

    /// What a signal interrupted, from the registers that the kernel keeps for it in the `ucontext` at `at`.
    fn interrupted(&mut self, at: ProcAddr) -> Result<Caller, UnwindError> {
        self.signal_frames += 1;
        if self.signal_frames > MAX_SIGNAL_FRAMES {
            self.end = Some(End::Cut);
            return Ok(None);
        }
        let mut bytes = [0u8; UCONTEXT_SIZE];
        self.memory.read(at, &mut bytes)?;
        let mut registers = Registers::default();
        for (number, at) in (0u16..).zip(IN_UCONTEXT) {
            let word = bytes.get(at..at + 8).and_then(|raw| raw.try_into().ok());
            registers.set_general(DwarfReg(number), word.map(u64::from_le_bytes));
        }
        // A signal stack lies anywhere, and the handler may have used the system stack as well.
        self.last_cfa = [None; 2];
        Ok(Some((registers, Stands::Exactly)))
    }

    /// Where a goroutine called C. C runs on the system stack, which the description of `runtime.asmcgocall` does not speak of: it holds for the stack
    /// pointer before the change.
    fn caller_of_c(&self, place: &Place<'b>) -> Result<Caller, UnwindError> {
        let sp = ProcAddr(self.registers.sp().unwrap_or(0));
        let slot = |offset: i64| -> Result<u64, UnwindError> {
            let at = sp.offset(offset).ok_or(ReadError::Fault(sp))?;
            Ok(self.memory.read_uint(at, 8)?)
        };
        let Some(goroutine) = self.goroutine else {
            return Ok(None);
        };
        let mut before = None;
        for (g, depth) in ASMCGOCALL_SLOTS {
            let g = slot(g)?;
            let kept = slot(depth)?;
            if g == goroutine.addr.0 {
                before = Some(goroutine.stack_hi.wrapping_sub(kept)).filter(|sp| goroutine.owns(*sp));
            } else if g == 0 && kept > sp.0 && kept - sp.0 < 4096 {
                // It was on a system stack already.
                before = Some(kept);
            }
            if before.is_some() {
                break;
            }
        }
        let Some(before) = before else {
            return Ok(None);
        };
        let mut registers = self.registers.clone();
        registers.set_general(DwarfReg::RSP, Some(before));
        let caller = step(place, self.memory, &registers)?.caller;
        Ok(caller.map(|caller| (caller, Stands::BehindCall)))
    }

    /// The caller of a function without a frame of its own, whose return address is at `sp`.
    fn returned_to(&self, sp: ProcAddr) -> Result<Caller, UnwindError> {
        let cfa = sp.offset(8).ok_or(UnwindError::Overflow(sp))?;
        let mut caller = return_from(self.memory, cfa)?;
        caller.set_general(DwarfReg::RBP, self.registers.general(DwarfReg::RBP));
        Ok(Some((caller, Stands::BehindCall)))
    }

    /// Where C called Go: the frame of `runtime.cgocallback` on the system stack, which is as large as the one on the goroutine's stack. The system stack
    /// was left at `g0.sched.sp`, and what that was before lies there.
    fn called_by_c(&mut self, place: &Place<'b>) -> Result<Caller, UnwindError> {
        let Some(layout) = self.layout.filter(|_| self.m.0 != 0) else {
            return Ok(None);
        };
        let sp = match self.g0_sp {
            Some(sp) => sp,
            None => match m_field(self.memory, self.m, layout.m_g0)? {
                0 => 0,
                g0 => G::read(self.memory, layout, ProcAddr(g0))?.sched.sp,
            },
        };
        if sp == 0 {
            return Ok(None);
        }
        self.g0_sp = Some(self.memory.read_uint(ProcAddr(sp), 8)?);
        let mut registers = self.registers.clone();
        registers.set_general(DwarfReg::RSP, Some(sp));
        // RBP points into this frame already: the one on the goroutine's stack was opened without it.
        let found = step(place, self.memory, &registers)?;
        let Some(caller) = found.caller else {
            return Ok(None);
        };
        self.on_system_stack = true;
        self.outside = Outside::System;
        self.check_growth(found.cfa, ProcAddr(self.registers.pc().unwrap_or(0)))?;
        Ok(Some((caller, Stands::BehindCall)))
    }

    /// Out of code that the binary does not describe: the kernel's shared object, a C library, or an address without code.
    fn out_of_foreign_code(&mut self) -> Result<Caller, UnwindError> {
        let sp = ProcAddr(self.registers.sp().unwrap_or(0));
        let pc = ProcAddr(self.registers.pc().unwrap_or(0));
        if self.memory.read(pc, &mut [0]).is_err() {
            // A call of a nil function: nothing has happened but the call.
            return self.returned_to(sp);
        }
        if let Some(registers) = self.before_vdso()? {
            return Ok(Some((registers, Stands::BehindCall)));
        }
        // A C library without description: all that is known is where the goroutine called C. While it is on its own stack nothing is saved.
        let saved = self.goroutine.filter(|_| self.on_system_stack).map(|g| g.sched);
        let saved = saved.filter(|saved| {
            let place = self.places.at(self.places.bias().to_file(ProcAddr(saved.pc)));
            saved.sp != 0 && place.role == Role::SystemStackSwitch
        });
        Ok(saved.map(|saved| self.on_the_goroutine(saved)))
    }

    /// Where a goroutine stands that has left its stack for a system stack.
    fn on_the_goroutine(&self, saved: Saved) -> (Registers, Stands) {
        // One that has not run yet stands at the beginning of its function, and one that recovers from a panic where the panicking function returns from:
        // `runtime.recovery` sets that in `g.sched`, since Go 1.22 or later without a call in front of it, where the rows for unwinding are others.
        let stands = if self
            .places
            .is_behind_call(self.places.bias().to_file(ProcAddr(saved.pc)))
        {
            Stands::BehindCall
        } else {
            Stands::Exactly
        };
        (saved_registers(saved), stands)
    }

    /// The caller of the runtime function that is reading the clock through the kernel's shared object.
    fn before_vdso(&self) -> Result<Option<Registers>, UnwindError> {
        let Some((sp_at, pc_at)) = self.layout.and_then(|layout| layout.m_vdso_sp.zip(layout.m_vdso_pc)) else {
            return Ok(None);
        };
        if self.m.0 == 0 {
            return Ok(None);
        }
        let sp = m_field(self.memory, self.m, sp_at)?;
        if sp == 0 {
            return Ok(None);
        }
        let mut registers = return_from(self.memory, ProcAddr(sp))?;
        if registers.pc() != Some(m_field(self.memory, self.m, pc_at)?) {
            return Ok(None);
        }
        // The function has a frame, so that the caller's RBP is below its return address.
        let saved = ProcAddr(sp).offset(-16).ok_or(UnwindError::Overflow(ProcAddr(sp)))?;
        registers.set_general(DwarfReg::RBP, Some(self.memory.read_uint(saved, 8)?));
        Ok(Some(registers))
    }
}
