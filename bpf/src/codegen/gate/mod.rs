//! What a hit must pass before there is a record: condition, hit condition, rate limit, in this order.
//!
//! Conditions are jumping code: each part is given the places to go to where it is true, false or without a value, so that no boolean lives in a register
//! while the verifier walks on. What is computed before the last jump is dead behind it, so all ways that come to one place look alike to the verifier and
//! are walked once: its work grows with the condition, not with the number of ways through it.
//!
//! Registers: R6 the context; R7 and R9 what must survive a helper call; R8 the site; R0 the value of a term. Intermediate values lie in the frame, where
//! other parts of a program have their slots later.

mod condition;
mod hits;
mod mark;
mod rate;
mod term;
mod text;

use super::{Generator, counter, slot as frame};
use crate::asm::Label;
use crate::gate::{Gate, Goroutines};
use crate::insn::{Alu, Cond, FP, Helper, R, R0, R1, R2, R5, R6, Width};
use crate::plan::Reg;
use crate::record::Flags;

/// Slots of a gate, from the frame pointer. `KEY` and `COUNTER` belong to its surroundings; all below are free while it runs. First comes the buffer, of which
/// `WORD` is the end: terms are computed before bytes are compared. Below the buffer are the intermediate values.
pub(super) mod slot {
    pub(super) use super::super::slot::{KEY, WORD};
    /// u64: the flags that the record will start with, read when its header is filled.
    pub(in crate::codegen) const FLAGS: i16 = -24;
}

/// Sizes of the buffer for bytes of the target that are compared, and for the key of a goroutine's counter.
///
/// A kernel that can gives programs with 64 bytes of frame or more one outside of its stack (`BPF_PRIV_STACK_MIN_SIZE` of `kernel/bpf/verifier.c`), and looks
/// twice at each copy to there (`mm/usercopy.c`), which makes reading dearer by half. So most gates have the small one, which keeps the frame at 48 bytes.
const SMALL_BUFFER: i16 = 24;
const LARGE_BUFFER: i16 = 64;

/// Where the buffer of a gate begins.
pub(super) fn buffer(gate: &Gate) -> i16 {
    let size = if gate.longest_compared() <= SMALL_BUFFER as usize {
        SMALL_BUFFER
    } else {
        LARGE_BUFFER
    };
    slot::FLAGS - size
}

/// How many intermediate values there is room for: a frame has 512 bytes, which the program shares with the loop that it may call.
pub(super) const MAX_TEMPORARIES: i16 = 34;

/// Where a part of a condition goes.
#[derive(Clone, Copy)]
struct Exits {
    /// Where it is true.
    yes: Label,
    /// Where it is false.
    no: Label,
    /// Where it has no value.
    unknown: Label,
}

/// Where a hit that may not pass goes, once it has been counted.
pub(super) struct Refusals {
    no: Label,
    throttled: Label,
}

impl Generator<'_> {
    /// Whether the gate leaves flags for the record in their slot.
    pub(super) fn gate_has_flags(&self) -> bool {
        let gate = &self.plan.gate;
        gate.condition.is_some() || gate.hits.is_some_and(|hits| hits.goroutines == Goroutines::Apart)
    }

    /// Goes on only with hits that pass. R6 is the context and R8 the site, which stay.
    pub(super) fn gate(&mut self) -> Refusals {
        let plan = self.plan;
        let exits = Exits {
            yes: self.asm.label(),
            no: self.asm.label(),
            unknown: self.asm.label(),
        };
        let refusals = Refusals {
            no: exits.no,
            throttled: self.asm.label(),
        };
        let counted = self.asm.label();
        self.take_mark(exits.no);
        if let Some(condition) = &plan.gate.condition {
            self.condition(condition, exits);
            self.asm.bind(exits.unknown);
            self.gate_flags(Flags::CONDITION_UNKNOWN);
            self.without_number();
            self.asm.jump(counted);
        }
        self.asm.bind(exits.yes);
        if self.gate_has_flags() {
            self.gate_flags(0);
        }
        self.without_number();
        if let Some(hits) = plan.gate.hits {
            self.hit_count(hits, exits.no);
        }
        self.asm.bind(counted);
        if let Some(rate) = plan.gate.rate {
            self.rate_limit(rate, refusals.throttled);
        }
        self.leave_mark();
        refusals
    }

    /// Counts the hits that do not pass.
    pub(super) fn refuse(&mut self, refusals: &Refusals) {
        self.asm.bind(refusals.no);
        self.drop_mark();
        self.count(counter::CONDITION_FALSE);
        self.exit();
        self.asm.bind(refusals.throttled);
        self.drop_mark();
        self.count(counter::THROTTLED);
        self.exit();
    }

    /// The hit has no number until it is counted.
    fn without_number(&mut self) {
        if self.plan.numbers_hits() {
            for number in [frame::HIT, frame::HIT_OF_GOROUTINE] {
                self.asm.store_imm(Width::Double, FP, number, 0);
            }
        }
    }

    fn gate_flags(&mut self, flags: u32) {
        self.asm.store_imm(Width::Double, FP, slot::FLAGS, flags.cast_signed());
    }

    /// Takes a slot for an intermediate value. There may be more than there is room for: the program is then refused as a whole.
    fn temporary(&mut self) -> i16 {
        let number = self.temporaries;
        self.temporaries += 1;
        self.most_temporaries = self.most_temporaries.max(self.temporaries);
        self.buffer - 8 * (1 + number.min(MAX_TEMPORARIES - 1))
    }

    /// Gives back as many slots as were taken last.
    fn release(&mut self, temporaries: i16) {
        self.temporaries -= temporaries;
    }

    /// Makes the verifier forget what it knows of a number that came here in several ways, or it would walk each of them from here on. Overwrites R5.
    fn forget(&mut self, number: R) {
        self.asm.load(Width::Double, R5, R6, Reg::Rsp.pt_regs_offset());
        self.asm.alu(Alu::Xor, number, R5);
        self.asm.alu(Alu::Xor, number, R5);
    }

    /// Reads `size` bytes at R3 into the frame at `slot`; goes to `unknown` where that fails. Overwrites R0 to R5.
    fn read_to(&mut self, slot: i16, size: i32, unknown: Label) {
        self.asm.mov(R1, FP);
        self.asm.alu_imm(Alu::Add, R1, i32::from(slot));
        self.asm.mov_imm(R2, size);
        self.asm.call(Helper::ProbeReadUser);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, unknown);
    }
}
