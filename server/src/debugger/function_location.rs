//! The names of function breakpoints: location expressions that name a function, or a line of a file.

use spelunk_dwarf::{Binary, FileAddr, LoadBias};

use crate::location::{Find, LocationSpec, Place};

/// Where what a user named begins, behind its prologue, and where it was inlined. The error is Delve's text.
pub(super) fn find_function(binary: &Binary, name: &str) -> Result<Vec<FileAddr>, String> {
    let spec = parse(name)?;
    let bias = LoadBias::default();
    let find = Find {
        binary,
        bias,
        program: "",
        here: None,
        lines_without_code: false,
        rename: &str::to_owned,
    };
    let found = find.find(&spec, name).map_err(|error| error.to_string())?;
    let addresses = found.places.iter().flat_map(|place| match place {
        Place::Code(addresses) => addresses.as_slice(),
        Place::Address(_) | Place::Line(..) => &[],
    });
    Ok(addresses.map(|addr| bias.to_file(*addr)).collect())
}

/// A location expression that can name a function.
fn parse(name: &str) -> Result<LocationSpec, String> {
    let spec = LocationSpec::parse(name).map_err(|error| error.to_string())?;
    if !matches!(spec, LocationSpec::Named { function: Some(_), .. }) {
        return Err(format!(
            "breakpoint name {name:?} could not be parsed as a function. name must be in the format 'funcName', 'funcName:line' or 'fileName:line'"
        ));
    }
    if name.starts_with('.') {
        return Err("breakpoint names that are relative paths are not supported".to_owned());
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_function_is_refused() {
        let error = |name: &str| parse(name).expect_err(name);
        for name in ["/rx.*/", "+1", "-1", "*0x1234", "42"] {
            let error = error(name);
            assert!(error.contains("could not be parsed as a function"), "{error}");
        }
        assert_eq!(error(""), "Malformed breakpoint location \"\" at 0: empty string");
        assert_eq!(
            error("f:x"),
            "Malformed breakpoint location \"f:x\" at 2: line offset negative or not a number"
        );
    }
}
