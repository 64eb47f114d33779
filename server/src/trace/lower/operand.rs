//! What a part of a condition comes to in the kernel: a place as long as possible, as for the interpreter (`expr::Operand`).

use std::sync::Arc;

use spelunk_bpf::{Condition, Term};
use spelunk_dwarf::{Kind, Type};

use super::place::Place;
use crate::expr::{Const, Operand};

/// What a part of a condition comes to.
#[derive(Clone, Debug)]
pub(super) struct Lowered {
    /// Its type; `None` for an untyped constant, for nil, and for what `len`, `cap` and comparisons come to.
    pub(super) ty: Option<Arc<Type>>,
    /// The value, or where it is.
    pub(super) what: What,
}

/// A value, or where it is.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// `nil` itself.
    Nil,
    /// A function by its name; it has fields for nobody, but the package may have the same name.
    Function,
    /// Known already.
    Const(Const),
    /// Somewhere.
    Place(Place),
    /// A computed integer, extended to 64 bits as its type says.
    Number(Term),
    /// A computed truth value.
    Truth(Condition),
    /// A computed pointer.
    Pointer(Term),
    /// A slice that stands in no memory.
    Slice {
        /// Address of the first element.
        base: Term,
        /// Number of elements.
        len: Term,
        /// How many there is room for.
        cap: Term,
    },
    /// A string that stands in no memory: a part of another.
    Text {
        /// Address of the first byte.
        base: Term,
        /// In bytes.
        len: Term,
    },
}

impl Lowered {
    /// Something somewhere.
    pub(super) fn place(ty: Arc<Type>, place: Place) -> Lowered {
        Lowered::typed(ty, What::Place(place))
    }

    /// A value of a type.
    pub(super) fn typed(ty: Arc<Type>, what: What) -> Lowered {
        Lowered { ty: Some(ty), what }
    }

    /// A value that has no type yet.
    pub(super) fn untyped(what: What) -> Lowered {
        Lowered { ty: None, what }
    }

    /// Its type's kind; what has no type yet has that of its default type, nil has none.
    pub(super) fn kind(&self) -> Option<Kind> {
        match (&self.ty, &self.what) {
            (Some(ty), _) => Some(ty.kind.clone()),
            (None, What::Const(_)) => self.as_interpreted().kind(),
            (None, What::Number(_)) => Some(Kind::Int),
            (None, What::Truth(_)) => Some(Kind::Bool),
            _ => None,
        }
    }

    /// Whether it is an integer, with a type or without.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.kind(), Some(Kind::Int | Kind::Uint | Kind::Uintptr))
    }

    /// Whether it is `nil` itself.
    pub(super) fn is_nil(&self) -> bool {
        matches!(self.what, What::Nil)
    }

    /// Its type's name, in the interpreter's words for what has none.
    pub(super) fn type_name(&self) -> String {
        self.as_interpreted().type_name()
    }

    /// As for [`Operand::kind_name`].
    pub(super) fn kind_name(&self) -> &'static str {
        self.as_interpreted().kind_name()
    }

    /// The interpreter's operand that is alike as far as types go.
    pub(super) fn as_interpreted(&self) -> Operand {
        let what = match &self.what {
            What::Nil => crate::expr::What::Nil,
            What::Const(value) => crate::expr::What::Const(value.clone()),
            What::Truth(_) => crate::expr::What::Const(Const::Bool(true)),
            _ => crate::expr::What::Const(Const::Int(0)),
        };
        Operand {
            ty: self.ty.clone(),
            what,
        }
    }
}
