//! Runs generated programs in rbpf, with helpers that stand in for the kernel's; and asks the real
//! verifier about plans that nobody would write.

mod conditions;
mod gates;
mod kernel;
mod machine;
mod marks;
mod reference;

use proptest::prelude::*;

use super::{FORCE_WAKEUP, SIGSTOP};
use crate::asm::MapRef;
use crate::layout::LayoutId;
use crate::plan::{
    CountedHits, Follow, FollowKind, GoroutineSource, Index, Plan, PlanError, Reg, Root, RootSource, RuntimeOffsets,
};
use crate::record::{Flags, Origin, RecordView, RootError, Status};
use machine::{G, KERNEL, run, set_memory};

const RUNTIME: RuntimeOffsets = RuntimeOffsets {
    goid: 152,
    stack_hi: 8,
    m: 48,
    curg: 184,
};

fn plan(roots: Vec<Root>, follows: Vec<Follow>) -> Plan {
    Plan {
        roots,
        follows,
        goroutine: GoroutineSource::R14,
        runtime: RUNTIME,
        max_record: 512,
        gate: crate::gate::Gate::default(),
        stops: false,
    }
}

fn register(reg: Reg) -> Root {
    Root {
        source: RootSource::Register(reg),
        size: 8,
    }
}

fn string(at: u32, max: u32) -> Follow {
    Follow {
        kind: FollowKind::String {
            at_ptr: at,
            at_len: at + 8,
            max,
        },
        layout: None,
        then: Vec::new(),
    }
}

#[test]
fn the_header_and_all_registers_arrive() {
    set_memory(&[]);
    let all = [
        Reg::Rax,
        Reg::Rbx,
        Reg::Rcx,
        Reg::Rdx,
        Reg::Rsi,
        Reg::Rdi,
        Reg::Rbp,
        Reg::Rsp,
        Reg::R8,
        Reg::R9,
        Reg::R10,
        Reg::R11,
        Reg::R12,
        Reg::R13,
        Reg::R14,
        Reg::R15,
        Reg::Rip,
        Reg::Rflags,
    ];
    let mut values: Vec<(Reg, u64)> = all.iter().zip(1000..).map(|(&reg, n)| (reg, n)).collect();
    values[14].1 = G;
    let plan = plan(all.map(register).to_vec(), vec![]);
    let (record, flags) = run(&plan, &values).expect("submitted");
    // BPF_RB_NO_WAKEUP.
    assert_eq!(flags, 1);
    let view = RecordView::new(&record).expect("a record");
    assert_eq!((view.site().number(), view.plan().number()), (5, 9));
    assert_eq!((view.process(), view.thread()), (77, 88));
    assert_eq!(view.time(), 123_456_789);
    assert_eq!((view.goroutine(), view.stack_hi(), view.g()), (31, 0xc000_1000, G));
    assert_eq!((view.sp(), view.ip(), view.flags()), (1007, 1016, Flags(0)));
    for (index, (_, value)) in values.iter().enumerate() {
        assert_eq!(view.root(&plan, index), Ok(&value.to_le_bytes()[..]));
    }
    assert_eq!(view.root(&plan, values.len()), Err(RootError::Absent));
    assert_eq!(view.chunks().count(), 0);
}

#[test]
fn a_stop_raises_the_signal_once_it_is_armed() {
    set_memory(&[]);
    let stopping = Plan {
        stops: true,
        ..plan(vec![register(Reg::Rax)], vec![])
    };
    let signal = || KERNEL.with_borrow(|kernel| kernel.signal);
    assert!(run(&stopping, &[]).is_none(), "it is not armed");
    assert_eq!(signal(), None);

    KERNEL.with_borrow_mut(|kernel| kernel.site[0] = 1 << 32);
    let (record, wakeup) = run(&stopping, &[(Reg::Rax, 42)]).expect("submitted");
    assert_eq!((signal(), wakeup), (Some(SIGSTOP as u64), FORCE_WAKEUP as u64));
    let ring = || KERNEL.with_borrow(|kernel| kernel.ring);
    assert_eq!(ring(), MapRef::StopRing as u64);
    let view = RecordView::new(&record).expect("a record");
    assert_eq!(view.root(&stopping, 0), Ok(&42u64.to_le_bytes()[..]));
    assert!(!view.flags().has(Flags::NOT_STOPPED));

    KERNEL.with_borrow_mut(|kernel| kernel.refuses_signals = true);
    let (record, _) = run(&stopping, &[]).expect("submitted");
    let view = RecordView::new(&record).expect("a record");
    assert!(view.flags().has(Flags::NOT_STOPPED));

    KERNEL.with_borrow_mut(|kernel| kernel.ring_full = true);
    assert!(run(&stopping, &[]).is_none());
    assert_eq!(
        signal(),
        Some(SIGSTOP as u64),
        "there is no room to say so, but it stops"
    );

    // A plan that does not stop knows nothing of it.
    set_memory(&[]);
    assert!(run(&plan(vec![], vec![]), &[]).is_some());
    assert_eq!((signal(), ring()), (None, MapRef::Ring as u64));
}

#[test]
fn goroutines_are_found_by_tls_and_misses_are_said() {
    set_memory(&[]);
    let with = |goroutine| Plan {
        goroutine,
        ..plan(vec![], vec![])
    };
    let found = |goroutine, r14| {
        let (record, _) = run(&with(goroutine), &[(Reg::R14, r14)]).expect("submitted");
        let view = RecordView::new(&record).expect("a record");
        (view.goroutine(), view.stack_hi(), view.flags().0)
    };
    let tls = |offset| GoroutineSource::Tls { offset };
    assert_eq!(found(tls(-8), 0), (31, 0xc000_1000, 0));
    assert_eq!(found(tls(-16), 0), (0, 0, Flags::NO_GOROUTINE));
    assert_eq!(found(GoroutineSource::R14, 0), (0, 0, Flags::NO_GOROUTINE));
    assert_eq!(found(GoroutineSource::R14, 12345), (0, 0, Flags::NO_GOROUTINE));
    assert_eq!(found(GoroutineSource::None, G), (0, 0, Flags::NO_GOROUTINE));
}

#[test]
fn a_full_ring_gives_no_record() {
    set_memory(&[]);
    KERNEL.with_borrow_mut(|kernel| kernel.ring_full = true);
    assert_eq!(run(&plan(vec![register(Reg::Rax)], vec![]), &[]), None);
}

#[test]
fn the_consumer_is_woken_just_above_the_middle() {
    set_memory(&[]);
    for (available, flags) in [(0, 1), (524_287, 1), (524_288, 2), (530_000, 2), (700_000, 1)] {
        KERNEL.with_borrow_mut(|kernel| kernel.available = available);
        let submitted = run(&plan(vec![register(Reg::Rax)], vec![]), &[]);
        assert_eq!(submitted.map(|(_, flags)| flags), Some(flags), "{available}");
    }
}

#[test]
fn the_time_of_one_record_in_16_is_taken() {
    set_memory(&[]);
    let taken = |now, tick| {
        KERNEL.with_borrow_mut(|kernel| {
            (kernel.now, kernel.tick) = (now, tick);
            kernel.counters = [0; 9];
        });
        run(&plan(vec![register(Reg::Rax)], vec![]), &[]).expect("submitted");
        KERNEL.with_borrow(|kernel| kernel.counters[8])
    };
    assert_eq!(taken(16_000, 300), 16 * 300);
    assert_eq!(taken(16_001, 300), 0);
    assert_eq!(taken(16_015, 300), 0);
}

#[test]
fn lengths_are_bounded_whatever_they_say() {
    set_memory(&[(0x10_000, b"0123456789".repeat(10))]);
    let plan = plan(vec![register(Reg::Rax), register(Reg::Rbx)], vec![string(0, 60)]);
    let chunk = |ptr: u64, len: u64| {
        let (record, _) = run(&plan, &[(Reg::Rax, ptr), (Reg::Rbx, len)]).expect("submitted");
        let view = RecordView::new(&record).expect("a record");
        view.chunks()
            .next()
            .map(|chunk| (chunk.status, chunk.count, chunk.wanted, chunk.bytes.len()))
    };
    assert_eq!(chunk(0x10_000, 10), Some((Status::Captured, 10, 10, 10)));
    assert_eq!(chunk(0x10_000, 60), Some((Status::Captured, 60, 60, 60)));
    assert_eq!(chunk(0x10_000, 61), Some((Status::Truncated, 60, 61, 60)));
    assert_eq!(chunk(0x10_000, 1 << 40), Some((Status::Truncated, 60, u32::MAX, 60)));
    assert_eq!(chunk(0x10_000, u64::MAX), Some((Status::OutOfRange, 0, u32::MAX, 0)));
    assert_eq!(chunk(0x10_000, 1 << 63), Some((Status::OutOfRange, 0, u32::MAX, 0)));
    assert_eq!(chunk(0x10_000 + 95, 10), Some((Status::Fault, 0, 10, 0)));
    assert_eq!(chunk(u64::MAX - 2, 10), Some((Status::Fault, 0, 10, 0)));
    assert_eq!(chunk(0x10_000, 0), None);
    assert_eq!(chunk(0, 0), None);
}

fn any_reg() -> impl Strategy<Value = Reg> {
    prop_oneof![Just(Reg::Rax), Just(Reg::Rbx), Just(Reg::Rcx), Just(Reg::R8)]
}

fn any_root() -> impl Strategy<Value = Root> {
    let offset = prop_oneof![0i64..64, any::<i64>()];
    let source = prop_oneof![
        3 => any_reg().prop_map(RootSource::Register),
        1 => offset.clone().prop_map(|offset| RootSource::Stack { offset }),
        1 => (any_reg(), offset).prop_map(|(reg, offset)| RootSource::Memory { reg, offset }),
        1 => any::<u64>().prop_map(|addr| RootSource::Absolute { addr }),
        1 => any::<bool>().prop_map(|all| RootSource::Hit(if all { CountedHits::All } else { CountedHits::OfGoroutine })),
    ];
    (source, prop_oneof![1u32..40, 1u32..5000]).prop_map(|(source, size)| Root { source, size })
}

fn any_index() -> impl Strategy<Value = Index> {
    let size = prop_oneof![Just(1u8), Just(2), Just(4), Just(8)];
    prop_oneof![
        (0u64..4).prop_map(Index::Const),
        any::<u64>().prop_map(Index::Const),
        (0u32..4, size, any::<bool>()).prop_map(|(at, size, signed)| Index::Root {
            at: 8 * at,
            size,
            signed
        }),
    ]
}

/// Follows; `layouts` with layouts and interfaces, whose programs have a chase.
fn any_follow(layouts: bool) -> impl Strategy<Value = Follow> {
    let at = || (0u32..5).prop_map(|n| 8 * n);
    let size = || prop_oneof![1u32..64, 8u32..9, 16u32..17, 1u32..40_000];
    let kind = prop_oneof![
        3 => (at(), prop_oneof![Just(0i64), any::<i64>()], size())
            .prop_map(|(at, offset, size)| FollowKind::Pointer { at, offset, size }),
        3 => (at(), at(), size())
            .prop_map(|(at_ptr, at_len, max)| FollowKind::String { at_ptr, at_len, max }),
        3 => (at(), at(), size(), size()).prop_map(|(at_ptr, at_len, elem_size, max_elems)| {
            FollowKind::Slice { at_ptr, at_len, elem_size, max_elems }
        }),
        2 => (at(), prop::option::of(at()), size(), any_index()).prop_map(
            |(at_ptr, at_len, elem_size, index)| FollowKind::Element {
                at_ptr, at_len, elem_size, index,
            }
        ),
        u32::from(layouts) => (at(), any::<bool>(), 0u8..4)
            .prop_map(|(at, non_empty, level)| FollowKind::Interface { at, non_empty, level }),
    ];
    let layout = prop::option::of((1u32..9).prop_map(LayoutId));
    let leaf = (kind, layout).prop_map(move |(kind, layout)| Follow {
        kind,
        layout: layout.filter(|_| layouts),
        then: Vec::new(),
    });
    leaf.prop_recursive(3, 12, 4, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..4)).prop_map(|(mut follow, then)| {
            follow.then = then;
            follow
        })
    })
}

fn any_plan(layouts: bool) -> impl Strategy<Value = Plan> {
    let goroutine = prop_oneof![
        Just(GoroutineSource::R14),
        Just(GoroutineSource::None),
        any::<i64>().prop_map(|offset| GoroutineSource::Tls { offset }),
    ];
    let runtime =
        (0u32..600, 0u32..600, any::<u32>(), 0u32..300).prop_map(|(goid, stack_hi, m, curg)| RuntimeOffsets {
            goid,
            stack_hi,
            m,
            curg,
        });
    (
        prop::collection::vec(any_root(), 0..8),
        prop::collection::vec(any_follow(layouts), 0..6),
        goroutine,
        prop_oneof![Just(RUNTIME), runtime],
        prop_oneof![Just(256u32), Just(1024), 0u32..40_000],
        any::<bool>(),
    )
        .prop_map(|(roots, follows, goroutine, runtime, max_record, stops)| Plan {
            roots,
            follows,
            goroutine,
            runtime,
            max_record,
            gate: crate::gate::Gate::default(),
            stops,
        })
        .prop_map(|mut plan| {
            let roots = plan.roots_size();
            plan.follows.retain_mut(|follow| fit(follow, roots, roots));
            plan
        })
}

/// Moves a follow's offsets into its base area; whether there is room for it at all.
fn fit(follow: &mut Follow, area: u32, roots: u32) -> bool {
    let into = |at: &mut u32, width: u32, area: u32| match area.checked_sub(width) {
        Some(last) => {
            *at = (*at).min(last);
            true
        }
        None => false,
    };
    let inside = match &mut follow.kind {
        FollowKind::Pointer { at, .. } => into(at, 8, area),
        FollowKind::Interface { at, .. } => into(at, 16, area),
        FollowKind::String { at_ptr, at_len, .. } | FollowKind::Slice { at_ptr, at_len, .. } => {
            into(at_ptr, 8, area) && into(at_len, 8, area)
        }
        FollowKind::Element {
            at_ptr, at_len, index, ..
        } => {
            into(at_ptr, 8, area)
                && at_len.as_mut().is_none_or(|at_len| into(at_len, 8, area))
                && match index {
                    Index::Const(_) => true,
                    Index::Root { at, size, .. } => into(at, u32::from(*size), roots),
                }
        }
    };
    let area = follow.base_area();
    follow.then.retain_mut(|then| fit(then, area, roots));
    inside
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the plan and the registers, a program ends, and its record holds together: chunks
    /// are exactly the target's bytes, and say what is missing.
    #[test]
    fn records_hold_what_memory_holds(
        plan in any_plan(false),
        values in prop::collection::vec(prop_oneof![
            Just(0u64), 0u64..100, 0x10_000u64..0x10_400, any::<u64>(),
        ], 5),
        content in prop::collection::vec(any::<u64>(), 128),
    ) {
        prop_assume!(plan.validate().is_ok());
        // Pointers into itself, small lengths, and numbers of any kind.
        let memory: Vec<u8> = content
            .iter()
            .map(|&word| match word % 4 {
                0 => 0x10_000 + word / 4 % 1024,
                1 => word / 4 % 64,
                2 => word,
                _ => 0,
            })
            .flat_map(u64::to_le_bytes)
            .collect();
        set_memory(&[(0x10_000, memory)]);
        KERNEL.with_borrow_mut(|kernel| kernel.site[0] = 1 << 32);
        let registers = [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::R8, Reg::Rsp];
        let registers: Vec<_> = registers.into_iter().zip(values).collect();
        let (record, _) = run(&plan, &registers).expect("submitted");
        let view = RecordView::new(&record).expect("a record");
        prop_assert!(view.bytes().len() <= plan.record_class() as usize);
        let total = |plan: &Plan| {
            fn count(follows: &[Follow]) -> usize {
                follows.iter().map(|follow| 1 + count(&follow.then)).sum()
            }
            count(&plan.follows)
        };
        let mut end = plan.chunks_at() as usize;
        let mut last = None;
        for chunk in view.chunks() {
            end += crate::record::CHUNK_HEADER_SIZE + chunk.bytes.len().next_multiple_of(8);
            let Origin::Follow(number) = chunk.origin else {
                return Err(TestCaseError::fail("nothing was chased"));
            };
            prop_assert!(usize::from(number) < total(&plan));
            prop_assert!(last < Some(number), "in the plan's order");
            last = Some(number);
            prop_assert_eq!(chunk.bytes.len() as u32, chunk.count * chunk.elem_size);
            match chunk.status {
                Status::Captured => prop_assert_eq!(chunk.count, chunk.wanted),
                Status::Truncated => prop_assert!(chunk.count < chunk.wanted),
                _ => prop_assert_eq!(chunk.count, 0),
            }
            if chunk.count > 0 {
                KERNEL.with_borrow(|kernel| {
                    prop_assert_eq!(kernel.read(chunk.addr, chunk.bytes.len()), Some(chunk.bytes));
                    Ok(())
                })?;
            }
        }
        prop_assert_eq!(end, view.bytes().len(), "chunks fill the record without gaps");
        for index in 0..plan.roots.len() {
            prop_assert!(view.root(&plan, index) != Err(RootError::Absent));
        }
    }
}

/// The real verifier takes every plan that is valid.
#[test]
fn the_kernel_takes_any_valid_plan() {
    use crate::{BpfError, Options, ProbeSet};
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    use std::io::Write;

    let mut set = match ProbeSet::new(Options {
        ring_bytes: 1 << 16,
        ..Options::default()
    }) {
        Ok(set) => set,
        Err(BpfError::PermissionDenied { .. }) => {
            // `eprintln!` would be kept by the test runner and never seen.
            let _ = writeln!(
                std::io::stderr(),
                "SKIP: no permission for BPF: nothing is shown to the kernel's verifier"
            );
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tried = 0;
    while tried < 150 {
        let tree = any_plan(tried % 2 == 0).new_tree(&mut runner).expect("a plan");
        let plan = tree.current();
        if plan.validate().is_err() || plan.follows.is_empty() {
            continue;
        }
        tried += 1;
        match set.add_plan(&plan) {
            Ok(_) | Err(BpfError::Plan(PlanError::TooLong(_))) => {}
            Err(error) => panic!("{error}\nfor {plan:#?}"),
        }
    }
}
