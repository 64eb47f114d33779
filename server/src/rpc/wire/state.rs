//! Where the target stands.

use super::{Breakpoint, Goroutine, Thread};
use crate::rpc::go_json::{Slice, wire};

wire! { "api";
    /// How far values are loaded.
    pub(crate) struct LoadConfig {
        /// Whether pointers are followed.
        follow_pointers: bool = "FollowPointers",
        /// How deep nested values are loaded.
        max_variable_recurse: isize = "MaxVariableRecurse",
        /// How many bytes of a string.
        max_string_len: isize = "MaxStringLen",
        /// How many elements of an array, slice or map.
        max_array_values: isize = "MaxArrayValues",
        /// How many fields of a struct; -1: all.
        max_struct_fields: isize = "MaxStructFields",
    }

    /// In which frame something is to be looked at.
    pub(crate) struct EvalScope {
        /// The goroutine; -1: the selected one.
        goroutine_id: i64 = "GoroutineID",
        /// The frame, 0 being the innermost.
        frame: isize = "Frame",
        /// The number of a deferred call of that frame, from 1 on; 0: the frame itself.
        deferred_call: isize = "DeferredCall",
    }

    /// Where the target stands.
    pub(crate) struct DebuggerState {
        /// Its process id.
        pid: isize = "Pid",
        /// Its command line.
        target_command_line: String = "TargetCommandLine",
        /// Whether it runs; nothing else is known then.
        running: bool = "Running",
        /// Whether it is being recorded: never.
        recording: bool = "Recording",
        /// Whether a core file is being written: never.
        core_dumping: bool = "CoreDumping",
        /// The thread that is meant where none is named.
        current_thread: Option<Box<Thread>> = "currentThread" omitempty,
        /// The goroutine that is meant where none is named.
        selected_goroutine: Option<Box<Goroutine>> = "currentGoroutine" omitempty,
        /// All threads.
        threads: Slice<Thread> = "Threads",
        /// Whether a step was interrupted, and goes on with `continue`.
        next_in_progress: bool = "NextInProgress",
        /// Watchpoints that went out of scope: none.
        watch_out_of_scope: Slice<Breakpoint> = "WatchOutOfScope",
        /// Whether it is gone.
        exited: bool = "exited",
        /// The status it has exited with.
        exit_status: isize = "exitStatus",
        /// Where a recording stands: nowhere.
        when: String = "When",
        /// Why it stands still.
        stop_reason: String = "stopReason" omitempty,
    }

    /// What is to be done with the target.
    pub(crate) struct DebuggerCommand {
        /// `continue`, `next`, `step`, `stepOut`, `stepInstruction`, `nextInstruction`, `halt`, `switchGoroutine`, `switchThread`, ...
        name: String = "name",
        /// The thread to switch to.
        thread_id: isize = "threadID" omitempty,
        /// The goroutine to switch to.
        goroutine_id: i64 = "goroutineID" omitempty,
        /// How to load what a function that is stepped out of returns; `null`: not at all.
        return_info_load_config: Option<Box<LoadConfig>> = "ReturnInfoLoadConfig",
        /// The call to make.
        expr: String = "expr" omitempty,
        /// Whether `GetEvents` is to tell what happens meanwhile.
        with_events: bool = "WithEvents",
        /// Whether a call is made without checking what escapes.
        unsafe_call: bool = "unsafeCall" omitempty,
    }

    /// A process under debug.
    pub(crate) struct Target {
        /// Its process id.
        pid: isize = "Pid",
        /// Its command line.
        cmd_line: String = "CmdLine",
        /// The thread that is meant where none is named.
        current_thread: Option<Box<Thread>> = "CurrentThread",
    }

    /// Something that has happened while the target was moved on.
    pub(crate) struct Event {
        /// 0: it moves, 1: it stands still, 3: a breakpoint has got a place, 4: it has started a process.
        kind: u8 = "Kind",
        /// The breakpoint that has got a place.
        breakpoint: Option<Box<Breakpoint>> = "Breakpoint" omitempty,
        /// The process that it has started.
        process: isize = "PID" omitempty,
        /// The thread of that.
        thread_id: isize = "ThreadID" omitempty,
        /// What that was started with.
        cmdline: String = "Cmdline" omitempty,
        /// Whether that becomes a target.
        will_follow: Option<Box<bool>> = "WillFollow" omitempty,
    }
}
