//! Plans breakpoints that the kernel decides: a probe with a condition that stops the program where it holds.
//!
//! The kernel raises the stop from the probe, and the thread is seen behind the probed instruction. So the record holds what taking that instruction back
//! needs: the registers before it, and the bytes of the stack slot that it overwrites.

use std::sync::Arc;

use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, MemorySize, Mnemonic, Register};
use spelunk_bpf::{HEADER_SIZE, Plan, RecordView, Reg, Root, RootSource};
use spelunk_dwarf::{Abi, Binary, DwarfReg, FileAddr, Function, FunctionInfo, ProcAddr};

use super::abi::Convention;
use super::choice::{later, writes};
use super::engine::ALL_REGISTERS;
use super::function::{Runtime, SiteKind, SitePlan};
use super::lower::AtLine;
use super::terms::{Terms, Unfit};

/// Plans stopping probes of one binary.
pub(crate) struct StopPlanner<'a> {
    /// The binary.
    pub(crate) binary: &'a Binary,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// Whether the site must be the very instruction that was asked for: nobody must be stopped twice who stands there, and an instruction is what was meant
    /// where the user named one.
    pub(crate) exact: bool,
}

/// What takes a probed instruction back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rewind {
    /// The registers before the instruction, RIP among them, by DWARF's numbers.
    pub(crate) registers: Vec<(DwarfReg, u64)>,
    /// RFLAGS before the instruction.
    pub(crate) flags: u64,
    /// The bytes of the stack that the instruction overwrote, and where.
    pub(crate) memory: Option<(ProcAddr, Vec<u8>)>,
}

impl StopPlanner<'_> {
    /// Plans a stop with the number `id` at `pc` of `function`, which is on `line`. The site may be a later instruction of the same statement, see
    /// [`super::choice`]: the stop is then there.
    pub(crate) fn plan(
        &self,
        id: u64,
        function: &Function,
        pc: FileAddr,
        line: u32,
        terms: Terms<'_>,
    ) -> Result<SitePlan, Unfit> {
        let info = self.binary.function_info(function)?;
        let first = self.plan_at(id, &info, pc, line, terms);
        // A later site may also be one that can be taken back where the first cannot.
        let refused = match &first {
            Ok(_) | Err(Unfit::Instruction(_)) if !self.exact => later(self.binary, function, pc),
            _ => None,
        };
        let Some(later) = refused else { return first };
        let Ok(moved) = self.plan_at(id, &info, later.addr, line, terms) else {
            return first;
        };
        let same = self.gate_at(&info, pc, line, terms)? == moved.plan.gate;
        if same && later.keeps_what_the_condition_reads(&moved.plan) {
            return Ok(moved);
        }
        first
    }

    fn gate_at(
        &self,
        info: &FunctionInfo,
        pc: FileAddr,
        line: u32,
        terms: Terms<'_>,
    ) -> Result<spelunk_bpf::Gate, Unfit> {
        let names = AtLine {
            binary: self.binary,
            info,
            pc,
            line,
            cfa_offset: cfa_offset(self.binary, info, pc)?,
        };
        Ok(terms.gate(self.binary, &names)?)
    }

    fn plan_at(
        &self,
        id: u64,
        info: &FunctionInfo,
        pc: FileAddr,
        line: u32,
        terms: Terms<'_>,
    ) -> Result<SitePlan, Unfit> {
        let gate = self.gate_at(info, pc, line, terms)?;
        let slot = overwritten(self.binary, pc).map_err(Unfit::Instruction)?;
        let registers = ALL_REGISTERS.iter().map(|(register, _)| *register).chain([Reg::Rflags]);
        let mut roots: Vec<Root> = registers
            .map(|register| Root {
                source: RootSource::Register(register),
                size: 8,
            })
            .collect();
        roots.extend(slot.map(|slot| Root {
            source: RootSource::Stack { offset: slot.offset },
            size: slot.size,
        }));
        let convention = if info.abi == Abi::Internal {
            Convention::Internal
        } else {
            Convention::Stack
        };
        let mut plan = Plan {
            roots,
            follows: Vec::new(),
            goroutine: self.runtime.goroutine(convention),
            runtime: self.runtime.offsets,
            max_record: 0,
            gate,
            stops: true,
        };
        plan.max_record = HEADER_SIZE as u32 + plan.roots_size();
        Ok(SitePlan {
            kind: SiteKind::Line(id),
            function: info.name.clone(),
            entry: info.low_pc,
            addr: pc,
            cfa_offset: cfa_offset(self.binary, info, pc)?,
            variables: Vec::new(),
            fragile: Vec::new(),
            dictionary: None,
            condition: None,
            only_with_call: false,
            plan: Arc::new(plan),
        })
    }
}

/// How far the canonical frame address is from rsp at `pc`.
pub(super) fn cfa_offset(binary: &Binary, info: &FunctionInfo, pc: FileAddr) -> Result<i64, Unfit> {
    let rule = binary.cfa(pc)?;
    if rule.register == DwarfReg::RSP {
        return Ok(rule.offset);
    }
    let text = format!("the frame of {} at {pc} is not found from the stack pointer", info.name);
    Err(Unfit::Unusable(text))
}

/// What takes the probed instruction back, from the record of a hit of a site of [`StopPlanner`]; nothing where the record does not have all of it.
pub(crate) fn rewind(site: &SitePlan, record: &RecordView<'_>) -> Option<Rewind> {
    let word = |index: usize| {
        let bytes = record.root(&site.plan, index).ok()?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let mut registers = Vec::with_capacity(ALL_REGISTERS.len());
    for (index, (_, register)) in ALL_REGISTERS.iter().enumerate() {
        registers.push((*register, word(index)?));
    }
    let flags = ALL_REGISTERS.len();
    let memory = match site.plan.roots.get(flags + 1).map(|root| root.source) {
        Some(RootSource::Stack { offset }) => {
            let bytes = record.root(&site.plan, flags + 1).ok()?.to_vec();
            Some((ProcAddr(record.sp().wrapping_add_signed(offset)), bytes))
        }
        _ => None,
    };
    Some(Rewind {
        registers,
        flags: word(flags)?,
        memory,
    })
}

/// Bytes of the stack that an instruction overwrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// From rsp before the instruction, in bytes.
    offset: i64,
    /// In bytes.
    size: u32,
}

/// What the instruction at `pc` overwrites; the error says why it cannot be taken back.
fn overwritten(binary: &Binary, pc: FileAddr) -> Result<Option<Slot>, String> {
    let bytes = (1..=15).rev().find_map(|len| binary.code(pc, len));
    let bytes = bytes.ok_or_else(|| format!("there is no code at {pc}"))?;
    let instruction = Decoder::with_ip(64, bytes, pc.0, DecoderOptions::NONE).decode();
    taken_back(&instruction).map_err(|why| format!("the instruction at {pc}, {instruction}, {why}"))
}

fn taken_back(instruction: &Instruction) -> Result<Option<Slot>, &'static str> {
    if instruction.is_invalid() {
        return Err("cannot be decoded");
    }
    if instruction.is_privileged()
        || matches!(
            instruction.mnemonic(),
            Mnemonic::Syscall
                | Mnemonic::Sysenter
                | Mnemonic::Int
                | Mnemonic::Int3
                | Mnemonic::Pushf
                | Mnemonic::Pushfq
                | Mnemonic::Popf
                | Mnemonic::Popfq
                | Mnemonic::Xbegin
                | Mnemonic::Ud2
        )
    {
        return Err("does more than a debugger can take back");
    }
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(instruction);
    // What the kernel's probe is shown are the general registers.
    let others = info.used_registers().iter().filter(|used| writes(used.access()));
    if others
        .map(|used| used.register().full_register())
        .any(|register| !is_restored(register))
    {
        return Err("changes registers that a kernel probe cannot read");
    }
    // A push, and the return address of a call, go where nothing is.
    let pushes = matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Call);
    let mut slot = None;
    for memory in info.used_memory().iter().filter(|memory| writes(memory.access())) {
        let in_frame = memory.base() == Register::RSP && memory.index() == Register::None;
        let offset = memory.displacement().cast_signed();
        if pushes && in_frame {
            continue;
        }
        let size = memory.memory_size();
        if !in_frame || memory.segment() != Register::SS || size == MemorySize::Unknown || slot.is_some() {
            return Err("writes memory that a record does not hold");
        }
        let size = u32::try_from(size.size()).map_err(|_| "writes memory that a record does not hold")?;
        slot = Some(Slot { offset, size });
    }
    Ok(slot)
}

/// Whether a record has the register's value before the instruction.
fn is_restored(register: Register) -> bool {
    register.is_gpr64() || register == Register::RIP
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(code: &[u8]) -> Result<Option<(i64, u32)>, &'static str> {
        let instruction = Decoder::with_ip(64, code, 0x40_1000, DecoderOptions::NONE).decode();
        taken_back(&instruction).map(|slot| slot.map(|slot| (slot.offset, slot.size)))
    }

    #[test]
    fn what_overwrites_no_memory_is_taken_back_with_the_registers() {
        let instructions: [&[u8]; 9] = [
            &[0x55],                               // push rbp
            &[0x90],                               // nop
            &[0x48, 0x8b, 0x44, 0x24, 0x18],       // mov rax, [rsp+0x18]
            &[0x48, 0x8b, 0x00],                   // mov rax, [rax]
            &[0x48, 0x83, 0x7c, 0x24, 0x18, 0x05], // cmp qword [rsp+0x18], 5
            &[0xe8, 0, 0, 0, 0],                   // call
            &[0xff, 0xd2],                         // call rdx
            &[0x7e, 0x05],                         // jle
            &[0xc3],                               // ret
        ];
        for code in instructions {
            assert_eq!(slot(code), Ok(None), "{code:x?}");
        }
    }

    #[test]
    fn what_overwrites_a_slot_of_the_frame_needs_its_bytes() {
        // mov [rsp+0x18], rax
        assert_eq!(slot(&[0x48, 0x89, 0x44, 0x24, 0x18]), Ok(Some((0x18, 8))));
        // mov qword [rsp+0x40], 5
        assert_eq!(
            slot(&[0x48, 0xc7, 0x44, 0x24, 0x40, 0x05, 0, 0, 0]),
            Ok(Some((0x40, 8)))
        );
        // mov byte [rsp+0xf], 0
        assert_eq!(slot(&[0xc6, 0x44, 0x24, 0x0f, 0x00]), Ok(Some((0xf, 1))));
        // inc qword [rsp+0x10]
        assert_eq!(slot(&[0x48, 0xff, 0x44, 0x24, 0x10]), Ok(Some((0x10, 8))));
        // movups [rsp+0x20], xmm15
        assert_eq!(slot(&[0x44, 0x0f, 0x11, 0x7c, 0x24, 0x20]), Ok(Some((0x20, 16))));
    }

    #[test]
    fn what_cannot_be_taken_back_is_refused() {
        let elsewhere = Err("writes memory that a record does not hold");
        // mov [rax], rcx; mov [rsp+rcx*8], rax; xchg [rdx], rax; mov [rip+0], rax; rep stosq
        assert_eq!(slot(&[0x48, 0x89, 0x08]), elsewhere);
        assert_eq!(slot(&[0x48, 0x89, 0x04, 0xcc]), elsewhere);
        assert_eq!(slot(&[0x48, 0x87, 0x02]), elsewhere);
        assert_eq!(slot(&[0x48, 0x89, 0x05, 0, 0, 0, 0]), elsewhere);
        assert_eq!(slot(&[0xf3, 0x48, 0xab]), elsewhere);
        // addsd xmm0, xmm1 would add twice.
        assert_eq!(
            slot(&[0xf2, 0x0f, 0x58, 0xc1]),
            Err("changes registers that a kernel probe cannot read")
        );
        // syscall; pushfq
        for code in [&[0x0f, 0x05][..], &[0x9c]] {
            assert_eq!(slot(code), Err("does more than a debugger can take back"));
        }
    }
}
