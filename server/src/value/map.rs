//! The entries of a map, in the order in which they lie in memory.
//!
//! Both layouts that Go has had are described by DWARF for each map type: buckets with overflow chains before Go 1.24 (runtime/map.go), and the groups of
//! Swiss tables since (internal/runtime/maps). Offsets and sizes come from there; only the meaning of the control bytes is known here.

use std::collections::VecDeque;

use spelunk_dwarf::{Binary, DwarfError, Field, Kind, ProcAddr, Type, TypeId};

use super::{Loader, Memory, ReadError};

/// Groups and buckets that are looked at before a map is taken for damaged. They hold some thirty million entries.
pub(super) const MAX_STEPS: u32 = 1 << 22;
/// A group or bucket has eight entries; more than this is no map.
const MAX_SLOTS: u64 = 64;

/// Why entries cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MapError {
    /// Memory of the map cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The debug information is broken.
    #[error("{0}")]
    Dwarf(String),
    /// The type is not described as any known Go version does.
    #[error("malformed map type: {0}")]
    Type(String),
    /// What was read is no map.
    #[error("the map has no end")]
    Endless,
}

impl From<DwarfError> for MapError {
    fn from(error: DwarfError) -> Self {
        MapError::Dwarf(error.to_string())
    }
}

impl MapError {
    /// Whether the memory is a record that does not have these bytes.
    pub(crate) fn is_not_captured(&self) -> bool {
        matches!(self, MapError::Read(ReadError::NotCaptured(_) | ReadError::NoRoom(_)))
    }
}

/// Walks over a map's entries: the addresses of each key and value.
pub(crate) struct MapWalk<'a> {
    memory: &'a dyn Memory,
    /// Where the runtime's structure is; 0 for a nil map.
    pub(crate) base: u64,
    /// Number of entries as the map says.
    pub(crate) len: i64,
    layout: Layout,
    entries: VecDeque<(ProcAddr, ProcAddr)>,
    steps_left: u32,
    ended: bool,
}

/// Where keys and values are in a group or bucket.
pub(crate) struct Slots {
    /// Offset of the control bytes or top hashes.
    marks: u64,
    /// How many there are.
    pub(crate) count: u64,
    /// The keys.
    pub(crate) key: Place,
    /// The values.
    pub(crate) elem: Place,
}

/// Where the n-th key or value is.
pub(crate) struct Place {
    /// Where the first is, in bytes from the group's start.
    pub(crate) offset: u64,
    /// Bytes from one to the next.
    pub(crate) stride: u64,
    /// It is too large to stand in the slot, which has a pointer to it.
    pub(crate) indirect: bool,
}

/// Where everything is in a map, by its type alone. Offsets and sizes are in bytes.
pub(crate) struct Shape {
    /// The size of the header.
    pub(crate) header: u64,
    /// Where the entries are in a group or bucket.
    pub(crate) slots: Slots,
    /// The size of a group or bucket.
    pub(crate) group: u64,
    /// How they are reached.
    pub(crate) groups: Groups,
}

/// How the groups or buckets of a map are reached from its header.
pub(crate) enum Groups {
    /// Through a directory of tables; without tables it is the only group.
    Swiss {
        /// In the header: the directory and its length.
        directory: u64,
        /// As above.
        length: u64,
        /// The size of a table.
        table: u64,
        /// In a table: the groups and their number less one.
        data: u64,
        /// As above.
        mask: u64,
    },
    /// As an array, each with a chain of further ones.
    Buckets {
        /// In the header: the buckets, those that a map has not emptied yet while it grows, and the logarithm of their number.
        buckets: u64,
        /// As above.
        old: u64,
        /// As above.
        log: u64,
        /// In a bucket: the next one of the chain.
        overflow: u64,
    },
}

impl Shape {
    /// The shape of maps with this header.
    pub(crate) fn of(binary: &Binary, key: TypeId, elem: TypeId, header: TypeId) -> Result<Shape, MapError> {
        let fields = fields_of(binary, header)?;
        let size = |ty: TypeId| -> Result<u64, MapError> { Ok(binary.type_info(ty)?.size) };
        let at = |name: &str| need(&fields, name).map(|field| field.offset);
        if field(&fields, "dirPtr").is_some() {
            let table = pointee(binary, pointee(binary, need(&fields, "dirPtr")?.ty)?)?;
            let in_table = fields_of(binary, table)?;
            let groups = need(&in_table, "groups")?;
            let reference = fields_of(binary, groups.ty)?;
            let data = need(&reference, "data")?;
            let group = pointee(binary, data.ty)?;
            return Ok(Shape {
                header: size(header)?,
                slots: swiss_slots(binary, &fields_of(binary, group)?, key, elem)?,
                group: size(group)?,
                groups: Groups::Swiss {
                    directory: at("dirPtr")?,
                    length: at("dirLen")?,
                    table: size(table)?,
                    data: groups.offset.wrapping_add(data.offset),
                    mask: groups.offset.wrapping_add(need(&reference, "lengthMask")?.offset),
                },
            });
        }
        let bucket = pointee(binary, need(&fields, "buckets")?.ty)?;
        let in_bucket = fields_of(binary, bucket)?;
        Ok(Shape {
            header: size(header)?,
            slots: bucket_slots(binary, &in_bucket, key, elem)?,
            group: size(bucket)?,
            groups: Groups::Buckets {
                buckets: at("buckets")?,
                old: at("oldbuckets")?,
                log: at("B")?,
                overflow: need(&in_bucket, "overflow")?.offset,
            },
        })
    }
}

impl Place {
    fn of(&self, group: u64, n: u64, memory: &dyn Memory) -> Result<ProcAddr, ReadError> {
        let at = group
            .wrapping_add(self.offset)
            .wrapping_add(n.wrapping_mul(self.stride));
        if self.indirect {
            return Ok(ProcAddr(memory.read_uint(ProcAddr(at), 8)?));
        }
        Ok(ProcAddr(at))
    }
}

enum Layout {
    Nil,
    Swiss(Swiss),
    Buckets(Buckets),
}

struct Swiss {
    slots: Slots,
    group_size: u64,
    /// The array of tables, or the only group of a small map.
    directory: u64,
    tables: u64,
    next_table: u64,
    /// Offsets in a table: its index in the directory, where its groups are, and their number less one.
    index: u64,
    data: u64,
    length_mask: u64,
    index_size: u64,
    /// Groups of the table at hand: address and number, and how many have been looked at.
    groups: u64,
    group_count: u64,
    next_group: u64,
}

struct Buckets {
    slots: Slots,
    size: u64,
    /// Offset of the pointer to the bucket that overflows from one.
    overflow: u64,
    current: u64,
    old: u64,
    count: u64,
    old_mask: u64,
    next: u64,
    /// The bucket to look at before the next one.
    chained: u64,
}

fn field<'f>(fields: &'f [Field], name: &str) -> Option<&'f Field> {
    fields.iter().find(|field| &*field.name == name)
}

/// The fields of a struct type.
fn fields_of(binary: &Binary, ty: TypeId) -> Result<std::sync::Arc<[Field]>, MapError> {
    match &binary.type_info(ty)?.kind {
        Kind::Struct { fields } => Ok(fields.clone()),
        _ => Err(MapError::Type("a part of it is no struct".to_owned())),
    }
}

fn pointee(binary: &Binary, ty: TypeId) -> Result<TypeId, MapError> {
    match binary.type_info(ty)?.kind {
        Kind::Pointer { elem } => Ok(elem),
        _ => Err(MapError::Type("a part of it is no pointer".to_owned())),
    }
}

fn need<'f>(fields: &'f [Field], name: &str) -> Result<&'f Field, MapError> {
    field(fields, name).ok_or_else(|| MapError::Type(format!("it has no {name}")))
}

/// An array field: offset, element type, number of elements and distance between them.
fn array(binary: &Binary, field: &Field) -> Result<(u64, TypeId, u64, u64), MapError> {
    match binary.type_info(field.ty)?.kind {
        Kind::Array { elem, len, stride } if len <= MAX_SLOTS => Ok((field.offset, elem, len, stride)),
        _ => Err(MapError::Type(format!("{} is no array", field.name))),
    }
}

/// Whether a slot that should hold a `wanted` holds a pointer to it.
fn is_indirect(binary: &Binary, stored: TypeId, wanted: TypeId) -> Result<bool, MapError> {
    if stored == wanted {
        return Ok(false);
    }
    let is_pointer = |ty| -> Result<bool, MapError> { Ok(matches!(binary.type_info(ty)?.kind, Kind::Pointer { .. })) };
    Ok(is_pointer(stored)? && !is_pointer(wanted)?)
}

impl<'a> MapWalk<'a> {
    /// Begins at the map variable of type `ty` at `addr`.
    pub(crate) fn new(loader: &Loader<'a>, ty: &Type, addr: ProcAddr) -> Result<MapWalk<'a>, MapError> {
        let Kind::Map { key, elem, header } = ty.kind else {
            return Err(MapError::Type(format!("{} is no map", ty.name)));
        };
        let (binary, memory) = (loader.binary, loader.memory);
        let base = memory.read_uint(addr, 8)?;
        let mut walk = MapWalk {
            memory,
            base,
            len: 0,
            layout: Layout::Nil,
            entries: VecDeque::new(),
            steps_left: MAX_STEPS,
            ended: false,
        };
        if base == 0 {
            return Ok(walk);
        }
        let fields = fields_of(binary, header)?;
        let head = Head {
            binary,
            memory,
            base,
            fields: &fields,
        };
        if memory.was_moving() && head.is_being_written()? {
            return Err(ReadError::Changing(ProcAddr(base)).into());
        }
        if field(&fields, "dirPtr").is_some() {
            walk.len = head.uint("used")? as i64;
            walk.layout = Layout::Swiss(head.swiss(key, elem)?);
        } else {
            walk.len = head.uint("count")? as i64;
            walk.layout = Layout::Buckets(head.buckets(key, elem)?);
        }
        Ok(walk)
    }

    /// The same with fewer steps before it is given up.
    pub(super) fn limited(self, steps: u32) -> MapWalk<'a> {
        MapWalk {
            steps_left: steps,
            ..self
        }
    }

    fn advance(&mut self) -> Result<bool, MapError> {
        self.steps_left = self.steps_left.checked_sub(1).ok_or(MapError::Endless)?;
        match &mut self.layout {
            Layout::Nil => Ok(false),
            Layout::Swiss(swiss) => swiss.advance(self.memory, &mut self.entries),
            Layout::Buckets(buckets) => buckets.advance(self.memory, &mut self.entries),
        }
    }
}

impl Iterator for MapWalk<'_> {
    type Item = Result<(ProcAddr, ProcAddr), MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The runtime's structure of a map.
struct Head<'h> {
    binary: &'h Binary,
    memory: &'h dyn Memory,
    base: u64,
    fields: &'h [Field],
}

impl Head<'_> {
    fn uint(&self, name: &str) -> Result<u64, MapError> {
        let field = need(self.fields, name)?;
        let size = self.binary.type_info(field.ty)?.size;
        Ok(self
            .memory
            .read_uint(ProcAddr(self.base.wrapping_add(field.offset)), size)?)
    }

    /// Whether a goroutine is in the middle of a change.
    fn is_being_written(&self) -> Result<bool, MapError> {
        /// runtime/map.go, hashWriting: a goroutine is writing to the map.
        const WRITING: u64 = 4;
        match (field(self.fields, "writing"), field(self.fields, "flags")) {
            // internal/runtime/maps/map.go: set while there is a writer.
            (Some(_), _) => Ok(self.uint("writing")? != 0),
            (None, Some(_)) => Ok(self.uint("flags")? & WRITING != 0),
            (None, None) => Ok(false),
        }
    }

    fn swiss(&self, key: TypeId, elem: TypeId) -> Result<Swiss, MapError> {
        let binary = self.binary;
        let table = pointee(binary, pointee(binary, need(self.fields, "dirPtr")?.ty)?)?;
        let table = fields_of(binary, table)?;
        let (index, groups) = (need(&table, "index")?, need(&table, "groups")?);
        let reference = fields_of(binary, groups.ty)?;
        let (data, mask) = (need(&reference, "data")?, need(&reference, "lengthMask")?);
        let group = pointee(binary, data.ty)?;
        let group_fields = fields_of(binary, group)?;
        let slots = swiss_slots(binary, &group_fields, key, elem)?;
        let (directory, tables) = (self.uint("dirPtr")?, self.uint("dirLen")?);
        // Both the directory and a table's groups double when they grow.
        if tables != 0 && !tables.is_power_of_two() {
            return Err(MapError::Endless);
        }
        let mut swiss = Swiss {
            slots,
            group_size: binary.type_info(group)?.size,
            directory,
            tables,
            next_table: 0,
            index: index.offset,
            index_size: binary.type_info(index.ty)?.size,
            data: groups.offset.wrapping_add(data.offset),
            length_mask: groups.offset.wrapping_add(mask.offset),
            groups: 0,
            group_count: 0,
            next_group: 0,
        };
        if tables == 0 {
            // A small map has one group and no table.
            swiss.groups = directory;
            swiss.group_count = u64::from(directory != 0);
        }
        Ok(swiss)
    }

    fn buckets(&self, key: TypeId, elem: TypeId) -> Result<Buckets, MapError> {
        /// runtime/map.go: the map grows to a table of the same size.
        const SAME_SIZE_GROW: u64 = 8;
        let binary = self.binary;
        let bucket = pointee(binary, need(self.fields, "buckets")?.ty)?;
        let fields = fields_of(binary, bucket)?;
        let slots = bucket_slots(binary, &fields, key, elem)?;
        // 2 to the power of B buckets; no machine has more than 2^48 of them.
        let log = u32::try_from(self.uint("B")?).unwrap_or(u32::MAX);
        let count_of_buckets = 1u64.checked_shl(log).filter(|_| log < 48).ok_or(MapError::Endless)?;
        let same_size = self.uint("flags")? & SAME_SIZE_GROW != 0;
        Ok(Buckets {
            slots,
            size: binary.type_info(bucket)?.size,
            overflow: need(&fields, "overflow")?.offset,
            current: self.uint("buckets")?,
            old: self.uint("oldbuckets")?,
            count: count_of_buckets,
            old_mask: if same_size {
                count_of_buckets - 1
            } else {
                (count_of_buckets / 2).saturating_sub(1)
            },
            next: 0,
            chained: 0,
        })
    }
}

/// The slots of a bucket: all keys, then all values.
fn bucket_slots(binary: &Binary, bucket: &[Field], key: TypeId, elem: TypeId) -> Result<Slots, MapError> {
    let (marks, _, count, _) = array(binary, need(bucket, "tophash")?)?;
    let (key_at, stored_key, keys, key_stride) = array(binary, need(bucket, "keys")?)?;
    let (elem_at, stored_elem, elems, elem_stride) = array(binary, need(bucket, "values")?)?;
    if keys != count || (elem_stride != 0 && elems != count) {
        return Err(MapError::Type("inconsistent array length in bucket".to_owned()));
    }
    Ok(Slots {
        marks,
        count,
        key: Place {
            offset: key_at,
            stride: key_stride,
            indirect: is_indirect(binary, stored_key, key)?,
        },
        elem: Place {
            offset: elem_at,
            stride: elem_stride,
            indirect: is_indirect(binary, stored_elem, elem)?,
        },
    })
}

/// Slots of key and value side by side, or, where the compiler was asked to split them, all keys and then all values.
fn swiss_slots(binary: &Binary, group: &[Field], key: TypeId, elem: TypeId) -> Result<Slots, MapError> {
    let marks = need(group, "ctrl")?.offset;
    if let (Some(keys), Some(elems)) = (field(group, "keys"), field(group, "elems")) {
        let (key_at, stored_key, count, key_stride) = array(binary, keys)?;
        let (elem_at, stored_elem, _, elem_stride) = array(binary, elems)?;
        return Ok(Slots {
            marks,
            count,
            key: Place {
                offset: key_at,
                stride: key_stride,
                indirect: is_indirect(binary, stored_key, key)?,
            },
            elem: Place {
                offset: elem_at,
                stride: elem_stride,
                indirect: is_indirect(binary, stored_elem, elem)?,
            },
        });
    }
    let (at, slot, count, stride) = array(binary, need(group, "slots")?)?;
    let slot = fields_of(binary, slot)?;
    let place = |name: &str, wanted: TypeId| -> Result<Place, MapError> {
        let field = need(&slot, name)?;
        Ok(Place {
            offset: at.wrapping_add(field.offset),
            stride,
            indirect: is_indirect(binary, field.ty, wanted)?,
        })
    };
    Ok(Slots {
        marks,
        count,
        key: place("key", key)?,
        elem: place("elem", elem)?,
    })
}

impl Slots {
    /// Adds the entries of the group or bucket at `group` whose mark says that they are taken.
    fn collect(
        &self,
        group: u64,
        memory: &dyn Memory,
        taken: impl Fn(u8) -> bool,
        entries: &mut VecDeque<(ProcAddr, ProcAddr)>,
    ) -> Result<(), ReadError> {
        let mut marks = [0u8; MAX_SLOTS as usize];
        let marks = marks.get_mut(..self.count as usize).unwrap_or_default();
        memory.read(ProcAddr(group.wrapping_add(self.marks)), marks)?;
        for (n, _) in (0u64..).zip(marks.iter()).filter(|(_, mark)| taken(**mark)) {
            entries.push_back((self.key.of(group, n, memory)?, self.elem.of(group, n, memory)?));
        }
        Ok(())
    }
}

impl Swiss {
    fn advance(&mut self, memory: &dyn Memory, entries: &mut VecDeque<(ProcAddr, ProcAddr)>) -> Result<bool, MapError> {
        /// internal/runtime/maps/group.go: the high bit of a control byte is set in an empty or deleted slot.
        const EMPTY_OR_DELETED: u8 = 0x80;
        if self.next_group < self.group_count {
            let group = self.groups.wrapping_add(self.next_group.wrapping_mul(self.group_size));
            self.next_group += 1;
            self.slots
                .collect(group, memory, |mark| mark & EMPTY_OR_DELETED == 0, entries)?;
            return Ok(true);
        }
        if self.next_table >= self.tables {
            return Ok(false);
        }
        let number = self.next_table;
        self.next_table += 1;
        let slot = self.directory.wrapping_add(number.wrapping_mul(8));
        let table = memory.read_uint(ProcAddr(slot), 8)?;
        let word = |offset: u64, size: u64| memory.read_uint(ProcAddr(table.wrapping_add(offset)), size);
        // A table of smaller depth stands in several places of the directory; its index is the first of them.
        if word(self.index, self.index_size)? == number {
            self.groups = word(self.data, 8)?;
            self.group_count = word(self.length_mask, 8)?.checked_add(1).ok_or(MapError::Endless)?;
            if !self.group_count.is_power_of_two() {
                return Err(MapError::Endless);
            }
            self.next_group = 0;
        }
        Ok(true)
    }
}

impl Buckets {
    fn advance(&mut self, memory: &dyn Memory, entries: &mut VecDeque<(ProcAddr, ProcAddr)>) -> Result<bool, MapError> {
        /// runtime/map.go, minTopHash: smaller top hashes mark slots that are empty or evacuated.
        const FIRST_TAKEN: u8 = 5;
        let bucket = if self.chained != 0 {
            self.chained
        } else {
            match self.next_bucket(memory)? {
                Some(bucket) => bucket,
                None => return Ok(self.next < self.count),
            }
        };
        self.slots
            .collect(bucket, memory, |mark| mark >= FIRST_TAKEN, entries)?;
        self.chained = memory.read_uint(ProcAddr(bucket.wrapping_add(self.overflow)), 8)?;
        Ok(true)
    }

    /// The next bucket that has its entries: while a map grows, some are still in the old buckets.
    fn next_bucket(&mut self, memory: &dyn Memory) -> Result<Option<u64>, ReadError> {
        /// runtime/map.go, evacuatedX to evacuatedEmpty.
        const EVACUATED: std::ops::RangeInclusive<u64> = 2..=4;
        if self.next >= self.count || self.current == 0 {
            self.next = self.count;
            return Ok(None);
        }
        let number = self.next;
        self.next += 1;
        let bucket = |base: u64, number: u64| base.wrapping_add(number.wrapping_mul(self.size));
        if self.old != 0 {
            let old_number = number & self.old_mask;
            let old = bucket(self.old, old_number);
            let mark = memory.read_uint(ProcAddr(old.wrapping_add(self.slots.marks)), 1)?;
            if !EVACUATED.contains(&mark) {
                // The entries of both halves are in the old bucket, which is looked at once.
                return Ok((old_number == number).then_some(old));
            }
        }
        Ok(Some(bucket(self.current, number)))
    }
}
