//! What the kernel follows in a map: from its header to the groups or buckets, and from there to what keys and values lead to.
//!
//! Other goroutines may change the map meanwhile. What a probe finds is memory of the right shape all the same: the collector cannot finish a cycle while a thread that runs Go code stands at
//! a probe, so nothing that was reachable when the probe began is used for something else. But entries of before and after a change need not belong together, so the header is read
//! again at the end, and a map whose header changed, or that has a writer, shows nothing.

use spelunk_bpf::{Count, Edge, EdgeKind, Layout, LayoutId, RECHECKED};
use spelunk_dwarf::TypeId;

use super::layouts::{Layouts, Lead, MAX_DEPTH, MAX_EDGES, MAX_EXTENT, MAX_LAYOUTS, Made};
use crate::value::{Groups, MapShape, MapSlots, SlotPlace};

/// Tables of a Swiss map that are looked at. One has room for 1024 entries.
const TABLES: u32 = 2;
/// How far the chain behind a bucket is followed.
const CHAIN: u32 = 3;
/// A table that has just doubled has this many entries in two groups, and so has a bucket array.
const IN_TWO_GROUPS: u32 = 7;
/// Groups beyond the average, as hashes are not even.
const SPARE_GROUPS: u32 = 6;

impl Layouts<'_> {
    /// The layout of a map's header; nothing where the loader would read the number of entries alone.
    pub(super) fn map(&mut self, key: TypeId, elem: TypeId, header: TypeId, level: u32, depth: u32) -> Option<Made> {
        if level > self.config.max_variable_recurse || self.config.max_array_values == 0 || depth > MAX_DEPTH {
            return None;
        }
        if let Some(known) = self.maps.get(&(header, level)) {
            return *known;
        }
        if self.maps.len() >= MAX_LAYOUTS {
            return None;
        }
        // A map that is its own value, at the same level, ends here.
        self.maps.insert((header, level), None);
        let made = self.new_map(key, elem, header, level, depth);
        self.maps.insert((header, level), made);
        made
    }

    fn new_map(&mut self, key: TypeId, elem: TypeId, header: TypeId, level: u32, depth: u32) -> Option<Made> {
        let shape = MapShape::of(self.binary(), key, elem, header).ok()?;
        let size = u32::try_from(shape.header).ok().filter(|size| *size >= RECHECKED)?;
        let group_size = u32::try_from(shape.group)
            .ok()
            .filter(|size| u64::from(*size) <= MAX_EXTENT && *size != 0)?;
        let mut leads = Vec::new();
        self.slots(&shape.slots, key, elem, level, depth, &mut leads);
        // Entries beyond the limit are captured with their group, and what they lead to with them.
        let wanted = self.config.max_array_values;
        let groups = (wanted.saturating_mul(2) / IN_TWO_GROUPS).saturating_add(SPARE_GROUPS);
        let behind_slots: u32 = leads.iter().map(|lead| lead.bytes).fold(0, u32::saturating_add);
        let behind = u64::from(behind_slots) * u64::from(wanted) / shape.slots.count.max(1);
        // The kernel's program sorts lengths by powers of two, and wants the room of the next one.
        let bytes = u32::try_from(behind)
            .unwrap_or(u32::MAX)
            .saturating_add(groups.checked_mul(group_size)?.checked_next_power_of_two()?);
        let group = |target: Option<LayoutId>, count_at: u64, count: Count, max_elems: u32| -> Option<EdgeKind> {
            Some(EdgeKind::Counted {
                target,
                elem_size: group_size,
                max_elems,
                count_at: u32::try_from(count_at).ok()?,
                count,
            })
        };
        let mut edges = Vec::new();
        let mut edge = |at: u64, kind: Option<EdgeKind>| {
            edges.extend(u32::try_from(at).ok().zip(kind).map(|(at, kind)| Edge { at, kind }));
        };
        match shape.groups {
            Groups::Swiss {
                directory,
                length,
                table,
                data,
                mask,
            } => {
                let slots = self.add_edges(group_size, &leads);
                let table_size = u32::try_from(table).ok()?;
                let in_table = self.add(&Layout {
                    size: table_size,
                    edges: vec![Edge {
                        at: u32::try_from(data).ok()?,
                        kind: group(slots, mask, Count::PlusOne, groups)?,
                    }],
                    rechecked: false,
                })?;
                let entry = self.add(&Layout {
                    size: 8,
                    edges: vec![Edge {
                        at: 0,
                        kind: EdgeKind::Pointer {
                            target: Some(in_table),
                            size: table_size,
                        },
                    }],
                    rechecked: false,
                })?;
                edge(directory, group(slots, length, Count::OneIfZero, 1));
                let tables = EdgeKind::Counted {
                    target: Some(entry),
                    elem_size: 8,
                    max_elems: TABLES,
                    count_at: u32::try_from(length).ok()?,
                    count: Count::Itself,
                };
                edge(directory, Some(tables));
            }
            Groups::Buckets {
                buckets,
                old,
                log,
                overflow,
            } => {
                let mut bucket = self.add_edges(group_size, &leads);
                for _ in 0..CHAIN {
                    let mut chained = leads.clone();
                    chained.push(Lead {
                        edge: Edge {
                            at: u32::try_from(overflow).ok()?,
                            kind: EdgeKind::Pointer {
                                target: bucket,
                                size: group_size,
                            },
                        },
                        bytes: 0,
                    });
                    bucket = self.add_edges(group_size, &chained);
                }
                edge(buckets, group(bucket, log, Count::PowerOfTwo, groups));
                edge(old, group(bucket, log, Count::HalfPowerOfTwo, groups));
            }
        }
        let id = self.add(&Layout {
            size,
            edges,
            rechecked: true,
        })?;
        Some((id, size, bytes.saturating_add(512)))
    }

    /// What the entries of a group lead to. Slots that are empty hold zeros, which lead nowhere.
    fn slots(&mut self, slots: &MapSlots, key: TypeId, elem: TypeId, level: u32, depth: u32, leads: &mut Vec<Lead>) {
        for n in 0..slots.count {
            if leads.len() >= MAX_EDGES {
                return;
            }
            for (place, ty) in [(&slots.key, key), (&slots.elem, elem)] {
                self.slot(place, n, ty, level, depth, leads);
            }
        }
    }

    fn slot(&mut self, place: &SlotPlace, n: u64, ty: TypeId, level: u32, depth: u32, leads: &mut Vec<Lead>) {
        let at = place.offset.saturating_add(n.saturating_mul(place.stride));
        if !place.indirect {
            self.collect(ty, at, level + 1, depth + 1, leads);
            return;
        }
        let size = self.extent(ty, level + 1);
        let target = self.layout(ty, level + 1, depth + 1, size);
        let kind = EdgeKind::Pointer {
            target: target.map(|(id, _)| id),
            size,
        };
        if let Ok(at) = u32::try_from(at) {
            Self::push(leads, at, kind, size, target.map_or(0, |(_, bytes)| bytes), 1);
        }
    }

    /// A layout of these leads; nothing where there are none, and where the table is full: then what they lead to is not captured.
    fn add_edges(&mut self, size: u32, leads: &[Lead]) -> Option<LayoutId> {
        let edges: Vec<Edge> = leads.iter().map(|lead| lead.edge).collect();
        if edges.is_empty() {
            return None;
        }
        self.add(&Layout {
            size,
            edges,
            rechecked: false,
        })
    }
}
