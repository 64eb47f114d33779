//! Finds out what an interface holds, by the table of runtime types.

use super::append::status_word;
use super::{Generator, slot};
use crate::asm::{Label, MapRef};
use crate::insn::{Alu, Cond, FP, R0, R1, R2, R3, R6, R7, R9, Width};
use crate::layout::{LayoutEntry, TypeEntry};
use crate::record::{CHASE_FOLLOW, ChunkKind, Flags, Status, header};
use std::mem::offset_of;

/// The bytes to copy of a value whose type is not in the table.
const UNKNOWN_TYPE_BYTES: i32 = 64;

/// `abi.ITab.Type` (Go's `src/internal/abi/iface.go`).
const ITAB_TYPE: u32 = 8;
/// `abi.Type.Size_` (Go's `src/internal/abi/type.go`).
const TYPE_SIZE: u32 = 0;

impl Generator<'_> {
    /// Prepares the appending of an interface's value: its first word in R9, data word, level and
    /// whether it has methods in the frame. Leaves R6, R9 and the frame as `append_dynamic` wants
    /// them, or goes to `nothing`.
    pub(super) fn interface(&mut self, follow: u16, nothing: Label) {
        let found = self.asm.label();
        let unknown = self.asm.label();
        let unreadable = self.asm.label();
        let ready = self.asm.label();
        let word = |status| status_word(status, ChunkKind::Interface, follow);
        let room = self.room().cast_signed();

        self.lookup_type();
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, found);
        self.asm.load(Width::Double, R1, FP, slot::NON_EMPTY);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, unknown);
        self.read_word(ITAB_TYPE, unreadable);
        self.asm.load(Width::Double, R9, FP, slot::WORD);
        self.lookup_type();
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, found);

        self.asm.bind(unknown);
        self.read_word(TYPE_SIZE, unreadable);
        self.asm.load(Width::Double, R6, FP, slot::WORD);
        self.asm.jump_if_imm(R6, Cond::Equal, 0, nothing);
        self.remember_wanted();
        let short = self.asm.label();
        self.asm
            .jump_if_imm(R6, Cond::LessOrEqual, UNKNOWN_TYPE_BYTES.min(room), short);
        self.asm.mov_imm(R6, UNKNOWN_TYPE_BYTES.min(room));
        self.asm.bind(short);
        self.asm.store(Width::Double, FP, slot::COUNT, R6);
        self.asm.store_imm(Width::Double, FP, slot::ELEM_SIZE, 1);
        self.asm.store_imm(Width::Double, FP, slot::LAYOUT, 0);
        self.asm
            .store_imm(Width::Double, FP, slot::STATUS, word(Status::UnknownType));
        self.asm.jump(ready);

        // The type itself cannot be read: nothing is known, not even a size.
        self.asm.bind(unreadable);
        self.flag(Flags::FAULT);
        self.asm.mov_imm(R6, 0);
        self.asm.store_imm(Width::Double, FP, slot::WANTED, 0);
        self.asm.store_imm(Width::Double, FP, slot::COUNT, 0);
        self.asm.store_imm(Width::Double, FP, slot::ELEM_SIZE, 0);
        self.asm.store_imm(Width::Double, FP, slot::LAYOUT, 0);
        self.asm
            .store_imm(Width::Double, FP, slot::STATUS, word(Status::UnknownType));
        self.asm.jump(ready);

        self.asm.bind(found);
        self.known_type(nothing, word(Status::Captured), word(Status::Truncated));

        self.asm.bind(ready);
        self.asm.load(Width::Double, R9, FP, slot::DATA);
        self.asm.jump_if_imm(R9, Cond::Equal, 0, nothing);
    }

    /// Looks up the type (or itab) at R9, by its link-time address.
    fn lookup_type(&mut self) {
        self.asm.mov(R1, R9);
        self.asm.load(Width::Double, R2, R7, header::BIAS);
        self.asm.alu(Alu::Sub, R1, R2);
        self.asm.store(Width::Double, FP, slot::TYPE_KEY, R1);
        self.asm.lookup(MapRef::RuntimeTypes, slot::TYPE_KEY);
    }

    /// R0 is the type's entry.
    fn known_type(&mut self, nothing: Label, captured: i32, truncated: i32) {
        const SIZE: i16 = offset_of!(TypeEntry, size) as i16;
        const DIRECT: i16 = offset_of!(TypeEntry, direct) as i16;
        const LAYOUTS: i16 = offset_of!(TypeEntry, layouts) as i16;
        const LAYOUT_SIZE: i16 = offset_of!(LayoutEntry, size) as i16;

        let sized = self.asm.label();
        let whole = self.asm.label();
        let room = self.room().cast_signed();
        self.asm.load(Width::Word, R6, R0, SIZE);
        self.asm.load(Width::Word, R3, R0, DIRECT);
        self.asm.load(Width::Double, R2, FP, slot::LEVEL);
        self.asm.alu_imm(Alu::And, R2, 3);
        self.asm.alu_imm(Alu::LeftShift, R2, 2);
        self.asm.alu(Alu::Add, R0, R2);
        self.asm.load(Width::Word, R1, R0, LAYOUTS);
        self.asm.store(Width::Double, FP, slot::LAYOUT, R1);
        self.asm.jump_if_imm(R3, Cond::Equal, 0, sized);

        // The data word is the value, which is already here; what it points to has a layout's size.
        self.asm.jump_if_imm(R1, Cond::Equal, 0, nothing);
        self.asm.store(Width::Word, FP, slot::KEY, R1);
        self.asm.lookup(MapRef::Layouts, slot::KEY);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, nothing);
        self.asm.load(Width::Word, R6, R0, LAYOUT_SIZE);

        self.asm.bind(sized);
        self.asm.jump_if_imm(R6, Cond::Equal, 0, nothing);
        self.asm.store(Width::Double, FP, slot::ELEM_SIZE, R6);
        self.asm.store_imm(Width::Double, FP, slot::WANTED, 1);
        self.asm.store_imm(Width::Double, FP, slot::COUNT, 1);
        self.asm.store_imm(Width::Double, FP, slot::STATUS, captured);
        self.asm.jump_if_imm(R6, Cond::LessOrEqual, room, whole);
        self.asm.mov_imm(R6, room);
        self.asm.store_imm(Width::Double, FP, slot::STATUS, truncated);
        self.asm.bind(whole);
    }

    /// [`Self::interface`] for an edge that the chase has come upon.
    pub(super) fn chased_interface(&mut self, nothing: Label) {
        self.interface(CHASE_FOLLOW, nothing);
    }
}
