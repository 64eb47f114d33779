//! Conditions to try: random ones, and those at the limits.

use proptest::prelude::*;

use super::reference::BIAS;
use crate::gate::{Comparison, Condition, MAX_LITERAL, Operation, Term, Text};
use crate::plan::Reg;

/// Where memory with numbers starts, and memory with text.
pub(super) const NUMBERS: u64 = 0x10_000;
pub(super) const TEXTS: u64 = 0x20_000;

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
pub(super) fn any_number() -> impl Strategy<Value = u64> {
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
pub(super) const REGISTERS: [Reg; 6] = [Reg::Rax, Reg::Rbx, Reg::Rcx, Reg::R8, Reg::R15, Reg::Rdx];

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
pub(super) fn texts() -> Vec<u8> {
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
    ];
    leaf.prop_recursive(4, 24, 2, |inner| further_terms(inner.boxed()))
}

fn further_terms(inner: BoxedStrategy<Term>) -> impl Strategy<Value = Term> {
    let width = || prop::sample::select(WIDTHS.to_vec());
    let offset = prop_oneof![20 => (0i64..32).prop_map(|word| 8 * word), 2 => -16i64..2000, 1 => any::<i64>()];
    // Most addresses are such that something is there: what has no value says little of what is around it.
    let there = (0u64..64).prop_map(|word| Term::Const((NUMBERS + 8 * word) as i64));
    let base = prop_oneof![12 => there, 2 => Just(Term::Goroutine), 1 => inner.clone()];
    let index = prop_oneof![4 => (0i64..8).prop_map(Term::Const), 1 => inner.clone()];
    let len = prop_oneof![4 => (6i64..20).prop_map(Term::Const), 1 => inner.clone()];
    prop_oneof![
        3 => (base, offset, width(), any::<bool>()).prop_map(|(base, offset, width, signed)| Term::Load {
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
        4 => (any_operation(), any::<bool>(), inner.clone(), inner).prop_map(|(operation, signed, left, right)| {
            Term::Arithmetic { operation, signed, left: Box::new(left), right: Box::new(right) }
        }),
        1 => (index, len).prop_map(|(index, len)| Term::Checked {
            index: Box::new(index),
            len: Box::new(len)
        }),
    ]
}

fn any_text() -> impl Strategy<Value = Text> {
    let address = prop_oneof![
        20 => (0u64..300).prop_map(|at| Term::Const((TEXTS + at) as i64)),
        1 => Just(Term::Register(Reg::R15)),
        1 => any_plain_term(),
    ];
    let len = prop_oneof![
        12 => (0i64..6).prop_map(Term::Const),
        6 => (0i64..300).prop_map(Term::Const),
        1 => Just(Term::Register(Reg::R8)),
        1 => any_plain_term(),
    ];
    let apart = (address, len).prop_map(|(address, len)| Text { address, len });
    // As a string lies in memory: what is read at once.
    let word = |at: u64, offset| Term::Load {
        base: Box::new(Term::Const((NUMBERS + 8 * at) as i64)),
        offset,
        width: 8,
        signed: false,
    };
    let together = (0u64..130, -16i64..16).prop_map(move |(at, offset)| Text {
        address: word(at, offset),
        len: word(at, offset + 8),
    });
    prop_oneof![3 => apart, 1 => together]
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
pub(super) fn any_condition() -> impl Strategy<Value = Condition> {
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

pub(super) fn compare(comparison: Comparison, left: Term, right: Term) -> Condition {
    Condition::Compare {
        comparison,
        signed: true,
        left,
        right,
    }
}

pub(super) fn rax() -> Term {
    Term::Register(Reg::Rax)
}

/// A balanced tree of `leaf`s, of that many levels.
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

/// A balanced tree of sums.
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

/// A condition whose every level keeps three values while it computes the fourth.
pub(super) fn keeping_values(levels: usize) -> Condition {
    let level = |inner| Condition::SameBytes {
        left: Text {
            address: rax(),
            len: rax(),
        },
        right: Text {
            address: rax(),
            len: inner,
        },
    };
    (1..levels).fold(level(rax()), |inner, _| level(Term::Truth(Box::new(inner))))
}

/// Conditions at the limits: as deep, as wide and as long as is allowed.
pub(super) fn extremes() -> Vec<Condition> {
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
