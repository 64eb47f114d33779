//! The labels that `runtime/pprof` hangs on goroutines (`runtime/pprof/label.go`).

use std::collections::HashMap;

use spelunk_dwarf::{Kind, ProcAddr, TypeId};

use super::Stopped;
use crate::value::{BulkRead, Memory};

/// Nobody hangs more labels on a goroutine.
const MAX_LABELS: u64 = 256;
/// Longer texts are cut off.
const MAX_LENGTH: u64 = 4096;

/// Labels by the address of the set: goroutines share those they inherit.
pub(super) struct Labels<'p> {
    p: &'p dyn Stopped,
    layout: Option<Layout>,
    known: HashMap<ProcAddr, Vec<(String, String)>>,
}

/// Where the labels of a set are.
#[derive(Clone, Copy)]
struct Layout {
    /// Where the slice of labels is in the set.
    list: u64,
    /// The size of a label.
    stride: u64,
    key: u64,
    value: u64,
}

impl<'p> Labels<'p> {
    pub(super) fn new(p: &'p dyn Stopped) -> Labels<'p> {
        Labels {
            p,
            layout: layout(p),
            known: HashMap::new(),
        }
    }

    /// The labels of a goroutine whose `g.labels` is `set`, sorted by key; none when they cannot be read.
    pub(super) fn of(&mut self, set: ProcAddr) -> Vec<(String, String)> {
        let Some(layout) = self.layout.filter(|_| set.0 != 0) else {
            return Vec::new();
        };
        let memory = self.p.memory();
        self.known
            .entry(set)
            .or_insert_with(|| {
                let mut labels = read(memory, set, layout).unwrap_or_default();
                labels.sort();
                labels
            })
            .clone()
    }
}

/// Since Go 1.24 a set is a struct that embeds one with a list; its names changed once more in Go 1.26.
fn layout(p: &dyn Stopped) -> Option<Layout> {
    let binary = p.binary();
    let set = binary.type_named("runtime/pprof.labelMap")?;
    let paths = ["LabelSet.list", "Set.List"];
    let (path, list) = paths
        .iter()
        .find_map(|path| binary.field_offset(set, path).ok().map(|offset| (*path, offset)))?;
    let mut ty = set;
    for name in path.split('.') {
        ty = field_type(p, ty, name)?;
    }
    let Kind::Slice { elem } = binary.type_info(ty).ok()?.kind else {
        return None;
    };
    let field = |names: [&str; 2]| names.iter().find_map(|name| binary.field_offset(elem, name).ok());
    Some(Layout {
        list,
        stride: binary.type_info(elem).ok()?.size,
        key: field(["key", "Key"])?,
        value: field(["value", "Value"])?,
    })
}

fn field_type(p: &dyn Stopped, ty: TypeId, name: &str) -> Option<TypeId> {
    let Kind::Struct { fields } = &p.binary().type_info(ty).ok()?.kind else {
        return None;
    };
    fields.iter().find(|field| &*field.name == name).map(|field| field.ty)
}

fn read(memory: &dyn Memory, set: ProcAddr, layout: Layout) -> Option<Vec<(String, String)>> {
    let word = |base: ProcAddr, offset: u64| {
        let at = ProcAddr(base.0.checked_add(offset)?);
        memory.read_uint(at, 8).ok()
    };
    let array = ProcAddr(word(set, layout.list)?);
    let count = word(set, layout.list.checked_add(8)?)?.min(MAX_LABELS);
    let mut reads = Vec::new();
    for number in 0..count {
        for field in [layout.key, layout.value] {
            let at = number.checked_mul(layout.stride)?.checked_add(field)?;
            let len = word(array, at.checked_add(8)?)?.min(MAX_LENGTH);
            reads.push(BulkRead::new(ProcAddr(word(array, at)?), len as usize));
        }
    }
    memory.read_many(&mut reads);
    let text = |read: &BulkRead| Some(String::from_utf8_lossy(read.done()?).into_owned());
    let pairs = reads.as_chunks::<2>().0.iter();
    Some(
        pairs
            .filter_map(|[key, value]| Some((text(key)?, text(value)?)))
            .collect(),
    )
}
