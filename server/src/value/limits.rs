//! How far a load goes: into the depth, and altogether.

use std::cell::Cell;

/// Values that one load makes, with all that is in them: some 15 MiB.
const MAX_VALUES: u32 = 50_000;

/// What a load that was asked for may still make, in values. Limits multiply: 64 elements with 50 fields of 64 times 64 strings each are within Delve's.
pub(super) fn budget() -> Cell<u32> {
    Cell::new(MAX_VALUES)
}

/// How far inside the loaded value we are.
#[derive(Clone, Copy)]
pub(super) struct Level<'b> {
    /// Levels that the limits count.
    pub(super) recurse: u32,
    /// All levels, pointers included.
    pub(super) depth: u32,
    /// What may still be made.
    pub(super) budget: &'b Cell<u32>,
}

impl<'b> Level<'b> {
    /// The value that was asked for.
    pub(super) fn top(budget: &'b Cell<u32>) -> Level<'b> {
        Level {
            recurse: 0,
            depth: 0,
            budget,
        }
    }

    /// A value with limits of its own, which shares what may still be made.
    pub(super) fn fresh(self) -> Level<'b> {
        Level {
            recurse: 0,
            depth: self.depth + 1,
            ..self
        }
    }

    pub(super) fn inside(self) -> Level<'b> {
        Level {
            recurse: self.recurse + 1,
            depth: self.depth + 1,
            ..self
        }
    }

    /// Whether nothing more may be made.
    pub(super) fn is_spent(self) -> bool {
        self.budget.get() == 0
    }

    /// Takes what `values` values cost; false if that is more than is left.
    pub(super) fn spend(self, values: u32) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(values));
        left >= values
    }
}
