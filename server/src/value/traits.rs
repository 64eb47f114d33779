//! What is special about a variable or a value, beside the value itself.

use std::sync::Arc;

/// What is special about a value: a set of the constants, whose numbers are those of Delve's `VariableFlags` (`service/api/types.go`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traits(u16);

impl Traits {
    /// The variable lives on the heap; its function has a pointer to it.
    pub(crate) const ESCAPED: Traits = Traits(1);
    /// A variable of the same name further in hides it.
    pub(crate) const SHADOWED: Traits = Traits(1 << 1);
    /// A constant.
    pub(crate) const CONSTANT: Traits = Traits(1 << 2);
    /// A parameter.
    pub(crate) const ARGUMENT: Traits = Traits(1 << 3);
    /// A result.
    pub(crate) const RESULT: Traits = Traits(1 << 4);
    /// Its address is made up: it lies in registers, or in pieces.
    pub(crate) const MADE_UP: Traits = Traits(1 << 5);
    /// A register of the processor.
    pub(crate) const REGISTER: Traits = Traits(1 << 7);
    /// A part whose bounds were written as numbers: all of it is loaded.
    pub(crate) const WHOLE: Traits = Traits(1 << 8);
    /// It was not loaded because the limits did not let a pointer or an interface be followed; of an `unsafe.Pointer`: what it leads to would not have been.
    /// Delve has a field for it and no flag.
    pub(crate) const ONLY_ADDRESS: Traits = Traits(1 << 15);

    /// A constant without a type. Delve has no flag for it either.
    pub(crate) const UNTYPED: Traits = Traits(1 << 14);

    /// These and others.
    pub(crate) fn with(self, others: Traits) -> Traits {
        Traits(self.0 | others.0)
    }

    /// These, and others if `condition` holds.
    pub(crate) fn with_if(self, condition: bool, others: Traits) -> Traits {
        if condition { self.with(others) } else { self }
    }

    /// Whether all of `others` are among these.
    pub(crate) fn has(self, others: Traits) -> bool {
        self.0 & others.0 == others.0
    }

    /// Delve's number for them.
    pub(crate) fn number(self) -> u16 {
        self.0 & !(Traits::ONLY_ADDRESS.0 | Traits::UNTYPED.0)
    }
}

/// Where DWARF has a variable from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Where it is, as a location expression in text.
    pub(crate) location: Arc<str>,
    /// The line of its declaration; 0 when unknown.
    pub(crate) decl_line: u32,
}
