//! One step of unwinding: from the registers in a frame to those in its caller, by the binary's frame descriptions, else by frame pointers.

use spelunk_dwarf::{CfaRule, DwarfReg, ProcAddr, RegisterRule, UnwindRow};

use super::Registers;
use super::places::Place;
use crate::value::{Memory, ReadError};

/// RBX and R12 to R15, which C functions keep besides RBP (System V ABI for AMD64, figure 3.4). Go functions keep none of them.
const KEPT_BY_C: [DwarfReg; 5] = [DwarfReg(3), DwarfReg(12), DwarfReg(13), DwarfReg(14), DwarfReg(15)];

/// What unwinding one frame yields.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The frame's canonical frame address.
    pub(super) cfa: ProcAddr,
    /// The registers in the caller, RIP being the return address; `None` where the description says that there is no caller.
    pub(super) caller: Option<Registers>,
    /// Where the return address lies.
    pub(super) return_address_at: Option<ProcAddr>,
}

/// Why a frame's caller cannot be found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnwindError {
    /// The memory that holds the return address or a register cannot be read.
    #[error("the stack cannot be read: {0}")]
    Memory(#[from] ReadError),
    /// The frame address depends on a register whose value is not known.
    #[error("the frame of {pc} cannot be found: register {register} is not known there")]
    UnknownRegister {
        /// Where.
        pc: ProcAddr,
        /// Which.
        register: &'static str,
    },
    /// Neither a description nor a frame pointer leads on.
    #[error("nothing describes the frame of the code at {0}, and RBP does not lead to a caller")]
    Undescribed(ProcAddr),
    /// The stack leads back to itself.
    #[error("the frame of {pc} lies at {cfa}, which is not above that of what it called")]
    Circle {
        /// Where.
        pc: ProcAddr,
        /// The frame's address.
        cfa: ProcAddr,
    },
    /// The frame address computed is nonsense.
    #[error("the frame of {0} cannot be found: its address does not fit into the address space")]
    Overflow(ProcAddr),
}

/// Unwinds one frame. `place` is where it stands, for lookups; `registers` are those in the frame.
pub(super) fn step(place: &Place<'_>, memory: &dyn Memory, registers: &Registers) -> Result<Step, UnwindError> {
    match &place.row {
        Some(row) => by_description(place, row, memory, registers),
        None => by_frame_pointer(memory, registers),
    }
}

/// The caller's registers when the frame at `cfa` is one with the return address just below it: as for all Go functions.
pub(super) fn return_from(memory: &dyn Memory, cfa: ProcAddr) -> Result<Registers, UnwindError> {
    let overflow = UnwindError::Overflow(cfa);
    let mut caller = Registers::default();
    caller.set_general(DwarfReg::RSP, Some(cfa.0));
    let at = cfa.offset(-8).ok_or(overflow)?;
    caller.set_general(DwarfReg::RA, Some(memory.read_uint(at, 8)?));
    Ok(caller)
}

fn by_description(
    place: &Place<'_>,
    row: &UnwindRow,
    memory: &dyn Memory,
    registers: &Registers,
) -> Result<Step, UnwindError> {
    let pc = ProcAddr(registers.pc().unwrap_or(0));
    let cfa = frame_address(row.cfa, registers, pc)?;
    let at = |offset: i64| cfa.offset(offset).ok_or(UnwindError::Overflow(pc));
    let mut caller = Registers::default();
    caller.set_general(DwarfReg::RSP, Some(cfa.0));
    // The return address comes first: where it cannot be read, that is what is to be said.
    let rbp = caller_frame_pointer(memory, registers, cfa);
    caller.set_general(DwarfReg::RBP, rbp.as_ref().ok().copied().flatten());
    if !place.is_go {
        for register in KEPT_BY_C {
            caller.set_general(register, registers.general(register));
        }
        caller.set_general(DwarfReg::RBP, registers.general(DwarfReg::RBP));
    }
    let mut return_address_at = None;
    let mut has_caller = false;
    for (register, rule) in &row.registers {
        let is_return_address = *register == row.return_address;
        let value = match *rule {
            RegisterRule::AtCfa(offset) => {
                if is_return_address {
                    return_address_at = Some(at(offset)?);
                }
                Some(memory.read_uint(at(offset)?, 8)?)
            }
            RegisterRule::IsCfa(offset) => Some(at(offset)?.0),
            RegisterRule::Unchanged => registers.general(*register),
            RegisterRule::InRegister(other) => registers.general(other),
            RegisterRule::Lost => None,
        };
        if is_return_address {
            has_caller = value.is_some_and(|value| value != 0);
            caller.set_general(DwarfReg::RA, value);
        } else if *register != DwarfReg::RSP || !matches!(rule, RegisterRule::Unchanged) {
            caller.set_general(*register, value);
        }
    }
    rbp?;
    Ok(Step {
        cfa,
        caller: has_caller.then_some(caller),
        return_address_at,
    })
}

fn frame_address(rule: CfaRule, registers: &Registers, pc: ProcAddr) -> Result<ProcAddr, UnwindError> {
    let unknown = UnwindError::UnknownRegister {
        pc,
        register: rule.register.name().unwrap_or("?"),
    };
    let base = registers.general(rule.register).ok_or(unknown)?;
    ProcAddr(base).offset(rule.offset).ok_or(UnwindError::Overflow(pc))
}

/// RBP in the caller of a Go function. The Go linker describes where the frame is, and not where RBP was saved: if RBP points into the frame it
/// points to the caller's, else the frame has not been set up (or does not exist), and RBP is still the caller's.
fn caller_frame_pointer(memory: &dyn Memory, registers: &Registers, cfa: ProcAddr) -> Result<Option<u64>, UnwindError> {
    let Some(rbp) = registers.general(DwarfReg::RBP) else {
        return Ok(None);
    };
    let sp = registers.sp().unwrap_or(cfa.0);
    if (sp..cfa.0).contains(&rbp) {
        return Ok(Some(memory.read_uint(ProcAddr(rbp), 8)?));
    }
    Ok(Some(rbp))
}

/// Code that pushes RBP and then points RBP there has its return address above and the caller's RBP at that place.
fn by_frame_pointer(memory: &dyn Memory, registers: &Registers) -> Result<Step, UnwindError> {
    let pc = ProcAddr(registers.pc().unwrap_or(0));
    let undescribed = || UnwindError::Undescribed(pc);
    let rbp = registers.general(DwarfReg::RBP).ok_or_else(undescribed)?;
    if rbp < registers.sp().unwrap_or(0) || rbp % 8 != 0 {
        return Err(undescribed());
    }
    let cfa = ProcAddr(rbp).offset(16).ok_or_else(undescribed)?;
    let mut caller = return_from(memory, cfa)?;
    caller.set_general(DwarfReg::RBP, Some(memory.read_uint(ProcAddr(rbp), 8)?));
    Ok(Step {
        cfa,
        return_address_at: cfa.offset(-8),
        caller: Some(caller).filter(|caller| caller.pc() != Some(0)),
    })
}
