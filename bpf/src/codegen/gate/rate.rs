//! Lets only so many hits pass in a while.

use std::mem::offset_of;

use super::super::Generator;
use super::slot;
use crate::asm::{Label, MapRef};
use crate::gate::RateLimit;
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R7, R9, Width};
use crate::maps::LimiterEntry;

const BEGAN: i16 = offset_of!(LimiterEntry, began) as i16;
const ASKED: i16 = offset_of!(LimiterEntry, asked) as i16;

impl Generator<'_> {
    /// Goes to `throttled` where as many have passed in this interval as may.
    ///
    /// The first hit behind an interval's end begins the next one. Of several CPUs that see the end at once, one wins and clears the count; a hit that another
    /// CPU lets pass between the two steps may be forgotten, so each CPU can let one too many pass.
    pub(super) fn rate_limit(&mut self, rate: RateLimit, throttled: Label) {
        let within = self.asm.label();
        let passes = self.asm.label();
        self.asm
            .store_imm(Width::Word, FP, slot::KEY, rate.limiter.0.cast_signed());
        self.asm.lookup(MapRef::Limiters, slot::KEY);
        // The limiter was made before the plan, so it is there.
        self.asm.jump_if_imm(R0, Cond::Equal, 0, passes);
        self.asm.mov(R9, R0);
        self.asm.call(Helper::KtimeGetNs);
        self.asm.mov(R7, R0);
        self.asm.load(Width::Double, R3, R9, BEGAN);
        // Another CPU may have begun an interval since the time was taken: the difference has a sign.
        self.asm.mov(R2, R7);
        self.asm.alu(Alu::Sub, R2, R3);
        self.asm.mov_imm64(R1, rate.interval.cast_signed());
        self.asm.jump_if(R2, Cond::SignedLess, R1, within);
        self.asm.mov(R2, R9);
        self.asm.alu_imm(Alu::Add, R2, i32::from(BEGAN));
        self.asm.mov(R1, R7);
        self.asm.compare_exchange();
        self.asm.jump_if(R0, Cond::NotEqual, R3, within);
        self.asm.store_imm(Width::Double, R9, ASKED, 0);
        self.asm.bind(within);
        self.asm.mov(R2, R9);
        self.asm.alu_imm(Alu::Add, R2, i32::from(ASKED));
        self.asm.mov_imm(R1, 1);
        self.asm.fetch_add();
        self.asm.mov_imm64(R1, i64::from(rate.most));
        self.asm.jump_if(R0, Cond::GreaterOrEqual, R1, throttled);
        self.asm.bind(passes);
    }
}
