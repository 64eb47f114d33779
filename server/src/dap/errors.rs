//! Numbers and summaries of error responses.
//!
//! The protocol leaves the numbers to the adapter; these are Delve's (`service/dap/error_ids.go`), as clients know them.

/// One kind of refusal: its number, and the summary that begins its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error's number.
    pub(crate) id: i64,
    /// What could not be done.
    pub(crate) summary: &'static str,
}

const fn refusal(id: i64, summary: &'static str) -> Refusal {
    Refusal { id, summary }
}

/// A request that Delve does not process either.
pub(crate) const UNSUPPORTED_COMMAND: Refusal = refusal(9999, "Unsupported command");
/// A message that is no request, or none that anybody knows.
pub(crate) const INTERNAL_ERROR: Refusal = refusal(8888, "Internal Error");
/// A request that is not served yet.
pub(crate) const NOT_YET_IMPLEMENTED: Refusal = refusal(7777, "Not yet implemented");
/// `launch` failed.
pub(crate) const FAILED_TO_LAUNCH: Refusal = refusal(3000, "Failed to launch");
/// `attach` failed.
pub(crate) const FAILED_TO_ATTACH: Refusal = refusal(3001, "Failed to attach");
/// `initialize` asked for what is not done.
pub(crate) const FAILED_TO_INITIALIZE: Refusal = refusal(3002, "Failed to initialize");
/// A request that needs a target came before one.
pub(crate) const NO_SESSION: Refusal = refusal(3000, "No debug session started");
/// A request that needs a debugger came while the program runs without one.
pub(crate) const NO_DEBUG: Refusal = refusal(3000, "noDebug mode");
/// `restart` failed before it began.
pub(crate) const CANNOT_RESTART: Refusal = refusal(3000, "Cannot restart");
/// `restart` came without a target.
pub(crate) const NOTHING_TO_RESTART: Refusal = refusal(3000, "Cannot restart: debugger is not running");
/// `restart` failed.
pub(crate) const FAILED_TO_RESTART: Refusal = refusal(3000, "Failed to restart");
/// A breakpoint request failed as a whole.
pub(crate) const UNABLE_TO_SET_BREAKPOINTS: Refusal = refusal(2002, "Unable to set or clear breakpoints");
/// A data breakpoint request came while the target runs.
pub(crate) const NO_DATA_BREAKPOINTS_NOW: Refusal =
    refusal(2002, "Can not set data breakpoints while the process is running");
/// `dataBreakpointInfo` failed.
pub(crate) const NO_DATA_BREAKPOINT_INFO: Refusal = refusal(2017, "Could not get data breakpoint info");
/// `stackTrace` failed.
pub(crate) const UNABLE_TO_PRODUCE_STACK_TRACE: Refusal = refusal(2004, "Unable to produce stack trace");
/// `scopes` failed.
pub(crate) const UNABLE_TO_LIST_LOCALS: Refusal = refusal(2005, "Unable to list locals");
/// `scopes` found no function that the frame belongs to.
pub(crate) const UNABLE_TO_FIND_FUNCTION: Refusal = refusal(2006, "Unable to find enclosing function");
/// `scopes` could not show the package's variables.
pub(crate) const UNABLE_TO_LIST_GLOBALS: Refusal = refusal(2007, "Unable to list globals");
/// `scopes` could not show the registers.
pub(crate) const UNABLE_TO_LIST_REGISTERS: Refusal = refusal(2014, "Unable to list registers");
/// A command of the console failed.
pub(crate) const UNABLE_TO_RUN_COMMAND: Refusal = refusal(2015, "Unable to run dlv command");
/// `variables` failed.
pub(crate) const UNABLE_TO_LOOKUP_VARIABLE: Refusal = refusal(2008, "Unable to lookup variable");
/// `evaluate` failed.
pub(crate) const UNABLE_TO_EVALUATE: Refusal = refusal(2009, "Unable to evaluate expression");
/// `pause` failed.
pub(crate) const UNABLE_TO_HALT: Refusal = refusal(2010, "Unable to halt execution");
/// `exceptionInfo` failed.
pub(crate) const UNABLE_TO_GET_EXCEPTION_INFO: Refusal = refusal(2011, "Unable to get exception info");
/// `setVariable` names nothing that is there.
pub(crate) const UNABLE_TO_LOOKUP_TO_SET: Refusal = refusal(2012, "Unable to lookup variable");
/// `setVariable` failed.
pub(crate) const UNABLE_TO_SET_VARIABLE: Refusal = refusal(2012, "Unable to set variable");
/// `disassemble` failed.
pub(crate) const UNABLE_TO_DISASSEMBLE: Refusal = refusal(2013, "Unable to disassemble");
/// `readMemory` failed.
pub(crate) const UNABLE_TO_READ_MEMORY: Refusal = refusal(2016, "Unable to read memory");
/// `writeMemory` failed.
pub(crate) const UNABLE_TO_WRITE_MEMORY: Refusal = refusal(2018, "Unable to write memory");
/// `spelunk/probes` failed. Delve has no such request, and no error of that number.
pub(crate) const UNABLE_TO_TELL_PROBES: Refusal = refusal(2100, "Unable to tell of probes");
/// `disconnect` failed.
pub(crate) const DISCONNECT_ERROR: Refusal = refusal(5000, "Error while disconnecting");
/// The number of refusals while the target runs; their summary names the request.
pub(crate) const DEBUGGEE_IS_RUNNING: i64 = 4000;
