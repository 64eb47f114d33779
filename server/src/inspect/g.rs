//! The runtime's own record of a goroutine (`runtime.g`) and of a thread (`runtime.m`), as far as a debugger looks at them.

use spelunk_dwarf::{LoadBias, ProcAddr, RuntimeLayout};

use super::{InspectError, Registers};
use crate::value::{Memory, ReadError};

/// No `g` of any Go version is near this long; offsets beyond come from damaged debug information.
const MAX_G: usize = 1 << 14;

/// A bit that the garbage collector adds to the status of a goroutine whose stack it looks at (`_Gscan` in `runtime/runtime2.go`).
const SCAN: u32 = 0x1000;

/// The registers of a goroutine that does not run (`g.sched`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) pc: u64,
    pub(super) sp: u64,
    pub(super) bp: u64,
}

/// A `runtime.g` as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct G {
    pub(super) addr: ProcAddr,
    /// 0 for the `g` of a system stack.
    pub(super) id: i64,
    pub(super) stack_lo: u64,
    pub(super) stack_hi: u64,
    pub(super) sched: Saved,
    /// Without the garbage collector's bit.
    pub(super) status: u32,
    pub(super) wait_reason: u8,
    pub(super) wait_since: i64,
    pub(super) m: ProcAddr,
    pub(super) start_pc: u64,
    pub(super) go_pc: u64,
    pub(super) labels: ProcAddr,
    pub(super) running_cleanups: bool,
}

impl G {
    /// How many bytes of a `g` are looked at.
    pub(super) fn size(layout: &RuntimeLayout) -> usize {
        let words = [
            layout.g_goid,
            layout.g_stack_lo,
            layout.g_stack_hi,
            layout.g_m,
            layout.g_atomicstatus,
            layout.g_sched_sp,
            layout.g_sched_pc,
            layout.g_sched_bp,
            layout.g_startpc,
            layout.g_gopc,
            layout.g_waitreason,
            layout.g_waitsince.unwrap_or(0),
            layout.g_labels.unwrap_or(0),
            layout.g_running_cleanups.unwrap_or(0),
        ];
        let last = words.into_iter().max().unwrap_or(0);
        usize::try_from(last.saturating_add(8)).unwrap_or(MAX_G).min(MAX_G)
    }

    /// From the first [`G::size`] bytes at `addr`; `None` when debug information promises more than these.
    pub(super) fn parse(layout: &RuntimeLayout, addr: ProcAddr, bytes: &[u8]) -> Option<G> {
        let word = |offset: u64| {
            let start = usize::try_from(offset).ok()?;
            let raw = bytes.get(start..start.checked_add(8)?)?;
            raw.try_into().ok().map(u64::from_le_bytes)
        };
        let optional = |offset: Option<u64>| offset.and_then(word).unwrap_or(0);
        Some(G {
            addr,
            id: word(layout.g_goid)?.cast_signed(),
            stack_lo: word(layout.g_stack_lo)?,
            stack_hi: word(layout.g_stack_hi)?,
            sched: Saved {
                pc: word(layout.g_sched_pc)?,
                sp: word(layout.g_sched_sp)?,
                bp: word(layout.g_sched_bp)?,
            },
            status: word(layout.g_atomicstatus)? as u32 & !SCAN,
            wait_reason: word(layout.g_waitreason)? as u8,
            wait_since: optional(layout.g_waitsince).cast_signed(),
            m: ProcAddr(word(layout.g_m)?),
            start_pc: word(layout.g_startpc)?,
            go_pc: word(layout.g_gopc)?,
            labels: ProcAddr(optional(layout.g_labels)),
            running_cleanups: optional(layout.g_running_cleanups) & 0xff != 0,
        })
    }

    /// Reads the `g` at `addr`.
    pub(super) fn read(memory: &dyn Memory, layout: &RuntimeLayout, addr: ProcAddr) -> Result<G, ReadError> {
        let mut bytes = vec![0; G::size(layout)];
        memory.read(addr, &mut bytes)?;
        G::parse(layout, addr, &bytes).ok_or(ReadError::Fault(addr))
    }

    /// Whether an address of the stack lies on the goroutine's own, rather than on a system stack.
    pub(super) fn owns(&self, sp: u64) -> bool {
        (self.stack_lo..=self.stack_hi).contains(&sp)
    }
}

/// A field of an `m`.
pub(super) fn m_field(memory: &dyn Memory, m: ProcAddr, offset: u64) -> Result<u64, ReadError> {
    let at = m.0.checked_add(offset).map(ProcAddr).filter(|_| m.0 != 0);
    memory.read_uint(at.ok_or(ReadError::Fault(m))?, 8)
}

/// The `g` that a thread's registers say it runs: a goroutine's, or that of a system or signal stack. `None` where thread-local storage names none,
/// as in threads that C made.
pub(super) fn thread_g(
    memory: &dyn Memory,
    layout: &RuntimeLayout,
    registers: &Registers,
) -> Result<Option<G>, ReadError> {
    let Some(fs_base) = registers.fs_base.filter(|base| *base != 0) else {
        return Ok(None);
    };
    let at = ProcAddr(fs_base.wrapping_add_signed(layout.tls_g_offset));
    match memory.read_uint(at, 8)? {
        0 => Ok(None),
        addr => G::read(memory, layout, ProcAddr(addr)).map(Some),
    }
}

/// What a thread of Go's scheduler runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Its `m`, 0 for a thread that is none.
    pub(super) m: ProcAddr,
    /// The goroutine that it works for.
    pub(super) goroutine: Option<G>,
}

impl Work {
    /// Of a thread with `g` in its thread-local storage: that goroutine, or `m.curg` where it stands for a system stack.
    pub(super) fn of(memory: &dyn Memory, layout: &RuntimeLayout, g: G) -> Result<Work, ReadError> {
        let m = g.m;
        let goroutine = if g.id != 0 {
            Some(g)
        } else if m.0 == 0 {
            None
        } else {
            match m_field(memory, m, layout.m_curg)? {
                0 => None,
                addr => Some(G::read(memory, layout, ProcAddr(addr))?).filter(|curg| curg.id != 0),
            }
        };
        Ok(Work { m, goroutine })
    }
}

/// The goroutine that a thread works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunningGoroutine {
    /// `g.goid`
    pub(crate) id: i64,
    /// Where its `g` is.
    pub(crate) addr: ProcAddr,
    /// The upper end of its stack, from which stack depths are measured.
    pub(crate) stack_hi: ProcAddr,
    /// Whether the thread is on a system or signal stack meanwhile.
    pub(crate) on_system_stack: bool,
}

/// The goroutine that a thread with these registers works for; on a system stack that for which it is there, if any. Only the thread itself need be
/// stopped. `registers` must have RSP and the FS base.
pub(crate) fn running_goroutine(
    memory: &dyn Memory,
    layout: &RuntimeLayout,
    registers: &Registers,
) -> Result<Option<RunningGoroutine>, InspectError> {
    let found = thread_g(memory, layout, registers).and_then(|g| match g {
        Some(g) => Work::of(memory, layout, g),
        None => Ok(Work::default()),
    });
    let work = found.map_err(|error| InspectError::Failed(format!("could not read the running goroutine: {error}")))?;
    Ok(work.goroutine.map(|g| RunningGoroutine {
        id: g.id,
        addr: g.addr,
        stack_hi: ProcAddr(g.stack_hi),
        on_system_stack: !registers.sp().is_some_and(|sp| g.owns(sp)),
    }))
}

/// Where a program lies in a process, from the process's auxiliary vector (`/proc/PID/auxv`, the ELF specification's `AT_ENTRY`); `None` when that is
/// not there, or the process was not started by executing the program itself.
pub(crate) fn load_bias(binary: &spelunk_dwarf::Binary, auxv: &[u8]) -> Option<LoadBias> {
    /// The address of the program's entry point (`include/uapi/linux/auxvec.h`).
    const AT_ENTRY: u64 = 9;
    let (words, _) = auxv.as_chunks::<8>();
    let (pairs, _) = words.as_chunks::<2>();
    let [_, entry] = pairs.iter().find(|[key, _]| u64::from_le_bytes(*key) == AT_ENTRY)?;
    let bias = LoadBias::between(binary.entry_point(), ProcAddr(u64::from_le_bytes(*entry)));
    // The kernel maps whole pages; a program that is not position independent lies where the linker put it.
    let sound = if binary.is_pie() {
        bias.bytes() % 4096 == 0
    } else {
        bias.bytes() == 0
    };
    sound.then_some(bias)
}
