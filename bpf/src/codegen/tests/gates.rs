//! Gates: what programs decide against what Go's rules say, and what the real verifier says of the programs.

use std::io::Write;

use proptest::prelude::*;

use super::machine::{G, KERNEL, run, set_memory};
use super::{plan, register};
use crate::gate::{
    Comparison, Condition, CounterId, Gate, HitCount, HitTest, LimiterId, MAX_COMPARED, MAX_CONDITION_DEPTH,
    MAX_LITERAL, Operation, RateLimit, Term, Text,
};
use crate::plan::{GoroutineSource, Plan, PlanError, Reg};
use crate::record::{Flags, RecordView};

/// Where memory with numbers starts, and memory with text.
const NUMBERS: u64 = 0x10_000;
const TEXTS: u64 = 0x20_000;

/// Link-time address of the fake site, and how far the process has it moved.
const FILE_ADDR: u64 = 0x40_1000;
const BIAS: u64 = 0x5000_0000;

/// The evaluation of conditions as it is meant: without registers, slots or jumps.
struct Reference<'r> {
    registers: &'r [(Reg, u64)],
}

impl Reference<'_> {
    fn read(addr: u64, len: usize) -> Option<Vec<u8>> {
        KERNEL.with_borrow(|kernel| kernel.read(addr, len).map(<[u8]>::to_vec))
    }

    fn register(&self, wanted: Reg) -> u64 {
        let found = self.registers.iter().find(|(reg, _)| *reg == wanted);
        found.map_or(0, |(_, value)| *value)
    }

    fn extended(value: u64, width: u8, signed: bool) -> u64 {
        match (width, signed) {
            (1, false) => u64::from(value as u8),
            (2, false) => u64::from(value as u16),
            (4, false) => u64::from(value as u32),
            (1, true) => i64::from(value as i8) as u64,
            (2, true) => i64::from(value as i16) as u64,
            (4, true) => i64::from(value as i32) as u64,
            _ => value,
        }
    }

    fn term(&self, term: &Term) -> Option<u64> {
        Some(match term {
            Term::Const(value) => *value as u64,
            Term::Address(address) => address.wrapping_add(BIAS),
            Term::Register(reg) => self.register(*reg),
            // The goroutine of `set_memory` has an id, so there is no need to look further.
            Term::Goroutine => (self.register(Reg::R14) == G).then_some(G)?,
            Term::Load {
                base,
                offset,
                width,
                signed,
            } => {
                let base = self.term(base).filter(|&base| base != 0)?;
                let mut bytes = Self::read(base.wrapping_add_signed(*offset), usize::from(*width))?;
                bytes.resize(8, 0);
                let value = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                Self::extended(value, *width, *signed)
            }
            Term::Fit { term, width, signed } => Self::extended(self.term(term)?, *width, *signed),
            Term::Arithmetic {
                operation,
                signed,
                left,
                right,
            } => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                let (l, r) = (left as i64, right as i64);
                let count = u32::try_from(right).unwrap_or(u32::MAX);
                match (operation, signed) {
                    (Operation::Add, _) => left.wrapping_add(right),
                    (Operation::Sub, _) => left.wrapping_sub(right),
                    (Operation::Mul, _) => left.wrapping_mul(right),
                    (Operation::And, _) => left & right,
                    (Operation::Or, _) => left | right,
                    (Operation::Xor, _) => left ^ right,
                    (Operation::AndNot, _) => left & !right,
                    (Operation::Shl, _) => left.checked_shl(count).unwrap_or(0),
                    (Operation::Shr, false) => left.checked_shr(count).unwrap_or(0),
                    (Operation::Shr, true) => l.checked_shr(count).unwrap_or(if l < 0 { -1 } else { 0 }) as u64,
                    (Operation::Div, false) => left.checked_div(right)?,
                    (Operation::Rem, false) => left.checked_rem(right)?,
                    (Operation::Div | Operation::Rem, true) if r == 0 => return None,
                    (Operation::Div, true) => l.wrapping_div(r) as u64,
                    (Operation::Rem, true) => l.wrapping_rem(r) as u64,
                }
            }
            Term::Checked { index, len } => {
                let (index, len) = (self.term(index)? as i64, self.term(len)? as i64);
                (0..len).contains(&index).then_some(index as u64)?
            }
            Term::Truth(condition) => u64::from(self.condition(condition)?),
        })
    }

    fn holds<T: PartialOrd>(comparison: Comparison, left: T, right: T) -> bool {
        match comparison {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }
    }

    fn condition(&self, condition: &Condition) -> Option<bool> {
        Some(match condition {
            Condition::Always(always) => *always,
            Condition::Compare {
                comparison,
                signed,
                left,
                right,
            } => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                if *signed {
                    Self::holds(*comparison, left as i64, right as i64)
                } else {
                    Self::holds(*comparison, left, right)
                }
            }
            Condition::CompareFloats {
                comparison,
                width,
                left,
                right,
            } => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                if *width == 4 {
                    let float = |bits: u64| f32::from_bits(bits as u32);
                    Self::holds(*comparison, float(left), float(right))
                } else {
                    Self::holds(*comparison, f64::from_bits(left), f64::from_bits(right))
                }
            }
            Condition::Bytes { text, literal, prefix } => {
                let (address, len) = (self.term(&text.address)?, self.term(&text.len)? as i64);
                let wanted = literal.len() as i64;
                if len < 0 {
                    return None;
                }
                if len < wanted || (len > wanted && !prefix) {
                    return Some(false);
                }
                // What is read at once is without a value as a whole.
                for (part, at) in literal.chunks(64).zip((0..).step_by(64)) {
                    if Self::read(address.wrapping_add(at), part.len())? != part {
                        return Some(false);
                    }
                }
                true
            }
            Condition::SameBytes { left, right } => {
                let (address, len) = (self.term(&left.address)?, self.term(&left.len)? as i64);
                let (other, other_len) = (self.term(&right.address)?, self.term(&right.len)? as i64);
                if len < 0 || other_len < 0 {
                    return None;
                }
                if len != other_len {
                    return Some(false);
                }
                if len > i64::from(MAX_COMPARED) {
                    return None;
                }
                let mut at = 0;
                while at < len as u64 {
                    let part = (len as u64 - at).min(32) as usize;
                    if Self::read(address.wrapping_add(at), part)? != Self::read(other.wrapping_add(at), part)? {
                        return Some(false);
                    }
                    at += part as u64;
                }
                true
            }
            Condition::Not(condition) => !self.condition(condition)?,
            Condition::And(left, right) => self.condition(left)? && self.condition(right)?,
            Condition::Or(left, right) => self.condition(left)? || self.condition(right)?,
        })
    }
}

fn any_comparison() -> impl Strategy<Value = Comparison> {
    prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Add),
        Just(Operation::Sub),
        Just(Operation::Mul),
        Just(Operation::Div),
        Just(Operation::Rem),
        Just(Operation::And),
        Just(Operation::Or),
        Just(Operation::Xor),
        Just(Operation::AndNot),
        Just(Operation::Shl),
        Just(Operation::Shr),
    ]
}

/// Numbers at which rules change, and others.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0u64..20,
        2 => (0u64..20).prop_map(u64::wrapping_neg),
        2 => prop::sample::select(vec![i64::MIN as u64, i64::MAX as u64, u64::from(u32::MAX), 1 << 31, 1 << 32, 63, 64, 65, 0xff, 0x80]),
        1 => any_float(),
        1 => any::<u64>(),
    ]
}

/// Bits of floating-point numbers of both widths.
fn any_float() -> impl Strategy<Value = u64> {
    let wide = prop::sample::select(vec![
        0.0,
        -0.0,
        1.5,
        -1.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        f64::MIN_POSITIVE / 2.0,
    ]);
    let narrow = prop::sample::select(vec![
        0.0f32,
        -0.0,
        1.5,
        -1.5,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -1e-40,
    ]);
    prop_oneof![
        wide.prop_map(f64::to_bits),
        any::<f64>().prop_map(f64::to_bits),
        (narrow, any::<u32>()).prop_map(|(float, junk)| u64::from(float.to_bits()) | u64::from(junk) << 32),
    ]
}

const WIDTHS: [u8; 4] = [1, 2, 4, 8];
const REGISTERS: [Reg; 6] = [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::R8, Reg::R15, Reg::Rsp];

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let letter = || prop::sample::select(b"ab".to_vec());
    prop_oneof![
        8 => prop::collection::vec(letter(), 0..5),
        1 => prop::collection::vec(letter(), 0..MAX_LITERAL),
        // What stands in memory, for long literals do not meet it by chance.
        3 => (0..300usize, 0..MAX_LITERAL).prop_map(|(at, len)| texts()[at..at + len].to_vec()),
    ]
}

/// What lies at [`TEXTS`]: letters in an order that does not repeat soon.
fn texts() -> Vec<u8> {
    let mut state = 7u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { b'a' } else { b'b' }
    };
    (0..800).map(letter).collect()
}

/// Terms without conditions in them.
fn any_plain_term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        3 => any_number().prop_map(|number| Term::Const(number as i64)),
        5 => prop::sample::select(REGISTERS.to_vec()).prop_map(Term::Register),
        1 => (0u64..0x40).prop_map(|offset| Term::Address((NUMBERS + 8 * offset).wrapping_sub(BIAS))),
        1 => Just(Term::Goroutine),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| further_terms(inner.boxed()))
}

fn further_terms(inner: BoxedStrategy<Term>) -> impl Strategy<Value = Term> {
    let width = || prop::sample::select(WIDTHS.to_vec());
    let offset = prop_oneof![8 => (0i64..32).prop_map(|word| 8 * word), 1 => -16i64..2000, 1 => any::<i64>()];
    prop_oneof![
        3 => (inner.clone(), offset, width(), any::<bool>()).prop_map(|(base, offset, width, signed)| Term::Load {
            base: Box::new(base),
            offset,
            width,
            signed
        }),
        2 => (inner.clone(), width(), any::<bool>()).prop_map(|(term, width, signed)| Term::Fit {
            term: Box::new(term),
            width,
            signed
        }),
        4 => (any_operation(), any::<bool>(), inner.clone(), inner.clone()).prop_map(|(operation, signed, left, right)| {
            Term::Arithmetic { operation, signed, left: Box::new(left), right: Box::new(right) }
        }),
        1 => (inner.clone(), inner).prop_map(|(index, len)| Term::Checked {
            index: Box::new(index),
            len: Box::new(len)
        }),
    ]
}

fn any_text() -> impl Strategy<Value = Text> {
    let address = prop_oneof![
        6 => (0u64..300).prop_map(|at| Term::Const((TEXTS + at) as i64)),
        1 => Just(Term::Register(Reg::R15)),
        1 => any_plain_term(),
    ];
    let len = prop_oneof![
        4 => (0i64..6).prop_map(Term::Const),
        2 => (0i64..300).prop_map(Term::Const),
        1 => Just(Term::Register(Reg::R8)),
        1 => any_plain_term(),
    ];
    (address, len).prop_map(|(address, len)| Text { address, len })
}

/// A text, and a literal that it is or is not.
fn any_bytes_condition() -> impl Strategy<Value = Condition> {
    let equal =
        (0..300u64, 0..MAX_LITERAL, 0..3i64, any::<bool>()).prop_map(|(at, len, more, prefix)| Condition::Bytes {
            text: Text {
                address: Term::Const((TEXTS + at) as i64),
                len: Term::Const(len as i64 + more),
            },
            literal: texts()[at as usize..at as usize + len].to_vec(),
            prefix,
        });
    prop_oneof![
        (any_text(), any_bytes(), any::<bool>()).prop_map(|(text, literal, prefix)| Condition::Bytes {
            text,
            literal,
            prefix
        }),
        equal,
    ]
}

/// Conditions of terms that may have conditions in them.
fn any_condition() -> impl Strategy<Value = Condition> {
    let compare = |term: BoxedStrategy<Term>| {
        (any_comparison(), any::<bool>(), term.clone(), term).prop_map(|(comparison, signed, left, right)| {
            Condition::Compare {
                comparison,
                signed,
                left,
                right,
            }
        })
    };
    let floats = || {
        let bits = prop_oneof![
            any_float().prop_map(|bits| Term::Const(bits as i64)),
            prop::sample::select(REGISTERS.to_vec()).prop_map(Term::Register),
            any_plain_term(),
        ];
        let bits = bits.boxed();
        (any_comparison(), prop::sample::select(vec![4u8, 8]), bits.clone(), bits).prop_map(
            |(comparison, width, left, right)| Condition::CompareFloats {
                comparison,
                width,
                left,
                right,
            },
        )
    };
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Condition::Always),
        8 => compare(any_plain_term().boxed()),
        3 => floats(),
        3 => any_bytes_condition(),
        2 => (any_text(), any_text()).prop_map(|(left, right)| Condition::SameBytes { left, right }),
    ];
    leaf.prop_recursive(5, 40, 2, move |inner| {
        let truth = inner.clone().prop_map(|condition| Term::Truth(Box::new(condition)));
        let term = prop_oneof![any_plain_term(), truth].boxed();
        prop_oneof![
            1 => inner.clone().prop_map(|condition| Condition::Not(Box::new(condition))),
            2 => (inner.clone(), inner.clone())
                .prop_map(|(left, right)| Condition::And(Box::new(left), Box::new(right))),
            2 => (inner.clone(), inner).prop_map(|(left, right)| Condition::Or(Box::new(left), Box::new(right))),
            2 => compare(prop_oneof![term.clone(), further_terms(term)].boxed()),
        ]
    })
}

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
    use crate::codegen::counter::{CONDITION_FALSE, EMITTED, FAULTS};
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
    #![proptest_config(ProptestConfig::with_cases(2000))]

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

fn compare(comparison: Comparison, left: Term, right: Term) -> Condition {
    Condition::Compare {
        comparison,
        signed: true,
        left,
        right,
    }
}

fn rax() -> Term {
    Term::Register(Reg::Rax)
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
                per_goroutine: false,
            }),
            rate: None,
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
            per_goroutine: true,
        }),
        rate: None,
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
    use crate::codegen::counter::{CONDITION_FALSE, EMITTED, THROTTLED};
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

/// Conditions at the limits: as deep, as wide and as long as is allowed.
fn extremes() -> Vec<Condition> {
    let text = |address: Term, len: Term| Text { address, len };
    let load = |base: Term, offset| Term::Load {
        base: Box::new(base),
        offset,
        width: 4,
        signed: true,
    };
    let arithmetic = |operation, left: Term, right: Term| Term::Arithmetic {
        operation,
        signed: true,
        left: Box::new(left),
        right: Box::new(right),
    };
    // A balanced tree of `leaf`s, of that many levels.
    fn tree(levels: u32, or: bool, leaf: &dyn Fn(u32) -> Condition, number: u32) -> Condition {
        if levels == 0 {
            return leaf(number);
        }
        let side = |right| Box::new(tree(levels - 1, !or, leaf, 2 * number + right));
        if or {
            Condition::Or(side(0), side(1))
        } else {
            Condition::And(side(0), side(1))
        }
    }
    let mut out = Vec::new();
    out.push(tree(
        7,
        true,
        &|n| compare(Comparison::Less, rax(), Term::Const(i64::from(n))),
        0,
    ));
    out.push(tree(
        6,
        true,
        &|n| compare(Comparison::Equal, load(rax(), i64::from(n)), Term::Const(1 << 40)),
        0,
    ));
    let divided = |n: u32| {
        arithmetic(
            Operation::Rem,
            arithmetic(Operation::Shr, rax(), load(rax(), i64::from(n))),
            rax(),
        )
    };
    out.push(tree(
        5,
        false,
        &|n| compare(Comparison::Equal, divided(n), Term::Const(3)),
        0,
    ));
    out.push(tree(
        5,
        true,
        &|n| Condition::CompareFloats {
            comparison: Comparison::Less,
            width: 8,
            left: load(rax(), i64::from(n)),
            right: Term::Const(1.5f64.to_bits() as i64),
        },
        0,
    ));
    out.push(tree(
        4,
        true,
        &|n| Condition::Bytes {
            text: text(load(rax(), i64::from(n)), load(rax(), i64::from(n) + 8)),
            literal: vec![b'x'; MAX_LITERAL],
            prefix: n % 2 == 0,
        },
        0,
    ));
    out.push(tree(
        5,
        false,
        &|n| Condition::SameBytes {
            left: text(load(rax(), i64::from(n)), load(rax(), 8)),
            right: text(Term::Register(Reg::Rbx), Term::Register(Reg::Rcx)),
        },
        0,
    ));
    out.push(tree(
        7,
        false,
        &|_| compare(Comparison::Equal, Term::Goroutine, Term::Goroutine),
        0,
    ));
    // Conditions in terms in conditions: both ways come together at each level.
    let mut nested = compare(Comparison::Equal, rax(), Term::Register(Reg::Rbx));
    for level in 0..5 {
        let truth = Term::Truth(Box::new(Condition::Or(
            Box::new(nested),
            Box::new(compare(Comparison::Less, load(rax(), level), Term::Const(9))),
        )));
        nested = compare(
            Comparison::Equal,
            arithmetic(Operation::And, truth, Term::Const(1)),
            Term::Const(1),
        );
    }
    out.push(nested);
    // Sums of what is true: 64 booleans that each come from two ways, and a comparison whose outcome their bounds could tell.
    let truth = |n: i64| Term::Truth(Box::new(compare(Comparison::Less, rax(), Term::Const(n))));
    fn sum(levels: u32, truth: &dyn Fn(i64) -> Term, number: i64) -> Term {
        if levels == 0 {
            return truth(number);
        }
        Term::Arithmetic {
            operation: Operation::Add,
            signed: false,
            left: Box::new(sum(levels - 1, truth, 2 * number)),
            right: Box::new(sum(levels - 1, truth, 2 * number + 1)),
        }
    }
    out.push(compare(Comparison::Less, sum(6, &truth, 0), Term::Const(1000)));
    // Shifts in shifts, the count being the deeper one.
    let mut shifted = rax();
    for _ in 0..20 {
        shifted = arithmetic(Operation::Shr, rax(), shifted);
    }
    out.push(compare(Comparison::Less, shifted, Term::Const(1000)));
    // A chain of pointers as long as can be.
    let mut chain = rax();
    for level in 0..22 {
        chain = load(chain, level);
    }
    out.push(compare(Comparison::Equal, chain, Term::Const(1)));
    out
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
    let gate = |condition, test, per_goroutine| Gate {
        condition: Some(condition),
        hits: Some(HitCount {
            counter,
            test,
            per_goroutine,
        }),
        rate: Some(RateLimit {
            limiter,
            most: u32::MAX,
            interval: 1 << 40,
        }),
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
        let mut plan = gated(gate(condition, HitTest::Multiple(3), true));
        for goroutine in [
            GoroutineSource::R14,
            GoroutineSource::Tls { offset: -8 },
            GoroutineSource::None,
        ] {
            plan.goroutine = goroutine;
            load(&plan);
        }
    }
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
        let plan = Plan {
            stops: tried % 3 == 0,
            ..gated(gate(condition, test, tried % 2 == 0))
        };
        if plan.validate().is_err() {
            continue;
        }
        tried += 1;
        load(&plan);
    }
    assert!(slowest < std::time::Duration::from_secs(5), "{slowest:?} for one gate");
}
