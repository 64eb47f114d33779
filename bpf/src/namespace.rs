//! What processes and threads are called. A process has a number in its own pid namespace and in each one around it (`pid_namespaces(7)`), and the kernel's
//! helper tells the outermost. Programs report those of the namespace that this process is in, as every system call takes them.

use std::path::Path;

use crate::asm::{Asm, Label};
use crate::btf::{self, KernelTypes};
use crate::error::BpfError;
use crate::insn::{Alu, Cond, FP, Helper, R, R0, R1, R2, R3, R9, Width};
use crate::loader::load_raw_tracepoint;
use crate::maps::Maps;
use crate::sys;

/// How programs find what the pid namespace of this process calls a thread and its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// This process is in the initial pid namespace, whose numbers the kernel's helper tells.
    Initial,
    /// It is in one further in.
    Nested(Nested),
}

/// Where the kernel keeps the numbers of a thread: offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Structures {
    /// `task_struct.group_leader`.
    group_leader: u32,
    /// `task_struct.thread_pid`.
    thread_pid: u32,
    /// `pid.level`: how many namespaces are around the thread's own.
    deepest: u32,
    /// `pid.numbers[0].nr`.
    number: u32,
    /// From a number to that of the next namespace further in.
    step: u32,
}

/// The numbers as a namespace has them that is not the initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nested {
    structures: Structures,
    /// `pid.numbers[level].nr`, `level` being how many namespaces are around this process's.
    number: u32,
    level: u32,
}

impl Structures {
    /// Those of the running kernel.
    pub(crate) fn of_this_kernel() -> Result<Structures, BpfError> {
        let path = btf::kernel_btf_path();
        Structures::read(&KernelTypes::parse(&btf::read_kernel_btf(&path)?, &path)?)
    }

    /// Those of a kernel with these types.
    pub(crate) fn read(types: &KernelTypes<'_>) -> Result<Structures, BpfError> {
        Ok(Structures {
            group_leader: types.offset(&["task_struct", "group_leader"])?,
            thread_pid: types.offset(&["task_struct", "thread_pid"])?,
            deepest: types.offset(&["pid", "level"])?,
            number: types
                .offset(&["pid", "numbers"])?
                .saturating_add(types.offset(&["upid", "nr"])?),
            step: types.size("upid")?,
        })
    }

    /// Stores the number that the running process has in its own namespace to `[base + offset]`; nothing where that cannot be read. `word` is 8 bytes of the
    /// frame. Overwrites R0 to R5 and R9.
    pub(crate) fn store_own(self, asm: &mut Asm, base: R, offset: i16, word: i16) {
        let unread = asm.label();
        asm.call(Helper::GetCurrentTask);
        asm.mov(R9, R0);
        read_kernel(asm, R9, self.group_leader, 8, word, unread);
        asm.load(Width::Double, R9, FP, word);
        read_kernel(asm, R9, self.thread_pid, 8, word, unread);
        asm.load(Width::Double, R9, FP, word);
        read_kernel(asm, R9, self.deepest, 4, word, unread);
        asm.load(Width::Word, R1, FP, word);
        asm.alu_imm(Alu::Mul, R1, self.step.cast_signed());
        asm.alu(Alu::Add, R9, R1);
        read_kernel(asm, R9, self.number, 4, word, unread);
        asm.load(Width::Word, R1, FP, word);
        asm.store(Width::Word, base, offset, R1);
        asm.bind(unread);
    }
}

/// Inode number of the initial pid namespace: `PROC_PID_INIT_INO` of the kernel's `include/linux/proc_ns.h`.
const INITIAL: &str = "pid:[4026531836]";

impl Numbers {
    /// Those of this process's own pid namespace.
    pub(crate) fn of_this_process(maps: &Maps) -> Result<Numbers, BpfError> {
        let own = std::fs::read_link("/proc/self/ns/pid")
            .map_err(|source| BpfError::system("reading which pid namespace this process is in", source))?;
        if own == Path::new(INITIAL) {
            return Ok(Numbers::Initial);
        }
        let structures = Structures::of_this_kernel()?;
        let level = own_level(structures, maps)?;
        let number = level
            .checked_mul(structures.step)
            .and_then(|before| before.checked_add(structures.number))
            .ok_or_else(|| BpfError::BadBtf {
                path: btf::kernel_btf_path(),
                reason: "the size of upid makes no sense".to_owned(),
            })?;
        Ok(Numbers::Nested(Nested {
            structures,
            number,
            level,
        }))
    }

    /// Stores the number of the running thread to `[base + offset]` and that of its process to the word behind it, 0 for one that this process's namespace
    /// does not see. `word` is 8 bytes of the frame. Overwrites R0 to R5 and R9.
    pub(crate) fn store_current(self, asm: &mut Asm, base: R, offset: i16, word: i16) {
        let nested = match self {
            Numbers::Initial => {
                asm.call(Helper::GetCurrentPidTgid);
                asm.store(Width::Double, base, offset, R0);
                return;
            }
            Numbers::Nested(nested) => nested,
        };
        let unseen = asm.label();
        asm.store_imm(Width::Double, base, offset, 0);
        asm.call(Helper::GetCurrentTask);
        asm.mov(R9, R0);
        nested.number(asm, word, unseen);
        asm.store(Width::Word, base, offset, R1);
        asm.call(Helper::GetCurrentTask);
        asm.mov(R9, R0);
        nested.process(asm, word, unseen);
        asm.store(Width::Word, base, offset + 4, R1);
        asm.bind(unseen);
    }

    /// Loads the number of the running process into R1; jumps to `unseen` where this process's namespace does not see it. `word` is 8 bytes of the frame.
    /// Overwrites R0 to R5 and R9.
    pub(crate) fn load_process(self, asm: &mut Asm, word: i16, unseen: Label) {
        match self {
            Numbers::Initial => {
                asm.call(Helper::GetCurrentPidTgid);
                // A process's number is far below 2^31.
                asm.alu_imm(Alu::ArithmeticRightShift, R0, 32);
                asm.mov(R1, R0);
            }
            Numbers::Nested(nested) => {
                asm.call(Helper::GetCurrentTask);
                asm.mov(R9, R0);
                nested.process(asm, word, unseen);
            }
        }
    }

    /// As [`Self::load_process`], for the `task_struct` in R9. `tgid` is the offset of its member of that name.
    pub(crate) fn load_process_of(self, asm: &mut Asm, tgid: u32, word: i16, unseen: Label) {
        match self {
            Numbers::Initial => {
                read_kernel(asm, R9, tgid, 4, word, unseen);
                asm.load(Width::Word, R1, FP, word);
            }
            Numbers::Nested(nested) => nested.process(asm, word, unseen),
        }
    }
}

impl Nested {
    /// The number of the process of the `task_struct` in R9, in R1.
    fn process(self, asm: &mut Asm, word: i16, unseen: Label) {
        read_kernel(asm, R9, self.structures.group_leader, 8, word, unseen);
        asm.load(Width::Double, R9, FP, word);
        self.number(asm, word, unseen);
    }

    /// The number of the thread of the `task_struct` in R9, in R1.
    fn number(self, asm: &mut Asm, word: i16, unseen: Label) {
        read_kernel(asm, R9, self.structures.thread_pid, 8, word, unseen);
        asm.load(Width::Double, R9, FP, word);
        read_kernel(asm, R9, self.structures.deepest, 4, word, unseen);
        asm.load(Width::Word, R1, FP, word);
        asm.jump_if_imm(R1, Cond::Less, self.level.cast_signed(), unseen);
        read_kernel(asm, R9, self.number, 4, word, unseen);
        asm.load(Width::Word, R1, FP, word);
    }
}

/// How many pid namespaces are around that of this process. No system call tells, so a program is run here that looks.
fn own_level(structures: Structures, maps: &Maps) -> Result<u32, BpfError> {
    const WORD: i16 = -8;
    let mut asm = Asm::default();
    let failed = asm.label();
    asm.call(Helper::GetCurrentTask);
    asm.mov(R9, R0);
    read_kernel(&mut asm, R9, structures.thread_pid, 8, WORD, failed);
    asm.load(Width::Double, R9, FP, WORD);
    read_kernel(&mut asm, R9, structures.deepest, 4, WORD, failed);
    asm.load(Width::Word, R0, FP, WORD);
    asm.exit();
    asm.bind(failed);
    // No level: it would stand for the initial namespace, in which this process is not.
    asm.mov_imm(R0, 0);
    asm.exit();
    let code = asm
        .finish()
        .map_err(|error| crate::plan::PlanError::TooLong(error.to_string()))?;
    let program = load_raw_tracepoint("spelunk_level", &code, maps)?;
    let action = "looking how deep in pid namespaces this process is";
    match sys::run_once(&program) {
        Ok(0) => Err(BpfError::system(
            action,
            std::io::Error::other("the kernel's memory could not be read"),
        )),
        Ok(level) => Ok(level),
        Err(source) => Err(BpfError::system(action, source)),
    }
}

/// Reads `size` bytes of kernel memory at `base` plus `offset` into the frame at `to`; jumps to `failed` where that fails. Overwrites R0 to R5.
pub(crate) fn read_kernel(asm: &mut Asm, base: R, offset: u32, size: i32, to: i16, failed: Label) {
    asm.mov(R3, base);
    asm.add_imm64(R3, i64::from(offset), R1);
    asm.mov(R1, FP);
    asm.alu_imm(Alu::Add, R1, i32::from(to));
    asm.mov_imm(R2, size);
    asm.call(Helper::ProbeReadKernel);
    asm.jump_if_imm(R0, Cond::NotEqual, 0, failed);
}
