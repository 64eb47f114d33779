//! What a hit must pass before anything of it is recorded: a condition, a hit condition, a rate.
//!
//! Conditions have three outcomes, as an evaluation in Go has: true, false, or none, where Go would panic or memory cannot be read. Evaluation is
//! Go's: from left to right, `&&` and `||` decide early, and the first part without a value leaves the whole without one.

use crate::plan::{PlanError, Reg};

/// What a hit must pass, in this order. The default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gate {
    /// What must be true. A hit at which this has no value passes, without being counted by `hits`, and its record is flagged
    /// ([`crate::Flags::CONDITION_UNKNOWN`]): whoever reads the record must decide.
    pub condition: Option<Condition>,
    /// How often the condition must have been true.
    pub hits: Option<HitCount>,
    /// How many hits may pass in a while.
    pub rate: Option<RateLimit>,
    /// What ties returns to those of their calls that pass.
    pub mark: Option<Mark>,
}

/// Ties the returns of a function to those of its calls that pass: a call leaves a mark for its frame, and a return passes only where it finds one.
///
/// A frame is known by its process, its goroutine and how deep it lies in the goroutine's stack, which stays the same when the stack is moved. A call that does
/// not pass takes away what an earlier one left at the same depth that never returned. Where there is no goroutine, calls leave nothing and returns pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    /// Which end of the call the site is.
    pub end: CallEnd,
    /// The canonical frame address at the site is rsp plus this, in bytes.
    pub cfa_offset: i64,
}

/// An end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// Where the function is called. The mark is left when all else of the gate has been passed.
    Call,
    /// Where the function returns. The mark is asked for before all else of the gate, and taken away.
    Return,
}

/// Something that is true or false at a site, or has no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Always the same.
    Always(bool),
    /// Compares two numbers of 64 bits.
    Compare {
        /// How.
        comparison: Comparison,
        /// Whether as numbers with a sign; of no matter for equality.
        signed: bool,
        /// The left side, evaluated first.
        left: Term,
        /// The right side.
        right: Term,
    },
    /// Compares two floating-point numbers as IEEE 754 does: nothing compares with a NaN but by "not equal", and both zeros are equal.
    CompareFloats {
        /// How.
        comparison: Comparison,
        /// 4 or 8: how wide both are, in bytes.
        width: u8,
        /// The bits of the left side, in the low `width` bytes.
        left: Term,
        /// The bits of the right side.
        right: Term,
    },
    /// Whether bytes of the target are those written here.
    Bytes {
        /// The bytes in the target.
        text: Text,
        /// What they are compared with: at most [`MAX_LITERAL`] bytes.
        literal: Vec<u8>,
        /// Whether they only need to begin so.
        prefix: bool,
    },
    /// Whether two strings of the target are equal; without a value where both have the same length of more than [`MAX_COMPARED`] bytes.
    SameBytes {
        /// One.
        left: Text,
        /// The other.
        right: Text,
    },
    /// The contrary.
    Not(Box<Condition>),
    /// Both; the right one is looked at only where the left one is true.
    And(Box<Condition>, Box<Condition>),
    /// Either; the right one is looked at only where the left one is false.
    Or(Box<Condition>, Box<Condition>),
}

/// The longest literal that bytes are compared with.
pub const MAX_LITERAL: usize = 256;

/// The longest strings of the target that are compared with each other, in bytes.
pub const MAX_COMPARED: u32 = 256;

/// The most conditions and terms, nested ones counted, that one gate can have. A literal counts for one more with each 16 bytes, the comparison of two
/// strings of the target for 8.
pub const MAX_CONDITION_NODES: usize = 512;

/// How deep terms and conditions can be nested.
pub const MAX_CONDITION_DEPTH: usize = 24;

/// Bytes in the target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text {
    /// Address of the first byte.
    pub address: Term,
    /// How many; below zero: without a value.
    pub len: Term,
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A number of 64 bits that is computed at a site, or has no value there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// Known when the plan is made.
    Const(i64),
    /// A link-time address of the binary, moved to where it lies in the process.
    Address(u64),
    /// A register, as it is at the site.
    Register(Reg),
    /// The address of the goroutine's `runtime.g`; of the one that the thread runs for when it is on a system stack. No value where there is none.
    Goroutine,
    /// A number in the target's memory. No value where that cannot be read.
    Load {
        /// Where, together with `offset`. Zero is nil: no value, whatever the offset.
        base: Box<Term>,
        /// In bytes.
        offset: i64,
        /// 1, 2, 4 or 8 bytes.
        width: u8,
        /// Whether it is sign-extended.
        signed: bool,
    },
    /// A number cut to a width and extended again: what Go's conversions and its arithmetic on narrow types do.
    Fit {
        /// The number.
        term: Box<Term>,
        /// 1, 2, 4 or 8 bytes.
        width: u8,
        /// Whether it is sign-extended.
        signed: bool,
    },
    /// Two numbers computed into one, modulo 2^64.
    Arithmetic {
        /// How.
        operation: Operation,
        /// Whether division and shifting right treat them as numbers with a sign.
        signed: bool,
        /// The left side, evaluated first.
        left: Box<Term>,
        /// The right side.
        right: Box<Term>,
    },
    /// An index that must lie in 0..`len`, or there is no value.
    Checked {
        /// The index, as a number with a sign.
        index: Box<Term>,
        /// The length.
        len: Box<Term>,
    },
    /// 1 where a condition is true, 0 where it is false.
    Truth(Box<Condition>),
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`, cut towards zero; by zero: without a value.
    Div,
    /// `%`, with the sign of the left side; by zero: without a value.
    Rem,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `&^`
    AndNot,
    /// `<<`: by 64 or more gives 0. The count is without a sign; whoever builds the term sees to counts below zero.
    Shl,
    /// `>>`: by 64 or more gives 0, or -1 for a negative number with a sign.
    Shr,
}

/// How often a condition must have been true for a hit to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HitCount {
    /// Which counter counts: all sites of one logical breakpoint share one. See [`crate::ProbeSet::add_counter`].
    pub counter: CounterId,
    /// How the number of this hit, counted from 1, is compared.
    pub test: HitTest,
    /// What is counted of each goroutine.
    pub goroutines: Goroutines,
}

/// What is counted of each goroutine beside the hits of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Goroutines {
    /// Nothing.
    #[default]
    Together,
    /// Its hits, for [`crate::ProbeSet::goroutine_hits`]. The number that is compared is that of all.
    Told,
    /// Its hits, and the number of this one among them is compared.
    Apart,
}

/// How the number of a hit is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HitTest {
    /// All pass; they are counted.
    Any,
    /// Against a number, without a sign.
    Compare(Comparison, u64),
    /// Whether it is a multiple; of 0 nothing is.
    Multiple(u64),
}

/// A counter of hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterId(pub(crate) u32);

/// How many hits may pass in a while. The others are counted as throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// Which limiter counts: probes that share one share its limit. See [`crate::ProbeSet::add_limiter`].
    pub limiter: LimiterId,
    /// How many pass in each interval: at least 1.
    pub most: u32,
    /// Length of an interval in nanoseconds: at least 1,000.
    pub interval: u64,
}

/// What counts for a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimiterId(pub(crate) u32);

impl CounterId {
    /// The number itself: from 0, without gaps.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl LimiterId {
    /// The number itself: from 0, without gaps.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// How many bytes of a literal count as one part of a condition.
const BYTES_OF_A_PART: usize = 16;

/// As how many parts of a condition the comparison of two strings counts: it takes that much more code.
const PARTS_OF_SAME_BYTES: usize = 8;

impl Gate {
    /// Checks everything that code generation takes for granted.
    pub(crate) fn validate(&self) -> Result<(), PlanError> {
        if let Some(condition) = &self.condition {
            let mut size = Size::default();
            size.condition(condition, 1)?;
        }
        if let Some(rate) = self.rate {
            if rate.most == 0 {
                return Err(PlanError::InvalidGate("a rate limit that lets nothing pass"));
            }
            if rate.interval < MIN_INTERVAL || i64::try_from(rate.interval).is_err() {
                return Err(PlanError::InvalidGate(
                    "a rate limit for less than a microsecond or more than 292 years",
                ));
            }
        }
        Ok(())
    }

    /// The most bytes of the target that one comparison of a valid gate has in hand.
    pub(crate) fn longest_compared(&self) -> usize {
        let mut size = Size::default();
        if let Some(condition) = &self.condition {
            // What is not valid has no program.
            let _ = size.condition(condition, 1);
        }
        size.compared
    }
}

/// The shortest interval of a rate limit, in nanoseconds.
const MIN_INTERVAL: u64 = 1_000;

/// Counts the parts of a condition, and looks at each before it goes deeper.
#[derive(Default)]
struct Size {
    parts: usize,
    /// The most bytes of the target that one comparison has in hand.
    compared: usize,
}

impl Size {
    fn part(&mut self, weight: usize, depth: usize) -> Result<(), PlanError> {
        self.parts = self.parts.saturating_add(weight);
        if depth > MAX_CONDITION_DEPTH {
            return Err(PlanError::ConditionTooDeep);
        }
        if self.parts > MAX_CONDITION_NODES {
            return Err(PlanError::TooManyConditions(self.parts));
        }
        Ok(())
    }

    fn condition(&mut self, condition: &Condition, depth: usize) -> Result<(), PlanError> {
        let (weight, compared) = match condition {
            Condition::Bytes { literal, .. } => (1 + literal.len() / BYTES_OF_A_PART, literal.len()),
            Condition::SameBytes { .. } => (PARTS_OF_SAME_BYTES, MAX_COMPARED as usize),
            _ => (1, 0),
        };
        self.compared = self.compared.max(compared);
        self.part(weight, depth)?;
        let inner = depth + 1;
        match condition {
            Condition::Always(_) => Ok(()),
            Condition::Compare { left, right, .. } => {
                self.term(left, inner)?;
                self.term(right, inner)
            }
            Condition::CompareFloats { width, left, right, .. } => {
                if !matches!(width, 4 | 8) {
                    return Err(PlanError::InvalidGate(
                        "floating-point numbers that are not 4 or 8 bytes",
                    ));
                }
                self.term(left, inner)?;
                self.term(right, inner)
            }
            Condition::Bytes { text, literal, .. } => {
                if literal.len() > MAX_LITERAL {
                    return Err(PlanError::InvalidGate("a literal of more than 256 bytes"));
                }
                self.text(text, inner)
            }
            Condition::SameBytes { left, right } => {
                self.text(left, inner)?;
                self.text(right, inner)
            }
            Condition::Not(condition) => self.condition(condition, inner),
            Condition::And(left, right) | Condition::Or(left, right) => {
                self.condition(left, inner)?;
                self.condition(right, inner)
            }
        }
    }

    fn text(&mut self, text: &Text, depth: usize) -> Result<(), PlanError> {
        self.term(&text.address, depth)?;
        self.term(&text.len, depth)
    }

    fn term(&mut self, term: &Term, depth: usize) -> Result<(), PlanError> {
        self.part(1, depth)?;
        let inner = depth + 1;
        match term {
            Term::Const(_) | Term::Address(_) | Term::Register(_) | Term::Goroutine => Ok(()),
            Term::Load { base: term, width, .. } | Term::Fit { term, width, .. } => {
                if !matches!(width, 1 | 2 | 4 | 8) {
                    return Err(PlanError::InvalidGate("a number that is not 1, 2, 4 or 8 bytes"));
                }
                self.term(term, inner)
            }
            Term::Arithmetic { left, right, .. } => {
                self.term(left, inner)?;
                self.term(right, inner)
            }
            Term::Checked { index, len } => {
                self.term(index, inner)?;
                self.term(len, inner)
            }
            Term::Truth(condition) => self.condition(condition, inner),
        }
    }
}
