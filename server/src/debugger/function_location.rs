//! Function names as a user gives them to a function breakpoint, and the functions they mean.
//!
//! The forms and the texts are those of Delve's location language (`Documentation/cli/locspec.md`): `f`, `pkg.f`, `pkg.(*T).M`, `(*T).M`, `T.M`,
//! `path/to/pkg.f`, each with an optional `:line`.

use std::collections::BTreeSet;

use spelunk_dwarf::{Binary, FileAddr};

/// More candidates than this are not looked for.
const MAX_CANDIDATES: usize = 5;

/// The parts of a function's name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts<'n> {
    package: &'n str,
    receiver: &'n str,
    base: &'n str,
}

/// What the user wrote, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    package: String,
    /// The package was given with a leading slash: it must be the whole path.
    absolute: bool,
    receiver: String,
    package_or_receiver: String,
    base: String,
}

/// Where the function that a user named begins, behind its prologue, and where it was inlined. The error is Delve's text.
pub(super) fn find_function(binary: &Binary, name: &str) -> Result<Vec<FileAddr>, String> {
    let (base, line) = parse(name)?;
    let unusable = || {
        format!(
            "breakpoint name {name:?} could not be parsed as a function. name must be in the format 'funcName', 'funcName:line' or 'fileName:line'"
        )
    };
    let wanted = Wanted::parse(base).ok_or_else(unusable)?;
    if name.starts_with('.') {
        return Err("breakpoint names that are relative paths are not supported".to_owned());
    }
    let files: Vec<&str> = binary
        .files()
        .iter()
        .map(|file| &**file)
        .filter(|file| ends_in(file, base))
        .take(MAX_CANDIDATES)
        .collect();
    let functions = if files.len() < MAX_CANDIDATES {
        candidates(binary, base, &wanted, MAX_CANDIDATES - files.len())
    } else {
        Vec::new()
    };
    match (files.as_slice(), functions.as_slice()) {
        ([], []) => Err(format!("location {name:?} not found")),
        ([file], []) => {
            let line = line.ok_or("Malformed breakpoint location, no line offset specified")?;
            let statements = binary.statements(file, line);
            if statements.is_empty() {
                return Err(format!(
                    "could not find statement at {file}:{line}, please use a line with a statement"
                ));
            }
            Ok(statements.iter().map(|statement| statement.addr).collect())
        }
        ([], [function]) => places(binary, function, line.unwrap_or(0)),
        _ => {
            let all: Vec<&str> = files.into_iter().chain(functions.iter().map(String::as_str)).collect();
            Err(format!("Location {name:?} ambiguous: {}…", all.join(", ")))
        }
    }
}

/// Splits off `:line`.
fn parse(name: &str) -> Result<(&str, Option<u32>), String> {
    let malformed = |at: usize, why: &str| format!("Malformed breakpoint location {name:?} at {at}: {why}");
    let not_a_function = || {
        format!(
            "breakpoint name {name:?} could not be parsed as a function. name must be in the format 'funcName', 'funcName:line' or 'fileName:line'"
        )
    };
    if name.is_empty() {
        return Err(malformed(0, "empty string"));
    }
    let is_regex = name.len() > 1 && name.starts_with('/') && name.ends_with('/');
    let is_number = name.parse::<i64>().is_ok() || name.starts_with("0x");
    if is_regex || is_number || name.starts_with(['+', '-', '*']) {
        return Err(not_a_function());
    }
    match name.rsplit_once(':') {
        None => Ok((name, None)),
        Some((base, line)) => match line.parse::<u32>() {
            Ok(line) => Ok((base, Some(line))),
            Err(_) => Err(malformed(
                name.len() - line.len(),
                "line offset negative or not a number",
            )),
        },
    }
}

impl Wanted {
    fn parse(name: &str) -> Option<Wanted> {
        let directory = name.rfind('/');
        let (path, rest) = name.split_at(directory.unwrap_or(0));
        let mut parts = rest.split('.');
        let first = format!("{path}{}", parts.next().unwrap_or_default());
        let rest: Vec<&str> = parts.collect();
        let mut wanted = Wanted::default();
        match rest.as_slice() {
            [] => wanted.base = first,
            [base] => {
                (*base).clone_into(&mut wanted.base);
                let plain = without_star(&first);
                if plain != first {
                    plain.clone_into(&mut wanted.receiver);
                } else if plain.contains('/') {
                    wanted.package = first;
                } else {
                    wanted.package_or_receiver = first;
                }
            }
            [receiver, base] => {
                (*base).clone_into(&mut wanted.base);
                without_star(receiver).clone_into(&mut wanted.receiver);
                wanted.package = first;
            }
            _ => return None,
        }
        if wanted.package.starts_with('/') {
            wanted.package.remove(0);
            wanted.absolute = true;
        }
        (!wanted.base.contains('/') && !wanted.receiver.contains('/')).then_some(wanted)
    }

    fn matches(&self, name: &str) -> bool {
        let parts = Parts::of(name);
        let receiver = without_star(parts.receiver);
        let package_fits = |wanted: &str| ends_in(parts.package, wanted);
        parts.base == self.base
            && (self.receiver.is_empty() || self.receiver == receiver)
            && (self.package.is_empty()
                || if self.absolute {
                    self.package == parts.package
                } else {
                    package_fits(&self.package)
                })
            && (self.package_or_receiver.is_empty()
                || package_fits(&self.package_or_receiver)
                || self.package_or_receiver == receiver)
    }
}

impl<'n> Parts<'n> {
    /// Takes `path/pkg.(*T).M` apart. Dots between the brackets of type arguments separate nothing.
    fn of(name: &'n str) -> Parts<'n> {
        let whole = Parts {
            base: name,
            ..Parts::default()
        };
        if name.starts_with("go:") || name.starts_with("type:") {
            return whole;
        }
        let (mut first, mut second) = (None, None);
        let mut depth = 0u32;
        for (at, c) in name.char_indices() {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                '/' if depth == 0 => (first, second) = (None, None),
                '.' if depth == 0 && first.is_none() => first = Some(at),
                '.' if depth == 0 && second.is_none() => second = Some(at),
                _ => {}
            }
        }
        match (first, second) {
            (None, _) => whole,
            (Some(dot), None) => Parts {
                package: &name[..dot],
                receiver: "",
                base: &name[dot + 1..],
            },
            (Some(dot), Some(other)) => Parts {
                package: &name[..dot],
                receiver: &name[dot + 1..other],
                base: &name[other + 1..],
            },
        }
    }
}

/// The package, the receiver and the rest of a function's name; the first two may be empty.
pub(super) fn base_name(name: &str) -> &str {
    Parts::of(name).base
}

/// `main.Map[go.shape.int]` without its type arguments; `None` when it has none.
fn without_type_arguments(name: &str) -> Option<String> {
    let parts = Parts::of(name);
    if parts.package.is_empty() || !(parts.receiver.contains('[') || parts.base.contains('[')) {
        return None;
    }
    let strip = |part: &str| match (part.find('['), part.rfind(']')) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &part[..start], &part[end + 1..]),
        _ => part.to_owned(),
    };
    let (receiver, base) = (strip(parts.receiver), strip(parts.base));
    Some(if receiver.is_empty() {
        format!("{}.{base}", parts.package)
    } else {
        format!("{}.{receiver}.{base}", parts.package)
    })
}

/// `(*T)` without its decoration.
fn without_star(receiver: &str) -> &str {
    receiver
        .strip_prefix("(*")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(receiver)
}

/// Whether a path is the wanted one or ends in it, whole elements only.
fn ends_in(path: &str, wanted: &str) -> bool {
    path == wanted
        || path
            .strip_suffix(wanted)
            .is_some_and(|rest| rest.ends_with('/') && rest.len() > 1)
}

/// The names of functions that fit; a generic function stands for its instances.
fn candidates(binary: &Binary, base: &str, wanted: &Wanted, limit: usize) -> Vec<String> {
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
        if found.len() < limit && wanted.matches(named) {
            found.insert(named.to_owned());
        }
    }
    found.into_iter().collect()
}

/// The places of a function: each of its bodies behind the prologue, and each inlined copy; or a line of it, counted from its declaration.
fn places(binary: &Binary, name: &str, line: u32) -> Result<Vec<FileAddr>, String> {
    let bodies: Vec<_> = binary
        .functions()
        .iter()
        .filter(|function| {
            &*function.name == name
                || (function.name.contains('[') && without_type_arguments(&function.name).as_deref() == Some(name))
        })
        .collect();
    let copies: BTreeSet<&str> = binary
        .inlined_functions()
        .iter()
        .map(|inlined| &**inlined)
        .filter(|inlined| {
            *inlined == name || (inlined.contains('[') && without_type_arguments(inlined).as_deref() == Some(name))
        })
        .collect();
    if line > 0 {
        let declared = bodies.first().and_then(|function| binary.line_at(function.entry));
        let (file, first) = declared.ok_or_else(|| format!("location {name:?} not found"))?;
        let wanted = first.saturating_add(line);
        let statements = binary.statements(&file, wanted);
        if statements.is_empty() {
            return Err(format!(
                "could not find statement at {file}:{wanted}, please use a line with a statement"
            ));
        }
        return Ok(statements.iter().map(|statement| statement.addr).collect());
    }
    let mut places: Vec<FileAddr> = bodies
        .iter()
        .filter(|function| {
            // Of a Go function and its ABI wrapper of the same name, the wrapper is not what is meant.
            bodies.len() == 1 || !binary.function_info(function).is_ok_and(|info| info.is_wrapper)
        })
        .map(|function| binary.prologue_end(function).unwrap_or(function.entry))
        .collect();
    for copy in copies {
        places.extend(binary.inlined_calls_of(copy).iter().map(|site| site.range.start));
    }
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        return Err(format!("could not find function {name}\n"));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let parts = |name| {
            let parts = Parts::of(name);
            (parts.package, parts.receiver, parts.base)
        };
        assert_eq!(parts("main.f"), ("main", "", "f"));
        assert_eq!(parts("a.b/c.(*T).M"), ("a.b/c", "(*T)", "M"));
        assert_eq!(parts("main.main.func1.2"), ("main", "main", "func1.2"));
        assert_eq!(parts("main.Map[go.shape.int]"), ("main", "", "Map[go.shape.int]"));
        assert_eq!(parts("type:.eq.main.T"), ("", "", "type:.eq.main.T"));
        assert_eq!(parts("_rt0_amd64"), ("", "", "_rt0_amd64"));
    }

    #[test]
    fn type_arguments_are_left_out() {
        assert_eq!(
            without_type_arguments("main.Map[go.shape.int]").as_deref(),
            Some("main.Map")
        );
        assert_eq!(
            without_type_arguments("main.(*List[go.shape.[]int]).Push").as_deref(),
            Some("main.(*List).Push")
        );
        assert_eq!(without_type_arguments("main.f"), None);
    }

    #[test]
    fn every_form_of_a_name_matches() {
        let matches = |wanted: &str, name: &str| Wanted::parse(wanted).is_some_and(|wanted| wanted.matches(name));
        for wanted in [
            "M",
            "T.M",
            "(*T).M",
            "pkg.M",
            "pkg.(*T).M",
            "b/pkg.(*T).M",
            "a/b/pkg.T.M",
            "/a/b/pkg.T.M",
        ] {
            assert!(matches(wanted, "a/b/pkg.(*T).M"), "{wanted}");
        }
        for wanted in ["N", "U.M", "kg.M", "/b/pkg.T.M", "main.(*T).M"] {
            assert!(!matches(wanted, "a/b/pkg.(*T).M"), "{wanted}");
        }
        assert!(matches("f", "main.f"));
        assert!(matches("main.f", "main.f"));
        assert!(!matches("main.f", "main.f.func1"));
    }

    #[test]
    fn what_is_no_function_is_refused() {
        for name in ["/rx.*/", "+1", "-1", "*0x1234", "42"] {
            let error = parse(name).expect_err(name);
            assert!(error.contains("could not be parsed as a function"), "{error}");
        }
        assert_eq!(
            parse("").expect_err("empty"),
            "Malformed breakpoint location \"\" at 0: empty string"
        );
        assert_eq!(
            parse("f:x").expect_err("no line"),
            "Malformed breakpoint location \"f:x\" at 2: line offset negative or not a number"
        );
        assert_eq!(parse("f:3"), Ok(("f", Some(3))));
    }
}
