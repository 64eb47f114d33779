//! Records made without the kernel, of a thread that a debugger has stopped at a site.
//!
//! Such a record holds a plan's roots and no chunks: whoever makes it can read the program's memory itself, for as
//! long as the thread is stopped. Everything that reads records reads these too.

use crate::plan::{Plan, Reg, RootSource, pad8};
use crate::probeset::SiteId;
use crate::record::{Flags, HEADER_SIZE, header};

/// Where a thread stands, and what runs on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// In nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The thread.
    pub thread: u32,
    /// The process.
    pub process: u32,
    /// `g.goid` of the goroutine, 0 when there is none.
    pub goroutine: i64,
    /// Address of its `runtime.g`, or 0.
    pub g: u64,
    /// `g.stack.hi` of the goroutine, or 0.
    pub stack_hi: u64,
    /// Whether the thread runs on a system or signal stack.
    pub on_system_stack: bool,
    /// How far the program was moved from its link-time addresses, in bytes.
    pub bias: u64,
}

/// What a stopped thread shows.
pub trait Shown {
    /// The value of a register.
    fn register(&self, register: Reg) -> u64;
    /// Fills `bytes` from `address`; whether all of it could be read.
    fn read(&self, address: u64, bytes: &mut [u8]) -> bool;
}

impl Moment {
    /// The record of a hit of `site`, whose plan is `plan`.
    pub fn record(&self, site: SiteId, plan: &Plan, shown: &dyn Shown) -> Vec<u8> {
        let mut record = vec![0u8; HEADER_SIZE];
        let mut faults = [0u64; 2];
        for (index, root) in plan.roots.iter().enumerate() {
            let size = root.captured_size();
            let start = record.len();
            let end = start + size as usize;
            // No plan that a probe could carry is larger.
            let fits = end <= crate::plan::RECORD_CLASSES[crate::plan::RECORD_CLASSES.len() - 1] as usize;
            if fits {
                record.resize(start + pad8(size) as usize, 0);
            }
            let readable = fits
                && record.get_mut(start..end).is_some_and(|bytes| match root.source {
                    RootSource::Register(register) => {
                        bytes.copy_from_slice(&shown.register(register).to_le_bytes());
                        true
                    }
                    RootSource::Stack { offset } => shown.read(moved(shown.register(Reg::Rsp), offset), bytes),
                    RootSource::Memory { reg, offset } => shown.read(moved(shown.register(reg), offset), bytes),
                    RootSource::Absolute { addr } => shown.read(addr.wrapping_add(self.bias), bytes),
                    // No gate has counted it.
                    RootSource::Hit(_) => true,
                });
            if !readable && let Some(word) = faults.get_mut(index / 64) {
                *word |= 1 << (index % 64);
            }
        }
        let mut flags = 0;
        if self.on_system_stack {
            flags |= Flags::SYSTEM_STACK;
        }
        if self.g == 0 {
            flags |= Flags::NO_GOROUTINE;
        }
        let used = record.len() as u32;
        let mut put = |at: i16, bytes: &[u8]| {
            let at = usize::from(at.unsigned_abs());
            if let Some(field) = record.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        };
        put(header::USED, &used.to_le_bytes());
        put(header::SITE, &site.number().to_le_bytes());
        put(header::FLAGS, &flags.to_le_bytes());
        put(header::TIME, &self.time.to_le_bytes());
        put(header::THREAD, &self.thread.to_le_bytes());
        put(header::PROCESS, &self.process.to_le_bytes());
        put(header::GOROUTINE, &self.goroutine.to_le_bytes());
        put(header::STACK_HI, &self.stack_hi.to_le_bytes());
        put(header::SP, &shown.register(Reg::Rsp).to_le_bytes());
        put(header::IP, &shown.register(Reg::Rip).to_le_bytes());
        put(header::FAULTS, &faults[0].to_le_bytes());
        put(header::FAULTS + 8, &faults[1].to_le_bytes());
        put(header::CHUNKS_AT, &used.to_le_bytes());
        put(header::G, &self.g.to_le_bytes());
        put(header::BIAS, &self.bias.to_le_bytes());
        record
    }
}

fn moved(base: u64, offset: i64) -> u64 {
    base.wrapping_add_signed(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{GoroutineSource, Root, RuntimeOffsets};
    use crate::record::{RecordView, RootError};

    /// Registers hold their own address in `pt_regs`; memory below 0x1000 reads as its address's low byte.
    struct Fake;

    impl Shown for Fake {
        fn register(&self, register: Reg) -> u64 {
            register.pt_regs_offset().unsigned_abs().into()
        }

        fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
            for (at, byte) in (address..).zip(bytes.iter_mut()) {
                *byte = at as u8;
            }
            address < 0x1000
        }
    }

    #[test]
    fn a_record_reads_as_one_of_the_kernels() {
        let root = |source, size| Root { source, size };
        let plan = Plan {
            roots: vec![
                root(RootSource::Register(Reg::Rax), 8),
                root(RootSource::Stack { offset: -2 }, 3),
                root(RootSource::Absolute { addr: 0x20 }, 4),
                root(
                    RootSource::Memory {
                        reg: Reg::Rip,
                        offset: 0x4000,
                    },
                    16,
                ),
            ],
            follows: Vec::new(),
            goroutine: GoroutineSource::None,
            runtime: RuntimeOffsets::default(),
            max_record: 256,
            gate: crate::gate::Gate::default(),
            stops: false,
        };
        let moment = Moment {
            time: 77,
            thread: 5,
            process: 4,
            goroutine: 19,
            g: 0xc000,
            stack_hi: 0xd000,
            on_system_stack: true,
            bias: 0x100,
        };
        let bytes = moment.record(SiteId::numbered(3), &plan, &Fake);
        let view = RecordView::new(&bytes).expect("a record");
        assert_eq!(
            (view.site().number(), view.time(), view.thread(), view.process()),
            (3, 77, 5, 4)
        );
        assert_eq!((view.goroutine(), view.g(), view.stack_hi()), (19, 0xc000, 0xd000));
        assert_eq!((view.sp(), view.ip()), (152, 128));
        assert!(view.flags().has(Flags::SYSTEM_STACK) && !view.flags().has(Flags::NO_GOROUTINE));
        assert_eq!(view.root(&plan, 0), Ok(&80u64.to_le_bytes()[..]));
        assert_eq!(view.root(&plan, 1), Ok(&[150, 151, 152][..]));
        assert_eq!(view.root(&plan, 2), Ok(&[0x20, 0x21, 0x22, 0x23][..]));
        assert_eq!(view.root(&plan, 3), Err(RootError::Fault));
        assert_eq!(view.chunks().count(), 0);
    }
}
