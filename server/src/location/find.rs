//! What a location expression means in a program.

use spelunk_dwarf::{Binary, FileAddr, Kind, LoadBias, ProcAddr};

use super::function::candidates;
use super::function_name::ends_in;
use super::spec::parse_literal;
use super::{LocationError, LocationSpec, pattern, places_of_function, places_of_line};
use crate::inspect::FrameScope;
use crate::value::{Content, LoadConfig};

/// More candidates than this are not looked for.
const MAX_CANDIDATES: usize = 5;

/// How the value of `*expression` is loaded.
const ADDRESS: LoadConfig = LoadConfig {
    follow_pointers: true,
    max_variable_recurse: 0,
    max_string_len: 0,
    max_array_values: 0,
    max_struct_fields: Some(0),
};

/// Where the program stands, for expressions that depend on it.
pub(crate) struct Here<'a> {
    /// The instruction.
    pub(crate) pc: FileAddr,
    /// What the names in an expression mean.
    pub(crate) scope: FrameScope<'a>,
}

/// A place that a location expression means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Code: all its addresses in the process, in order.
    Code(Vec<ProcAddr>),
    /// One address, whatever is there.
    Address(ProcAddr),
    /// A line that has no code.
    Line(String, i64),
}

impl Place {
    /// Its first address.
    pub(crate) fn first(&self) -> Option<ProcAddr> {
        match self {
            Place::Code(addresses) => addresses.first().copied(),
            Place::Address(address) => Some(*address),
            Place::Line(..) => None,
        }
    }
}

/// What a location expression means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The places.
    pub(crate) places: Vec<Place>,
    /// Another expression for them that means the same wherever the program stands; empty where it is the same already.
    pub(crate) substitute: String,
}

impl Found {
    fn of(place: Place) -> Found {
        Found {
            places: vec![place],
            substitute: String::new(),
        }
    }
}

/// In which program, and how, places are looked for.
pub(crate) struct Find<'a> {
    /// The program.
    pub(crate) binary: &'a Binary,
    /// Where it lies in the process.
    pub(crate) bias: LoadBias,
    /// The path that it was started by, from which paths with a leading dot are counted.
    pub(crate) program: &'a str,
    /// Where it stands, if that is to be looked at.
    pub(crate) here: Option<Here<'a>>,
    /// Whether lines without code are places, too.
    pub(crate) lines_without_code: bool,
    /// How the paths of sources in the binary are called by who asks.
    pub(crate) rename: &'a dyn Fn(&str) -> String,
}

impl Find<'_> {
    /// Finds what an expression means; `text` is the expression as it was given.
    pub(crate) fn find(&self, spec: &LocationSpec, text: &str) -> Result<Found, LocationError> {
        match spec {
            LocationSpec::Offset(offset) => self.offset(*offset),
            LocationSpec::Line(line) => {
                let (file, _) = self.current_line()?;
                self.line_from_here(&file, *line)
            }
            LocationSpec::Regex(regex) => self.regex(regex),
            LocationSpec::Address(expression) => self.address(expression),
            LocationSpec::Named { base, function, line } => {
                let files = self.files(base);
                let functions = match function {
                    Some(function) if files.len() < MAX_CANDIDATES => {
                        candidates(self.binary, base, function, MAX_CANDIDATES - files.len())
                    }
                    _ => Vec::new(),
                };
                self.named(&files, functions, *line, text)
            }
        }
    }

    /// The source files that a path means.
    fn files(&self, base: &str) -> Vec<&str> {
        let is_meant = |file: &&str| {
            let called = (self.rename)(file);
            ends_in(&called, base)
                || (base.starts_with('.') && !self.program.is_empty() && called == beside(self.program, base))
        };
        let files = self.binary.files().iter().map(|file| &**file);
        files.filter(is_meant).take(MAX_CANDIDATES).collect()
    }

    fn named(
        &self,
        files: &[&str],
        functions: Vec<String>,
        line: Option<i64>,
        text: &str,
    ) -> Result<Found, LocationError> {
        match (files, functions.as_slice()) {
            ([], []) => {
                // It may be an expression without its star.
                let not_found = LocationError::NotFound(text.to_owned());
                if self.here.is_none() {
                    return Err(not_found);
                }
                self.address(text).map_err(|_| not_found)
            }
            ([file], []) => {
                let line = line.ok_or("Malformed breakpoint location, no line offset specified")?;
                self.line(file, line).map(Found::of)
            }
            ([], [function]) => {
                let found = places_of_function(self.binary, function, line.unwrap_or(0));
                self.code(found).map(Found::of)
            }
            _ => {
                let files = files.iter().map(|file| (*file).to_owned());
                Err(LocationError::Ambiguous {
                    expression: text.to_owned(),
                    candidates: files.chain(functions).collect(),
                })
            }
        }
    }

    fn code(&self, places: Result<Vec<FileAddr>, LocationError>) -> Result<Place, LocationError> {
        let in_process = |places: Vec<FileAddr>| places.into_iter().map(|addr| self.bias.to_proc(addr)).collect();
        match places {
            Ok(places) => Ok(Place::Code(in_process(places))),
            Err(LocationError::NoStatement { file, line }) if self.lines_without_code => Ok(Place::Line(file, line)),
            Err(error) => Err(error),
        }
    }

    fn line(&self, file: &str, line: i64) -> Result<Place, LocationError> {
        self.code(places_of_line(self.binary, file, line))
    }

    fn line_from_here(&self, file: &str, line: i64) -> Result<Found, LocationError> {
        Ok(Found {
            places: vec![self.line(file, line)?],
            substitute: format!("{file}:{line}"),
        })
    }

    fn here(&self) -> Result<&Here<'_>, LocationError> {
        let nowhere = "could not determine current location (scope is nil)";
        self.here.as_ref().ok_or_else(|| nowhere.into())
    }

    /// The file and line where the program stands.
    fn current_line(&self) -> Result<(String, i64), LocationError> {
        let here = self.here()?;
        let at = self
            .binary
            .function_at(here.pc)
            .and_then(|_| self.binary.line_at(here.pc));
        let (file, line) = at.ok_or("could not determine current location")?;
        Ok((file.to_string(), i64::from(line)))
    }

    fn offset(&self, offset: i64) -> Result<Found, LocationError> {
        if offset == 0 {
            let pc = self.bias.to_proc(self.here()?.pc);
            let substitute = self.current_line().map(|(file, line)| format!("{file}:{line}"));
            return Ok(Found {
                places: vec![Place::Address(pc)],
                substitute: substitute.unwrap_or_default(),
            });
        }
        let (file, line) = self.current_line()?;
        self.line_from_here(&file, line.saturating_add(offset))
    }

    fn regex(&self, regex: &str) -> Result<Found, LocationError> {
        if self.here.is_none() {
            return Err("could not determine location (scope is nil)".into());
        }
        let regex = pattern::compile(regex)
            .map_err(|error| LocationError::Failed(format!("invalid filter argument: {error}")))?;
        let bodies = self.binary.functions().iter().map(|function| &*function.name);
        let has_no_body = |name: &&str| self.binary.function_named(name).is_none();
        let copies = self
            .binary
            .inlined_functions()
            .iter()
            .map(|name| &**name)
            .filter(has_no_body);
        let places = copies
            .chain(bodies)
            .filter(|name| regex.is_match(name))
            .filter_map(|name| self.code(places_of_function(self.binary, name, 0)).ok())
            .collect();
        Ok(Found {
            places,
            substitute: String::new(),
        })
    }

    fn address(&self, expression: &str) -> Result<Found, LocationError> {
        let Some(here) = &self.here else {
            let address = parse_literal(expression).ok_or("could not determine current location (scope is nil)")?;
            return Ok(Found::of(Place::Address(ProcAddr(address.cast_unsigned()))));
        };
        let value = here
            .scope
            .evaluate(expression, ADDRESS)
            .map_err(|error| LocationError::Failed(error.to_string()))?;
        if let Some(why) = &value.unreadable {
            return Err(LocationError::Failed(why.clone()));
        }
        match &value.content {
            Content::Int(address) => Ok(Found::of(Place::Address(ProcAddr(address.cast_unsigned())))),
            Content::Uint(address) => Ok(Found::of(Place::Address(ProcAddr(*address)))),
            Content::Func { name, .. } => {
                let function = self.binary.function_named(name);
                let function = function.ok_or_else(|| LocationError::NotFound(expression.to_owned()))?;
                let start = self.binary.prologue_end(function).unwrap_or(function.entry);
                Ok(Found {
                    places: vec![Place::Address(self.bias.to_proc(start))],
                    substitute: value.name.clone(),
                })
            }
            _ => Err(LocationError::Failed(format!(
                "wrong expression kind: {}",
                kind_name(&value.ty.kind)
            ))),
        }
    }
}

/// The name that Go's `reflect.Kind` has, for the kinds that are no address.
fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Float => "float64",
        Kind::Complex => "complex128",
        Kind::String => "string",
        Kind::Slice { .. } => "slice",
        Kind::Array { .. } => "array",
        Kind::Struct { .. } => "struct",
        Kind::Pointer { .. } => "ptr",
        Kind::UnsafePointer => "unsafe.Pointer",
        Kind::Interface { .. } => "interface",
        Kind::Map { .. } => "map",
        Kind::Chan { .. } => "chan",
        _ => "invalid",
    }
}

/// A path that is given from the directory of the program, as Go's `path.Join` joins them.
fn beside(program: &str, relative: &str) -> String {
    let directory = program.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(relative.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    if program.starts_with('/') {
        format!("/{joined}")
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn a_path_is_counted_from_the_programs_directory() {
        assert_eq!(beside("/a/b/prog", "./main.go"), "/a/b/main.go");
        assert_eq!(beside("/a/b/prog", "../c/main.go"), "/a/c/main.go");
        assert_eq!(beside("prog", "./main.go"), "main.go");
    }
}
