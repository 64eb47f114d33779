//! Counts hits whose condition was true, and asks the number of this one.

use std::mem::offset_of;

use super::super::{Generator, slot as frame};
use super::slot;
use crate::asm::{Label, MapRef};
use crate::gate::{Goroutines, HitCount, HitTest};
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R4, R7, Width};
use crate::maps::GoroutineKey;
use crate::record::Flags;

/// `BPF_NOEXIST` of `include/uapi/linux/bpf.h`: makes an entry, never overwrites one.
const NO_EXIST: i32 = 1;

impl Generator<'_> {
    /// Counts this hit; goes to `no` where its number is not one that passes.
    pub(super) fn hit_count(&mut self, hits: HitCount, no: Label) {
        let uncounted = self.asm.label();
        let passes = self.asm.label();
        self.asm
            .store_imm(Width::Word, FP, slot::KEY, hits.counter.0.cast_signed());
        self.asm.lookup(MapRef::Hits, slot::KEY);
        // The counter was made before the plan, so it is there.
        self.asm.jump_if_imm(R0, Cond::Equal, 0, no);
        self.count_at(frame::HIT);
        match hits.goroutines {
            Goroutines::Together => {}
            Goroutines::Told => {
                // Neither the goroutine nor its process is found with R7.
                self.asm.mov(R7, R0);
                self.goroutine_entry(hits.counter.0, uncounted);
                self.count_at(frame::HIT_OF_GOROUTINE);
                self.asm.bind(uncounted);
                self.asm.mov(R0, R7);
            }
            Goroutines::Apart => {
                self.goroutine_entry(hits.counter.0, uncounted);
                self.count_at(frame::HIT_OF_GOROUTINE);
            }
        }
        match hits.test {
            HitTest::Any => {}
            HitTest::Compare(comparison, number) => {
                self.asm.mov_imm64(R1, number.cast_signed());
                self.asm.jump_if(R0, comparison.jump(false), R1, passes);
                self.asm.jump(no);
            }
            HitTest::Multiple(0) => self.asm.jump(no),
            HitTest::Multiple(number) => {
                self.asm.mov_imm64(R1, number.cast_signed());
                self.asm.alu(Alu::Mod, R0, R1);
                self.asm.jump_if_imm(R0, Cond::NotEqual, 0, no);
            }
        }
        if hits.goroutines == Goroutines::Apart {
            self.asm.jump(passes);
            self.asm.bind(uncounted);
            self.gate_flags(Flags::HITS_UNKNOWN);
        }
        self.asm.bind(passes);
    }

    /// Adds one to the count at R0; R0 is then the number of this hit, from 1, and so is `slot` where records have numbers.
    fn count_at(&mut self, slot: i16) {
        self.asm.mov(R2, R0);
        self.asm.mov_imm(R1, 1);
        self.asm.fetch_add();
        self.asm.alu_imm(Alu::Add, R0, 1);
        if self.plan.numbers_hits() {
            self.asm.store(Width::Double, FP, slot, R0);
        }
    }

    /// R0 = where the running goroutine's hits are counted; goes to `uncounted` where there is no goroutine or no room for it.
    fn goroutine_entry(&mut self, counter: u32, uncounted: Label) {
        const COUNTER: i16 = offset_of!(GoroutineKey, counter) as i16;
        const PROCESS: i16 = offset_of!(GoroutineKey, process) as i16;
        const GOROUTINE: i16 = offset_of!(GoroutineKey, goroutine) as i16;
        let key = self.buffer;
        let found = self.asm.label();
        self.running_goroutine(uncounted);
        self.asm.load(Width::Double, R0, FP, slot::WORD);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, uncounted);
        self.asm.store(Width::Double, FP, key + GOROUTINE, R0);
        let numbers = self.environment.numbers;
        numbers.load_process(&mut self.asm, slot::WORD, uncounted);
        self.asm.store(Width::Word, FP, key + PROCESS, R1);
        self.asm
            .store_imm(Width::Word, FP, key + COUNTER, counter.cast_signed());
        self.asm.lookup(MapRef::GoroutineHits, key);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, found);

        self.asm.store_imm(Width::Double, FP, slot::WORD, 0);
        self.asm.load_map(R1, MapRef::GoroutineHits);
        self.asm.mov(R2, FP);
        self.asm.alu_imm(Alu::Add, R2, i32::from(key));
        self.asm.mov(R3, FP);
        self.asm.alu_imm(Alu::Add, R3, i32::from(slot::WORD));
        self.asm.mov_imm(R4, NO_EXIST);
        self.asm.call(Helper::MapUpdateElem);
        self.asm.lookup(MapRef::GoroutineHits, key);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, uncounted);
        self.asm.bind(found);
    }
}
