//! Where a value lies when a site is hit, and numbers read from there.

use std::fmt::Display;
use std::sync::Arc;

use spelunk_bpf::{Operation, Reg, Term};

use super::error::{LowerError, NotLowered};
use super::terms::{arithmetic, fit, not_nil, number, sum};
use crate::value::ReadError;

/// Where a value lies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// In memory, `offset` behind `base`. Where `base` is nil, nothing is there, whatever the offset.
    Memory {
        /// An address.
        base: Term,
        /// In bytes.
        offset: i64,
    },
    /// In a variable that is not in memory as a whole.
    Parts {
        /// Its parts.
        parts: Arc<[Part]>,
        /// Where in the variable, in bytes.
        offset: u64,
    },
}

/// Some bytes of a variable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Offset in the variable.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) size: u64,
    /// Where they are.
    pub(crate) source: Source,
}

/// Where bytes of a variable are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// In the low end of a register.
    Register(Reg),
    /// In memory.
    Memory {
        /// An address.
        base: Term,
        /// In bytes.
        offset: i64,
    },
    /// The compiler knows them.
    Constant(Vec<u8>),
    /// Nowhere, or nowhere that a probe sees.
    Missing(ReadError),
}

impl Place {
    /// A part of the value, `by` bytes behind its start.
    pub(crate) fn behind(&self, by: u64) -> Place {
        match self {
            Place::Memory { base, offset } => Place::Memory {
                base: base.clone(),
                offset: offset.wrapping_add_unsigned(by),
            },
            Place::Parts { parts, offset } => Place::Parts {
                parts: parts.clone(),
                offset: offset.saturating_add(by),
            },
        }
    }

    /// The place that a pointer points to.
    pub(crate) fn pointee(pointer: Term) -> Place {
        Place::Memory {
            base: pointer,
            offset: 0,
        }
    }

    /// The address, which has no value where it would be behind nil; `None` for what is in no memory.
    pub(crate) fn address(&self) -> Option<Term> {
        match self {
            Place::Memory { base, offset } => Some(sum(not_nil(base.clone()), number(*offset))),
            Place::Parts { .. } => None,
        }
    }

    /// An integer of 1, 2, 4 or 8 bytes, `at` bytes behind the start. `shown` stands for the value in messages.
    pub(crate) fn load(&self, at: u64, width: u64, signed: bool, shown: &dyn Display) -> Result<Term, LowerError> {
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(ReadError::BadSize(width).into());
        }
        match self {
            Place::Memory { base, offset } => Ok(memory(base, offset.wrapping_add_unsigned(at), width, signed)),
            Place::Parts { parts, offset } => part_of(parts, offset.saturating_add(at), width, signed, shown),
        }
    }

    /// The word at `at`.
    pub(crate) fn word(&self, at: u64, shown: &dyn Display) -> Result<Term, LowerError> {
        self.load(at, 8, false, shown)
    }
}

fn memory(base: &Term, offset: i64, width: u64, signed: bool) -> Term {
    Term::Load {
        base: Box::new(base.clone()),
        offset,
        width: width as u8,
        signed,
    }
}

/// An integer within the parts of a variable.
fn part_of(parts: &[Part], at: u64, width: u64, signed: bool, shown: &dyn Display) -> Result<Term, LowerError> {
    let has_it = |part: &&Part| {
        at.checked_sub(part.offset)
            .is_some_and(|within| within.saturating_add(width) <= part.size)
    };
    let Some(part) = parts.iter().find(has_it) else {
        let overlaps =
            |part: &&Part| part.offset < at.saturating_add(width) && at < part.offset.saturating_add(part.size);
        // A number that is spread over several places is one that the optimiser has taken apart.
        return Err(if parts.iter().any(|part| overlaps(&part)) {
            NotLowered::new(shown, "is spread over several places").into()
        } else {
            ReadError::OptimizedOut.into()
        });
    };
    let within = at - part.offset;
    Ok(match &part.source {
        Source::Register(register) => {
            let whole = Term::Register(*register);
            let shifted = match within {
                0 => whole,
                within => arithmetic(Operation::Shr, false, whole, number(8 * within as i64)),
            };
            fit(shifted, width, signed)
        }
        Source::Memory { base, offset } => memory(base, offset.wrapping_add_unsigned(within), width, signed),
        Source::Constant(bytes) => {
            let end = within.saturating_add(width) as usize;
            let bytes = bytes.get(within as usize..end).ok_or(ReadError::OptimizedOut)?;
            let mut raw = [0u8; 8];
            for (to, from) in raw.iter_mut().zip(bytes) {
                *to = *from;
            }
            let raw = i64::from_le_bytes(raw);
            let unused = 64 - 8 * width as u32;
            number(if signed { raw << unused >> unused } else { raw })
        }
        Source::Missing(ReadError::InRegister(name)) => {
            return Err(NotLowered::new(
                shown,
                format!("is in register {name}, which a kernel probe cannot read"),
            )
            .into());
        }
        Source::Missing(why) => return Err(why.clone().into()),
    })
}
