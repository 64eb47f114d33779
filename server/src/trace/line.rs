//! A call or a return as a line of text, as `dlv trace` prints it with its ptrace backend.

use std::fmt::Write;
use std::sync::Arc;

use smallvec::SmallVec;
use spelunk_bpf::RecordView;
use spelunk_dwarf::{Binary, ProcAddr, Type, TypeId};

use super::capture::Captured;
use super::function::{SiteKind, SitePlan};
use super::record::{Live, RecordMemory};
use crate::value::{LoadConfig, Loader, Memory, Style, Value, shorten_type};

/// How much of each value is shown, as `--verbose` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verbosity(pub(crate) u8);

impl Verbosity {
    /// What is loaded at this verbosity (Delve's cmd/dlv/cmds/commands.go has the same table).
    pub(crate) fn load_config(self) -> LoadConfig {
        let limits = |recurse, string, array, fields| LoadConfig {
            follow_pointers: false,
            max_variable_recurse: recurse,
            max_string_len: string,
            max_array_values: array,
            max_struct_fields: Some(fields),
        };
        match self.0 {
            0 => limits(0, 64, 0, 3),
            1 => limits(0, 32, 0, 0),
            2 => limits(1, 64, 5, 3),
            3 => limits(2, 128, 10, 10),
            _ => LoadConfig {
                follow_pointers: true,
                max_struct_fields: None,
                ..limits(3, 256, 100, 0)
            },
        }
    }

    /// Appends a value as it stands in the line.
    fn push_value(self, out: &mut String, value: &Value) {
        let style = match self.0 {
            0 => Style::default(),
            1 => return out.extend(["<", &shorten_type(&value.ty.name), ">"]),
            2 => Style {
                shorten_types: true,
                ..Style::default()
            },
            _ => Style {
                shorten_types: true,
                newlines: true,
                ..Style::default()
            },
        };
        value.push_text(out, style);
    }
}

/// What the type parameters of a generic function stand for in one instantiation, by index in its dictionary.
pub(crate) type TypeArguments = Vec<Option<TypeId>>;

/// Reads a generic function's dictionary at its call: its address, and the types it names.
pub(crate) fn dictionary(
    binary: &Binary,
    site: &SitePlan,
    record: &RecordView<'_>,
    live: Option<Live<'_>>,
) -> Option<(u64, TypeArguments)> {
    let dictionary = site.dictionary.as_ref()?;
    let mut memory = RecordMemory::new(binary, site.addr, record, live);
    let place = memory.variable(
        &dictionary.pointer,
        &site.plan,
        record,
        canonical_frame_address(site, record),
        0,
    );
    let address = memory.read_uint(place, 8).ok()?;
    let word = |index: u64| {
        let runtime_type = memory.read_uint(ProcAddr(address.wrapping_add(8 * index)), 8).ok()?;
        binary.type_by_runtime(memory.bias().to_file(ProcAddr(runtime_type)))
    };
    Some((address, (0..dictionary.words).map(word).collect()))
}

/// The types of a site's variables, looked up once.
pub(crate) struct SiteTypes(Vec<VariableType>);

enum VariableType {
    /// Always the same.
    Known(Arc<Type>),
    /// That of a generic function's parameter is a shape that many types share; this is its index in the dictionary.
    Shape(usize),
    /// It cannot be read; the loader says why.
    Unknown,
}

impl SiteTypes {
    /// Looks up the types of the variables of `site`.
    pub(crate) fn of(binary: &Binary, site: &SitePlan) -> SiteTypes {
        let one = |variable: &Captured| match binary.type_info(variable.ty) {
            Ok(ty) => match ty.dict_index.and_then(|index| usize::try_from(index).ok()) {
                Some(index) => VariableType::Shape(index),
                None => VariableType::Known(ty),
            },
            Err(_) => VariableType::Unknown,
        };
        SiteTypes(site.variables.iter().map(one).collect())
    }
}

/// Puts the values of a record's variables into `values`, in order, without their names. `arguments` are those of a generic function, as far as they are known.
pub(crate) fn load_values(
    values: &mut Vec<Value>,
    binary: &Binary,
    (site, types): (&SitePlan, &SiteTypes),
    record: &RecordView<'_>,
    config: LoadConfig,
    arguments: &[Option<TypeId>],
    live: Option<Live<'_>>,
) {
    let mut memory = RecordMemory::new(binary, site.addr, record, live);
    let cfa = canonical_frame_address(site, record);
    let place = |(number, variable): (usize, &Captured)| memory.variable(variable, &site.plan, record, cfa, number);
    let places: SmallVec<[ProcAddr; 8]> = site.variables.iter().enumerate().map(place).collect();
    let loader = Loader {
        binary,
        bias: memory.bias(),
        memory: &memory,
        config,
    };
    let load = |((variable, ty), addr): ((&Captured, &VariableType), ProcAddr)| match ty {
        VariableType::Known(ty) => loader.load_typed("", Arc::clone(ty), addr),
        VariableType::Shape(index) => loader.load(
            "",
            arguments.get(*index).copied().flatten().unwrap_or(variable.ty),
            addr,
        ),
        VariableType::Unknown => loader.load("", variable.ty, addr),
    };
    values.clear();
    values.extend(site.variables.iter().zip(&types.0).zip(places).map(load));
}

/// The canonical frame address at a hit.
pub(crate) fn canonical_frame_address(site: &SitePlan, record: &RecordView<'_>) -> ProcAddr {
    ProcAddr(record.sp().wrapping_add_signed(site.cfa_offset))
}

/// How far below the upper end of its goroutine's stack the frame lies.
pub(crate) fn depth(site: &SitePlan, record: &RecordView<'_>) -> u64 {
    record.stack_hi().wrapping_sub(canonical_frame_address(site, record).0)
}

/// Appends the line of a call or return with these values, and its newline. `took` is how long the call took, in nanoseconds, where that is to be shown.
pub(crate) fn push_line(
    out: &mut String,
    site: &SitePlan,
    goroutine: i64,
    values: &[Value],
    verbosity: Verbosity,
    took: Option<u64>,
) {
    let function = &site.function;
    // Writing to a String cannot fail.
    let _ = match site.kind {
        SiteKind::Call => {
            let lines = verbosity.0 >= 3;
            let (open, between) = if lines { ("(\n", "\n") } else { ("(", ", ") };
            let _ = write!(out, "> goroutine({goroutine}): {function}{open}");
            for (index, (variable, value)) in site.variables.iter().zip(values).enumerate() {
                if index > 0 {
                    out.push_str(between);
                }
                match verbosity.0 {
                    0 => {}
                    1 | 2 => out.extend([&*variable.name, ": "]),
                    _ => out.extend(["  ", &*variable.name, ": "]),
                }
                verbosity.push_value(out, value);
            }
            writeln!(out, ")")
        }
        SiteKind::Return => {
            let _ = write!(out, ">> goroutine({goroutine}): {function} => (");
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                verbosity.push_value(out, value);
            }
            match took {
                Some(nanoseconds) => writeln!(out, ") [{}]", duration(nanoseconds)),
                None => writeln!(out, ")"),
            }
        }
        SiteKind::Growth | SiteKind::Recovery | SiteKind::GoroutineExit | SiteKind::Line(_) => Ok(()),
    };
}

/// A duration with three or four digits and its unit.
fn duration(nanoseconds: u64) -> String {
    let ns = nanoseconds as f64;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{:.2}µs", ns / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2}ms", ns / 1e6),
        _ => format!("{:.2}s", ns / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_read_well() {
        let shown: Vec<String> = [999, 1_500, 2_345_678, 61_000_000_000]
            .into_iter()
            .map(duration)
            .collect();
        assert_eq!(shown, ["999ns", "1.50µs", "2.35ms", "61.00s"]);
    }
}
