//! The functions that goroutines were started with. For `go f(x)` the compiler starts a wrapper that calls `f` with its arguments.

use std::collections::HashMap;

use iced_x86::{Decoder, DecoderOptions, FlowControl};
use spelunk_dwarf::{Binary, FileAddr};

/// Wrappers are short; longer functions are not looked through.
const MAX_WRAPPER: u64 = 4096;

/// What a goroutine was started with.
#[derive(Clone, Copy)]
pub(super) struct StartFunction<'b> {
    /// The name of the function, wrapper or not.
    pub(super) name: Option<&'b str>,
    /// The entry of the function that the source names: the one behind a wrapper.
    pub(super) shown: Option<FileAddr>,
}

/// Start functions that were looked at.
pub(super) struct StartFunctions<'b> {
    binary: &'b Binary,
    known: HashMap<FileAddr, StartFunction<'b>>,
}

impl<'b> StartFunctions<'b> {
    pub(super) fn new(binary: &'b Binary) -> StartFunctions<'b> {
        StartFunctions {
            binary,
            known: HashMap::new(),
        }
    }

    /// The function that `pc` (`g.startpc`) is in.
    pub(super) fn of(&mut self, pc: FileAddr) -> StartFunction<'b> {
        let binary = self.binary;
        *self.known.entry(pc).or_insert_with(|| {
            let function = binary.function_at(pc);
            StartFunction {
                name: function.map(|function| &*function.name),
                shown: function.map(|function| {
                    let is_wrapper = binary.function_info(function).is_ok_and(|info| info.is_wrapper);
                    let wrapped = || wrapped_by(binary, function.entry, function.size());
                    is_wrapper.then(wrapped).flatten().unwrap_or(function.entry)
                }),
            }
        })
    }
}

/// The first function that a wrapper calls, other than the runtime's own, such as for growing the stack.
fn wrapped_by(binary: &Binary, entry: FileAddr, size: u64) -> Option<FileAddr> {
    let len = usize::try_from(size.min(MAX_WRAPPER)).ok()?;
    let code = binary.code(entry, len)?;
    let decoder = Decoder::with_ip(64, code, entry.0, DecoderOptions::NONE);
    let calls = decoder
        .into_iter()
        .filter(|instruction| instruction.flow_control() == FlowControl::Call);
    let mut callees = calls.filter_map(|call| binary.function_at(FileAddr(call.near_branch_target())));
    let is_runtimes = |name: &str| {
        name.strip_prefix("runtime.")
            .is_some_and(|rest| !rest.starts_with(|first: char| first.is_ascii_uppercase()))
    };
    callees
        .find(|callee| !is_runtimes(&callee.name))
        .map(|callee| callee.entry)
}
