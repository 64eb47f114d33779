//! Appends chunks to the record at its cursor.

use super::{Generator, slot};
use crate::asm::Label;
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Width};
use crate::plan::pad8;
use crate::record::{CHUNK_HEADER_SIZE, ChunkKind, Flags, Status, chunk, header};

const CHUNK_HEADER: i32 = CHUNK_HEADER_SIZE as i32;

/// What strings and slices are cut to, in bytes, where there is no room for their bound.
const SHORT: [u32; 2] = [64, 16];

/// What is known about a chunk when its program is made.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) kind: ChunkKind,
    pub(super) follow: u16,
    pub(super) layout: u32,
    /// Bytes of one element: not 0.
    pub(super) elem_size: u32,
    /// The most elements: not 0. `None`: there is always one.
    pub(super) max: Option<u32>,
}

/// Status, kind and follow as they stand in a chunk's header, in one word.
pub(super) fn status_word(status: Status, kind: ChunkKind, follow: u16) -> i32 {
    (u32::from(status as u8) | u32::from(kind as u8) << 8 | u32::from(follow) << 16).cast_signed()
}

impl Generator<'_> {
    /// The most bytes a chunk of this plan can have: a multiple of 8.
    pub(super) fn room(&self) -> u32 {
        (self.class.cast_unsigned())
            .saturating_sub(self.plan.chunks_at())
            .saturating_sub(CHUNK_HEADER_SIZE as u32)
            & !7
    }

    /// The greatest cursor at which a chunk of `bytes` still fits.
    fn last_start(&self, bytes: u32) -> i32 {
        self.class - CHUNK_HEADER - pad8(bytes).cast_signed()
    }

    /// Appends the R6 elements at R9: at least 1, bounded here, the true count being in the frame.
    /// Falls through when captured, with the chunk's offset in R8. Binds `out_of_range`, where
    /// callers send bad lengths and indices. All that is not captured ends at `end`.
    pub(super) fn append(&mut self, known: Known, out_of_range: Label, end: Label) {
        let most = known.max.unwrap_or(1).min(self.room() / known.elem_size);
        let bytes = |count: u32| pad8(count * known.elem_size);
        let copy = self.asm.label();
        let short = self.asm.label();
        let no_room = self.asm.label();
        let fault = self.asm.label();
        let empty = self.asm.label();
        let captured = self.asm.label();

        if most == 0 {
            self.asm.jump(no_room);
        } else {
            if known.max.is_some() {
                let fits = self.asm.label();
                self.asm.jump_if_imm(R6, Cond::LessOrEqual, most.cast_signed(), fits);
                self.asm.mov_imm(R6, most.cast_signed());
                self.asm.bind(fits);
            }
            self.asm.load(Width::Word, R8, R7, header::USED);
            self.asm
                .jump_if_imm(R8, Cond::Greater, self.last_start(bytes(most)), short);
            self.asm.bind(copy);
            self.copy_to_cursor(known.elem_size);
            self.asm.jump_if_imm(R0, Cond::NotEqual, 0, fault);

            self.asm.mov(R1, R7);
            self.asm.alu(Alu::Add, R1, R8);
            self.asm.store(Width::Double, R1, chunk::ADDR, R9);
            self.asm.store(Width::Word, R1, chunk::COUNT, R6);
            self.asm.load(Width::Double, R3, FP, slot::WANTED);
            self.asm.store(Width::Word, R1, chunk::WANTED, R3);
            self.asm
                .store_imm(Width::Word, R1, chunk::LAYOUT, known.layout.cast_signed());
            self.asm
                .store_imm(Width::Word, R1, chunk::ELEM_SIZE, known.elem_size.cast_signed());
            let word = |status| status_word(status, known.kind, known.follow);
            let whole = self.asm.label();
            self.asm.mov_imm(R4, word(Status::Captured));
            self.asm.jump_if(R3, Cond::Equal, R6, whole);
            self.asm.mov_imm(R4, word(Status::Truncated));
            self.asm.bind(whole);
            self.asm.store(Width::Word, R1, chunk::STATUS, R4);
            self.asm.mov(R2, R6);
            if known.elem_size != 1 {
                self.asm.alu_imm(Alu::Mul, R2, known.elem_size.cast_signed());
            }
            self.asm.store(Width::Word, R1, chunk::LEN, R2);
            self.asm.alu_imm(Alu::Add, R2, 7 + CHUNK_HEADER);
            self.asm.alu_imm(Alu::And, R2, -8);
            self.asm.alu(Alu::Add, R2, R8);
            self.asm.store(Width::Word, R7, header::USED, R2);
            self.asm.jump(captured);

            // Where the greatest possible chunk does not fit any more, a short one still may.
            self.asm.bind(short);
            let mut last = most;
            for short in SHORT {
                let few = (short / known.elem_size).max(1);
                if few >= last {
                    continue;
                }
                last = few;
                let enough = self.asm.label();
                self.asm.jump_if_imm(R6, Cond::LessOrEqual, few.cast_signed(), enough);
                self.asm.mov_imm(R6, few.cast_signed());
                self.asm.bind(enough);
                self.asm
                    .jump_if_imm(R8, Cond::LessOrEqual, self.last_start(bytes(few)), copy);
            }
        }
        self.asm.bind(no_room);
        self.flag(Flags::NO_ROOM);
        self.asm
            .mov_imm(R5, status_word(Status::NoRoom, known.kind, known.follow));
        self.asm.jump(empty);
        self.asm.bind(fault);
        self.flag(Flags::FAULT);
        self.asm
            .mov_imm(R5, status_word(Status::Fault, known.kind, known.follow));
        self.asm.jump(empty);
        self.asm.bind(out_of_range);
        self.asm
            .mov_imm(R5, status_word(Status::OutOfRange, known.kind, known.follow));
        self.asm.bind(empty);
        self.asm.mov_imm(R3, known.layout.cast_signed());
        self.asm.mov_imm(R4, known.elem_size.cast_signed());
        self.empty_chunk(end);
        self.asm.jump(end);
        self.asm.bind(captured);
    }

    /// Reads R6 elements at R9 to where a chunk at cursor R8 has its bytes; R0 says how it went.
    fn copy_to_cursor(&mut self, elem_size: u32) {
        self.asm.mov(R1, R7);
        self.asm.alu(Alu::Add, R1, R8);
        self.asm.alu_imm(Alu::Add, R1, CHUNK_HEADER);
        self.asm.mov(R2, R6);
        if elem_size != 1 {
            self.asm.alu_imm(Alu::Mul, R2, elem_size.cast_signed());
        }
        self.asm.mov(R3, R9);
        self.asm.call(Helper::ProbeReadUser);
    }

    /// Appends a chunk without bytes: status word in R5, layout in R3, element size in R4, address
    /// in R9, true count in the frame. Goes to `full` where not even a header fits.
    fn empty_chunk(&mut self, full: Label) {
        let fits = self.asm.label();
        self.asm.load(Width::Word, R8, R7, header::USED);
        self.asm
            .jump_if_imm(R8, Cond::LessOrEqual, self.class - CHUNK_HEADER, fits);
        self.flag(Flags::NO_ROOM);
        self.asm.jump(full);
        self.asm.bind(fits);
        self.asm.mov(R1, R7);
        self.asm.alu(Alu::Add, R1, R8);
        self.asm.store(Width::Double, R1, chunk::ADDR, R9);
        self.asm.store_imm(Width::Word, R1, chunk::LEN, 0);
        self.asm.load(Width::Double, R2, FP, slot::WANTED);
        self.asm.store(Width::Word, R1, chunk::WANTED, R2);
        self.asm.store_imm(Width::Word, R1, chunk::COUNT, 0);
        self.asm.store(Width::Word, R1, chunk::LAYOUT, R3);
        self.asm.store(Width::Word, R1, chunk::STATUS, R5);
        self.asm.store(Width::Word, R1, chunk::ELEM_SIZE, R4);
        self.asm.mov(R2, R8);
        self.asm.alu_imm(Alu::Add, R2, CHUNK_HEADER);
        self.asm.store(Width::Word, R7, header::USED, R2);
    }

    /// Appends the R6 bytes at R9, everything else about the chunk being in the frame. The
    /// verifier cannot see that a cursor and a length fit together, only that each is below some
    /// bound, so the length is sorted into tiers, and a chunk needs the room of its tier. Goes on
    /// at `done` with the chunk's offset in R8, whether captured or not; at `full` where not even a
    /// header fits.
    pub(super) fn append_dynamic(&mut self, done: Label, full: Label) {
        let copy = self.asm.label();
        let no_room = self.asm.label();
        let fault = self.asm.label();
        let empty = self.asm.label();
        self.asm.load(Width::Word, R8, R7, header::USED);
        for tier in self.tiers() {
            let next = self.asm.label();
            self.asm.jump_if_imm(R6, Cond::Greater, tier.cast_signed(), next);
            self.asm.jump_if_imm(R8, Cond::LessOrEqual, self.last_start(tier), copy);
            self.asm.jump(no_room);
            self.asm.bind(next);
        }
        self.asm.jump(no_room);

        self.asm.bind(copy);
        self.copy_to_cursor(1);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, fault);
        self.asm.mov(R1, R7);
        self.asm.alu(Alu::Add, R1, R8);
        self.asm.store(Width::Double, R1, chunk::ADDR, R9);
        self.asm.store(Width::Word, R1, chunk::LEN, R6);
        for (field, slot) in [
            (chunk::WANTED, slot::WANTED),
            (chunk::COUNT, slot::COUNT),
            (chunk::LAYOUT, slot::LAYOUT),
            (chunk::STATUS, slot::STATUS),
            (chunk::ELEM_SIZE, slot::ELEM_SIZE),
        ] {
            self.asm.load(Width::Double, R2, FP, slot);
            self.asm.store(Width::Word, R1, field, R2);
        }
        self.asm.alu_imm(Alu::Add, R6, 7 + CHUNK_HEADER);
        self.asm.alu_imm(Alu::And, R6, -8);
        self.asm.alu(Alu::Add, R6, R8);
        self.asm.store(Width::Word, R7, header::USED, R6);
        self.asm.jump(done);

        self.asm.bind(no_room);
        self.flag(Flags::NO_ROOM);
        self.asm.mov_imm(R1, Status::NoRoom as i32);
        self.asm.jump(empty);
        self.asm.bind(fault);
        self.flag(Flags::FAULT);
        self.asm.mov_imm(R1, Status::Fault as i32);
        self.asm.bind(empty);
        self.asm.load(Width::Double, R5, FP, slot::STATUS);
        self.asm.alu_imm(Alu::And, R5, !0xff);
        self.asm.alu(Alu::Or, R5, R1);
        self.asm.load(Width::Double, R3, FP, slot::LAYOUT);
        self.asm.load(Width::Double, R4, FP, slot::ELEM_SIZE);
        self.empty_chunk(full);
        self.asm.jump(done);
    }

    /// Upper bounds of the tiers, ascending; the last is all the room there is.
    fn tiers(&self) -> Vec<u32> {
        let room = self.room();
        let mut tiers: Vec<u32> = (5..16).map(|shift| 1 << shift).filter(|&tier| tier < room).collect();
        tiers.push(room);
        tiers
    }

    /// Moves R6 to the frame as the true count, saturated to 32 bits. Overwrites R1 and R2.
    pub(super) fn remember_wanted(&mut self) {
        let fits = self.asm.label();
        self.asm.mov(R1, R6);
        self.asm.mov_imm64(R2, i64::from(u32::MAX));
        self.asm.jump_if(R1, Cond::LessOrEqual, R2, fits);
        self.asm.mov(R1, R2);
        self.asm.bind(fits);
        self.asm.store(Width::Double, FP, slot::WANTED, R1);
    }
}
