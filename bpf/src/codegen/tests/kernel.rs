//! The real kernel against the meaning of conditions: many sites on one instruction of this process, each with a condition of its own, which all see the same
//! registers and memory at each call.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::conditions::{NUMBERS, REGISTERS, TEXTS, any_condition, any_number, texts};
use super::machine::{G, KERNEL, set_memory};
use super::reference::{BIAS, Reference};
use super::{plan, register};
use crate::cost::file_offset;
use crate::gate::Gate;
use crate::link::Target;
use crate::plan::{Plan, Reg};
use crate::probeset::{Counters, Options, ProbeSet, Site, SiteId};
use crate::{BpfError, Condition};

const PAGE: usize = 4096;

/// How many conditions there are, and how many calls.
const CONDITIONS: usize = 250;
const CALLS: usize = 40;

// Loads registers from where RDI points to, in the order of `REGISTERS`, then R14, and passes the probed instruction.
std::arch::global_asm!(
    ".globl spelunk_test_call",
    "spelunk_test_call:",
    "push rbx",
    "push rbp",
    "push r14",
    "push r15",
    "mov rax, [rdi]",
    "mov rbx, [rdi + 8]",
    "mov rcx, [rdi + 16]",
    "mov r8, [rdi + 24]",
    "mov r15, [rdi + 32]",
    "mov rdx, [rdi + 40]",
    "mov r14, [rdi + 48]",
    ".globl spelunk_test_site",
    "spelunk_test_site:",
    "push rbp",
    "pop rbp",
    "pop r15",
    "pop r14",
    "pop rbp",
    "pop rbx",
    "ret",
);

unsafe extern "C" {
    fn spelunk_test_call(registers: *const [u64; 7]);
    fn spelunk_test_site();
}

/// Puts a page into this process at an address that the fake memory has as well.
fn map_page(address: u64, bytes: &[u8]) {
    let place = NonZeroUsize::new(address as usize).expect("not the first page");
    let size = NonZeroUsize::new(PAGE).expect("a page has bytes");
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping where there was none; it stays.
    let page = unsafe { mmap_anonymous(Some(place), size, protection, flags) }.expect("nothing is mapped there");
    // SAFETY: the page is writable, nobody else has it, and there are no more bytes than it holds.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast().as_ptr(), bytes.len().min(PAGE)) };
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(PAGE, 0);
    bytes
}

#[test]
fn the_kernel_decides_as_meant() {
    let mut set = match ProbeSet::new(Options {
        ring_bytes: 1 << 20,
        ..Options::default()
    }) {
        Ok(set) => set,
        Err(BpfError::PermissionDenied { .. }) => {
            // `eprintln!` would be kept by the test runner and never seen.
            let _ = writeln!(
                std::io::stderr(),
                "SKIP: no permission for BPF: the kernel decides nothing"
            );
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);

    let numbers: Vec<u64> = (0..128)
        .map(|at| match at % 4 {
            0 => NUMBERS + 8 * (at * 7 % 128),
            1 => TEXTS + at,
            2 => at,
            _ => any_number().new_tree(&mut runner).expect("a number").current(),
        })
        .collect();
    let numbers = padded(numbers.into_iter().flat_map(u64::to_le_bytes).collect());
    set_memory(&[(NUMBERS, numbers.clone()), (TEXTS, padded(texts()))]);
    let g = padded(KERNEL.with_borrow(|kernel| kernel.memory[&G].clone()));
    KERNEL.with_borrow_mut(|kernel| kernel.memory.insert(G, g.clone()));
    for (address, bytes) in [(NUMBERS, numbers), (TEXTS, texts()), (G, g)] {
        map_page(address, &bytes);
    }

    let ip = spelunk_test_site as *const () as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it is readable");
    let offset = file_offset(&maps, ip).expect("this code is mapped");
    let mut sites: Vec<(SiteId, Condition)> = Vec::new();
    while sites.len() < CONDITIONS {
        let condition = any_condition().new_tree(&mut runner).expect("a condition").current();
        let plan = Plan {
            gate: Gate {
                condition: Some(condition.clone()),
                ..Gate::default()
            },
            ..plan(vec![register(Reg::Rax)], vec![])
        };
        if plan.validate().is_err() {
            continue;
        }
        let site = Site {
            plan: set.add_plan(&plan).expect("the kernel takes it"),
            file_addr: ip.wrapping_sub(BIAS),
        };
        sites.push((set.add_site(site).expect("there is room"), condition));
    }
    let target = Target {
        path: PathBuf::from("/proc/self/exe"),
        pid: Some(std::process::id().cast_signed()),
    };
    let probes: Vec<_> = sites.iter().map(|&(site, _)| (offset, site)).collect();
    let link = set.attach(&target, &probes).expect("this process can be probed");

    let value = proptest::prop_oneof![3 => any_number(), 1 => NUMBERS..NUMBERS + 0x400, 1 => TEXTS..TEXTS + 500];
    let mut seen = [0u64; 3];
    let mut before = vec![Counters::default(); sites.len()];
    for call in 0..CALLS {
        let mut registers = [0; 7];
        for register in &mut registers {
            *register = value.new_tree(&mut runner).expect("a number").current();
        }
        registers[6] = if call % 4 == 0 { 0 } else { G };
        // SAFETY: the function above reads seven words, and leaves the registers that it must not change as they were.
        unsafe { spelunk_test_call(&raw const registers) };

        let named: Vec<(Reg, u64)> = REGISTERS.into_iter().chain([Reg::R14]).zip(registers).collect();
        let reference = Reference { registers: &named };
        for ((site, condition), before) in sites.iter().zip(&mut before) {
            let now = set.counters(*site).expect("counters");
            let decided = match (
                now.condition_false - before.condition_false,
                now.emitted - before.emitted,
                now.faults - before.faults,
            ) {
                (1, 0, 0) => Some(false),
                (0, 1, 0) => Some(true),
                (0, 1, 1) => None,
                other => panic!("{other:?}: {now:?}"),
            };
            assert_eq!(
                decided,
                reference.condition(condition),
                "{condition:#?} with {named:x?}"
            );
            seen[decided.map_or(2, usize::from)] += 1;
            *before = now;
        }
        // Nobody else looks at the records.
        set.drain(std::time::Duration::ZERO, |_| {}).expect("the ring is read");
    }
    link.detach();
    let each = (CONDITIONS * CALLS / 10) as u64;
    assert!(
        seen.iter().all(|&outcomes| outcomes > each),
        "false, true, unknown: {seen:?}"
    );
}
