//! From Go types to what the kernel follows: which words of a value lead to bytes that the loader will read.
//!
//! The walk mirrors `value::load` step by step, with the same limits: what the loader opens is captured, and nothing else.

use std::collections::HashMap;

use spelunk_bpf::{Edge, EdgeKind, Layout, LayoutId, RuntimeTypeEntry};
use spelunk_dwarf::{Binary, Kind, TypeId};

use crate::value::LoadConfig;

/// Values of types nested deeper than this are not followed.
pub(super) const MAX_DEPTH: u32 = 12;
/// The most bytes of one pointee or element that are copied.
pub(super) const MAX_EXTENT: u64 = 8 << 10;
/// The most words of one value that are followed.
pub(super) const MAX_EDGES: usize = 64;
/// The most layouts one set of probes makes; types beyond are not followed.
pub(super) const MAX_LAYOUTS: usize = 20_000;
/// The most bytes of a closure's object that are copied: its function and seven words of what it captured.
const CLOSURE_BYTES: u32 = 64;
/// What a value may take in a record is no longer added up beyond this: no record has as much.
const MAX_BYTES: u32 = 1 << 20;
/// `time.Location` begins with its name (Go's time/zoneinfo.go).
const LOCATION_HEAD: u32 = 16;
/// The levels that a runtime type's entry tells apart.
const LEVELS: u32 = 4;

/// A layout, the size of what it describes, and the bytes that all behind it may take in a record.
pub(super) type Made = (LayoutId, u32, u32);

/// Makes layouts, each once.
pub(crate) struct Layouts<'a> {
    binary: &'a Binary,
    pub(super) config: LoadConfig,
    known: HashMap<(TypeId, u32, u32), Option<(LayoutId, u32)>>,
    /// The headers of map types, by level: layout, size, and the bytes that all behind it may take.
    pub(super) maps: HashMap<(TypeId, u32), Option<Made>>,
    add: &'a mut dyn FnMut(&Layout) -> Option<LayoutId>,
    interfaces: bool,
}

/// A word of a value that leads further, and what following it costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lead {
    /// For the kernel.
    pub(crate) edge: Edge,
    /// Bytes that it may take in a record, everything behind it included.
    pub(crate) bytes: u32,
}

impl Lead {
    /// A pointer, at the start of a value, to `size` bytes in which nothing leads further.
    pub(crate) fn pointer(size: u32) -> Lead {
        Lead {
            edge: Edge {
                at: 0,
                kind: EdgeKind::Pointer { target: None, size },
            },
            bytes: spelunk_bpf::CHUNK_HEADER_SIZE as u32 + size.next_multiple_of(8),
        }
    }
}

impl<'a> Layouts<'a> {
    /// `add` puts a layout into the kernel's table; it answers nothing when there is no room.
    pub(crate) fn new(
        binary: &'a Binary,
        config: LoadConfig,
        add: &'a mut dyn FnMut(&Layout) -> Option<LayoutId>,
    ) -> Layouts<'a> {
        Layouts {
            binary,
            config,
            known: HashMap::new(),
            maps: HashMap::new(),
            add,
            interfaces: false,
        }
    }

    /// The binary whose types are followed.
    pub(crate) fn binary(&self) -> &'a Binary {
        self.binary
    }

    /// Whether any layout or lead made so far goes through an interface, so that the table of runtime types is needed.
    pub(crate) fn follows_interfaces(&self) -> bool {
        self.interfaces
    }

    /// What leads further in a value of type `ty` at `level` of the load limits.
    pub(crate) fn leads(&mut self, ty: TypeId, level: u32) -> Vec<Lead> {
        let mut leads = Vec::new();
        self.collect(ty, 0, level, 0, &mut leads);
        leads
    }

    /// How many bytes from its start the loader reads of a value.
    pub(crate) fn extent(&self, ty: TypeId, level: u32) -> u32 {
        self.extent_at(ty, level, 0).min(MAX_EXTENT) as u32
    }

    fn extent_at(&self, ty: TypeId, level: u32, depth: u32) -> u64 {
        let Ok(info) = self.binary.type_info(ty) else { return 0 };
        if depth > MAX_DEPTH {
            return info.size;
        }
        match &info.kind {
            Kind::Struct { .. } if &*info.name == "time.Time" => info.size,
            Kind::Struct { fields } if level <= self.config.max_variable_recurse => {
                let opened = self
                    .config
                    .max_struct_fields
                    .map_or(fields.len(), |limit| limit as usize);
                let end = |field: &spelunk_dwarf::Field| field.offset + self.extent_at(field.ty, level + 1, depth + 1);
                fields.iter().take(opened).map(end).max().unwrap_or(0)
            }
            Kind::Struct { .. } => 0,
            Kind::Array { elem, len, stride } => {
                let count = (*len).min(u64::from(self.config.max_array_values));
                if count == 0 {
                    0
                } else {
                    (count - 1)
                        .saturating_mul(*stride)
                        .saturating_add(self.extent_at(*elem, level + 1, depth + 1))
                }
            }
            _ => info.size,
        }
    }

    pub(super) fn collect(&mut self, ty: TypeId, at: u64, level: u32, depth: u32, leads: &mut Vec<Lead>) {
        let Ok(info) = self.binary.type_info(ty) else { return };
        let Ok(place) = u32::try_from(at) else { return };
        if depth > MAX_DEPTH || at > MAX_EXTENT || leads.len() >= MAX_EDGES {
            return;
        }
        let plain = |size: u32| EdgeKind::Pointer { target: None, size };
        match &info.kind {
            Kind::String => {
                let max = self.config.max_string_len;
                Self::push(leads, place, EdgeKind::String { max }, max, 0, 1);
            }
            Kind::Slice { elem } => {
                let Ok(element) = self.binary.type_info(*elem) else {
                    return;
                };
                let (max_elems, elem_size) = (self.config.max_array_values, element.size.min(MAX_EXTENT) as u32);
                if max_elems == 0 || elem_size == 0 || u64::from(elem_size) != element.size {
                    return;
                }
                let target = self.layout(*elem, level + 1, depth + 1, elem_size);
                let kind = EdgeKind::Slice {
                    target: target.map(|(id, _)| id),
                    elem_size,
                    max_elems,
                };
                Self::push(
                    leads,
                    place,
                    kind,
                    elem_size,
                    target.map_or(0, |(_, bytes)| bytes),
                    max_elems,
                );
            }
            Kind::Array { elem, len, stride } => {
                for i in 0..(*len).min(u64::from(self.config.max_array_values)) {
                    if leads.len() >= MAX_EDGES {
                        return;
                    }
                    self.collect(*elem, at + i * stride, level + 1, depth + 1, leads);
                }
            }
            Kind::Struct { fields } => {
                if level > self.config.max_variable_recurse {
                    return;
                }
                if &*info.name == "time.Time" {
                    self.location_name(fields, at, leads);
                }
                let opened = self
                    .config
                    .max_struct_fields
                    .map_or(fields.len(), |limit| limit as usize);
                for field in fields.iter().take(opened) {
                    self.collect(field.ty, at + field.offset, level + 1, depth + 1, leads);
                }
            }
            Kind::Pointer { elem } => {
                if let Some((kind, size, behind)) = self.pointee(*elem, level, depth) {
                    Self::push(leads, place, kind, size, behind, 1);
                }
            }
            Kind::Interface { empty } => {
                if !empty {
                    // The itab, whose second word is the type: one made at run time is in no file.
                    Self::push(leads, place, plain(16), 16, 0, 1);
                }
                if level <= self.config.max_variable_recurse {
                    self.interfaces = true;
                    let kind = EdgeKind::Interface {
                        non_empty: !empty,
                        level: level.min(LEVELS - 1) as u8,
                    };
                    let held = 2 * self.config.max_string_len + 128;
                    Self::push(leads, place, kind, held, 0, 1);
                }
            }
            // Elements in the buffer, and its size.
            Kind::Chan { .. } => Self::push(leads, place, plain(16), 16, 0, 1),
            Kind::Map { key, elem, header } => {
                let (id, size, behind) = match self.map(*key, *elem, *header, level, depth) {
                    Some((id, size, behind)) => (Some(id), size, behind),
                    // The number of entries.
                    None => (None, 8, 0),
                };
                Self::push(leads, place, EdgeKind::Pointer { target: id, size }, size, behind, 1);
            }
            Kind::Func => {
                // The function's address, and, where texts show it, what the closure captured. Which function it is, and so how much that is, is known when the record is read; the
                // second may fail where the first does not.
                Self::push(leads, place, plain(8), 8, 0, 1);
                if self.config.max_variable_recurse > 1 && level <= self.config.max_variable_recurse {
                    Self::push(leads, place, plain(CLOSURE_BYTES), CLOSURE_BYTES, 0, 1);
                }
            }
            _ => {}
        }
    }

    /// What following a pointer copies: the edge, the pointee's bytes and what lies behind it.
    fn pointee(&mut self, elem: TypeId, level: u32, depth: u32) -> Option<(EdgeKind, u32, u32)> {
        let info = self.binary.type_info(elem).ok()?;
        let to_pointer = matches!(info.kind, Kind::Pointer { .. });
        if !self.config.follow_pointers || (to_pointer && level > self.config.max_variable_recurse) {
            return None;
        }
        let level = level + u32::from(to_pointer || matches!(info.kind, Kind::Interface { .. }));
        let size = self.extent(elem, level);
        if size == 0 {
            return None;
        }
        let target = self.layout(elem, level, depth + 1, size);
        Some((
            EdgeKind::Pointer {
                target: target.map(|(id, _)| id),
                size,
            },
            size,
            target.map_or(0, |(_, bytes)| bytes),
        ))
    }

    fn location_name(&mut self, fields: &[spelunk_dwarf::Field], at: u64, leads: &mut Vec<Lead>) {
        let Some(loc) = fields.iter().find(|field| &*field.name == "loc") else {
            return;
        };
        let name = Layout {
            size: LOCATION_HEAD,
            edges: vec![Edge {
                at: 0,
                kind: EdgeKind::String { max: 64 },
            }],
            rechecked: false,
        };
        let Some(target) = (self.add)(&name) else { return };
        let kind = EdgeKind::Pointer {
            target: Some(target),
            size: LOCATION_HEAD,
        };
        Self::push(leads, (at + loc.offset) as u32, kind, LOCATION_HEAD, 128, 1);
    }

    pub(super) fn push(leads: &mut Vec<Lead>, at: u32, kind: EdgeKind, size: u32, behind: u32, count: u32) {
        if leads.len() < MAX_EDGES && size != 0 {
            let bytes = spelunk_bpf::CHUNK_HEADER_SIZE as u32
                + size
                    .saturating_add(behind)
                    .saturating_mul(count)
                    .min(MAX_BYTES)
                    .next_multiple_of(8);
            leads.push(Lead {
                edge: Edge { at, kind },
                bytes,
            });
        }
    }

    /// Puts a layout into the table.
    pub(super) fn add(&mut self, layout: &Layout) -> Option<LayoutId> {
        (self.add)(layout)
    }

    /// The layout of so many bytes in which nothing leads further.
    fn add_plain(&mut self, size: u32) -> Option<LayoutId> {
        self.add(&Layout {
            size,
            ..Layout::default()
        })
    }

    /// The layout of a pointee or element and the bytes that all behind it may take, if anything in it leads further.
    pub(super) fn layout(&mut self, ty: TypeId, level: u32, depth: u32, size: u32) -> Option<(LayoutId, u32)> {
        if let Some(known) = self.known.get(&(ty, level, size)) {
            return *known;
        }
        if self.known.len() >= MAX_LAYOUTS {
            return None;
        }
        let mut leads = Vec::new();
        self.collect(ty, 0, level, depth, &mut leads);
        let bytes = leads.iter().map(|lead| lead.bytes).fold(0, u32::saturating_add);
        let layout = Layout {
            size,
            edges: leads.iter().map(|lead| lead.edge).collect(),
            rechecked: false,
        };
        let made = if layout.edges.is_empty() {
            None
        } else {
            (self.add)(&layout).map(|id| (id, bytes))
        };
        self.known.insert((ty, level, size), made);
        made
    }

    /// What an interface that holds a value of runtime type `ty` leads to, at each level.
    pub(crate) fn runtime_type(&mut self, ty: TypeId, direct: bool) -> RuntimeTypeEntry {
        let mut entry = RuntimeTypeEntry {
            direct,
            size: 0,
            layouts: [None; LEVELS as usize],
        };
        for level in 0..LEVELS.min(self.config.max_variable_recurse + 1) {
            entry.layouts[level as usize] = if direct {
                self.direct_layout(ty, level)
            } else {
                self.held_layout(ty, level, &mut entry.size)
            };
        }
        entry
    }

    fn held_layout(&mut self, ty: TypeId, level: u32, size: &mut u32) -> Option<LayoutId> {
        let extent = self.extent(ty, level);
        *size = (*size).max(extent);
        self.layout(ty, level, 1, extent).map(|(id, _)| id)
    }

    /// The layout of what a pointer-shaped value points to, even when nothing in it leads further: the layout carries the size.
    fn direct_layout(&mut self, ty: TypeId, level: u32) -> Option<LayoutId> {
        let info = self.binary.type_info(ty).ok()?;
        match &info.kind {
            Kind::Pointer { elem } => {
                let (kind, size, _) = self.pointee(*elem, level, 1)?;
                match kind {
                    EdgeKind::Pointer {
                        target: Some(target), ..
                    } => Some(target),
                    _ => (self.add)(&Layout {
                        size,
                        ..Layout::default()
                    }),
                }
            }
            Kind::Map { key, elem, header } => match self.map(*key, *elem, *header, level, 1) {
                Some((id, ..)) => Some(id),
                None => self.add_plain(8),
            },
            Kind::Func => self.add_plain(8),
            Kind::Chan { .. } => self.add_plain(16),
            // A struct or array of one pointer-shaped field: what it holds is one level in.
            Kind::Struct { fields } if level <= self.config.max_variable_recurse => fields
                .iter()
                .find(|field| field.offset == 0)
                .and_then(|field| self.direct_layout(field.ty, level + 1)),
            Kind::Array { elem, .. } if level <= self.config.max_variable_recurse => {
                self.direct_layout(*elem, level + 1)
            }
            _ => None,
        }
    }
}
