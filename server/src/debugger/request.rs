//! Breakpoints as clients of Delve's JSON-RPC think of them: each made, changed and taken away by itself, and looked at by all.
//!
//! The fields are those of Delve's `api.Breakpoint` (`service/api/types.go`, Delve 1.27.1).

use std::collections::BTreeMap;

use spelunk_dwarf::ProcAddr;

use super::BreakpointId;
use crate::location::{LocationSpec, substitute};
use crate::value::LoadConfig;

/// How values are to be loaded, as a client wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AskedLoad {
    /// Whether pointees are loaded.
    pub(crate) follow_pointers: bool,
    /// How many levels are opened below the first.
    pub(crate) max_variable_recurse: i64,
    /// Bytes of a string.
    pub(crate) max_string_len: i64,
    /// Elements of an array, slice or map.
    pub(crate) max_array_values: i64,
    /// Fields of a struct; negative for all.
    pub(crate) max_struct_fields: i64,
}

impl AskedLoad {
    /// The same for the loader: less than nothing is nothing.
    pub(crate) fn config(&self) -> LoadConfig {
        let limit = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        LoadConfig {
            follow_pointers: self.follow_pointers,
            max_variable_recurse: limit(self.max_variable_recurse),
            max_string_len: limit(self.max_string_len),
            max_array_values: limit(self.max_array_values),
            max_struct_fields: u32::try_from(self.max_struct_fields).ok(),
        }
    }
}

/// What a client may say of a breakpoint beside its place, and may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a choice of the client's, as in Delve's `api.Breakpoint`"
)]
pub(crate) struct BreakpointTerms {
    /// A name for it; may be empty.
    pub(crate) name: String,
    /// A Go expression that must be true; empty for none.
    pub(crate) condition: String,
    /// On the number of hits; empty for none.
    pub(crate) hit_condition: String,
    /// Whether that is the number of each goroutine's own hits.
    pub(crate) hits_per_goroutine: bool,
    /// Whether passings are told rather than stopped at.
    pub(crate) tracepoint: bool,
    /// The same for the returns of a traced function.
    pub(crate) trace_return: bool,
    /// Whether the goroutine is collected at a hit.
    pub(crate) goroutine: bool,
    /// How many frames are collected at a hit.
    pub(crate) stacktrace: i64,
    /// Expressions that are evaluated at a hit.
    pub(crate) variables: Vec<String>,
    /// How the arguments are loaded at a hit, if they are.
    pub(crate) load_args: Option<AskedLoad>,
    /// How the local variables are loaded at a hit, if they are.
    pub(crate) load_locals: Option<AskedLoad>,
    /// What the client executes at a hit.
    pub(crate) custom_commands: Vec<String>,
    /// The function from which calls are followed, for a trace.
    pub(crate) root_function: String,
    /// How deep calls are followed, for a trace.
    pub(crate) follow_calls: i64,
}

/// Where a breakpoint is to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BreakpointPlace {
    /// On a line of a file, as the binary names it.
    Line(String, i64),
    /// In a function, by its whole name: behind its prologue, or on a line counted from its declaration.
    Function(String, i64),
    /// At instructions of targets, which are named by their process ids.
    Addresses(Vec<(i32, ProcAddr)>),
    /// Wherever the location expression says.
    Nowhere,
}

/// A location expression that a breakpoint follows.
#[derive(Clone, Debug)]
pub(crate) struct LocationExpression {
    /// As the client wrote it.
    pub(crate) text: String,
    /// The same, taken apart.
    pub(crate) spec: LocationSpec,
    /// How the client calls the directories of the sources: (in the binary, at the client).
    pub(crate) rules: Vec<(String, String)>,
    /// The path that the program was started by.
    pub(crate) program: String,
}

/// A breakpoint that a client wants.
#[derive(Clone, Debug)]
pub(crate) struct BreakpointRequest {
    /// The number that it is to have; 0 and less for any.
    pub(crate) id: i64,
    /// Where.
    pub(crate) place: BreakpointPlace,
    /// Where, if the place is nowhere.
    pub(crate) expression: Option<LocationExpression>,
    /// Whether it may wait for code that is not there yet.
    pub(crate) suspended: bool,
    /// On which terms.
    pub(crate) terms: BreakpointTerms,
}

/// How often a breakpoint was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// By all goroutines together.
    pub(crate) total: u64,
    /// By each goroutine.
    pub(crate) by_goroutine: BTreeMap<i64, u64>,
}

/// What a breakpoint is called by where it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The source file.
    pub(crate) file: String,
    /// The line in it.
    pub(crate) line: i64,
    /// The function.
    pub(crate) function: String,
}

/// Where a breakpoint lies in one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BreakpointAddress {
    /// The address.
    pub(crate) addr: ProcAddr,
    /// The function that it is in; empty where it is in none.
    pub(crate) function: String,
    /// The target's process id.
    pub(crate) pid: i32,
}

/// A breakpoint as it is.
#[derive(Clone, Debug)]
pub(crate) struct BreakpointView {
    /// Its number.
    pub(crate) id: BreakpointId,
    /// Its terms; the conditions as they were understood.
    pub(crate) terms: BreakpointTerms,
    /// What it is called by where it lies.
    pub(crate) at: Shown,
    /// Its addresses in all targets. None where it is in no program.
    pub(crate) addresses: Vec<BreakpointAddress>,
    /// The location expression of one that follows such; may be empty.
    pub(crate) expression: String,
    /// Whether it is switched on.
    pub(crate) enabled: bool,
    /// How often it was hit.
    pub(crate) hits: Tally,
}

/// An address at which the program is stopped.
#[derive(Clone, Debug)]
pub(crate) struct PhysicalView {
    /// The address.
    pub(crate) addr: ProcAddr,
    /// The function that it is in.
    pub(crate) function: String,
    /// The byte that was there before.
    pub(crate) original: Option<u8>,
    /// Whose it is; `None` for a step's.
    pub(crate) owner: Option<BreakpointView>,
}

impl BreakpointTerms {
    /// Whether what differs from others changes nothing of how a breakpoint lies in the program.
    pub(super) fn is_carried_like(&self, other: &BreakpointTerms) -> bool {
        self == other || !(self.is_trace() || other.is_trace())
    }

    /// Whether passings are told rather than stopped at.
    pub(super) fn is_trace(&self) -> bool {
        self.tracepoint || self.trace_return
    }

    /// Whether a record of the kernel can hold all that is collected.
    pub(super) fn fits_into_a_record(&self) -> bool {
        let fits = |asked: &AskedLoad| {
            let (config, most) = (asked.config(), LoadConfig::DAP);
            config.max_variable_recurse <= most.max_variable_recurse
                && config.max_string_len <= most.max_string_len
                && config.max_array_values <= most.max_array_values
        };
        self.stacktrace <= 0
            && !self.goroutine
            && self.load_locals.is_none()
            && self.custom_commands.is_empty()
            && self.load_args.as_ref().is_none_or(fits)
    }
}

impl LocationExpression {
    /// What the client calls a source file of the binary.
    pub(super) fn renamed(&self, path: &str) -> String {
        renamed(&self.rules, path)
    }
}

/// A path of the binary by a client's rules: (in the binary, at the client).
pub(super) fn renamed(rules: &[(String, String)], path: &str) -> String {
    substitute(path, rules.iter().map(|(from, to)| (from.as_str(), to.as_str())))
}
