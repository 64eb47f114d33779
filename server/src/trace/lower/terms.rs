//! Numbers of the kernel, put together; what is known already is computed here.

use spelunk_bpf::{Comparison, Condition, MAX_CONDITION_NODES, Operation, Term};

/// A number that is known.
pub(super) fn number(value: i64) -> Term {
    Term::Const(value)
}

/// Arithmetic modulo 2^64 on numbers with a sign, or on numbers without one.
pub(super) fn arithmetic(operation: Operation, signed: bool, left: Term, right: Term) -> Term {
    Term::Arithmetic {
        operation,
        signed,
        left: Box::new(left),
        right: Box::new(right),
    }
}

/// A sum modulo 2^64.
pub(super) fn sum(left: Term, right: Term) -> Term {
    match (left, right) {
        (Term::Const(a), Term::Const(b)) => Term::Const(a.wrapping_add(b)),
        (term, Term::Const(0)) | (Term::Const(0), term) => term,
        (left, right) => arithmetic(Operation::Add, true, left, right),
    }
}

/// A difference modulo 2^64.
pub(super) fn difference(left: Term, right: Term) -> Term {
    match (left, right) {
        (Term::Const(a), Term::Const(b)) => Term::Const(a.wrapping_sub(b)),
        (term, Term::Const(0)) => term,
        (left, right) => arithmetic(Operation::Sub, true, left, right),
    }
}

/// A product modulo 2^64.
pub(super) fn product(left: Term, right: Term) -> Term {
    match (left, right) {
        (Term::Const(a), Term::Const(b)) => Term::Const(a.wrapping_mul(b)),
        (term, Term::Const(1)) | (Term::Const(1), term) => term,
        (left, right) => arithmetic(Operation::Mul, true, left, right),
    }
}

/// A number that must lie in 0..`len`.
pub(super) fn checked(index: Term, len: Term) -> Term {
    match (&index, &len) {
        (Term::Const(index), Term::Const(len)) if (0..*len).contains(index) => Term::Const(*index),
        _ => Term::Checked {
            index: Box::new(index),
            len: Box::new(len),
        },
    }
}

/// A number cut to `width` bytes and extended again.
pub(super) fn fit(term: Term, width: u64, signed: bool) -> Term {
    match width {
        1 | 2 | 4 => Term::Fit {
            term: Box::new(term),
            width: width as u8,
            signed,
        },
        _ => term,
    }
}

/// `term`, which has no value where it is 0.
pub(super) fn not_nil(term: Term) -> Term {
    match term {
        // Of these nobody has to be told that they are not 0.
        Term::Register(_) | Term::Address(_) | Term::Goroutine => term,
        // One less than 0 is below 0, and so are the addresses of the kernel's half, which no pointer of a program is.
        term => sum(checked(difference(term, number(1)), number(i64::MAX)), number(1)),
    }
}

/// Either of two numbers: the first where the condition is true.
pub(super) fn either(condition: Condition, first: Term, second: Term) -> Term {
    let distance = difference(first, second.clone());
    sum(second, arithmetic(Operation::Mul, true, distance, truth(condition)))
}

/// Whether two numbers are the same.
pub(super) fn equal(left: Term, right: Term) -> Condition {
    match (&left, &right) {
        (Term::Const(a), Term::Const(b)) => Condition::Always(a == b),
        _ => compare(Comparison::Equal, false, left, right),
    }
}

/// A condition that never has a value: the interpreter is to decide.
pub(super) fn nothing() -> Condition {
    let never = Term::Checked {
        index: Box::new(number(0)),
        len: Box::new(number(0)),
    };
    compare(Comparison::Equal, false, never, number(0))
}

/// A comparison of two numbers.
pub(super) fn compare(comparison: Comparison, signed: bool, left: Term, right: Term) -> Condition {
    Condition::Compare {
        comparison,
        signed,
        left,
        right,
    }
}

/// The contrary.
pub(super) fn not(condition: Condition) -> Condition {
    match condition {
        Condition::Always(b) => Condition::Always(!b),
        Condition::Not(inside) => *inside,
        condition => Condition::Not(Box::new(condition)),
    }
}

/// Both, the right one looked at only where the left one is true.
pub(super) fn and(left: Condition, right: Condition) -> Condition {
    match (left, right) {
        (Condition::Always(true), condition) | (condition, Condition::Always(true)) => condition,
        (Condition::Always(false), _) => Condition::Always(false),
        (left, right) => Condition::And(Box::new(left), Box::new(right)),
    }
}

/// Either, the right one looked at only where the left one is false.
pub(super) fn or(left: Condition, right: Condition) -> Condition {
    match (left, right) {
        (Condition::Always(false), condition) | (condition, Condition::Always(false)) => condition,
        (Condition::Always(true), _) => Condition::Always(true),
        (left, right) => Condition::Or(Box::new(left), Box::new(right)),
    }
}

/// All of them, looked at in order. Nested as little as possible, for the kernel takes only so much depth.
pub(super) fn all(conditions: Vec<Condition>) -> Condition {
    joined(conditions, and).unwrap_or(Condition::Always(true))
}

/// Any of them, looked at in order.
pub(super) fn any(conditions: Vec<Condition>) -> Condition {
    joined(conditions, or).unwrap_or(Condition::Always(false))
}

fn joined(mut conditions: Vec<Condition>, join: fn(Condition, Condition) -> Condition) -> Option<Condition> {
    if conditions.len() <= 1 {
        return conditions.pop();
    }
    let second = conditions.split_off(conditions.len() / 2);
    Some(join(joined(conditions, join)?, joined(second, join)?))
}

/// 1 where a condition is true, 0 where it is false.
pub(super) fn truth(condition: Condition) -> Term {
    match condition {
        Condition::Always(b) => Term::Const(i64::from(b)),
        condition => Term::Truth(Box::new(condition)),
    }
}

/// Whether a term is no larger than what one condition can have. Slices of slices name their base again and again, so whoever builds on one asks.
pub(super) fn has_room(terms: &[&Term]) -> bool {
    let mut left = MAX_CONDITION_NODES;
    terms.iter().all(|term| count_term(term, &mut left))
}

/// Counts down; whether anything was left.
fn count_term(term: &Term, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match term {
        Term::Const(_) | Term::Address(_) | Term::Register(_) | Term::Goroutine => true,
        Term::Load { base: term, .. } | Term::Fit { term, .. } => count_term(term, left),
        Term::Arithmetic { left: a, right: b, .. } | Term::Checked { index: a, len: b } => {
            count_term(a, left) && count_term(b, left)
        }
        Term::Truth(condition) => count_condition(condition, left),
    }
}

fn count_condition(condition: &Condition, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else { return false };
    *left = rest;
    match condition {
        Condition::Always(_) => true,
        Condition::Compare { left: a, right: b, .. } | Condition::CompareFloats { left: a, right: b, .. } => {
            count_term(a, left) && count_term(b, left)
        }
        Condition::Bytes { text, .. } => count_term(&text.address, left) && count_term(&text.len, left),
        Condition::SameBytes { left: a, right: b } => [&a.address, &a.len, &b.address, &b.len]
            .into_iter()
            .all(|term| count_term(term, left)),
        Condition::Not(inside) => count_condition(inside, left),
        Condition::And(a, b) | Condition::Or(a, b) => count_condition(a, left) && count_condition(b, left),
    }
}

/// Whether the kernel takes a condition of this size and depth.
pub(super) fn is_small_enough(condition: &Condition) -> bool {
    count_condition(condition, &mut { MAX_CONDITION_NODES }) && depth(condition) <= spelunk_bpf::MAX_CONDITION_DEPTH
}

fn depth(condition: &Condition) -> usize {
    1 + match condition {
        Condition::Always(_) => 0,
        Condition::Compare { left, right, .. } | Condition::CompareFloats { left, right, .. } => {
            term_depth(left).max(term_depth(right))
        }
        Condition::Bytes { text, .. } => term_depth(&text.address).max(term_depth(&text.len)),
        Condition::SameBytes { left, right } => [&left.address, &left.len, &right.address, &right.len]
            .into_iter()
            .map(term_depth)
            .max()
            .unwrap_or(0),
        Condition::Not(inside) => depth(inside),
        Condition::And(left, right) | Condition::Or(left, right) => depth(left).max(depth(right)),
    }
}

fn term_depth(term: &Term) -> usize {
    1 + match term {
        Term::Const(_) | Term::Address(_) | Term::Register(_) | Term::Goroutine => 0,
        Term::Load { base: term, .. } | Term::Fit { term, .. } => term_depth(term),
        Term::Arithmetic { left, right, .. }
        | Term::Checked {
            index: left,
            len: right,
        } => term_depth(left).max(term_depth(right)),
        Term::Truth(condition) => depth(condition),
    }
}
