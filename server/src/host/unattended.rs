//! What is written where nobody is connected who could be told of a stop.

use std::fmt::Write as _;

use crate::debugger::StopReason;

use super::Rest;

/// How many frames are shown.
const DEPTH: usize = 50;

/// The words for standard error about a stop whose client has gone, in Delve's form; `None` where a client asked for it.
pub(crate) fn unattended(rest: &Rest) -> Option<String> {
    let mut text = String::new();
    let what = match &rest.stop.reason {
        StopReason::Pause => return None,
        StopReason::UnrecoveredPanic { .. } | StopReason::FatalThrow { .. } => "your program is panicking",
        StopReason::Breakpoint(_) => "a breakpoint is hit",
        StopReason::Entry => return Some("Stop reason: launched\n".to_owned()),
        StopReason::Step => return Some("Stop reason: next finished\n".to_owned()),
        StopReason::CallReturned => return Some("Stop reason: call returned\n".to_owned()),
        StopReason::HardcodedBreakpoint => return Some("Stop reason: hardcoded breakpoint\n".to_owned()),
        StopReason::Failed(why) => return Some(format!("Stop reason: {why}\n")),
    };
    let _ = write!(
        text,
        "\n** execution is paused because {what} **\nTo continue the execution please connect your client to the debugger.\nStack trace:\n"
    );
    let stack = match rest.session.stack(rest.selected, DEPTH) {
        Ok(stack) => stack,
        Err(error) => {
            let _ = writeln!(text, "err {error}");
            return Some(text);
        }
    };
    let digits = stack.frames.len().saturating_sub(1).to_string().len();
    for (number, frame) in stack.frames.iter().enumerate() {
        let location = &frame.location;
        let (function, file) = (
            location.function.as_deref().unwrap_or("???"),
            location.file.as_deref().unwrap_or_default(),
        );
        let _ = writeln!(text, "{number:digits$}  0x{:016x} in {function}", frame.pc.0);
        let _ = writeln!(text, "{:indent$}at {file}:{}", "", location.line, indent = digits + 2);
    }
    Some(text)
}
