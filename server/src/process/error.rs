//! What can go wrong with a process.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use spelunk_dwarf::ProcAddr;

use super::displaced::CannotDisplace;
use crate::inspect::Tid;

/// Why a process cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// There is no such process.
    #[error("could not attach to pid {0}: there is no such process")]
    Gone(i32),
    /// A process of somebody else.
    #[error(
        "could not attach to pid {pid}: it belongs to user id {owner}, and spelunk runs as user id {us}; run spelunk as that user or as root"
    )]
    OtherUser {
        /// The process.
        pid: i32,
        /// Its real user id.
        owner: u32,
        /// Ours.
        us: u32,
    },
    /// A process that acts for somebody else too: set-user-id, or having changed its user.
    #[error(
        "could not attach to pid {pid}: its {which} is {theirs}, and that of spelunk is {ours}, so it may do what you may not; run spelunk as root"
    )]
    OtherCredentials {
        /// The process.
        pid: i32,
        /// Which id, as `effective user id`.
        which: String,
        /// The process's.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// A process of our user that the kernel does not let us look at.
    #[error(
        "could not attach to pid {pid}: the kernel protects it from being looked at, because it was privileged when it was executed or has changed its user since; run spelunk as root, or give it the capability CAP_SYS_PTRACE"
    )]
    Protected {
        /// The process.
        pid: i32,
    },
    /// A program that would be more powerful than its user once executed.
    #[error(
        "could not trace {}: with {power} it has rights that you do not have; run spelunk as root", program.display()
    )]
    Privileged {
        /// The program.
        program: PathBuf,
        /// What gives it the rights.
        power: &'static str,
    },
    /// A program of which others may run processes.
    #[error(
        "could not follow the children of {}: the file belongs to user id {owner}, and probes that follow children lie in everybody's processes of a file; run a copy of your own, or run spelunk as root", program.display()
    )]
    NotOurFile {
        /// The program.
        program: PathBuf,
        /// Whose file it is.
        owner: u32,
    },
    /// The process executed another program.
    #[error(
        "process {pid} runs {} now and no longer {}, whose debug information is used; start again", now.display(), analysed.display()
    )]
    Replaced {
        /// The process.
        pid: i32,
        /// What was analysed.
        analysed: PathBuf,
        /// What it runs.
        now: PathBuf,
    },
    /// /proc shows the processes of another pid namespace.
    #[error(
        "/proc shows the processes of another pid namespace than spelunk's own, so their numbers cannot be used; mount /proc again inside (as unshare --mount-proc does), or run spelunk outside"
    )]
    OtherProc,
    /// Something in /proc could not be read.
    #[error("could not read {path}: {error}")]
    Proc {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another debugger has it.
    #[error("could not attach to pid {pid}: process {tracer} is debugging or tracing it already; end that first")]
    AlreadyTraced {
        /// The process.
        pid: i32,
        /// Its tracer.
        tracer: i32,
    },
    /// The system does not let us.
    #[error(
        "could not attach to pid {pid}: operation not permitted; run spelunk as root, give it the capability CAP_SYS_PTRACE, or where /proc/sys/kernel/yama/ptrace_scope is 1, write 0 there"
    )]
    NotPermitted {
        /// The process.
        pid: i32,
    },
    /// The program ended before or while something was done to it.
    #[error("process {0} has ended")]
    Ended(i32),
    /// The program could not be executed.
    #[error("could not launch process: {0}")]
    Launch(io::Error),
    /// No thread has this number.
    #[error("process has no thread {}", .0.0)]
    NoThread(Tid),
    /// Something that can only be done to a stopped thread.
    #[error("could not {attempted} thread {}: it is running", .thread.0)]
    NotStopped {
        /// The thread.
        thread: Tid,
        /// A verb.
        attempted: &'static str,
    },
    /// A thread that a probe should have stopped is elsewhere.
    #[error("thread {} is not where a probe should have stopped it, at {addr}: somebody has continued the process", .thread.0)]
    RanOn {
        /// The thread.
        thread: Tid,
        /// The probed instruction.
        addr: ProcAddr,
    },
    /// A breakpoint instruction cannot be placed.
    #[error("could not set a breakpoint at {addr}: {why}")]
    Site {
        /// Where.
        addr: ProcAddr,
        /// Why.
        why: SiteError,
    },
    /// The system refused a step of the work.
    #[error("could not {attempted}: {error}")]
    System {
        /// What was being done.
        attempted: &'static str,
        /// What the system said.
        error: Errno,
    },
}

impl ProcessError {
    /// Whether somebody else's int3 lies where one was to be put.
    pub(crate) fn is_occupied(&self) -> bool {
        matches!(
            self,
            ProcessError::Site {
                why: SiteError::Occupied,
                ..
            }
        )
    }
}

/// Why a breakpoint instruction cannot be placed, or taken out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SiteError {
    /// Nothing can be read there.
    #[error("there is no memory")]
    NoMemory,
    /// The memory could not be patched.
    #[error("{0}")]
    Write(io::Error),
    /// The instruction could not be stepped over.
    #[error(transparent)]
    Instruction(CannotDisplace),
    /// Somebody else has put an int3 there.
    #[error("a kernel probe or another debugger has a breakpoint there already")]
    Occupied,
    /// Memory for slots could not be mapped.
    #[error("memory to step over it could not be mapped in the process: {0}")]
    NoSlot(Errno),
}

impl ProcessError {
    /// For a step of the work that the system refused.
    pub(super) fn system(attempted: &'static str) -> impl FnOnce(Errno) -> ProcessError {
        move |error| ProcessError::System { attempted, error }
    }
}
