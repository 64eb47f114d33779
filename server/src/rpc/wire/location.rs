//! Places in the program's code.

use spelunk_dwarf::ProcAddr;

use crate::debugger::Program;
use crate::inspect;
use crate::location::Place;
use crate::rpc::go_json::{Slice, wire};

wire! { "api";
    /// A place in the code.
    pub(crate) struct Location {
        /// The address.
        pc: u64 = "pc",
        /// The source file.
        file: String = "file",
        /// The line in it.
        line: isize = "line",
        /// The function.
        function: Option<Box<Function>> = "function" omitempty,
        /// All addresses, for an answer of `FindLocation`.
        pcs: Slice<u64> = "pcs" omitempty,
        /// The process of each of them.
        pc_pids: Slice<isize> = "pcpids" omitempty,
    }

    /// A function.
    pub(crate) struct Function {
        /// Its name with its package.
        name: String = "name",
        /// Its first address.
        value: u64 = "value",
        /// Always 0.
        type_number: u8 = "type",
        /// Always 0.
        go_type: u64 = "goType",
        /// Whether the compiler optimised it.
        optimized: bool = "optimized",
    }
}

impl Location {
    /// A place as a client sees it.
    pub(crate) fn of(program: &Program, location: &inspect::Location) -> Location {
        Location {
            pc: location.pc.0,
            file: file_of(location),
            line: location.line as isize,
            function: Function::of(program, location),
            ..Location::default()
        }
    }
}

impl Location {
    /// A place that a location expression means, in a process.
    pub(crate) fn of_place(program: &Program, place: &Place, pid: i32) -> Location {
        let pcs = match place {
            Place::Line(file, line) => {
                return Location {
                    file: file.clone(),
                    line: isize::try_from(*line).unwrap_or_default(),
                    ..Location::default()
                };
            }
            Place::Code(addresses) => addresses.as_slice(),
            Place::Address(_) => &[],
        };
        let pc = place.first().unwrap_or(ProcAddr(0));
        let around = program.function_at(pc);
        let at = around
            .as_ref()
            .and_then(|_| program.binary().line_at(program.bias().to_file(pc)));
        let (file, line) = at.map_or_else(Default::default, |(file, line)| (file.to_string(), line as isize));
        Location {
            pc: pc.0,
            file,
            line,
            function: around.map(|function| {
                Box::new(Function {
                    name: function.name.to_string(),
                    value: function.entry.0,
                    optimized: function.optimized,
                    ..Function::default()
                })
            }),
            pcs: pcs.iter().map(|pc| pc.0).collect(),
            pc_pids: pcs.iter().map(|_| pid as isize).collect(),
        }
    }
}

impl Function {
    /// The function of a place. An inlined one has the entry of the function that it was inlined into.
    pub(crate) fn of(program: &Program, location: &inspect::Location) -> Option<Box<Function>> {
        let name = location.function.as_ref()?;
        let around = program.function_at(location.pc);
        Some(Box::new(Function {
            name: name.to_string(),
            value: around.as_ref().map_or(0, |function| function.entry.0),
            optimized: around.is_some_and(|function| function.optimized),
            ..Function::default()
        }))
    }
}

/// The source file of a place; empty where it is not known.
pub(crate) fn file_of(location: &inspect::Location) -> String {
    location.file.as_deref().unwrap_or_default().to_owned()
}
