//! A machine that runs generated programs without privileges: rbpf, with helpers that stand in for the kernel's.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::asm::{Code, MapRef};
use crate::codegen::{Environment, counter, plan_program};
use crate::insn::{Alu, Helper, Insn, R0, R1, R3};
use crate::namespace::Numbers;
use crate::plan::{Plan, Reg};

pub(super) const ENVIRONMENT: Environment = Environment {
    max_sites: 16,
    stripes: 2,
    ring_bytes: 1 << 20,
    fsbase_offset: Some(0x1000),
    numbers: Numbers::Initial,
    own_number: None,
};

/// Address of the fake `runtime.g`, and of where the fake thread keeps a pointer to it.
pub(super) const G: u64 = 0x7000_0000;
pub(super) const FS_BASE: u64 = 0x7100_0000;
const TASK: u64 = 0xffff_8000_0000_0000;

/// The fake kernel of a thread: helpers are plain functions, so it is found through the thread.
#[derive(Default)]
pub(super) struct Kernel {
    /// The target's memory: where each stretch starts, and its bytes.
    pub(super) memory: BTreeMap<u64, Vec<u8>>,
    pub(super) ring_full: bool,
    /// The ring that room was asked of last.
    pub(super) ring: u64,
    pub(super) available: u64,
    pub(super) record: Vec<u8>,
    pub(super) site: [u64; 2],
    /// The site's entry in the counter table.
    pub(super) counters: [u64; 9],
    /// Counters of hits.
    pub(super) hits: [u64; 4],
    /// What goroutines have by themselves, and how many of them find room.
    pub(super) goroutine_hits: BTreeMap<[u8; 16], Box<u64>>,
    pub(super) goroutine_room: usize,
    /// Marks of calls that passed.
    pub(super) marks: BTreeMap<[u8; 24], Box<u64>>,
    /// Limiters, as `LimiterEntry` has them.
    pub(super) limiters: [[u64; 2]; 2],
    pub(super) now: u64,
    /// By how much the clock advances each time it is read.
    pub(super) tick: u64,
    pub(super) submitted: Option<u64>,
    /// The signal that a program raised.
    pub(super) signal: Option<u64>,
    pub(super) refuses_signals: bool,
}

thread_local! {
    pub(super) static KERNEL: RefCell<Kernel> = RefCell::default();
}

impl Kernel {
    pub(super) fn read(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let (start, bytes) = self.memory.range(..=addr).next_back()?;
        let at = usize::try_from(addr - start).ok()?;
        bytes.get(at..at.checked_add(len)?)
    }
}

/// Copies to the address that a program gave, or zeros as the kernel does on a fault.
fn copy_to_program(dst: u64, len: u64, bytes: Option<&[u8]>) -> u64 {
    // SAFETY: generated programs give room for `len` bytes in the record or on their stack; that
    // they do is what the real verifier checks.
    let to = unsafe { std::slice::from_raw_parts_mut(dst as *mut u8, len as usize) };
    if let Some(bytes) = bytes {
        to.copy_from_slice(bytes);
        0
    } else {
        to.fill(0);
        (-i64::from(libc::EFAULT)).cast_unsigned()
    }
}

/// What a program has at an address of its own.
fn of_program<const N: usize>(at: u64) -> [u8; N] {
    // SAFETY: generated programs pass keys and values of the sizes that their maps have; that they do is what the real verifier checks.
    unsafe { std::ptr::read_unaligned(at as *const [u8; N]) }
}

fn map_lookup(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    let index = || u32::from_le_bytes(of_program(key)) as usize;
    KERNEL.with_borrow(|kernel| match map {
        map if map == MapRef::Sites as u64 => kernel.site.as_ptr() as u64,
        map if map == MapRef::Counters as u64 => kernel.counters.as_ptr() as u64,
        map if map == MapRef::Hits as u64 => kernel
            .hits
            .get(index())
            .map_or(0, |hits| std::ptr::from_ref(hits) as u64),
        map if map == MapRef::Limiters as u64 => kernel.limiters.get(index()).map_or(0, |entry| entry.as_ptr() as u64),
        map if map == MapRef::GoroutineHits as u64 => {
            let hits = kernel.goroutine_hits.get(&of_program::<16>(key));
            hits.map_or(0, |hits| std::ptr::from_ref(&**hits) as u64)
        }
        map if map == MapRef::Marks as u64 => {
            let mark = kernel.marks.get(&of_program::<24>(key));
            mark.map_or(0, |mark| std::ptr::from_ref(&**mark) as u64)
        }
        _ => 0,
    })
}

fn map_delete(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    assert_eq!(map, MapRef::Marks as u64);
    KERNEL.with_borrow_mut(|kernel| match kernel.marks.remove(&of_program::<24>(key)) {
        Some(_) => 0,
        None => (-i64::from(libc::ENOENT)).cast_unsigned(),
    })
}

fn map_update(map: u64, key: u64, value: u64, flags: u64, _: u64) -> u64 {
    if map == MapRef::Marks as u64 {
        assert_eq!(flags, 0);
        let value = u64::from_le_bytes(of_program(value));
        KERNEL.with_borrow_mut(|kernel| kernel.marks.insert(of_program(key), Box::new(value)));
        return 0;
    }
    assert_eq!(
        (map, flags),
        (MapRef::GoroutineHits as u64, 1),
        "only new entries of goroutines are made"
    );
    KERNEL.with_borrow_mut(|kernel| {
        let key = of_program(key);
        if kernel.goroutine_hits.contains_key(&key) {
            return (-i64::from(libc::EEXIST)).cast_unsigned();
        }
        if kernel.goroutine_hits.len() >= kernel.goroutine_room {
            return (-i64::from(libc::E2BIG)).cast_unsigned();
        }
        let value = u64::from_le_bytes(of_program(value));
        kernel.goroutine_hits.insert(key, Box::new(value));
        0
    })
}

/// What stands in for an atomic fetch-and-add.
fn fetch_add(by: u64, at: u64, _: u64, _: u64, _: u64) -> u64 {
    let before = u64::from_le_bytes(of_program(at));
    // SAFETY: programs count in what a lookup gave them, and nowhere else.
    unsafe { std::ptr::write_unaligned(at as *mut u64, before.wrapping_add(by)) };
    before
}

/// What stands in for an atomic compare-and-exchange.
fn compare_exchange(new: u64, at: u64, expected: u64, _: u64, _: u64) -> u64 {
    let before = u64::from_le_bytes(of_program(at));
    if before == expected {
        // SAFETY: as in `fetch_add`.
        unsafe { std::ptr::write_unaligned(at as *mut u64, new) };
    }
    before
}

fn reserve(ring: u64, size: u64, flags: u64, _: u64, _: u64) -> u64 {
    assert_eq!(flags, 0);
    KERNEL.with_borrow_mut(|kernel| {
        kernel.ring = ring;
        assert_eq!(kernel.record.len() as u64, size);
        if kernel.ring_full {
            0
        } else {
            kernel.record.as_ptr() as u64
        }
    })
}

fn submit(record: u64, flags: u64, _: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow_mut(|kernel| {
        assert_eq!(record, kernel.record.as_ptr() as u64);
        kernel.submitted = Some(flags);
        0
    })
}

fn query(_ring: u64, _flags: u64, _: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow(|kernel| kernel.available)
}

fn send_signal(signal: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow_mut(|kernel| {
        // Nobody must see the record of a process that is not stopping.
        assert_eq!(kernel.submitted, None);
        kernel.signal = Some(signal);
        if kernel.refuses_signals {
            (-i64::from(libc::EPERM)).cast_unsigned()
        } else {
            0
        }
    })
}

fn read_user(dst: u64, len: u64, src: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow(|kernel| copy_to_program(dst, len, kernel.read(src, len as usize)))
}

fn read_kernel(dst: u64, len: u64, src: u64, _: u64, _: u64) -> u64 {
    let fs_base = FS_BASE.to_le_bytes();
    copy_to_program(dst, len, (src == TASK + 0x1000).then_some(&fs_base[..]))
}

fn cookie(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    5
}

fn cpu(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    3
}

fn time(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow_mut(|kernel| {
        kernel.now += kernel.tick;
        kernel.now - kernel.tick
    })
}

fn pid_tgid(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    (77 << 32) + 88
}

fn task(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    TASK
}

/// The numbers of the helpers that stand in for atomic operations, which rbpf does not know.
const FETCH_ADD: u32 = 1001;
const COMPARE_EXCHANGE: u32 = 1002;

/// Instructions as bytes, with maps by their numbers and helpers in place of atomic operations.
fn bytes(code: &Code) -> Vec<u8> {
    let mut insns = code.insns.clone();
    for &(at, map) in &code.maps {
        insns[at].immediate = map as i32;
    }
    for at in 0..insns.len() {
        if insns[at].code != 0xdb {
            continue;
        }
        let helper = |number: u32| Insn {
            immediate: number.cast_signed(),
            ..Insn::call(Helper::MapLookupElem)
        };
        match insns[at].immediate {
            // Counting for the site: R0 is where, R1 is what to add.
            0 => {
                assert_eq!(insns[at].registers, 0x10);
                insns[at] = helper(match insns[at].offset {
                    counter::EMITTED => 1010,
                    counter::RING_FULL => 1011,
                    counter::CONDITION_FALSE => 1012,
                    counter::THROTTLED => 1013,
                    counter::FAULTS => 1014,
                    counter::IDLE => 1015,
                    counter::NANOSECONDS => 1016,
                    other => panic!("a plan's program does not count at {other}"),
                });
            }
            // R2 is where, R1 what to add; what was there goes to R1, and from there to R0, which a helper does at once.
            0x01 => {
                assert_eq!(
                    (insns[at].registers, insns[at + 1]),
                    (0x12, Insn::alu(Alu::Move, R0, R1))
                );
                insns[at] = helper(FETCH_ADD);
                insns[at + 1] = Insn::jump();
            }
            // R2 is where, R1 what to write, R3 what is expected.
            0xf1 => {
                assert_eq!(
                    (insns[at].registers, insns[at - 1]),
                    (0x12, Insn::alu(Alu::Move, R0, R3))
                );
                insns[at] = helper(COMPARE_EXCHANGE);
            }
            other => panic!("an atomic operation {other:#x}"),
        }
    }
    let mut out = Vec::new();
    for insn in insns {
        out.extend([insn.code, insn.registers]);
        out.extend(insn.offset.to_le_bytes());
        out.extend(insn.immediate.to_le_bytes());
    }
    out
}

/// R1 is what to add.
fn count_time(nanoseconds: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    KERNEL.with_borrow_mut(|kernel| {
        kernel.counters[8] += nanoseconds;
        kernel.counters.as_ptr() as u64
    })
}

/// What counts in one of the site's counters, and leaves all registers as a machine's addition does.
macro_rules! counting {
    ($($name:ident => $index:literal),*) => {
        $(fn $name(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
            KERNEL.with_borrow_mut(|kernel| {
                kernel.counters[$index] += 1;
                kernel.counters.as_ptr() as u64
            })
        })*
    };
}
counting!(count_emitted => 1, count_full => 2, count_false => 4, count_throttled => 5, count_faults => 6, count_idle => 7);

/// Runs a plan's program once, with registers given by their offset in `pt_regs`. What it submitted.
pub(super) fn run(plan: &Plan, registers: &[(Reg, u64)]) -> Option<(Vec<u8>, u64)> {
    let code = plan_program(plan, 9, ENVIRONMENT).expect("the plan is valid");
    let program = bytes(&code);
    let mut context = [0u8; 168];
    for &(reg, value) in registers {
        let at = reg.pt_regs_offset().unsigned_abs() as usize;
        context[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let mut vm = rbpf::EbpfVmRaw::new(None).expect("a machine");
    vm.set_verifier(|_| Ok(())).expect("no program yet");
    for (number, helper) in [
        (1, map_lookup as rbpf::ebpf::Helper),
        (5, time),
        (8, cpu),
        (14, pid_tgid),
        (35, task),
        (117, send_signal),
        (2, map_update),
        (3, map_delete),
        (FETCH_ADD, fetch_add),
        (COMPARE_EXCHANGE, compare_exchange),
        (1010, count_emitted),
        (1011, count_full),
        (1012, count_false),
        (1013, count_throttled),
        (1014, count_faults),
        (1015, count_idle),
        (1016, count_time),
        (112, read_user),
        (113, read_kernel),
        (131, reserve),
        (132, submit),
        (134, query),
        (174, cookie),
    ] {
        vm.register_helper(number, helper).expect("a new helper");
    }
    KERNEL.with_borrow_mut(|kernel| {
        kernel.submitted = None;
        kernel.signal = None;
        // What an earlier record left there.
        kernel.record = vec![0xaa; plan.record_class() as usize];
        let range = |start: u64, len: usize| start..start + len as u64;
        vm.register_allowed_memory(range(kernel.record.as_ptr() as u64, kernel.record.len()));
        vm.register_allowed_memory(range(kernel.site.as_ptr() as u64, 16));
        vm.register_allowed_memory(range(kernel.counters.as_ptr() as u64, 72));
        vm.register_allowed_memory(range(kernel.limiters.as_ptr() as u64, 32));
    });
    vm.set_program(&program).expect("it has a program's shape");
    let result = vm.execute_program(&mut context).expect("it runs");
    assert_eq!(result, 0);
    KERNEL.with_borrow(|kernel| kernel.submitted.map(|flags| (kernel.record.clone(), flags)))
}

pub(super) fn set_memory(stretches: &[(u64, Vec<u8>)]) {
    let mut g = vec![0; 512];
    g[8..16].copy_from_slice(&0xc000_1000u64.to_le_bytes());
    g[152..160].copy_from_slice(&31u64.to_le_bytes());
    KERNEL.with_borrow_mut(|kernel| {
        *kernel = Kernel {
            now: 123_456_789,
            ..Kernel::default()
        };
        kernel.memory.insert(G, g);
        kernel.memory.insert(FS_BASE - 8, G.to_le_bytes().to_vec());
        for (start, bytes) in stretches {
            kernel.memory.insert(*start, bytes.clone());
        }
    });
}
