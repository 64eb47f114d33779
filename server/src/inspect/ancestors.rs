//! The goroutines that a goroutine descends from: `g.ancestors`, which the runtime keeps with `GODEBUG=tracebackancestors=N` (`runtime/runtime2.go`,
//! `ancestorInfo`).

use spelunk_dwarf::ProcAddr;

use super::places::Places;
use super::{InspectError, Location, Stopped};
use crate::value::{Content, LoadConfig, Loader, Value};

/// A goroutine's ancestor.
#[derive(Clone, Debug)]
pub(crate) struct Ancestor {
    /// Its number.
    pub(crate) id: i64,
    /// Its stack when it started the goroutine, the innermost frame first.
    pub(crate) frames: Vec<AncestorFrame>,
    /// Why it, or its stack, could not be read.
    pub(crate) unreadable: Option<String>,
}

/// A frame of an ancestor's stack.
#[derive(Clone, Debug)]
pub(crate) struct AncestorFrame {
    /// Where it stood.
    pub(crate) location: Location,
    /// Whether it is the outermost one.
    pub(crate) is_bottom: bool,
}

/// Up to `count` ancestors of the goroutine whose `runtime.g` is at `g`, the nearest first, with up to `depth` frames each; `None` where the runtime has kept
/// none for it.
pub(crate) fn ancestors(
    p: &dyn Stopped,
    g: ProcAddr,
    count: usize,
    depth: usize,
) -> Result<Option<Vec<Ancestor>>, InspectError> {
    let failed = |why: String| InspectError::Failed(why);
    if kept(p) == Some(0) {
        return Err(failed("tracebackancestors is disabled".to_owned()));
    }
    let binary = p.binary();
    let ty = binary.type_named("runtime.g");
    let ty = ty.ok_or_else(|| failed("the debug information does not describe runtime.g".to_owned()))?;
    let offset = binary.field_offset(ty, "ancestors");
    let offset = offset.map_err(|error| failed(format!("g has no member ancestors: {error}")))?;
    let list = p.memory().read_uint(ProcAddr(g.0.wrapping_add(offset)), 8);
    let list = list.map_err(|error| failed(error.to_string()))?;
    if list == 0 {
        return Ok(None);
    }
    let slice = binary.type_named("[]runtime.ancestorInfo");
    let slice = slice.ok_or_else(|| failed("the debug information does not describe ancestors".to_owned()))?;
    let loader = |elements: usize| Loader {
        binary,
        bias: p.bias(),
        memory: p.memory(),
        config: LoadConfig {
            follow_pointers: false,
            max_variable_recurse: 1,
            max_string_len: 0,
            max_array_values: u32::try_from(elements).unwrap_or(u32::MAX),
            max_struct_fields: None,
        },
    };
    let value = loader(count).load("", slice, ProcAddr(list));
    if let Some(why) = value.unreadable {
        return Err(failed(why));
    }
    let Content::Slice { elements, .. } = value.content else {
        return Ok(None);
    };
    let places = Places::new(binary, p.bias());
    let found = elements
        .iter()
        .take(count)
        .map(|element| ancestor(&places, &loader(depth), element));
    Ok(Some(found.collect()))
}

/// How many ancestors the runtime keeps.
fn kept(p: &dyn Stopped) -> Option<u64> {
    let binary = p.binary();
    let (ty, addr) = binary.global_named("runtime.debug")?;
    let offset = binary.field_offset(ty, "tracebackancestors").ok()?;
    let at = p.bias().to_proc(addr);
    p.memory().read_uint(ProcAddr(at.0.wrapping_add(offset)), 4).ok()
}

fn ancestor(places: &Places<'_>, loader: &Loader<'_>, info: &Value) -> Ancestor {
    let mut ancestor = Ancestor {
        id: 0,
        frames: Vec::new(),
        unreadable: info.unreadable.clone(),
    };
    let Content::Struct { fields, .. } = &info.content else {
        return ancestor;
    };
    let field = |name: &str| fields.iter().find(|field| field.name == name);
    match field("goid").map(|goid| &goid.content) {
        Some(Content::Int(id)) => ancestor.id = *id,
        Some(Content::Uint(id)) => ancestor.id = id.cast_signed(),
        _ => ancestor.unreadable = Some("the goroutine's number cannot be read".to_owned()),
    }
    let Some(pcs) = field("pcs") else { return ancestor };
    let pcs = loader.load_typed("", std::sync::Arc::clone(&pcs.ty), pcs.addr);
    if let Some(why) = &pcs.unreadable {
        ancestor.unreadable = Some(why.clone());
        return ancestor;
    }
    let Content::Slice { len, elements, .. } = &pcs.content else {
        return ancestor;
    };
    let all = usize::try_from(*len) == Ok(elements.len());
    ancestor.frames = elements
        .iter()
        .enumerate()
        .filter_map(|(index, element)| {
            let Content::Uint(pc) = element.content else {
                return None;
            };
            Some(AncestorFrame {
                location: behind_call(places, ProcAddr(pc)),
                is_bottom: all && index + 1 == elements.len(),
            })
        })
        .collect();
    ancestor
}

/// The place of a call, given the address behind it.
fn behind_call(places: &Places<'_>, pc: ProcAddr) -> Location {
    let exact = places.bias().to_file(pc);
    let place = places.at(exact);
    let before = exact
        .offset(-1)
        .filter(|before| place.function.is_some_and(|function| function.entry <= *before));
    let place = before.map_or(place, |before| places.at(before));
    places.location(&place, pc)
}
