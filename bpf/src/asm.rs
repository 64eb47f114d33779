//! A small assembler for eBPF: labels, jumps, helper calls, and references to maps that are
//! filled in when a program is loaded.

use std::collections::HashMap;

use crate::insn::{Alu, Cond, FP, Helper, Insn, PSEUDO_FUNC, PSEUDO_MAP_FD, R, R0, R1, R2, R3, Width};

/// A place in the code, known by number before it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// The maps that generated code refers to. Which descriptor each has is known when loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapRef {
    Sites,
    Counters,
    Hits,
    GoroutineHits,
    Marks,
    Limiters,
    Programs,
    Ring,
    StopRing,
    Layouts,
    RuntimeTypes,
    Followed,
    Following,
}

/// Why a program could not be assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AsmError {
    /// A jump's distance does not fit in 16 bits: the program is too long.
    #[error("a jump over {0} instructions does not fit in 16 bits")]
    JumpTooFar(i64),
    /// A label was jumped to and never bound: a defect of the code generator.
    #[error("a jump leads to a label that was never bound")]
    Unbound,
}

/// Finished instructions with what the loader has to fill in.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) insns: Vec<Insn>,
    /// Positions of the first half of each map reference.
    pub(crate) maps: Vec<(usize, MapRef)>,
    /// Where each subprogram starts, after the main one at 0.
    pub(crate) subprograms: Vec<usize>,
}

/// Collects instructions.
#[derive(Debug, Default)]
pub(crate) struct Asm {
    insns: Vec<Insn>,
    bound: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
    functions: Vec<(usize, Label)>,
    maps: Vec<(usize, MapRef)>,
    subprograms: Vec<usize>,
}

impl Asm {
    /// A new label, to be bound later.
    pub(crate) fn label(&mut self) -> Label {
        self.bound.push(None);
        Label(self.bound.len() - 1)
    }

    /// Binds a label to the next instruction.
    pub(crate) fn bind(&mut self, label: Label) {
        if let Some(slot) = self.bound.get_mut(label.0) {
            *slot = Some(self.insns.len());
        }
    }

    /// Binds a label to the next instruction as the start of a subprogram.
    pub(crate) fn bind_subprogram(&mut self, label: Label) {
        self.subprograms.push(self.insns.len());
        self.bind(label);
    }

    fn push(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    pub(crate) fn alu(&mut self, op: Alu, dst: R, src: R) {
        self.push(Insn::alu(op, dst, src));
    }

    pub(crate) fn alu_imm(&mut self, op: Alu, dst: R, immediate: i32) {
        self.push(Insn::alu_imm(op, dst, immediate));
    }

    pub(crate) fn mov(&mut self, dst: R, src: R) {
        self.alu(Alu::Move, dst, src);
    }

    pub(crate) fn mov_imm(&mut self, dst: R, immediate: i32) {
        self.alu_imm(Alu::Move, dst, immediate);
    }

    /// Loads any 64-bit number, in one instruction where it fits in a sign-extended 32.
    pub(crate) fn mov_imm64(&mut self, dst: R, value: i64) {
        if let Ok(short) = i32::try_from(value) {
            self.mov_imm(dst, short);
        } else {
            self.insns.extend(Insn::load_imm64(dst, 0, value.cast_unsigned()));
        }
    }

    /// Adds any 64-bit number to `dst`; `scratch` is overwritten when it does not fit in 32 bits.
    pub(crate) fn add_imm64(&mut self, dst: R, value: i64, scratch: R) {
        if value == 0 {
            return;
        }
        if let Ok(short) = i32::try_from(value) {
            self.alu_imm(Alu::Add, dst, short);
        } else {
            self.mov_imm64(scratch, value);
            self.alu(Alu::Add, dst, scratch);
        }
    }

    pub(crate) fn load(&mut self, width: Width, dst: R, src: R, offset: i16) {
        self.push(Insn::load(width, dst, src, offset));
    }

    pub(crate) fn store(&mut self, width: Width, dst: R, offset: i16, src: R) {
        self.push(Insn::store(width, dst, offset, src));
    }

    pub(crate) fn store_imm(&mut self, width: Width, dst: R, offset: i16, immediate: i32) {
        self.push(Insn::store_imm(width, dst, offset, immediate));
    }

    pub(crate) fn atomic_add(&mut self, dst: R, offset: i16, src: R) {
        self.push(Insn::atomic_add(dst, offset, src));
    }

    /// Adds R1 to the 8 bytes at R2; R0 and R1 are then what was there before.
    pub(crate) fn fetch_add(&mut self) {
        self.push(Insn::atomic_fetch_add(R2, 0, R1));
        self.mov(R0, R1);
    }

    /// Writes R1 to the 8 bytes at R2 if R3 is there; R0 is then what was there before.
    pub(crate) fn compare_exchange(&mut self) {
        self.mov(R0, R3);
        self.push(Insn::atomic_compare_exchange(R2, 0, R1));
    }

    /// Loads a pointer to a map.
    pub(crate) fn load_map(&mut self, dst: R, map: MapRef) {
        self.maps.push((self.insns.len(), map));
        self.insns.extend(Insn::load_imm64(dst, PSEUDO_MAP_FD, 0));
    }

    /// Loads a pointer to a subprogram.
    pub(crate) fn load_function(&mut self, dst: R, function: Label) {
        self.functions.push((self.insns.len(), function));
        self.insns.extend(Insn::load_imm64(dst, PSEUDO_FUNC, 0));
    }

    /// `R0 = map[key]`, the key being at `FP + key`; `R0` is null where there is none.
    pub(crate) fn lookup(&mut self, map: MapRef, key: i16) {
        self.load_map(R1, map);
        self.mov(R2, FP);
        self.alu_imm(Alu::Add, R2, i32::from(key));
        self.call(Helper::MapLookupElem);
    }

    pub(crate) fn call(&mut self, helper: Helper) {
        self.push(Insn::call(helper));
    }

    pub(crate) fn exit(&mut self) {
        self.push(Insn::exit());
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(Insn::jump());
    }

    pub(crate) fn jump_if(&mut self, left: R, cond: Cond, right: R, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(Insn::jump_if(cond, left, right));
    }

    pub(crate) fn jump_if_imm(&mut self, left: R, cond: Cond, right: i32, to: Label) {
        self.jumps.push((self.insns.len(), to));
        self.push(Insn::jump_if_imm(cond, left, right));
    }

    fn position(&self, label: Label) -> Result<usize, AsmError> {
        self.bound.get(label.0).copied().flatten().ok_or(AsmError::Unbound)
    }

    /// Resolves all labels, and drops instructions that nothing leads to: the verifier refuses a
    /// program that has any, and generators need not care.
    pub(crate) fn finish(self) -> Result<Code, AsmError> {
        let mut targets = HashMap::new();
        for &(at, label) in self.jumps.iter().chain(&self.functions) {
            targets.insert(at, self.position(label)?);
        }
        let reached = self.reached(&targets);
        // Where each instruction goes: the number of those kept before it.
        let mut moved = Vec::with_capacity(self.insns.len() + 1);
        let mut kept = 0;
        for &reached in &reached {
            moved.push(kept);
            kept += usize::from(reached);
        }
        moved.push(kept);

        let mut insns = Vec::with_capacity(kept);
        for (at, &insn) in self.insns.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            let mut insn = insn;
            if let Some(&target) = targets.get(&at) {
                // Relative to the next instruction, for jumps and for references to subprograms
                // alike.
                let distance = moved[target] as i64 - moved[at] as i64 - 1;
                if insn.is_jump() {
                    insn.offset = i16::try_from(distance).map_err(|_| AsmError::JumpTooFar(distance))?;
                } else {
                    insn.immediate = distance as i32;
                }
            }
            insns.push(insn);
        }
        let keep = |at: usize| reached.get(at).copied().unwrap_or(false);
        Ok(Code {
            insns,
            maps: self
                .maps
                .into_iter()
                .filter(|&(at, _)| keep(at))
                .map(|(at, map)| (moved[at], map))
                .collect(),
            subprograms: self
                .subprograms
                .into_iter()
                .filter(|&at| keep(at))
                .map(|at| moved[at])
                .collect(),
        })
    }

    /// Which instructions can be reached from the first.
    fn reached(&self, targets: &HashMap<usize, usize>) -> Vec<bool> {
        let mut reached = vec![false; self.insns.len()];
        let mut pending = vec![0];
        while let Some(mut at) = pending.pop() {
            while at < self.insns.len() && !reached[at] {
                reached[at] = true;
                let insn = self.insns[at];
                if insn.is_wide() && at + 1 < self.insns.len() {
                    reached[at + 1] = true;
                }
                if let Some(&target) = targets.get(&at) {
                    pending.push(target);
                }
                if insn.never_falls_through() {
                    break;
                }
                at += if insn.is_wide() { 2 } else { 1 };
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_count_from_the_next_instruction() {
        let mut asm = Asm::default();
        let end = asm.label();
        asm.jump_if_imm(R0, Cond::Equal, 1, end);
        asm.mov_imm(R0, 7);
        asm.bind(end);
        asm.exit();
        let code = asm.finish().expect("labels are bound");
        assert_eq!(code.insns[0].offset, 1);
    }

    #[test]
    fn instructions_that_nothing_leads_to_are_dropped() {
        let mut asm = Asm::default();
        let end = asm.label();
        asm.jump_if_imm(R0, Cond::Equal, 1, end);
        asm.jump(end);
        asm.load_map(R3, MapRef::Ring);
        asm.mov_imm(R0, 7);
        asm.bind(end);
        asm.load_map(R3, MapRef::Sites);
        asm.exit();
        let code = asm.finish().expect("labels are bound");
        assert_eq!(code.insns.len(), 5);
        assert_eq!((code.insns[0].offset, code.insns[1].offset), (1, 0));
        assert_eq!(code.maps, [(2, MapRef::Sites)]);
    }

    #[test]
    fn an_unbound_label_is_an_error() {
        let mut asm = Asm::default();
        let nowhere = asm.label();
        asm.jump(nowhere);
        assert_eq!(asm.finish().err(), Some(AsmError::Unbound));
    }

    #[test]
    fn a_jump_over_more_than_16_bits_is_an_error() {
        let mut asm = Asm::default();
        let end = asm.label();
        asm.jump_if_imm(R0, Cond::Equal, 0, end);
        let here = asm.label();
        asm.bind(here);
        for _ in 0..40_000 {
            asm.mov_imm(R0, 0);
        }
        asm.bind(end);
        asm.jump(here);
        assert_eq!(asm.finish().err(), Some(AsmError::JumpTooFar(40_000)));
    }

    #[test]
    fn wide_immediates_take_two_instructions_and_keep_their_sign() {
        let mut asm = Asm::default();
        asm.mov_imm64(R3, -8);
        asm.mov_imm64(R3, 0x1_0000_0001);
        let code = asm.finish().expect("no labels");
        assert_eq!(code.insns.len(), 3);
        assert_eq!(code.insns[0].immediate, -8);
        assert_eq!(code.insns[1].immediate, 1);
        assert_eq!(code.insns[2].immediate, 1);
    }
}
