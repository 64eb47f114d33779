//! Follows: straight-line code that copies from behind what is already in the record.

use super::append::Known;
use super::{Generator, slot};
use crate::asm::Label;
use crate::insn::{Alu, Cond, FP, R, R0, R1, R2, R3, R6, R7, R8, R9, Width};
use crate::plan::{Follow, FollowKind, Index};
use crate::record::{CHUNK_HEADER_SIZE, ChunkKind, HEADER_SIZE, Status, chunk};

/// Where the words that a follow starts from are.
#[derive(Clone, Copy)]
pub(super) enum Base {
    /// In the root area.
    Roots,
    /// In a chunk that was captured.
    Chunk {
        /// Offset in the record of the word that holds the chunk's offset.
        place: i16,
        /// Whether only the chunk itself says how many bytes it has.
        unknown_length: bool,
        /// Nesting of the follows within that chunk.
        level: u32,
    },
}

impl Generator<'_> {
    /// Copies what one follow says, and what it says to copy then.
    pub(super) fn follow(&mut self, follow: &Follow, base: Base) {
        let number = self.follows;
        self.follows += 1;
        let end = self.asm.label();
        let layout = follow.layout.map_or(0, |id| id.0);
        let known = |kind, elem_size, max| Known {
            kind,
            follow: number,
            layout,
            elem_size,
            max,
        };
        let out_of_range = self.asm.label();
        match follow.kind {
            FollowKind::Pointer { at, offset, size } => {
                self.load_word(R9, base, at, end);
                self.asm.jump_if_imm(R9, Cond::Equal, 0, end);
                self.asm.add_imm64(R9, offset, R1);
                self.one_element();
                self.append(known(ChunkKind::Pointer, size, None), out_of_range, end);
            }
            FollowKind::String { at_ptr, at_len, max } => {
                self.pointer_and_length(base, at_ptr, at_len, out_of_range, end);
                self.append(known(ChunkKind::String, 1, Some(max)), out_of_range, end);
            }
            FollowKind::Slice {
                at_ptr,
                at_len,
                elem_size,
                max_elems,
            } => {
                self.pointer_and_length(base, at_ptr, at_len, out_of_range, end);
                self.append(known(ChunkKind::Slice, elem_size, Some(max_elems)), out_of_range, end);
            }
            FollowKind::Element {
                at_ptr,
                at_len,
                elem_size,
                index,
            } => {
                self.load_word(R9, base, at_ptr, end);
                self.asm.store_imm(Width::Double, FP, slot::WANTED, 1);
                self.load_index(index);
                if let Some(at_len) = at_len {
                    self.load_word(R6, base, at_len, end);
                    self.remember_wanted();
                    // A negative index is a huge unsigned one. A negative length is not, and has
                    // no element.
                    self.asm.load(Width::Double, R2, FP, slot::COUNT);
                    self.asm.jump_if_imm(R6, Cond::SignedLess, 0, out_of_range);
                    self.asm.jump_if(R2, Cond::GreaterOrEqual, R6, out_of_range);
                } else {
                    self.asm.load(Width::Double, R2, FP, slot::COUNT);
                    self.asm.jump_if_imm(R2, Cond::SignedLess, 0, out_of_range);
                }
                self.asm.jump_if_imm(R9, Cond::Equal, 0, end);
                self.asm.mov_imm64(R3, i64::from(elem_size));
                self.asm.alu(Alu::Mul, R2, R3);
                self.asm.alu(Alu::Add, R9, R2);
                self.one_element();
                self.append(known(ChunkKind::Element, elem_size, None), out_of_range, end);
            }
            FollowKind::Interface { at, non_empty, level } => {
                self.load_word(R9, base, at, end);
                self.asm.jump_if_imm(R9, Cond::Equal, 0, end);
                self.asm.store(Width::Double, FP, slot::COUNT, R9);
                self.load_word(R9, base, at + 8, end);
                self.asm.store(Width::Double, FP, slot::DATA, R9);
                self.asm.store_imm(Width::Double, FP, slot::LEVEL, i32::from(level));
                self.asm
                    .store_imm(Width::Double, FP, slot::NON_EMPTY, i32::from(non_empty));
                self.asm.load(Width::Double, R9, FP, slot::COUNT);
                self.interface(number, end);
                let done = self.asm.label();
                self.append_dynamic(done, end);
                self.asm.bind(done);
                if !follow.then.is_empty() {
                    // Bytes of a type that is not known mean nothing.
                    self.asm.mov(R1, R7);
                    self.asm.alu(Alu::Add, R1, R8);
                    self.asm.load(Width::Byte, R2, R1, chunk::STATUS);
                    let unknown = Status::UnknownType as i32;
                    self.asm.jump_if_imm(R2, Cond::Equal, unknown, end);
                }
                self.asm.bind(out_of_range);
            }
        }
        self.nested(follow, base);
        self.asm.bind(end);
    }

    /// The follows within the chunk that was just captured at R8.
    fn nested(&mut self, follow: &Follow, base: Base) {
        if follow.then.is_empty() {
            return;
        }
        let level = match base {
            Base::Roots => 0,
            Base::Chunk { level, .. } => level + 1,
        };
        let place = (self.plan.scratch_at() + 8 * level) as i16;
        self.asm.store(Width::Word, R7, place, R8);
        let inner = Base::Chunk {
            place,
            unknown_length: matches!(follow.kind, FollowKind::Interface { .. }),
            level,
        };
        for then in &follow.then {
            self.follow(then, inner);
        }
    }

    /// One element: R6 and the true count are 1.
    fn one_element(&mut self) {
        self.asm.store_imm(Width::Double, FP, slot::WANTED, 1);
        self.asm.mov_imm(R6, 1);
    }

    /// R9 = pointer, R6 = length. Nothing to copy goes to `end`, a negative length to `out_of_range`.
    fn pointer_and_length(&mut self, base: Base, at_ptr: u32, at_len: u32, out_of_range: Label, end: Label) {
        self.load_word(R9, base, at_ptr, end);
        self.load_word(R6, base, at_len, end);
        self.asm.jump_if_imm(R6, Cond::Equal, 0, end);
        self.remember_wanted();
        self.asm.jump_if_imm(R6, Cond::SignedLess, 0, out_of_range);
    }

    /// Loads the index of an element into the frame's count slot.
    fn load_index(&mut self, index: Index) {
        match index {
            Index::Const(value) => self.asm.mov_imm64(R1, value.cast_signed()),
            Index::Root { at, size, signed } => {
                let (width, shift) = match size {
                    1 => (Width::Byte, 56),
                    2 => (Width::Half, 48),
                    4 => (Width::Word, 32),
                    _ => (Width::Double, 0),
                };
                self.asm.load(width, R1, R7, (HEADER_SIZE as u32 + at) as i16);
                if signed && shift != 0 {
                    self.asm.alu_imm(Alu::LeftShift, R1, shift);
                    self.asm.alu_imm(Alu::ArithmeticRightShift, R1, shift);
                }
            }
        }
        self.asm.store(Width::Double, FP, slot::COUNT, R1);
    }

    /// Loads 8 bytes of the base area; goes to `absent` where they were not captured. Overwrites R0
    /// to R3.
    fn load_word(&mut self, into: R, base: Base, at: u32, absent: Label) {
        match base {
            Base::Roots => self.asm.load(Width::Double, into, R7, (HEADER_SIZE as u32 + at) as i16),
            Base::Chunk {
                place, unknown_length, ..
            } => {
                let offset = CHUNK_HEADER_SIZE as i32 + at.cast_signed();
                let last = self.class - offset - 8;
                if last < 0 {
                    // A chunk that long never fits in this record, so this is never reached.
                    self.asm.jump(absent);
                    return;
                }
                self.asm.load(Width::Word, R1, R7, place);
                self.asm.jump_if_imm(R1, Cond::Greater, last, absent);
                if unknown_length {
                    let header = self.class - CHUNK_HEADER_SIZE as i32;
                    self.asm.jump_if_imm(R1, Cond::Greater, header, absent);
                    self.asm.mov(R2, R7);
                    self.asm.alu(Alu::Add, R2, R1);
                    self.asm.load(Width::Word, R3, R2, chunk::LEN);
                    self.asm.jump_if_imm(R3, Cond::Less, at.cast_signed() + 8, absent);
                }
                self.asm.mov(R0, R7);
                self.asm.alu(Alu::Add, R0, R1);
                self.asm.alu_imm(Alu::Add, R0, offset);
                self.asm.load(Width::Double, into, R0, 0);
            }
        }
    }
}
