//! Go values: loaded from a [`Memory`] by their type, printed as Delve prints them.
//!
//! Architecture invariant: there is one loader and one printer. A stopped process, a core file, an eBPF
//! record and a value in registers are four [`Memory`]s; nothing here knows which one it reads.

mod channel;
mod closure;
mod float;
mod go_time;
mod limits;
mod load;
mod map;
mod memory;
mod parts;
mod print;
mod quote;
mod traits;

pub(crate) use float::{float32, float64, six_digits};
pub(crate) use load::{LoadConfig, Loader, is_direct_in_interface};
pub(crate) use map::{Groups, MapWalk, Place as SlotPlace, Shape as MapShape, Slots as MapSlots};
pub(crate) use memory::{BulkRead, Memory, ReadError, is_made_up, made_up_address};
pub(crate) use print::{Style, shorten_type, type_in_error};
pub(crate) use quote::{is_print, push_quoted};
pub(crate) use traits::{Origin, Traits};

use std::sync::Arc;

use spelunk_dwarf::{ProcAddr, Type};

/// A Go value as far as it was loaded.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// The variable's, field's or element's name; empty for elements and pointees.
    pub(crate) name: String,
    /// Where the value lies; zero where there is no such place (the pointee of a nil pointer).
    pub(crate) addr: ProcAddr,
    /// Its type as declared.
    pub(crate) ty: Arc<Type>,
    /// What was read.
    pub(crate) content: Content,
    /// The named constant a defined integer's value stands for.
    pub(crate) constant: Option<String>,
    /// Why it could not be read, as a clause that reads well behind "unreadable".
    pub(crate) unreadable: Option<String>,
    /// What is known of it without its elements.
    pub(crate) head: Head,
    /// What is special about it.
    pub(crate) traits: Traits,
    /// Of a variable that was asked for by its name: where it comes from.
    pub(crate) origin: Option<Origin>,
}

/// What is known of a value although its elements, or what it leads to, were not loaded. All zero where there is no such thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where the bytes of a string or the elements of a slice or array are, the runtime's structure behind a channel, the entry of a function.
    pub(crate) base: u64,
    /// The length of a string, slice or array.
    pub(crate) len: i64,
    /// The capacity of a slice; the length of an array.
    pub(crate) cap: i64,
}

/// What was read of a value.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Nothing: unreadable, behind a nil pointer, or beyond the load limits.
    NotLoaded,
    /// A bool.
    Bool(bool),
    /// A signed integer of any size.
    Int(i64),
    /// An unsigned integer of any size, or a uintptr.
    Uint(u64),
    /// A whole number that is computed and that 64 bits do not hold, in decimal.
    Wide(Box<str>),
    /// A float32, kept apart from a float64 because its shortest text differs.
    Float32(f32),
    /// A float64.
    Float64(f64),
    /// A complex64.
    Complex64(f32, f32),
    /// A complex128.
    Complex128(f64, f64),
    /// A string: the bytes that were loaded and the length it really has.
    String {
        /// At most `LoadConfig::max_string_len` bytes.
        bytes: Vec<u8>,
        /// In bytes.
        len: i64,
    },
    /// A pointer and its pointee, which may itself be [`Content::NotLoaded`].
    Pointer(Box<Value>),
    /// An `unsafe.Pointer`.
    UnsafePointer(u64),
    /// A slice.
    Slice {
        /// Address of the first element; 0 for a nil slice.
        base: u64,
        /// Its length.
        len: i64,
        /// Its capacity.
        cap: i64,
        /// The elements that were loaded.
        elements: Vec<Value>,
    },
    /// An array.
    Array {
        /// Its length.
        len: i64,
        /// The elements that were loaded.
        elements: Vec<Value>,
    },
    /// A struct.
    Struct {
        /// How many fields the type has.
        len: usize,
        /// The fields that were loaded, in order.
        fields: Vec<Value>,
        /// A reading of the whole, for `time.Time`.
        summary: Option<String>,
    },
    /// An interface that holds nothing.
    NilInterface,
    /// An interface and what it holds.
    Interface(Box<Value>),
    /// A map.
    Map {
        /// Address of the runtime's map structure; 0 for a nil map.
        base: u64,
        /// Number of entries; absent where even that could not be read.
        len: i64,
        /// The entries that were loaded.
        entries: Vec<(Value, Value)>,
        /// Why entries that were asked for were not loaded.
        missing: Option<String>,
    },
    /// A channel that is nil.
    NilChan,
    /// A channel: elements waiting in its buffer, and the buffer's size.
    Chan {
        /// Elements in the buffer.
        queued: u64,
        /// Size of the buffer.
        buffer: u64,
        /// The fields of the runtime's structure, as far as they could be read.
        fields: Vec<Value>,
        /// How many fields it has.
        len: usize,
    },
    /// A function value.
    Func {
        /// Its function's name; empty for nil.
        name: String,
        /// What its closure captured, as far as it was loaded.
        captured: Vec<Value>,
        /// How many variables it captured.
        len: usize,
    },
}

impl Value {
    /// A value known by its place alone.
    pub(crate) fn not_loaded(ty: Arc<Type>, addr: ProcAddr) -> Value {
        Value {
            name: String::new(),
            addr,
            ty,
            content: Content::NotLoaded,
            constant: None,
            unreadable: None,
            head: Head::default(),
            traits: Traits::default(),
            origin: None,
        }
    }

    /// Whether anything was read.
    pub(crate) fn is_loaded(&self) -> bool {
        !matches!(self.content, Content::NotLoaded)
    }
}
