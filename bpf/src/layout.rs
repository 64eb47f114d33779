//! Layouts and runtime types: tables that the chase in the kernel reads.
//!
//! A layout says which words of a pointee lead further. The kernel program walks the chunks of a
//! record breadth first and looks each chunk's layout up here, so data of any shape is followed
//! without code of its own.

/// Names a layout of one `ProbeSet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(pub(crate) u32);

impl LayoutId {
    /// The number by which chunks name the layout: at least 1.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// What lies in a pointee and is to be chased further. It applies to each of a chunk's elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Size of one element in bytes.
    pub size: u32,
    /// The words that lead further.
    pub edges: Vec<Edge>,
    /// Whether the first [`RECHECKED`] bytes are read again when everything else has been captured. A chunk that is not the same any more, or shorter, gets
    /// [`crate::Status::Changed`]: what was found behind it need not belong together.
    pub rechecked: bool,
}

/// How many bytes are compared of what is read again: a map's header in all of Go's layouts.
pub const RECHECKED: u32 = 48;

/// One word (or pair of words) of a layout that leads further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Where it is, in bytes from the element's start.
    pub at: u32,
    /// What it is.
    pub kind: EdgeKind,
}

/// What an edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// A pointer.
    Pointer {
        /// Layout of what it points to; `None` copies it and follows nothing in it.
        target: Option<LayoutId>,
        /// Bytes to copy from behind it.
        size: u32,
    },
    /// A string: pointer, length.
    String {
        /// The most bytes to copy.
        max: u32,
    },
    /// A slice: pointer, length, capacity.
    Slice {
        /// Layout of its elements; `None` copies them and follows nothing in them.
        target: Option<LayoutId>,
        /// Bytes from one element to the next.
        elem_size: u32,
        /// The most elements to copy.
        max_elems: u32,
    },
    /// An interface: type or itab, data.
    Interface {
        /// Whether the first word is an itab (the interface has methods) or a type.
        non_empty: bool,
        /// Which of the runtime type's layouts applies to the value: 0 to 3.
        level: u8,
    },
    /// A pointer to as many elements as follow from a number elsewhere in the same element. Eight bytes from that number on must lie in the element.
    Counted {
        /// Layout of the elements; `None` copies them and follows nothing in them.
        target: Option<LayoutId>,
        /// Bytes from one element to the next.
        elem_size: u32,
        /// The most elements to copy.
        max_elems: u32,
        /// Where the number is, in bytes from the element's start.
        count_at: u32,
        /// How many there are by that number.
        count: Count,
    },
}

/// How many elements there are, by a number `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Count {
    /// `n`, of 8 bytes.
    Itself,
    /// `n + 1`, of 8 bytes.
    PlusOne,
    /// One if `n`, of 8 bytes, is 0, and otherwise none.
    OneIfZero,
    /// 2 to the power of `n`, of one byte.
    PowerOfTwo,
    /// Half as many, and none if `n` is 0.
    HalfPowerOfTwo,
}

/// What the kernel knows about one concrete type that interfaces can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeTypeEntry {
    /// Whether the type is pointer-shaped: an interface's data word is then the value itself
    /// (`abi.KindDirectIface`, `abi.TFlagDirectIface`).
    pub direct: bool,
    /// Bytes to copy from behind the data word, where it is not the value itself.
    pub size: u32,
    /// The layout of the value by level; for a direct type, of what the value points to, which is
    /// then copied by the layout's size. `None`: nothing is followed.
    pub layouts: [Option<LayoutId>; 4],
}

/// Edges in one table entry. A layout with more goes on in another entry.
pub(crate) const EDGES_PER_ENTRY: usize = 8;

/// One entry of the layout table as the kernel programs read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayoutEntry {
    pub(crate) size: u32,
    /// The entry with further edges, or 0.
    pub(crate) next: u32,
    pub(crate) edge_count: u32,
    /// Whether it is read again at the end.
    pub(crate) rechecked: u32,
    pub(crate) edges: [EdgeEntry; EDGES_PER_ENTRY],
}

/// One edge as the kernel programs read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EdgeEntry {
    pub(crate) at: u32,
    /// One of the `EDGE_*` numbers.
    pub(crate) kind: u32,
    /// Layout of the target or 0; for an interface, the level.
    pub(crate) target: u32,
    /// Bytes of one element; for an interface, whether it has methods.
    pub(crate) elem_size: u32,
    /// The most elements.
    pub(crate) max: u32,
    /// Where their number is.
    pub(crate) count_at: u32,
}

pub(crate) const EDGE_POINTER: u32 = 0;
pub(crate) const EDGE_STRING: u32 = 1;
pub(crate) const EDGE_SLICE: u32 = 2;
pub(crate) const EDGE_INTERFACE: u32 = 3;
pub(crate) const EDGE_COUNT: u32 = 4;
pub(crate) const EDGE_COUNT_PLUS_ONE: u32 = 5;
pub(crate) const EDGE_COUNT_ONE_IF_ZERO: u32 = 6;
pub(crate) const EDGE_COUNT_POWER: u32 = 7;
pub(crate) const EDGE_COUNT_HALF_POWER: u32 = 8;

// SAFETY: plain integers without padding between them, so any bytes are a value.
unsafe impl aya::Pod for LayoutEntry {}

/// One entry of the runtime-type table as the kernel programs read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeEntry {
    pub(crate) size: u32,
    pub(crate) direct: u32,
    pub(crate) layouts: [u32; 4],
}

impl From<RuntimeTypeEntry> for TypeEntry {
    fn from(entry: RuntimeTypeEntry) -> TypeEntry {
        TypeEntry {
            size: entry.size,
            direct: u32::from(entry.direct),
            layouts: entry.layouts.map(|layout| layout.map_or(0, |id| id.0)),
        }
    }
}

impl Edge {
    fn entry(self) -> EdgeEntry {
        let number = |target: Option<LayoutId>| target.map_or(0, |id| id.0);
        let mut entry = EdgeEntry {
            at: self.at,
            ..EdgeEntry::default()
        };
        match self.kind {
            EdgeKind::Pointer { target, size } => {
                entry.kind = EDGE_POINTER;
                entry.target = number(target);
                entry.elem_size = size;
                entry.max = 1;
            }
            EdgeKind::String { max } => {
                entry.kind = EDGE_STRING;
                entry.elem_size = 1;
                entry.max = max;
            }
            EdgeKind::Slice {
                target,
                elem_size,
                max_elems,
            } => {
                entry.kind = EDGE_SLICE;
                entry.target = number(target);
                entry.elem_size = elem_size;
                entry.max = max_elems;
            }
            EdgeKind::Interface { non_empty, level } => {
                entry.kind = EDGE_INTERFACE;
                entry.target = u32::from(level.min(3));
                entry.elem_size = u32::from(non_empty);
                entry.max = 1;
            }
            EdgeKind::Counted {
                target,
                elem_size,
                max_elems,
                count_at,
                count,
            } => {
                entry.kind = match count {
                    Count::Itself => EDGE_COUNT,
                    Count::PlusOne => EDGE_COUNT_PLUS_ONE,
                    Count::OneIfZero => EDGE_COUNT_ONE_IF_ZERO,
                    Count::PowerOfTwo => EDGE_COUNT_POWER,
                    Count::HalfPowerOfTwo => EDGE_COUNT_HALF_POWER,
                };
                entry.target = number(target);
                entry.elem_size = elem_size;
                entry.max = max_elems;
                entry.count_at = count_at;
            }
        }
        entry
    }
}

/// Splits a layout into table entries; `first` is its own number, and `more` gives the number of
/// each further entry. `None` when there is no room for one.
pub(crate) fn entries(
    layout: &Layout,
    first: u32,
    mut more: impl FnMut() -> Option<u32>,
) -> Option<Vec<(u32, LayoutEntry)>> {
    let mut parts = layout.edges.chunks(EDGES_PER_ENTRY).peekable();
    let mut out = Vec::new();
    let mut number = first;
    loop {
        let part = parts.next().unwrap_or(&[]);
        let next = if parts.peek().is_some() { more()? } else { 0 };
        let mut entry = LayoutEntry {
            size: layout.size,
            next,
            edge_count: part.len() as u32,
            rechecked: u32::from(layout.rechecked),
            ..LayoutEntry::default()
        };
        for (slot, edge) in entry.edges.iter_mut().zip(part) {
            *slot = edge.entry();
        }
        out.push((number, entry));
        if next == 0 {
            return Some(out);
        }
        number = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(edges: usize) -> Layout {
        Layout {
            size: 8 * edges as u32,
            edges: (0..edges)
                .map(|at| Edge {
                    at: 8 * at as u32,
                    kind: EdgeKind::Pointer { target: None, size: 8 },
                })
                .collect(),
            rechecked: false,
        }
    }

    #[test]
    fn a_layout_with_many_edges_goes_on_in_further_entries() {
        let mut numbers = 10..;
        let entries = entries(&layout(20), 3, || numbers.next()).expect("room");
        let shape: Vec<_> = entries
            .iter()
            .map(|(number, entry)| (*number, entry.next, entry.edge_count))
            .collect();
        assert_eq!(shape, [(3, 10, 8), (10, 11, 8), (11, 0, 4)]);
        assert_eq!(entries[2].1.edges[0].at, 16 * 8);
    }

    #[test]
    fn a_layout_without_edges_is_one_entry() {
        let entries = entries(&layout(0), 1, || None).expect("needs no more");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].1.edge_count, 0);
    }

    #[test]
    fn no_room_for_a_further_entry_is_said() {
        assert_eq!(entries(&layout(9), 1, || None), None);
    }
}
