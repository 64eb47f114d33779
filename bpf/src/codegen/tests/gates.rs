//! Gates: what programs decide against what Go's rules say, and what the real verifier says of the programs.

use std::io::Write;

use proptest::prelude::*;

use super::conditions::{
    NUMBERS, REGISTERS, TEXTS, any_condition, any_number, compare, extremes, keeping_values, rax, texts,
};
use super::machine::{ENVIRONMENT, G, KERNEL, run, set_memory};
use super::reference::{BIAS, FILE_ADDR, Reference};
use super::{any_plan, plan, register};
use crate::codegen::counter::{CONDITION_FALSE, EMITTED, FAULTS, THROTTLED};
use crate::codegen::plan_program;
use crate::gate::{
    Comparison, Condition, CounterId, Gate, Goroutines, HitCount, HitTest, LimiterId, MAX_CONDITION_DEPTH, MAX_LITERAL,
    Operation, RateLimit, Term, Text,
};
use crate::layout::LayoutId;
use crate::plan::{CountedHits, Follow, FollowKind, GoroutineSource, Plan, PlanError, Reg, Root, RootSource};
use crate::record::{Flags, RecordView};

/// A plan with a gate and one root.
fn gated(gate: Gate) -> Plan {
    Plan {
        gate,
        ..plan(vec![register(Reg::Rax)], vec![])
    }
}

fn conditional(condition: Condition) -> Plan {
    gated(Gate {
        condition: Some(condition),
        ..Gate::default()
    })
}

/// What became of the hits so far, by the offsets in an entry of the counter table.
fn counted(counter: i16) -> u64 {
    KERNEL.with_borrow(|kernel| kernel.counters[counter.unsigned_abs() as usize / 8])
}

/// Runs a plan with a condition once: what the program found.
fn decide(plan: &Plan, registers: &[(Reg, u64)]) -> Option<bool> {
    let before = [CONDITION_FALSE, EMITTED, FAULTS].map(counted);
    let record = run(plan, registers);
    let after = [CONDITION_FALSE, EMITTED, FAULTS].map(counted);
    let result = record.map_or(Some(false), |(record, _)| {
        let view = RecordView::new(&record).expect("a record");
        (!view.flags().has(Flags::CONDITION_UNKNOWN)).then_some(true)
    });
    let expected = match result {
        Some(false) => [1, 0, 0],
        Some(true) => [0, 1, 0],
        None => [0, 1, 1],
    };
    for index in 0..3 {
        assert_eq!(after[index] - before[index], expected[index], "{result:?}");
    }
    result
}

fn set_memory_for_gates(content: &[u64]) {
    let memory: Vec<u8> = content
        .iter()
        .map(|&word| match word % 4 {
            0 => NUMBERS + word / 4 % 1024,
            1 => word / 4 % 64,
            2 => word,
            _ => 0,
        })
        .flat_map(u64::to_le_bytes)
        .collect();
    set_memory(&[(NUMBERS, memory), (TEXTS, texts())]);
    KERNEL.with_borrow_mut(|kernel| kernel.site = [0, FILE_ADDR]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Programs decide as the reference does, and count as they decide.
    #[test]
    fn conditions_are_decided_as_meant(
        condition in any_condition(),
        values in prop::collection::vec(prop_oneof![any_number(), NUMBERS..NUMBERS + 0x400], REGISTERS.len()),
        goroutine in any::<bool>(),
        content in prop::collection::vec(any::<u64>(), 128),
    ) {
        let plan = conditional(condition.clone());
        prop_assume!(plan.validate().is_ok());
        set_memory_for_gates(&content);
        let mut registers: Vec<_> = REGISTERS.into_iter().zip(values).collect();
        registers.push((Reg::R14, if goroutine { G } else { 0 }));
        registers.push((Reg::Rip, FILE_ADDR + BIAS));
        let reference = Reference { registers: &registers };
        prop_assert_eq!(decide(&plan, &registers), reference.condition(&condition));
    }
}

#[test]
fn only_true_hits_are_counted_and_their_number_decides() {
    set_memory_for_gates(&[]);
    let passing = |test, condition: Option<Condition>, values: &[u64]| {
        KERNEL.with_borrow_mut(|kernel| kernel.hits[2] = 0);
        let plan = gated(Gate {
            condition,
            hits: Some(HitCount {
                counter: CounterId(2),
                test,
                goroutines: Goroutines::Together,
            }),
            rate: None,
            mark: None,
        });
        let passes = |value: &u64| run(&plan, &[(Reg::Rax, *value)]).is_some();
        let passed: Vec<u64> = values.iter().copied().filter(passes).collect();
        (passed, KERNEL.with_borrow(|kernel| kernel.hits[2]))
    };
    let values = [1, 2, 3, 4, 5, 6];
    let number = |comparison, number| HitTest::Compare(comparison, number);
    assert_eq!(passing(HitTest::Any, None, &values), (values.to_vec(), 6));
    assert_eq!(passing(number(Comparison::Equal, 2), None, &values), (vec![2], 6));
    assert_eq!(passing(number(Comparison::Greater, 4), None, &values), (vec![5, 6], 6));
    assert_eq!(
        passing(number(Comparison::Less, u64::MAX), None, &values),
        (values.to_vec(), 6)
    );
    assert_eq!(passing(HitTest::Multiple(3), None, &values), (vec![3, 6], 6));
    assert_eq!(passing(HitTest::Multiple(0), None, &values), (vec![], 6));
    let even = compare(
        Comparison::Equal,
        Term::Arithmetic {
            operation: Operation::And,
            signed: false,
            left: Box::new(rax()),
            right: Box::new(Term::Const(1)),
        },
        Term::Const(0),
    );
    assert_eq!(
        passing(number(Comparison::GreaterOrEqual, 2), Some(even), &values),
        (vec![4, 6], 3)
    );
    // Where the condition has no value the hit passes, and is not counted.
    let unknown = compare(
        Comparison::Equal,
        Term::Load {
            base: Box::new(rax()),
            offset: 0,
            width: 8,
            signed: false,
        },
        Term::Const(0),
    );
    assert_eq!(
        passing(number(Comparison::Equal, 2), Some(unknown), &[0, 1]),
        (vec![0, 1], 0)
    );
}

#[test]
fn goroutines_are_counted_by_themselves() {
    set_memory_for_gates(&[]);
    KERNEL.with_borrow_mut(|kernel| {
        let mut other = kernel.memory[&G].clone();
        other[152..160].copy_from_slice(&32u64.to_le_bytes());
        kernel.memory.insert(G + 0x1000, other);
        kernel.memory.insert(G + 0x2000, vec![0; 512]);
        kernel.goroutine_room = 1;
    });
    let plan = gated(Gate {
        condition: None,
        hits: Some(HitCount {
            counter: CounterId(1),
            test: HitTest::Compare(Comparison::Equal, 2),
            goroutines: Goroutines::Apart,
        }),
        rate: None,
        mark: None,
    });
    let hit = |g: u64| {
        let (record, _) = run(&plan, &[(Reg::R14, g)])?;
        Some(
            RecordView::new(&record)
                .expect("a record")
                .flags()
                .has(Flags::HITS_UNKNOWN),
        )
    };
    assert_eq!(hit(G), None);
    // No room for another goroutine: it passes, and says that it was not counted.
    assert_eq!(hit(G + 0x1000), Some(true));
    assert_eq!(hit(G), Some(false));
    assert_eq!(hit(G), None);
    // A thread without a goroutine.
    assert_eq!(hit(G + 0x2000), Some(true));
    assert_eq!(hit(0), Some(true));
    KERNEL.with_borrow_mut(|kernel| kernel.goroutine_room = 2);
    assert_eq!(hit(G + 0x1000), None);
    assert_eq!(hit(G + 0x1000), Some(false));
    KERNEL.with_borrow(|kernel| {
        assert_eq!(kernel.hits[1], 8, "all together");
        let keys: Vec<_> = kernel.goroutine_hits.keys().copied().collect();
        let key = |goroutine: u64| {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&1u32.to_le_bytes());
            key[4..8].copy_from_slice(&77u32.to_le_bytes());
            key[8..].copy_from_slice(&goroutine.to_le_bytes());
            key
        };
        assert_eq!(keys, [key(31), key(32)]);
    });
}

#[test]
fn records_have_the_numbers_of_their_hits() {
    set_memory_for_gates(&[]);
    KERNEL.with_borrow_mut(|kernel| {
        let mut other = kernel.memory[&G].clone();
        other[152..160].copy_from_slice(&32u64.to_le_bytes());
        kernel.memory.insert(G + 0x1000, other);
        kernel.goroutine_room = 2;
    });
    let is_read = compare(
        Comparison::NotEqual,
        Term::Load {
            base: Box::new(rax()),
            offset: 0,
            width: 8,
            signed: false,
        },
        Term::Const(0),
    );
    let gate = |condition, goroutines| Gate {
        condition,
        hits: Some(HitCount {
            counter: CounterId(1),
            test: HitTest::Any,
            goroutines,
        }),
        ..Gate::default()
    };
    let numbers = |gate: Gate, g: u64| {
        let plan = Plan {
            roots: [CountedHits::All, CountedHits::OfGoroutine]
                .map(|among| Root {
                    source: RootSource::Hit(among),
                    size: 8,
                })
                .to_vec(),
            ..gated(gate)
        };
        let (record, _) = run(&plan, &[(Reg::R14, g)]).expect("it passes");
        let record = RecordView::new(&record).expect("a record");
        [0, 1].map(|root| {
            let bytes = record.root(&plan, root).expect("a number");
            u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
        })
    };
    assert_eq!(numbers(gate(None, Goroutines::Told), G), [1, 1]);
    assert_eq!(numbers(gate(None, Goroutines::Apart), G + 0x1000), [2, 1]);
    assert_eq!(numbers(gate(None, Goroutines::Told), G), [3, 2]);
    assert_eq!(numbers(gate(None, Goroutines::Together), G), [4, 0]);
    assert_eq!(numbers(gate(None, Goroutines::Told), 0), [5, 0], "no goroutine");
    assert_eq!(numbers(gate(Some(is_read), Goroutines::Told), G), [0, 0], "not counted");
    assert_eq!(numbers(Gate::default(), G), [0, 0], "nobody counts");
}

#[test]
fn only_so_many_pass_in_an_interval() {
    set_memory_for_gates(&[]);
    let plan = gated(Gate {
        condition: Some(compare(Comparison::NotEqual, rax(), Term::Const(0))),
        hits: None,
        rate: Some(RateLimit {
            limiter: LimiterId(1),
            most: 2,
            interval: 1000,
        }),
        mark: None,
    });
    let at = |now: u64, value: u64| {
        KERNEL.with_borrow_mut(|kernel| kernel.now = now);
        run(&plan, &[(Reg::Rax, value)]).is_some()
    };
    assert!(at(5000, 1));
    assert!(!at(5000, 0), "false ones take nobody's place");
    assert!(at(5999, 1));
    assert!(!at(5999, 1));
    // The time was taken before another CPU began the interval.
    assert!(!at(4999, 1));
    assert!(at(6000, 1));
    assert!(at(6999, 1));
    assert!(!at(6999, 1));
    assert!(at(100_000, 1));
    assert_eq!([CONDITION_FALSE, EMITTED, THROTTLED].map(counted), [1, 5, 3]);
}

#[test]
fn a_stop_whose_condition_is_false_raises_no_signal() {
    set_memory_for_gates(&[]);
    KERNEL.with_borrow_mut(|kernel| kernel.site[0] = 1 << 32);
    let plan = Plan {
        stops: true,
        ..conditional(compare(Comparison::Equal, rax(), Term::Const(7)))
    };
    let signal = || KERNEL.with_borrow(|kernel| kernel.signal);
    assert!(run(&plan, &[(Reg::Rax, 6)]).is_none());
    assert_eq!(signal(), None);
    assert!(run(&plan, &[(Reg::Rax, 7)]).is_some());
    assert!(signal().is_some());
    // Without a value it is for others to decide.
    let fault = Term::Load {
        base: Box::new(rax()),
        offset: 0,
        width: 8,
        signed: false,
    };
    let plan = Plan {
        stops: true,
        ..conditional(compare(Comparison::Equal, fault, Term::Const(7)))
    };
    let (record, _) = run(&plan, &[(Reg::Rax, 6)]).expect("submitted");
    assert!(
        RecordView::new(&record)
            .expect("a record")
            .flags()
            .has(Flags::CONDITION_UNKNOWN)
    );
    assert!(signal().is_some());
}

#[test]
fn gates_that_make_no_sense_are_refused() {
    let refused = |gate: Gate| gated(gate).validate().err();
    let condition = |condition| {
        refused(Gate {
            condition: Some(condition),
            ..Gate::default()
        })
    };
    let mut deep = Condition::Always(true);
    for _ in 1..MAX_CONDITION_DEPTH {
        deep = Condition::Not(Box::new(deep));
    }
    assert_eq!(condition(deep.clone()), None);
    assert_eq!(
        condition(Condition::Not(Box::new(deep))),
        Some(PlanError::ConditionTooDeep)
    );
    let mut wide = Condition::Always(true);
    for _ in 0..10 {
        wide = Condition::And(Box::new(wide.clone()), Box::new(wide));
    }
    assert!(matches!(condition(wide), Some(PlanError::TooManyConditions(_))));
    let load = |width| Term::Load {
        base: Box::new(rax()),
        offset: 0,
        width,
        signed: false,
    };
    assert_eq!(condition(compare(Comparison::Equal, load(4), rax())), None);
    assert!(matches!(
        condition(compare(Comparison::Equal, load(3), rax())),
        Some(PlanError::InvalidGate(_))
    ));
    let literal = |len| Condition::Bytes {
        text: Text {
            address: rax(),
            len: rax(),
        },
        literal: vec![0; len],
        prefix: false,
    };
    assert_eq!(condition(literal(MAX_LITERAL)), None);
    assert!(matches!(
        condition(literal(MAX_LITERAL + 1)),
        Some(PlanError::InvalidGate(_))
    ));
    let program = |condition| plan_program(&conditional(condition), 0, ENVIRONMENT);
    assert!(program(keeping_values(11)).is_ok());
    assert_eq!(
        program(keeping_values(12)).err(),
        Some(PlanError::TooManyIntermediates(35))
    );
    let rate = |most, interval| {
        refused(Gate {
            rate: Some(RateLimit {
                limiter: LimiterId(0),
                most,
                interval,
            }),
            ..Gate::default()
        })
    };
    assert_eq!(rate(1, 1000), None);
    for (most, interval) in [(0, 1000), (1, 999), (1, u64::MAX)] {
        assert!(matches!(rate(most, interval), Some(PlanError::InvalidGate(_))));
    }
}

/// Gates that no planner would make: of any width and literal, as deep and as wide as it comes.
fn hostile_condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        any_number().prop_map(|number| Term::Const(number as i64)),
        any::<u64>().prop_map(Term::Address),
        Just(Term::Goroutine),
    ];
    let term = leaf.prop_recursive(40, 80, 2, |inner| {
        prop_oneof![
            (inner.clone(), any::<i64>(), any::<u8>(), any::<bool>()).prop_map(|(base, offset, width, signed)| {
                Term::Load {
                    base: Box::new(base),
                    offset,
                    width: if width < 200 { 1 << (width % 4) } else { width },
                    signed,
                }
            }),
            (inner.clone(), inner).prop_map(|(left, right)| Term::Arithmetic {
                operation: Operation::Shl,
                signed: false,
                left: Box::new(left),
                right: Box::new(right),
            }),
        ]
    });
    let text = (term.clone(), term.clone()).prop_map(|(address, len)| Text { address, len });
    let leaf = prop_oneof![
        (
            text.clone(),
            prop::collection::vec(any::<u8>(), 0..2 * MAX_LITERAL),
            any::<bool>()
        )
            .prop_map(|(text, literal, prefix)| Condition::Bytes { text, literal, prefix }),
        (text.clone(), text).prop_map(|(left, right)| Condition::SameBytes { left, right }),
        (term.clone(), term, any::<u8>()).prop_map(|(left, right, width)| Condition::CompareFloats {
            comparison: Comparison::Less,
            width: if width < 200 { 4 << (width % 2) } else { width },
            left,
            right,
        }),
    ];
    leaf.prop_recursive(40, 400, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|condition| Condition::Not(Box::new(condition))),
            (inner.clone(), inner).prop_map(|(left, right)| {
                let truth = Term::Truth(Box::new(right));
                Condition::Or(
                    Box::new(left),
                    Box::new(compare(Comparison::Equal, truth.clone(), truth)),
                )
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever a gate asks for, there is a program or a reason why not.
    #[test]
    fn hostile_gates_are_refused_or_made_into_programs(condition in hostile_condition(), most in any::<u32>(), interval in any::<u64>()) {
        let mut plan = conditional(condition);
        plan.gate.rate = Some(RateLimit { limiter: LimiterId(u32::MAX), most, interval });
        plan.gate.hits = Some(HitCount {
            counter: CounterId(u32::MAX),
            test: HitTest::Multiple(interval),
            goroutines: Goroutines::Apart,
        });
        match plan_program(&plan, 0, ENVIRONMENT) {
            Ok(code) => prop_assert!(!code.insns.is_empty()),
            Err(error) => prop_assert!(matches!(
                error,
                PlanError::TooManyConditions(_)
                    | PlanError::ConditionTooDeep
                    | PlanError::TooManyIntermediates(_)
                    | PlanError::InvalidGate(_)
                    | PlanError::TooLong(_)
            ), "{error}"),
        }
    }
}

/// The real verifier takes every gate that is valid, and soon.
#[test]
fn the_kernel_takes_any_valid_gate() {
    use crate::{BpfError, Options, ProbeSet};
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

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
    let counter = set.add_counter(0).expect("room for a counter");
    let limiter = set.add_limiter().expect("room for a limiter");
    let gate = |condition, test, goroutines| Gate {
        condition: Some(condition),
        hits: Some(HitCount {
            counter,
            test,
            goroutines,
        }),
        rate: Some(RateLimit {
            limiter,
            most: u32::MAX,
            interval: 1 << 40,
        }),
        mark: None,
    };
    let mut slowest = std::time::Duration::ZERO;
    let mut load = |plan: &Plan| {
        let begin = std::time::Instant::now();
        let result = set.add_plan(plan);
        slowest = slowest.max(begin.elapsed());
        match result {
            Ok(_) => {}
            Err(error) => panic!("{error}\nfor {:#?}", plan.gate),
        }
    };
    for condition in extremes() {
        let mut plan = gated(gate(condition, HitTest::Multiple(3), Goroutines::Apart));
        for goroutine in [
            GoroutineSource::R14,
            GoroutineSource::Tls { offset: -8 },
            GoroutineSource::None,
        ] {
            plan.goroutine = goroutine;
            load(&plan);
        }
    }
    // As much of the frame as a gate can have, before a loop that has a frame of its own.
    let mut plan = gated(gate(keeping_values(11), HitTest::Multiple(3), Goroutines::Apart));
    plan.follows = vec![Follow {
        kind: FollowKind::Pointer {
            at: 0,
            offset: 0,
            size: 64,
        },
        layout: Some(LayoutId(1)),
        then: Vec::new(),
    }];
    load(&plan);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tried = 0;
    while tried < 300 {
        let condition = any_condition().new_tree(&mut runner).expect("a condition").current();
        let test = [
            HitTest::Any,
            HitTest::Compare(Comparison::Greater, 3),
            HitTest::Compare(Comparison::Equal, u64::MAX),
            HitTest::Multiple(5),
        ][tried % 4];
        let goroutines = [Goroutines::Together, Goroutines::Told, Goroutines::Apart][tried / 4 % 3];
        let mut plan = Plan {
            stops: tried % 3 == 0,
            ..gated(gate(condition, test, goroutines))
        };
        if tried % 5 == 0 {
            // What comes behind the gate uses the frame anew, and may call a loop that needs a part of it.
            let rest = any_plan(true).new_tree(&mut runner).expect("a plan").current();
            plan = Plan {
                gate: plan.gate,
                ..rest
            };
        }
        if tried % 2 == 0 {
            plan.roots
                .extend([CountedHits::All, CountedHits::OfGoroutine].map(|among| Root {
                    source: RootSource::Hit(among),
                    size: 8,
                }));
        }
        if plan.validate().is_err() {
            continue;
        }
        tried += 1;
        load(&plan);
    }
    assert!(slowest < std::time::Duration::from_secs(5), "{slowest:?} for one gate");
}
