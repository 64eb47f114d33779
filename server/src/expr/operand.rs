//! What an expression comes to, before anything of it is loaded that is not needed.

use std::sync::Arc;

use spelunk_dwarf::{FileAddr, Kind, ProcAddr, Type, TypeId};

use super::Const;

/// What an expression comes to.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    /// Its type; `None` for an untyped constant and for nil.
    pub(crate) ty: Option<Arc<Type>>,
    /// The value, or where it is.
    pub(crate) what: What,
}

/// A value, or where it is.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// `nil` itself.
    Nil,
    /// Computed, or a literal.
    Const(Const),
    /// A constant that a package declares by name.
    Declared(Const),
    /// In memory.
    Place(ProcAddr),
    /// A pointer that stands in no memory: `&x`, or a number taken for an address.
    Pointer(u64),
    /// A slice that stands in no memory: a part of another, or of an array.
    Slice {
        /// Address of the first element.
        base: u64,
        /// Number of elements.
        len: i64,
        /// How many there is room for.
        cap: i64,
        /// The bounds were written as numbers, so all of it is wanted.
        exact: bool,
    },
    /// A part of a string that is in memory.
    Part {
        /// Address of the first byte.
        base: u64,
        /// In bytes.
        len: i64,
        /// The bounds were written as numbers.
        exact: bool,
    },
    /// A map, its first entries left out.
    MapFrom {
        /// Where the map variable is.
        addr: ProcAddr,
        /// How many entries.
        skip: u64,
    },
    /// A slice or array whose elements were computed: the bytes or runes of a string, the parts of a register.
    Elements {
        /// The first of them.
        values: Vec<Const>,
        /// How many there are.
        len: i64,
    },
    /// A function by its name.
    Function {
        /// Its full name.
        name: Arc<str>,
        /// What it is bound to, if it is the method of a value.
        receiver: Option<Box<Receiver>>,
    },
    /// `runtime.curg` where no goroutine runs.
    NoGoroutine,
    /// Known by name, but not to be read.
    Unreadable(String),
}

/// What a method is bound to.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    /// What the method is called with.
    pub(crate) value: Operand,
    /// How that was come by.
    pub(crate) way: Way,
    /// The variable of which the method was selected, as it was written; empty where it is none.
    pub(crate) name: String,
}

/// How the receiver of a method is come by (Go specification, "Method values").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is the value itself.
    Itself,
    /// It is what the value points to.
    Target,
    /// It is the address of the value.
    Address,
}

impl Operand {
    /// Something in memory.
    pub(crate) fn place(ty: Arc<Type>, addr: ProcAddr) -> Operand {
        Operand {
            ty: Some(ty),
            what: What::Place(addr),
        }
    }

    /// An untyped constant.
    pub(crate) fn constant(value: Const) -> Operand {
        Operand {
            ty: None,
            what: What::Const(value),
        }
    }

    /// A computed value of a type.
    pub(crate) fn computed(ty: Arc<Type>, value: Const) -> Operand {
        Operand {
            ty: Some(ty),
            what: What::Const(value),
        }
    }

    /// Something known by name that cannot be read.
    pub(crate) fn unreadable(ty: Option<Arc<Type>>, why: impl Into<String>) -> Operand {
        Operand {
            ty,
            what: What::Unreadable(why.into()),
        }
    }

    /// Its type's kind; an untyped constant has that of its default type, nil has none.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match (&self.ty, &self.what) {
            (Some(ty), _) => Some(ty.kind.clone()),
            (None, What::Const(value)) => Some(default_kind(value)),
            _ => None,
        }
    }

    /// Its type's name, in Delve's words for what has none.
    pub(crate) fn type_name(&self) -> String {
        match (&self.ty, &self.what) {
            (Some(ty), _) => ty.name.to_string(),
            (None, What::Const(Const::Int(_) | Const::Huge(_))) => "int".to_owned(),
            (None, What::Const(value)) => value.type_name().to_owned(),
            _ => "nil".to_owned(),
        }
    }

    /// The word of Go's package `reflect` for its kind.
    pub(crate) fn kind_name(&self) -> &'static str {
        match (&self.ty, &self.what) {
            (Some(ty), _) => kind_name(ty),
            (None, What::Const(Const::Int(_) | Const::Huge(_))) => "int",
            (None, What::Const(value)) => value.type_name(),
            _ => "ptr",
        }
    }

    /// Whether it is `nil` itself.
    pub(crate) fn is_nil(&self) -> bool {
        matches!(self.what, What::Nil)
    }
}

/// The word of Go's package `reflect` for a type's kind; as for Delve, all integers are `int` or `uint`.
pub(crate) fn kind_name(ty: &Type) -> &'static str {
    match ty.kind {
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Uint | Kind::Uintptr => "uint",
        Kind::Float if ty.size == 4 => "float32",
        Kind::Float => "float64",
        Kind::Complex if ty.size == 8 => "complex64",
        Kind::Complex => "complex128",
        Kind::String => "string",
        Kind::Slice { .. } => "slice",
        Kind::Array { .. } => "array",
        Kind::Struct { .. } => "struct",
        Kind::Pointer { .. } => "ptr",
        Kind::UnsafePointer => "unsafe.Pointer",
        Kind::Interface { .. } => "interface",
        Kind::Map { .. } => "map",
        Kind::Chan { .. } => "chan",
        Kind::Func => "func",
        Kind::Void | Kind::Other(_) => "invalid",
    }
}

fn default_kind(value: &Const) -> Kind {
    match value {
        Const::Bool(_) => Kind::Bool,
        Const::Int(n) if *n > i128::from(i64::MAX) => Kind::Uint,
        Const::Huge(n) if n.sign() == num_bigint::Sign::Plus => Kind::Uint,
        Const::Int(_) | Const::Huge(_) => Kind::Int,
        Const::Float(_) | Const::Exact(_) => Kind::Float,
        Const::Complex(..) => Kind::Complex,
        Const::Text(_) => Kind::String,
    }
}

/// The type that an untyped constant is shown with.
pub(super) fn default_type(value: &Const) -> Arc<Type> {
    let size = match value {
        Const::Bool(_) => 1,
        Const::Complex(..) | Const::Text(_) => 16,
        _ => 8,
    };
    plain_type(value.type_name(), size, default_kind(value))
}

/// A type that no program describes.
pub(crate) fn plain_type(name: &str, size: u64, kind: Kind) -> Arc<Type> {
    Arc::new(Type {
        id: TypeId::UNKNOWN,
        name: name.into(),
        size,
        kind,
        runtime_type: None::<FileAddr>,
        dict_index: None,
    })
}
