//! Threads and goroutines.

use super::{Breakpoint, BreakpointInfo, Function, GoroutineField, Location, Stackframe, Variable};
use crate::debugger::Program;
use crate::inspect;
use crate::rpc::go_json::{Slice, StringMap, wire};

wire! { "api";
    /// A thread of the process.
    pub(crate) struct Thread {
        /// Its number in the kernel.
        id: isize = "id",
        /// Where it is.
        pc: u64 = "pc",
        /// The source file of that.
        file: String = "file",
        /// The line in it.
        line: isize = "line",
        /// The function.
        function: Option<Box<Function>> = "function" omitempty,
        /// The goroutine that it runs; 0: none.
        goroutine_id: i64 = "goroutineID",
        /// The breakpoint that it has hit.
        breakpoint: Option<Box<Breakpoint>> = "breakPoint" omitempty,
        /// What was collected there.
        breakpoint_info: Option<Box<BreakpointInfo>> = "breakPointInfo" omitempty,
        /// What the function that was just stepped out of returned.
        return_values: Slice<Variable> = "ReturnValues",
        /// Whether those are of a call that the debugger made.
        call_return: bool = "CallReturn",
    }

    /// A goroutine.
    pub(crate) struct Goroutine {
        /// Its number.
        id: i64 = "id",
        /// Where it is.
        current_loc: Location = "currentLoc",
        /// Where it is, outside of the runtime.
        user_current_loc: Location = "userCurrentLoc",
        /// The `go` statement that started it.
        go_statement_loc: Location = "goStatementLoc",
        /// The function that it started with.
        start_loc: Location = "startLoc",
        /// The thread that runs it; 0: none.
        thread_id: isize = "threadID",
        /// Its status, as in `runtime2.go`.
        status: u64 = "status",
        /// Since when it waits, in nanoseconds of the runtime's clock.
        wait_since: i64 = "waitSince",
        /// What it waits for, as in `runtime2.go`.
        wait_reason: i64 = "waitReason",
        /// Why it cannot be read.
        unreadable: String = "unreadable",
        /// Its labels for profiles.
        labels: StringMap<String> = "labels" omitempty,
    }

    /// A condition on goroutines.
    pub(crate) struct ListGoroutinesFilter {
        /// What it looks at: 1 the current location, 2 that outside of the runtime, 3 the `go` statement, 4 the function it started with, 5 a label, 6
        /// whether it runs, 7 whether it is the user's, 8 the channel that it waits for.
        kind: GoroutineField = "Kind",
        /// Whether those are meant that do not fit.
        negated: bool = "Negated",
        /// What to look for.
        arg: String = "Arg",
    }

    /// Goroutines that have something in common.
    pub(crate) struct GoroutineGroup {
        /// What.
        name: String = "Name",
        /// Where in the list of goroutines they begin.
        offset: isize = "Offset",
        /// How many of them are in the list.
        count: isize = "Count",
        /// How many there are.
        total: isize = "Total",
    }

    /// The goroutine that a goroutine was started by.
    pub(crate) struct Ancestor {
        /// Its number.
        id: i64 = "ID",
        /// Its stack at that time.
        stack: Slice<Stackframe> = "Stack",
        /// Why it cannot be read.
        unreadable: String = "Unreadable",
    }
}

impl Thread {
    /// A thread, without what it has hit and what was returned on it.
    pub(crate) fn of(program: &Program, thread: &inspect::ThreadState) -> Thread {
        let location = thread.location.as_ref();
        Thread {
            id: thread.tid.0 as isize,
            pc: location.map_or(0, |location| location.pc.0),
            file: location.map(super::file_of).unwrap_or_default(),
            line: location.map_or(0, |location| location.line as isize),
            function: location.and_then(|location| Function::of(program, location)),
            goroutine_id: thread.goroutine.unwrap_or(0),
            ..Thread::default()
        }
    }
}

impl Goroutine {
    /// A goroutine.
    pub(crate) fn of(program: &Program, goroutine: &inspect::Goroutine) -> Goroutine {
        let labels = goroutine.labels.iter().cloned().collect();
        Goroutine {
            id: goroutine.id,
            current_loc: Location::of(program, &goroutine.current),
            user_current_loc: Location::of(program, &goroutine.user_current),
            go_statement_loc: Location::of(program, &goroutine.go_statement),
            start_loc: Location::of(program, &goroutine.start),
            thread_id: goroutine.thread.map_or(0, |thread| thread.0 as isize),
            status: u64::from(goroutine.status_number),
            wait_since: goroutine.wait_since,
            wait_reason: i64::from(goroutine.wait_reason_number),
            unreadable: String::new(),
            labels: StringMap(Some(labels)),
        }
    }
}
