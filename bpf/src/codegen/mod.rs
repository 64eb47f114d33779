//! Makes eBPF programs out of plans.
//!
//! One program is made for each distinct plan; a dispatcher, attached to every site, tail-calls the
//! program of the site's plan. Programs are straight-line code, but for the chase.
//!
//! Two habits keep the verifier's work small, whatever the plan:
//!
//! * The cursor (how much of the record is used) lives in the record itself. What is loaded from
//!   there is an unknown number to the verifier, so all paths that meet after a follow look the
//!   same to it and are walked once, instead of once for each combination of earlier outcomes.
//! * Each number that came from memory is compared with a constant just before it is used.
//!
//! A gate, where a plan has one, comes before all this: see [`gate`].
//!
//! Registers by convention: R6 the context while roots are copied, later a count; R7 the record;
//! R8 the cursor; R9 an address in the target.

mod append;
mod chase;
mod counted;
mod dispatcher;
mod follow;
mod gate;
mod goroutine;
mod interface;
mod recheck;
mod roots;
#[cfg(test)]
mod tests;

pub(crate) use dispatcher::{dispatcher, following_dispatcher};

use crate::asm::{Asm, AsmError, Code, Label, MapRef};
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R6, R7, R8, R9, Width};
use crate::maps::site_state;
use crate::namespace::{Numbers, Structures};
use crate::plan::{Plan, PlanError, Reg};
use crate::record::{Flags, header};

/// What programs need to know about the maps and the kernel they will run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Environment {
    /// Entries of the site table.
    pub(crate) max_sites: u32,
    /// Copies of the counter table, so that CPUs seldom meet in one cache line: a power of two.
    pub(crate) stripes: u32,
    /// Size of the ring in bytes.
    pub(crate) ring_bytes: u32,
    /// Offset of `thread.fsbase` in the kernel's `task_struct`, where a plan needs it.
    pub(crate) fsbase_offset: Option<u32>,
    /// What processes and threads are called.
    pub(crate) numbers: Numbers,
    /// How the number that a process has in its own pid namespace is found, where records are to have it.
    pub(crate) own_number: Option<Structures>,
}

/// Offsets in an entry of the counter table.
pub(crate) mod counter {
    pub(crate) const HITS: i16 = 0;
    pub(crate) const EMITTED: i16 = 8;
    pub(crate) const RING_FULL: i16 = 16;
    pub(crate) const UNPLANNED: i16 = 24;
    pub(crate) const CONDITION_FALSE: i16 = 32;
    pub(crate) const THROTTLED: i16 = 40;
    pub(crate) const FAULTS: i16 = 48;
    pub(crate) const IDLE: i16 = 56;
    pub(crate) const NANOSECONDS: i16 = 64;
}

/// Offsets in an entry of the site table.
pub(crate) mod site {
    pub(crate) const PLAN: i16 = 0;
    pub(crate) const STATE: i16 = 4;
    pub(crate) const FILE_ADDR: i16 = 8;
}

/// Where programs keep what does not fit in registers, from the frame pointer. The verifier copies the
/// frame with each state it remembers, so what every program needs comes first.
pub(crate) mod slot {
    /// u32: key of a lookup in an array.
    pub(super) const KEY: i16 = -8;
    /// u32: the site's entry in the counter table.
    pub(super) const COUNTER: i16 = -16;
    /// u64: how many elements there really are.
    pub(super) const WANTED: i16 = -24;
    /// u64: a word read from the target.
    pub(super) const WORD: i16 = -32;
    /// The record, handed to the chase.
    pub(super) const RECORD: i16 = -40;
    /// u64: element count of the chunk to append.
    pub(super) const COUNT: i16 = -48;
    /// u64: layout of the chunk to append.
    pub(super) const LAYOUT: i16 = -56;
    /// u64: element size of the chunk to append.
    pub(super) const ELEM_SIZE: i16 = -64;
    /// u64: status, kind and follow of the chunk to append, if copying goes well.
    pub(super) const STATUS: i16 = -72;
    /// u64: data word of an interface.
    pub(super) const DATA: i16 = -80;
    /// u64: level of an interface.
    pub(super) const LEVEL: i16 = -88;
    /// u64: whether an interface has methods.
    pub(super) const NON_EMPTY: i16 = -96;
    /// u64: key of a lookup in the runtime-type table.
    pub(super) const TYPE_KEY: i16 = -104;
    /// What is read again of a chunk.
    pub(super) const AGAIN: i16 = -160;
    /// Two u64: the number of the hit among all and among those of its goroutine, where records have them.
    pub(super) const HIT: i16 = -168;
    pub(super) const HIT_OF_GOROUTINE: i16 = -176;
}

/// `BPF_RB_NO_WAKEUP` and `BPF_RB_FORCE_WAKEUP` of `include/uapi/linux/bpf.h`.
const NO_WAKEUP: i32 = 1;
const FORCE_WAKEUP: i32 = 2;

/// Of how many records, as a power of two, the time that is spent on one is taken.
const SAMPLED: i32 = 4;

/// What makes a record count as one with faults.
const FAULTY: u32 = Flags::FAULT | Flags::CONDITION_UNKNOWN;

/// SIGSTOP on x86-64 (`arch/x86/include/uapi/asm/signal.h`).
const SIGSTOP: i32 = 19;

/// Generates the program of one plan.
pub(crate) struct Generator<'p> {
    asm: Asm,
    plan: &'p Plan,
    environment: Environment,
    /// Size of the record in the ring.
    class: i32,
    /// Number of the next follow.
    follows: u16,
    /// Where the gate's buffer begins, from the frame pointer.
    buffer: i16,
    /// How many intermediate values of the gate are kept now, and how many were at most.
    temporaries: i16,
    most_temporaries: i16,
}

/// The program that copies what `plan` says; records carry `number` as their plan.
pub(crate) fn plan_program(plan: &Plan, number: u32, environment: Environment) -> Result<Code, PlanError> {
    plan.validate()?;
    let mut generator = Generator {
        asm: Asm::default(),
        plan,
        environment,
        class: plan.record_class().cast_signed(),
        follows: 0,
        buffer: gate::buffer(&plan.gate),
        temporaries: 0,
        most_temporaries: 0,
    };
    generator.program(number);
    if generator.most_temporaries > gate::MAX_TEMPORARIES {
        return Err(PlanError::TooManyIntermediates(
            generator.most_temporaries.unsigned_abs(),
        ));
    }
    generator.asm.finish().map_err(|error| match error {
        AsmError::JumpTooFar(_) | AsmError::Unbound => PlanError::TooLong(error.to_string()),
    })
}

impl Generator<'_> {
    fn program(&mut self, number: u32) {
        let ring_full = self.asm.label();
        self.asm.mov(R6, R1);
        self.asm.call(Helper::GetAttachCookie);
        self.asm.mov(R8, R0);
        counter_key(&mut self.asm, self.environment);
        let idle = self.plan.stops.then(|| self.unless_armed());
        let refusals = self.gate();

        self.asm.load_map(
            R1,
            if self.plan.stops {
                MapRef::StopRing
            } else {
                MapRef::Ring
            },
        );
        self.asm.mov_imm(R2, self.class);
        self.asm.mov_imm(R3, 0);
        self.asm.call(Helper::RingbufReserve);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, ring_full);
        self.asm.mov(R7, R0);

        self.fill_header(number);
        self.goroutine();
        self.roots();
        let follows: &[_] = &self.plan.follows;
        for follow in follows {
            self.follow(follow, follow::Base::Roots);
        }
        let chase = self.plan.chases().then(|| self.call_chase());
        if self.plan.stops {
            // The signal comes first, so that whoever sees the record sees a process that is stopping, and the record can say if it is not. It takes
            // effect when the thread leaves the kernel.
            let raised = self.asm.label();
            self.stop_process();
            self.asm.jump_if_imm(R0, Cond::Equal, 0, raised);
            self.flag(Flags::NOT_STOPPED);
            self.asm.bind(raised);
        }
        // Whether something is wanting must be asked before the record is given away.
        self.asm.load(Width::Word, R9, R7, header::FLAGS);
        self.asm.alu_imm(Alu::And, R9, FAULTY.cast_signed());
        self.asm.load(Width::Double, R6, R7, header::TIME);
        if self.plan.stops {
            self.asm.mov(R1, R7);
            self.asm.mov_imm(R2, FORCE_WAKEUP);
            self.asm.call(Helper::RingbufSubmit);
        } else {
            self.submit();
        }
        self.count_emitted();
        self.exit();

        self.refuse(&refusals);

        self.asm.bind(ring_full);
        if self.plan.stops {
            // To lose the record is one thing, to let a program run into its end another.
            self.stop_process();
        }
        self.count(counter::RING_FULL);
        self.exit();
        if let Some(idle) = idle {
            self.asm.bind(idle);
            self.count(counter::IDLE);
            self.exit();
        }

        if let Some(label) = chase {
            self.chase(label);
        }
    }

    /// Looks whether the site, which is in R8, is armed; jumps to the label that it gives where it is not. Overwrites R0 to R5.
    fn unless_armed(&mut self) -> Label {
        let idle = self.asm.label();
        self.asm.store(Width::Word, FP, slot::KEY, R8);
        self.asm.lookup(MapRef::Sites, slot::KEY);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, idle);
        self.asm.load(Width::Word, R1, R0, site::STATE);
        self.asm.alu_imm(Alu::And, R1, site_state::ARMED.cast_signed());
        self.asm.jump_if_imm(R1, Cond::Equal, 0, idle);
        idle
    }

    /// Raises SIGSTOP for this thread, which stops the process when it leaves the kernel. Raised for the process, the signal could be taken by another thread
    /// first, and this one would go on until it hears of it. R0 is 0 if the kernel did. Overwrites R1 to R5.
    fn stop_process(&mut self) {
        self.asm.mov_imm(R1, SIGSTOP);
        self.asm.call(Helper::SendSignalThread);
    }

    fn exit(&mut self) {
        self.asm.mov_imm(R0, 0);
        self.asm.exit();
    }

    /// Adds one to a counter of the site.
    fn count(&mut self, counter: i16) {
        count(&mut self.asm, counter);
    }

    /// Counts a record, whether something is wanting in it, which R9 says, and now and then how long it took since its time, which R6 is. Overwrites R0 to R5
    /// and R8.
    fn count_emitted(&mut self) {
        let absent = self.asm.label();
        let whole = self.asm.label();
        self.asm.lookup(MapRef::Counters, slot::COUNTER);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, absent);
        self.asm.mov_imm(R1, 1);
        self.asm.atomic_add(R0, counter::EMITTED, R1);
        self.asm.jump_if_imm(R9, Cond::Equal, 0, whole);
        self.asm.atomic_add(R0, counter::FAULTS, R1);
        self.asm.bind(whole);
        // Asking for the time takes a while itself, so it is done for one record in so many, told by the last bits of its own time.
        self.asm.mov(R1, R6);
        self.asm.alu_imm(Alu::And, R1, (1 << SAMPLED) - 1);
        self.asm.jump_if_imm(R1, Cond::NotEqual, 0, absent);
        self.asm.mov(R8, R0);
        self.asm.call(Helper::KtimeGetNs);
        self.asm.mov(R1, R0);
        self.asm.alu(Alu::Sub, R1, R6);
        self.asm.alu_imm(Alu::LeftShift, R1, SAMPLED);
        self.asm.mov(R0, R8);
        self.asm.atomic_add(R0, counter::NANOSECONDS, R1);
        self.asm.bind(absent);
    }

    fn fill_header(&mut self, number: u32) {
        let chunks_at = self.plan.chunks_at().cast_signed();
        let gate_has_flags = self.gate_has_flags();
        let asm = &mut self.asm;
        asm.store_imm(Width::Word, R7, header::USED, chunks_at);
        asm.store(Width::Word, R7, header::SITE, R8);
        asm.store_imm(Width::Word, R7, header::PLAN, number.cast_signed());
        if gate_has_flags {
            asm.load(Width::Double, R1, FP, gate::slot::FLAGS);
            asm.store(Width::Word, R7, header::FLAGS, R1);
        } else {
            asm.store_imm(Width::Word, R7, header::FLAGS, 0);
        }
        asm.store_imm(Width::Double, R7, header::FAULTS, 0);
        asm.store_imm(Width::Double, R7, header::FAULTS + 8, 0);
        // The word behind CHUNKS_AT is OWN_PROCESS; storing both at once clears it.
        asm.store_imm(Width::Double, R7, header::CHUNKS_AT, chunks_at);
        asm.call(Helper::KtimeGetNs);
        asm.store(Width::Double, R7, header::TIME, R0);
        let numbers = self.environment.numbers;
        numbers.store_current(asm, R7, header::THREAD, slot::WORD);
        if let Some(structures) = self.environment.own_number {
            structures.store_own(asm, R7, header::OWN_PROCESS, slot::WORD);
        }
        asm.load(Width::Double, R1, R6, Reg::Rsp.pt_regs_offset());
        asm.store(Width::Double, R7, header::SP, R1);
        asm.load(Width::Double, R1, R6, Reg::Rip.pt_regs_offset());
        asm.store(Width::Double, R7, header::IP, R1);
        if self.plan.needs_bias() {
            let unknown = asm.label();
            asm.store_imm(Width::Double, R7, header::BIAS, 0);
            asm.store(Width::Word, FP, slot::KEY, R8);
            asm.lookup(MapRef::Sites, slot::KEY);
            asm.jump_if_imm(R0, Cond::Equal, 0, unknown);
            asm.load(Width::Double, R2, R0, site::FILE_ADDR);
            asm.load(Width::Double, R1, R6, Reg::Rip.pt_regs_offset());
            asm.alu(Alu::Sub, R1, R2);
            asm.store(Width::Double, R7, header::BIAS, R1);
            asm.bind(unknown);
        } else {
            asm.store_imm(Width::Double, R7, header::BIAS, 0);
        }
    }

    /// Sets bits in the record's flags. Overwrites R1.
    fn flag(&mut self, bits: u32) {
        self.asm.load(Width::Word, R1, R7, header::FLAGS);
        self.asm.alu_imm(Alu::Or, R1, bits.cast_signed());
        self.asm.store(Width::Word, R7, header::FLAGS, R1);
    }

    /// Reads one word of the target at R9 plus `offset` into the frame's word slot; jumps to
    /// `fault` where that fails. Overwrites R0 to R5.
    fn read_word(&mut self, offset: u32, fault: Label) {
        self.read_user_to_stack(slot::WORD, 8, i64::from(offset));
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, fault);
    }

    fn read_user_to_stack(&mut self, slot: i16, size: i32, offset: i64) {
        self.asm.mov(R3, R9);
        self.asm.add_imm64(R3, offset, R1);
        self.asm.mov(R1, FP);
        self.asm.alu_imm(Alu::Add, R1, i32::from(slot));
        self.asm.mov_imm(R2, size);
        self.asm.call(Helper::ProbeReadUser);
    }

    /// Hands the record over. The consumer is woken only where the ring has just become half full:
    /// in a window above the middle that is wide enough for records that other CPUs add meanwhile.
    fn submit(&mut self) {
        let half = (self.environment.ring_bytes / 2).cast_signed();
        let window = (2 * self.class + 16 * 1024).min(half / 2);
        let asm = &mut self.asm;
        let quiet = asm.label();
        asm.load_map(R1, MapRef::Ring);
        // BPF_RB_AVAIL_DATA.
        asm.mov_imm(R2, 0);
        asm.call(Helper::RingbufQuery);
        asm.mov_imm(R2, NO_WAKEUP);
        asm.alu_imm(Alu::Sub, R0, half);
        asm.jump_if_imm(R0, Cond::GreaterOrEqual, window, quiet);
        asm.mov_imm(R2, FORCE_WAKEUP);
        asm.bind(quiet);
        asm.mov(R1, R7);
        asm.call(Helper::RingbufSubmit);
    }
}

/// Puts the key of the site's counters into its slot: the site is in R8, below the size of the table
/// or the lookup will find nothing. Overwrites R0 to R5.
fn counter_key(asm: &mut Asm, environment: Environment) {
    if environment.stripes > 1 {
        asm.call(Helper::GetSmpProcessorId);
        asm.alu_imm(Alu::And, R0, (environment.stripes - 1).cast_signed());
        asm.alu_imm(Alu::Mul, R0, environment.max_sites.cast_signed());
        asm.alu(Alu::Add, R0, R8);
        asm.store(Width::Word, FP, slot::COUNTER, R0);
    } else {
        asm.store(Width::Word, FP, slot::COUNTER, R8);
    }
}

/// Adds one to a counter of the site whose key is in its slot. Overwrites R0 to R5.
fn count(asm: &mut Asm, counter: i16) {
    let absent = asm.label();
    asm.lookup(MapRef::Counters, slot::COUNTER);
    asm.jump_if_imm(R0, Cond::Equal, 0, absent);
    asm.mov_imm(R1, 1);
    asm.atomic_add(R0, counter, R1);
    asm.bind(absent);
}
