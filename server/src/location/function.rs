//! Functions and the places in them.

use std::collections::BTreeSet;

use spelunk_dwarf::{Binary, FileAddr, Function};

use super::function_name::{FunctionName, without_type_arguments};
use super::{LocationError, places_of_line};

/// The names of functions that fit; a generic function stands for its instances.
pub(super) fn candidates(binary: &Binary, base: &str, wanted: &FunctionName, limit: usize) -> Vec<String> {
    let mut found = BTreeSet::new();
    let functions = binary.functions().iter().map(|function| &*function.name);
    let inlined = binary.inlined_functions().iter().map(|name| &**name);
    for name in functions.chain(inlined) {
        // Comparing the end first is cheap, and there are tens of thousands of functions.
        if !name.contains(wanted.base.as_str()) {
            continue;
        }
        let generic = without_type_arguments(name);
        let named = generic.as_deref().unwrap_or(name);
        if named == base {
            return vec![named.to_owned()];
        }
        if found.len() < limit && wanted.matches(binary, named) {
            found.insert(named.to_owned());
        }
    }
    found.into_iter().collect()
}

/// The places of a function: each of its bodies behind the prologue, and each inlined copy; or, where `line` is more than 0, a line of it, counted from its
/// declaration. A generic function's name stands for all its instances.
pub(crate) fn places_of_function(binary: &Binary, name: &str, line: i64) -> Result<Vec<FileAddr>, LocationError> {
    let mut bodies = binary.functions_named(name);
    let mut copies: Vec<&str> = Vec::new();
    if binary
        .inlined_functions()
        .binary_search_by(|known| (**known).cmp(name))
        .is_ok()
    {
        copies.push(name);
    }
    if bodies.is_empty() && copies.is_empty() {
        let is_instance = |known: &str| known.contains('[') && without_type_arguments(known).as_deref() == Some(name);
        bodies = binary
            .functions()
            .iter()
            .filter(|body| is_instance(&body.name))
            .collect();
        let inlined = binary.inlined_functions().iter().map(|known| &**known);
        copies = inlined.filter(|known| is_instance(known)).collect();
    }
    if line > 0 {
        let declared = bodies.first().and_then(|function| binary.line_at(function.entry));
        let (file, first) = declared.ok_or_else(|| LocationError::NoFunction(name.to_owned()))?;
        return places_of_line(binary, &file, i64::from(first).saturating_add(line));
    }
    // Of a Go function and its ABI wrapper of the same name, the wrapper is not what is meant. A function of the runtime may be marked as a wrapper itself.
    let is_wrapper = |function: &&Function| binary.function_info(function).is_ok_and(|info| info.is_wrapper);
    let only_wrappers = bodies.iter().all(is_wrapper);
    let mut places: Vec<FileAddr> = bodies
        .iter()
        .filter(|function| only_wrappers || !is_wrapper(function))
        .map(|function| binary.prologue_end(function).unwrap_or(function.entry))
        .collect();
    for copy in copies {
        places.extend(binary.inlined_calls_of(copy).iter().map(|site| site.range.start));
    }
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        return Err(LocationError::NoFunction(name.to_owned()));
    }
    Ok(places)
}
