//! What Delve does with recordings and core files, which spelunk does not make: refused in Delve's words for a target that is none. Also where the debug
//! information of libraries is looked for.

use super::{Methods, RpcError};
use crate::host::Host;
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{Checkpoint, DumpState};

wire! { "rpc2";
    /// Asks whether the target is a recording.
    pub(crate) struct RecordedIn {}

    /// Answers it.
    pub(crate) struct RecordedOut {
        /// Whether it is; it never is.
        recorded: bool = "Recorded",
        /// Where the recording is.
        trace_directory: String = "TraceDirectory",
    }

    /// Asks for a checkpoint of a recording.
    pub(crate) struct CheckpointIn {
        /// What to note with it.
        place: String = "Where",
    }

    /// Answers it.
    pub(crate) struct CheckpointOut {
        /// Its number.
        id: isize = "ID",
    }

    /// Asks for the checkpoints of a recording.
    pub(crate) struct ListCheckpointsIn {}

    /// Answers it.
    pub(crate) struct ListCheckpointsOut {
        /// The checkpoints.
        checkpoints: Slice<Checkpoint> = "Checkpoints",
    }

    /// Asks for a checkpoint to be forgotten.
    pub(crate) struct ClearCheckpointIn {
        /// Its number.
        id: isize = "ID",
    }

    /// Says that it is.
    pub(crate) struct ClearCheckpointOut {}

    /// Asks for the recording to end.
    pub(crate) struct StopRecordingIn {}

    /// Says that it has.
    pub(crate) struct StopRecordingOut {}

    /// Asks for a core file of the target.
    pub(crate) struct DumpStartIn {
        /// Where to.
        destination: String = "Destination",
    }

    /// Answers it.
    pub(crate) struct DumpStartOut {
        /// How far it has got.
        state: DumpState = "State",
    }

    /// Asks how far the core file has got.
    pub(crate) struct DumpWaitIn {
        /// How long to wait for its end, in milliseconds.
        wait: isize = "Wait",
    }

    /// Answers it.
    pub(crate) struct DumpWaitOut {
        /// How far it has got.
        state: DumpState = "State",
    }

    /// Asks for the core file to be given up.
    pub(crate) struct DumpCancelIn {}

    /// Says that it is.
    pub(crate) struct DumpCancelOut {}

    /// Asks where debug information of libraries is looked for.
    pub(crate) struct DebugInfoDirectoriesIn {
        /// Whether the list here replaces the one before.
        set: bool = "Set",
        /// The directories.
        list: Slice<String> = "List",
    }

    /// Answers it.
    pub(crate) struct DebugInfoDirectoriesOut {
        /// The directories.
        list: Slice<String> = "List",
    }

    /// Asks for the debug information of a library.
    pub(crate) struct DownloadLibraryDebugInfoIn {
        /// Its place in the list of libraries.
        number: isize = "N",
    }

    /// Says that it is there.
    pub(crate) struct DownloadLibraryDebugInfoOut {}

    /// Asks for all downloads to be given up.
    pub(crate) struct CancelDownloadsIn {}

    /// Says that they are.
    pub(crate) struct CancelDownloadsOut {}
}

const NOT_A_RECORDING: &str = "not a recording";

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.Recorded",
        "Whether the target is a recording; spelunk debugs living processes.",
        |_, _: &RecordedIn| Ok(RecordedOut::default()),
    );
    methods.add(
        "RPCServer.Checkpoint",
        "Sets a checkpoint in a recording; a living process has none.",
        |_, _: &CheckpointIn| Err::<CheckpointOut, _>(NOT_A_RECORDING.into()),
    );
    methods.add(
        "RPCServer.ListCheckpoints",
        "The checkpoints of a recording; a living process has none.",
        |_, _: &ListCheckpointsIn| Err::<ListCheckpointsOut, _>(NOT_A_RECORDING.into()),
    );
    methods.add(
        "RPCServer.ClearCheckpoint",
        "Forgets a checkpoint of a recording; a living process has none.",
        |_, _: &ClearCheckpointIn| Err::<ClearCheckpointOut, _>(NOT_A_RECORDING.into()),
    );
    methods.add(
        "RPCServer.StopRecording",
        "Ends a recording; spelunk makes none.",
        |_, _: &StopRecordingIn| Err::<StopRecordingOut, _>("debugger is not recording".into()),
    );
    methods.add(
        "RPCServer.DumpStart",
        "Writes a core file of the target; spelunk does not, and says what does.",
        dump_start,
    );
    methods.add(
        "RPCServer.DumpWait",
        "How far a core file has got; none is ever under way.",
        |_, _: &DumpWaitIn| Ok(DumpWaitOut::default()),
    );
    methods.add(
        "RPCServer.DumpCancel",
        "Gives a core file up; none is ever under way.",
        |_, _: &DumpCancelIn| Ok(DumpCancelOut {}),
    );
    methods.add(
        "RPCServer.DebugInfoDirectories",
        "Where debug information of libraries is looked for. The list is kept for clients; spelunk reads the debug information of the program alone.",
        debug_info_directories,
    );
    methods.add(
        "RPCServer.DownloadLibraryDebugInfo",
        "Reads the debug information of a library; spelunk reads that of the program alone.",
        |_, _: &DownloadLibraryDebugInfoIn| {
            Err::<DownloadLibraryDebugInfoOut, _>(
                "the debug information of libraries is not read: only the program's own is, which has all of its Go code".into(),
            )
        },
    );
    methods.add(
        "RPCServer.CancelDownloads",
        "Gives downloads of debug information up; none is ever under way.",
        |_, _: &CancelDownloadsIn| Ok(CancelDownloadsOut {}),
    );
}

fn dump_start(host: &Host, _: &DumpStartIn) -> Result<DumpStartOut, RpcError> {
    let rest = host.at_rest()?;
    Err(format!(
        "core files are not written by this server: gcore {} writes one of the running process",
        rest.session.pid()
    )
    .into())
}

#[allow(clippy::unnecessary_wraps, reason = "methods can fail")]
fn debug_info_directories(host: &Host, asked: &DebugInfoDirectoriesIn) -> Result<DebugInfoDirectoriesOut, RpcError> {
    if asked.set {
        host.set_debug_info_directories(asked.list.0.clone());
    }
    Ok(DebugInfoDirectoriesOut {
        list: Slice(host.debug_info_directories()),
    })
}
