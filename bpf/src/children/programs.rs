//! The programs that follow processes, on the kernel's tracepoints of a process's life.
//!
//! The kernel passes `sched_process_fork` before it wakes the child (`kernel_clone` in its `kernel/fork.c`), so a child is followed from its first
//! instruction; `sched_process_exec` once the new program is in place; `sched_process_exit` for each thread, after it was taken off the process's count of
//! living ones. Their first argument is a `task_struct`, the second of a fork is the child's. The structures are read by the offsets that the kernel's BTF has.

use std::path::Path;

use crate::asm::{Asm, AsmError, Code, Label, MapRef};
use crate::btf::KernelTypes;
use crate::error::BpfError;
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R4, R6, R7, R9, Width};
use crate::namespace::{Numbers, read_kernel};

/// Offsets in bytes in the kernel's structures.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets {
    tgid: u32,
    signal: u32,
    live: u32,
    mm: u32,
    exe_file: u32,
    inode: u32,
    files: u32,
    table: u32,
    descriptors: u32,
}

/// Offsets in the table of what is being followed.
mod following {
    /// u64: the kernel's address of the executable's inode.
    pub(super) const INODE: i16 = 0;
    /// u64: how many children there was no room for.
    pub(super) const NO_ROOM: i16 = 8;
}

/// Places in the frame.
const KEY: i16 = -8;
const WORD: i16 = -16;
const VALUE: i16 = -24;
const PARENT: i16 = -32;
const ZERO: i16 = -40;

/// `BPF_ANY` of `include/uapi/linux/bpf.h`.
const ANY: i32 = 0;

impl Offsets {
    /// Those of the kernel whose BTF was read from `path`.
    pub(super) fn read(bytes: &[u8], path: &Path) -> Result<Offsets, BpfError> {
        let types = KernelTypes::parse(bytes, path)?;
        Ok(Offsets {
            tgid: types.offset(&["task_struct", "tgid"])?,
            signal: types.offset(&["task_struct", "signal"])?,
            live: types.offset(&["signal_struct", "live"])?,
            mm: types.offset(&["task_struct", "mm"])?,
            exe_file: types.offset(&["mm_struct", "exe_file"])?,
            inode: types.offset(&["file", "f_inode"])?,
            files: types.offset(&["task_struct", "files"])?,
            table: types.offset(&["files_struct", "fdt"])?,
            descriptors: types.offset(&["fdtable", "fd"])?,
        })
    }
}

/// Goes to `unfollowed` if the running process is none of the followed. `key` and `word` are 8 bytes of the frame each. Overwrites R0 to R5 and R9.
pub(super) fn admit(asm: &mut Asm, numbers: Numbers, key: i16, word: i16, unfollowed: Label) {
    numbers.load_process(asm, word, unfollowed);
    asm.store(Width::Word, FP, key, R1);
    asm.lookup(MapRef::Followed, key);
    asm.jump_if_imm(R0, Cond::Equal, 0, unfollowed);
}

/// Takes note of the file that is open as `descriptor` in the process that runs this: the followed processes' executable.
pub(super) fn note_executable(offsets: Offsets, descriptor: u32) -> Result<Code, AsmError> {
    let mut asm = Asm::default();
    let failed = asm.label();
    asm.call(Helper::GetCurrentTask);
    asm.mov(R9, R0);
    // file = current->files->fdt->fd[descriptor]
    let step = u64::from(descriptor) * 8;
    follow_pointers(
        &mut asm,
        &[offsets.files, offsets.table, offsets.descriptors],
        WORD,
        failed,
    );
    asm.add_imm64(R9, step.cast_signed(), R1);
    follow_pointers(&mut asm, &[0, offsets.inode], WORD, failed);
    following_entry(&mut asm, failed);
    asm.store(Width::Double, R0, following::INODE, R9);
    asm.mov_imm(R0, 1);
    asm.exit();
    asm.bind(failed);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish()
}

/// A fork: the child of a followed process is followed. The making of a thread passes here too.
pub(super) fn on_fork(numbers: Numbers, offsets: Offsets) -> Result<Code, AsmError> {
    let mut asm = Asm::default();
    let done = asm.label();
    let full = asm.label();
    asm.load(Width::Double, R6, R1, 0);
    asm.load(Width::Double, R7, R1, 8);
    asm.mov(R9, R6);
    numbers.load_process_of(&mut asm, offsets.tgid, WORD, done);
    asm.store(Width::Word, FP, PARENT, R1);
    asm.lookup(MapRef::Followed, PARENT);
    asm.jump_if_imm(R0, Cond::Equal, 0, done);
    asm.mov(R9, R7);
    numbers.load_process_of(&mut asm, offsets.tgid, WORD, done);
    asm.load(Width::Word, R2, FP, PARENT);
    asm.jump_if(R1, Cond::Equal, R2, done);
    asm.store(Width::Word, FP, KEY, R1);
    asm.store_imm(Width::Word, FP, VALUE, 1);
    asm.load_map(R1, MapRef::Followed);
    asm.mov(R2, FP);
    asm.alu_imm(Alu::Add, R2, i32::from(KEY));
    asm.mov(R3, FP);
    asm.alu_imm(Alu::Add, R3, i32::from(VALUE));
    asm.mov_imm(R4, ANY);
    asm.call(Helper::MapUpdateElem);
    asm.jump_if_imm(R0, Cond::NotEqual, 0, full);
    asm.bind(done);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.bind(full);
    let uncounted = asm.label();
    following_entry(&mut asm, uncounted);
    asm.mov_imm(R1, 1);
    asm.atomic_add(R0, following::NO_ROOM, R1);
    asm.bind(uncounted);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish()
}

/// A followed process has executed a program: it is followed no more if that is another file.
pub(super) fn on_exec(numbers: Numbers, offsets: Offsets) -> Result<Code, AsmError> {
    let mut asm = Asm::default();
    let done = asm.label();
    let another = asm.label();
    asm.load(Width::Double, R6, R1, 0);
    asm.mov(R9, R6);
    numbers.load_process_of(&mut asm, offsets.tgid, WORD, done);
    asm.store(Width::Word, FP, KEY, R1);
    asm.lookup(MapRef::Followed, KEY);
    asm.jump_if_imm(R0, Cond::Equal, 0, done);
    asm.mov(R9, R6);
    // What cannot be told to be the same file is taken for another.
    follow_pointers(&mut asm, &[offsets.mm, offsets.exe_file, offsets.inode], WORD, another);
    following_entry(&mut asm, another);
    asm.load(Width::Double, R1, R0, following::INODE);
    asm.jump_if(R1, Cond::Equal, R9, done);
    asm.bind(another);
    forget(&mut asm);
    asm.bind(done);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish()
}

/// A thread ends: with the last one the process does, and is followed no more.
pub(super) fn on_exit(numbers: Numbers, offsets: Offsets) -> Result<Code, AsmError> {
    let mut asm = Asm::default();
    let done = asm.label();
    asm.load(Width::Double, R6, R1, 0);
    asm.mov(R9, R6);
    follow_pointers(&mut asm, &[offsets.signal], WORD, done);
    read_kernel(&mut asm, R9, offsets.live, 4, WORD, done);
    asm.load(Width::Word, R1, FP, WORD);
    asm.jump_if_imm(R1, Cond::NotEqual, 0, done);
    asm.mov(R9, R6);
    numbers.load_process_of(&mut asm, offsets.tgid, WORD, done);
    asm.store(Width::Word, FP, KEY, R1);
    forget(&mut asm);
    asm.bind(done);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish()
}

/// Takes the process whose number is in its slot out of the followed.
fn forget(asm: &mut Asm) {
    asm.load_map(R1, MapRef::Followed);
    asm.mov(R2, FP);
    asm.alu_imm(Alu::Add, R2, i32::from(KEY));
    asm.call(Helper::MapDeleteElem);
}

/// `R0` = the one entry of the table of what is being followed.
fn following_entry(asm: &mut Asm, none: Label) {
    asm.store_imm(Width::Word, FP, ZERO, 0);
    asm.lookup(MapRef::Following, ZERO);
    asm.jump_if_imm(R0, Cond::Equal, 0, none);
}

/// Replaces the address in R9 by the pointer at each of `offsets` from it, one after the other; goes to `failed` where one cannot be read.
fn follow_pointers(asm: &mut Asm, offsets: &[u32], word: i16, failed: Label) {
    for &offset in offsets {
        read_kernel(asm, R9, offset, 8, word, failed);
        asm.load(Width::Double, R9, FP, word);
    }
}
