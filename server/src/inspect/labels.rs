//! The labels that `runtime/pprof` hangs on goroutines (`runtime/pprof/label.go`).

use std::collections::HashMap;

use spelunk_dwarf::{ProcAddr, TypeId};

use super::Stopped;
use crate::value::{Content, LoadConfig, Loader, Value};

/// Nobody hangs more labels on a goroutine than these limits let through, or longer ones.
const LIMITS: LoadConfig = LoadConfig {
    follow_pointers: false,
    max_variable_recurse: 4,
    max_string_len: 4096,
    max_array_values: 256,
    max_struct_fields: None,
};

/// Labels by the address of the set: goroutines share those they inherit.
pub(super) struct Labels<'p> {
    p: &'p dyn Stopped,
    /// The type of a set; `None` in programs that do not use labels.
    set: Option<TypeId>,
    known: HashMap<ProcAddr, Vec<(String, String)>>,
}

impl<'p> Labels<'p> {
    pub(super) fn new(p: &'p dyn Stopped) -> Labels<'p> {
        Labels {
            p,
            set: p.binary().type_named("runtime/pprof.labelMap"),
            known: HashMap::new(),
        }
    }

    /// The labels of a goroutine whose `g.labels` is `set`, sorted by key; none when they cannot be read.
    pub(super) fn of(&mut self, set: ProcAddr) -> Vec<(String, String)> {
        let Some(ty) = self.set.filter(|_| set.0 != 0) else {
            return Vec::new();
        };
        if let Some(known) = self.known.get(&set) {
            return known.clone();
        }
        let loader = Loader {
            binary: self.p.binary(),
            bias: self.p.bias(),
            memory: self.p.memory(),
            config: LIMITS,
        };
        let mut labels = Vec::new();
        collect(&loader.load("", ty, set), &mut labels);
        labels.sort();
        self.known.insert(set, labels.clone());
        labels
    }
}

/// Up to Go 1.23 a set is a map; since then it is a struct around a struct with a list of keys and values, under names that change.
fn collect(value: &Value, labels: &mut Vec<(String, String)>) {
    let mut add = |key: &Value, value: &Value| labels.extend(text(key).zip(text(value)));
    match &value.content {
        Content::Map { entries, .. } => entries.iter().for_each(|(key, value)| add(key, value)),
        Content::Slice { elements, .. } => {
            for element in elements {
                if let Content::Struct { fields, .. } = &element.content
                    && let [key, value] = &**fields
                {
                    add(key, value);
                }
            }
        }
        Content::Struct { fields, .. } => fields.iter().for_each(|field| collect(field, labels)),
        _ => {}
    }
}

fn text(value: &Value) -> Option<String> {
    match &value.content {
        Content::String { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
