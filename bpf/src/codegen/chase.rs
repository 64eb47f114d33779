//! The chase: a loop over the chunks of the record that follows their layouts, breadth first.
//!
//! The loop is a callback of `bpf_loop`, which takes one edge of one element in each step. All of
//! its state is in the record, behind the roots, and so unknown to the verifier: it sees the same
//! callback state in the second step as in the first, and stops there.
//!
//! Where something is to be read again (`recheck`), a second pass over the chunks follows the first.

use super::append::status_word;
use super::{Generator, slot};
use crate::asm::{Label, MapRef};
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Width};
use crate::layout::{
    EDGE_COUNT, EDGE_INTERFACE, EDGE_POINTER, EDGE_SLICE, EDGE_STRING, EDGES_PER_ENTRY, EdgeEntry, LayoutEntry,
};
use crate::record::{CHASE_FOLLOW, CHUNK_HEADER_SIZE, ChunkKind, Flags, Status, chunk, header};
use std::mem::{offset_of, size_of};

/// The most steps of one hit: edges of elements, and chunks entered in each pass.
const STEPS: i32 = 5120;
/// Steps that are kept for the second pass: one for each chunk that the greatest record can have.
const KEPT_STEPS: i32 = 1024;

const CHUNK_HEADER: i32 = CHUNK_HEADER_SIZE as i32;

/// Offsets of the chase's state from where it starts in the record.
const CURRENT: i16 = 0;
const ENTRY: i16 = 4;
const ELEMENT: i16 = 8;
const EDGE: i16 = 12;
const PASS: i16 = 16;

/// What stands in `PASS`: nothing is to be read again, something is, and it is being done.
const RECHECK_NOTHING: i32 = 0;
const RECHECK_LATER: i32 = 1;
const RECHECK_NOW: i32 = 2;

impl Generator<'_> {
    /// Calls the loop; its body is at the label returned.
    pub(super) fn call_chase(&mut self) -> Label {
        let body = self.asm.label();
        let done = self.asm.label();
        let place = self.plan.chase_at() as i16;
        let chunks_at = self.plan.chunks_at();
        let first = chunks_at as i16;
        // Nothing was captured: nothing to chase.
        self.asm.load(Width::Word, R1, R7, header::USED);
        self.asm
            .jump_if_imm(R1, Cond::LessOrEqual, chunks_at.cast_signed(), done);
        self.asm
            .store_imm(Width::Word, R7, place + CURRENT, chunks_at.cast_signed());
        self.asm.store_imm(Width::Word, R7, place + ELEMENT, 0);
        self.asm.store_imm(Width::Word, R7, place + EDGE, 0);
        self.asm.store_imm(Width::Word, R7, place + PASS, RECHECK_NOTHING);
        self.asm.load(Width::Word, R1, R7, first + chunk::LAYOUT);
        self.asm.store(Width::Word, R7, place + ENTRY, R1);
        self.asm.store(Width::Double, FP, slot::RECORD, R7);
        self.asm.mov_imm(R1, STEPS);
        self.asm.load_function(R2, body);
        self.asm.mov(R3, FP);
        self.asm.alu_imm(Alu::Add, R3, i32::from(slot::RECORD));
        self.asm.mov_imm(R4, 0);
        self.asm.call(Helper::Loop);
        self.asm.jump_if_imm(R0, Cond::NotEqual, STEPS, done);
        self.flag(Flags::CHASE_CUT);
        self.asm.bind(done);
        body
    }

    /// The loop's body: R1 is the step, R2 points to the slot that holds the record.
    pub(super) fn chase(&mut self, body: Label) {
        let go_on = self.asm.label();
        let stop = self.asm.label();
        let next_chunk = self.asm.label();
        let have_edge = self.asm.label();
        let further_entry = self.asm.label();
        let append = self.asm.label();
        let recheck = self.asm.label();
        let in_time = self.asm.label();
        let end = self.asm.label();
        let place = self.plan.chase_at() as i16;
        let last_header = self.class - CHUNK_HEADER;

        self.asm.bind_subprogram(body);
        self.asm.load(Width::Double, R7, R2, 0);
        self.asm.load(Width::Word, R9, R7, place + PASS);
        self.asm.jump_if_imm(R9, Cond::Equal, RECHECK_NOW, in_time);
        let late = STEPS - KEPT_STEPS;
        self.asm.jump_if_imm(R1, Cond::Less, late, in_time);
        self.flag(Flags::CHASE_CUT);
        self.asm.jump(stop);
        self.asm.bind(in_time);
        self.asm.load(Width::Word, R1, R7, header::USED);
        self.asm.load(Width::Word, R8, R7, place + CURRENT);
        self.asm.jump_if(R8, Cond::GreaterOrEqual, R1, stop);
        self.asm.jump_if_imm(R8, Cond::Greater, last_header, stop);
        self.asm.mov(R6, R7);
        self.asm.alu(Alu::Add, R6, R8);
        self.asm.jump_if_imm(R9, Cond::Equal, RECHECK_NOW, recheck);

        self.asm.load(Width::Word, R1, R7, place + ENTRY);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, next_chunk);
        self.asm.store(Width::Word, FP, slot::KEY, R1);
        self.asm.lookup(MapRef::Layouts, slot::KEY);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, next_chunk);
        let settled = self.asm.label();
        self.asm
            .load(Width::Word, R1, R0, offset_of!(LayoutEntry, rechecked) as i16);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, settled);
        self.asm.store_imm(Width::Word, R7, place + PASS, RECHECK_LATER);
        self.asm.bind(settled);
        self.asm.load(Width::Word, R1, R7, place + EDGE);
        self.asm
            .load(Width::Word, R2, R0, offset_of!(LayoutEntry, edge_count) as i16);
        self.asm.jump_if(R1, Cond::Less, R2, have_edge);

        // This entry is done: its continuation, or the next element from the start.
        self.asm.load(Width::Word, R2, R0, offset_of!(LayoutEntry, next) as i16);
        self.asm.jump_if_imm(R2, Cond::NotEqual, 0, further_entry);
        self.asm.load(Width::Word, R1, R7, place + ELEMENT);
        self.asm.alu_imm(Alu::Add, R1, 1);
        self.asm.load(Width::Word, R2, R6, chunk::COUNT);
        self.asm.jump_if(R1, Cond::GreaterOrEqual, R2, next_chunk);
        self.asm.store(Width::Word, R7, place + ELEMENT, R1);
        self.asm.load(Width::Word, R2, R6, chunk::LAYOUT);
        self.asm.bind(further_entry);
        self.asm.store(Width::Word, R7, place + ENTRY, R2);
        self.asm.store_imm(Width::Word, R7, place + EDGE, 0);
        self.asm.jump(go_on);

        self.asm.bind(next_chunk);
        self.next_chunk(place, stop);
        self.asm.jump(go_on);

        self.asm.bind(have_edge);
        self.asm
            .jump_if_imm(R1, Cond::GreaterOrEqual, EDGES_PER_ENTRY as i32, next_chunk);
        self.edge(place, append, go_on);

        self.asm.bind(append);
        self.append_dynamic(go_on, stop);

        // The first pass ends here, and the second begins, if there is to be one.
        self.asm.bind(stop);
        self.asm.load(Width::Word, R1, R7, place + PASS);
        self.asm.jump_if_imm(R1, Cond::NotEqual, RECHECK_LATER, end);
        self.asm.store_imm(Width::Word, R7, place + PASS, RECHECK_NOW);
        let chunks_at = self.plan.chunks_at().cast_signed();
        self.asm.store_imm(Width::Word, R7, place + CURRENT, chunks_at);
        self.asm.jump(go_on);

        self.asm.bind(recheck);
        self.recheck();
        self.pass_chunk(place);

        self.asm.bind(go_on);
        self.asm.mov_imm(R0, 0);
        self.asm.exit();
        self.asm.bind(end);
        self.asm.mov_imm(R0, 1);
        self.asm.exit();
    }

    /// Enters the chunk after the one at R6, whose offset is R8.
    fn next_chunk(&mut self, place: i16, stop: Label) {
        let empty = self.asm.label();
        self.pass_chunk(place);
        self.asm.load(Width::Word, R1, R7, header::USED);
        self.asm.jump_if(R8, Cond::GreaterOrEqual, R1, stop);
        self.asm.jump_if_imm(R8, Cond::Greater, self.class - CHUNK_HEADER, stop);
        self.asm.mov(R6, R7);
        self.asm.alu(Alu::Add, R6, R8);
        self.asm.load(Width::Word, R1, R6, chunk::LEN);
        self.asm.mov_imm(R2, 0);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, empty);
        self.asm.load(Width::Word, R2, R6, chunk::LAYOUT);
        self.asm.bind(empty);
        self.asm.store(Width::Word, R7, place + ENTRY, R2);
        self.asm.store_imm(Width::Word, R7, place + ELEMENT, 0);
        self.asm.store_imm(Width::Word, R7, place + EDGE, 0);
    }

    /// The chunk after the one at R6, whose offset is R8, is the current one from now on; R8 is its offset then.
    fn pass_chunk(&mut self, place: i16) {
        self.asm.load(Width::Word, R1, R6, chunk::LEN);
        self.asm.alu_imm(Alu::Add, R1, 7 + CHUNK_HEADER);
        self.asm.alu_imm(Alu::And, R1, -8);
        self.asm.alu(Alu::Add, R8, R1);
        self.asm.store(Width::Word, R7, place + CURRENT, R8);
    }

    /// Takes edge R1 of the entry at R0 for the current element. Leaves what `append_dynamic` needs
    /// and goes to `append`, or to `go_on`.
    fn edge(&mut self, place: i16, append: Label, go_on: Label) {
        let string = self.asm.label();
        let slice = self.asm.label();
        let interface = self.asm.label();
        let counted = self.asm.label();
        let bounded = self.asm.label();
        let two_words = self.asm.label();
        let elsewhere = self.asm.label();
        let kind = |kind| status_word(Status::Captured, kind, CHASE_FOLLOW);
        let field = |offset: usize| (offset_of!(LayoutEntry, edges) + offset) as i16;

        self.asm.mov(R2, R1);
        self.asm.alu_imm(Alu::Add, R2, 1);
        self.asm.store(Width::Word, R7, place + EDGE, R2);
        self.asm.alu_imm(Alu::Mul, R1, size_of::<EdgeEntry>() as i32);
        self.asm.alu(Alu::Add, R0, R1);

        // Where the word is in the record: within the captured bytes of the current chunk.
        self.asm.load(Width::Word, R2, R7, place + ELEMENT);
        self.asm.load(Width::Word, R3, R6, chunk::ELEM_SIZE);
        self.asm.alu(Alu::Mul, R2, R3);
        self.asm.load(Width::Word, R3, R0, field(offset_of!(EdgeEntry, at)));
        self.asm.alu(Alu::Add, R2, R3);
        self.asm.load(Width::Word, R5, R0, field(offset_of!(EdgeEntry, kind)));
        self.asm.mov(R3, R2);
        self.asm.alu_imm(Alu::Add, R3, 8);
        self.asm.load(Width::Word, R4, R6, chunk::LEN);
        self.asm.jump_if(R3, Cond::Greater, R4, go_on);
        self.asm.alu(Alu::Add, R8, R2);
        self.asm.alu_imm(Alu::Add, R8, CHUNK_HEADER);
        self.asm.jump_if_imm(R8, Cond::Greater, self.class - 8, go_on);
        self.asm.mov(R1, R7);
        self.asm.alu(Alu::Add, R1, R8);
        self.asm.load(Width::Double, R9, R1, 0);
        self.asm.jump_if_imm(R9, Cond::Equal, 0, go_on);

        self.asm.load(Width::Word, R1, R0, field(offset_of!(EdgeEntry, target)));
        self.asm.store(Width::Double, FP, slot::LAYOUT, R1);
        self.asm.store(Width::Double, FP, slot::LEVEL, R1);
        self.asm
            .load(Width::Word, R1, R0, field(offset_of!(EdgeEntry, elem_size)));
        self.asm.store(Width::Double, FP, slot::ELEM_SIZE, R1);
        self.asm.store(Width::Double, FP, slot::NON_EMPTY, R1);
        self.asm.load(Width::Word, R1, R0, field(offset_of!(EdgeEntry, max)));
        self.asm.store(Width::Double, FP, slot::COUNT, R1);
        self.asm
            .jump_if_imm(R5, Cond::NotEqual, EDGE_POINTER.cast_signed(), two_words);
        self.asm
            .store_imm(Width::Double, FP, slot::STATUS, kind(ChunkKind::Pointer));
        self.asm.mov_imm(R6, 1);
        self.asm.jump(counted);

        self.asm.bind(elsewhere);
        self.asm.load(Width::Word, R1, R0, field(offset_of!(EdgeEntry, at)));
        self.asm
            .load(Width::Word, R3, R0, field(offset_of!(EdgeEntry, count_at)));
        self.counted(go_on);
        self.asm.jump(slice);

        self.asm.bind(two_words);
        self.asm
            .jump_if_imm(R5, Cond::GreaterOrEqual, EDGE_COUNT.cast_signed(), elsewhere);
        self.asm.alu_imm(Alu::Add, R3, 8);
        self.asm.jump_if(R3, Cond::Greater, R4, go_on);
        self.asm.jump_if_imm(R8, Cond::Greater, self.class - 16, go_on);
        self.asm.mov(R1, R7);
        self.asm.alu(Alu::Add, R1, R8);
        self.asm.load(Width::Double, R6, R1, 8);
        self.asm.jump_if_imm(R5, Cond::Equal, EDGE_STRING.cast_signed(), string);
        self.asm.jump_if_imm(R5, Cond::Equal, EDGE_SLICE.cast_signed(), slice);
        self.asm
            .jump_if_imm(R5, Cond::Equal, EDGE_INTERFACE.cast_signed(), interface);
        self.asm.jump(go_on);

        self.asm.bind(interface);
        self.asm.store(Width::Double, FP, slot::DATA, R6);
        self.chased_interface(go_on);
        self.asm.jump(append);

        self.asm.bind(string);
        self.asm
            .store_imm(Width::Double, FP, slot::STATUS, kind(ChunkKind::String));
        self.asm.jump(counted);
        self.asm.bind(slice);
        self.asm
            .store_imm(Width::Double, FP, slot::STATUS, kind(ChunkKind::Slice));

        // R6 elements are wanted: what of them to copy?
        self.asm.bind(counted);
        self.asm.jump_if_imm(R6, Cond::Equal, 0, go_on);
        self.remember_wanted();
        let sane = self.asm.label();
        self.asm.jump_if_imm(R6, Cond::SignedGreater, 0, sane);
        self.asm.load(Width::Double, R1, FP, slot::STATUS);
        self.asm.alu_imm(Alu::Or, R1, Status::OutOfRange as i32);
        self.asm.store(Width::Double, FP, slot::STATUS, R1);
        self.asm.mov_imm(R6, 0);
        self.asm.store_imm(Width::Double, FP, slot::COUNT, 0);
        self.asm.jump(append);

        self.asm.bind(sane);
        self.asm.load(Width::Double, R1, FP, slot::COUNT);
        self.asm.jump_if(R6, Cond::LessOrEqual, R1, bounded);
        self.truncate(R1);
        self.asm.bind(bounded);
        self.bytes_of_elements(go_on);
        self.asm.jump(append);
    }

    /// R6 = `to`, and the status says that there is more.
    fn truncate(&mut self, to: crate::insn::R) {
        self.asm.mov(R6, to);
        self.asm.load(Width::Double, R2, FP, slot::STATUS);
        self.asm.alu_imm(Alu::Or, R2, Status::Truncated as i32);
        self.asm.store(Width::Double, FP, slot::STATUS, R2);
    }

    /// From R6 elements, at most 32 bits of them, to their bytes: whole elements that the record
    /// could hold, were it empty.
    fn bytes_of_elements(&mut self, nothing: Label) {
        let fits = self.asm.label();
        let count = self.asm.label();
        let room = self.room().cast_signed();
        self.asm.load(Width::Double, R1, FP, slot::ELEM_SIZE);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, nothing);
        self.asm.mov(R3, R6);
        self.asm.alu(Alu::Mul, R3, R1);
        self.asm.jump_if_imm(R3, Cond::LessOrEqual, room, count);
        self.asm.mov_imm(R3, room);
        self.asm.alu(Alu::Div, R3, R1);
        self.asm.jump_if_imm(R3, Cond::NotEqual, 0, fits);
        // Not even one: the whole length stands, and finds no room.
        self.asm.mov(R3, R6);
        self.asm.bind(fits);
        self.truncate(R3);
        self.asm.load(Width::Double, R1, FP, slot::ELEM_SIZE);
        self.asm.mov(R3, R6);
        self.asm.alu(Alu::Mul, R3, R1);
        self.asm.bind(count);
        self.asm.store(Width::Double, FP, slot::COUNT, R6);
        self.asm.mov(R6, R3);
    }
}
