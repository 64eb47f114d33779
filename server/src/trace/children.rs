//! `--follow-children`: which processes are traced beside the first, and what their lines begin with.

use spelunk_bpf::{BpfError, Family, RecordView};

use super::engine::Place;
use crate::process::{Identity, ProcessError, descendants};

/// Why a process and its children cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// The kernel, or what this user may do with it.
    #[error("{0}")]
    Bpf(#[from] BpfError),
    /// The process is not, or no longer, one that may be probed.
    #[error("{0}")]
    Process(#[from] ProcessError),
}

/// Begins with the process at `place`, and with those of its children that run the same file already.
pub(super) fn adopt(family: &Family, place: &Place) -> Result<(), FollowError> {
    take_in(family, place)?;
    for pid in descendants(place.pid()).unwrap_or_default() {
        let child = match Identity::attached(pid) {
            Ok(child) if child.is_same_file(place) => child,
            Ok(_) | Err(ProcessError::Gone(_)) => continue,
            // What it runs is not known where it cannot be looked at.
            Err(error) => {
                tracing::debug!("process {pid}, a child of {}, is not followed: {error}", place.pid());
                continue;
            }
        };
        match take_in(family, &child) {
            Ok(()) | Err(FollowError::Process(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Follows one process, unless it turns out to be another than the one that was looked at.
fn take_in(family: &Family, process: &Identity) -> Result<(), FollowError> {
    if !family.adopt(process.pid())? {
        return Err(ProcessError::Ended(process.pid()).into());
    }
    if let Err(error) = process.confirm() {
        family.release(process.pid())?;
        return Err(error.into());
    }
    Ok(())
}

/// The processes of a trace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Processes {
    /// The one that the trace began with; `None` where there are no others.
    first: Option<u32>,
}

impl Processes {
    /// A process that is followed into its children.
    pub(super) fn following(first: i32) -> Processes {
        Processes {
            first: Some(first.cast_unsigned()),
        }
    }

    /// The process that made a record, if that is not the first: by its number in its own pid namespace.
    pub(super) fn child(self, record: &RecordView<'_>) -> Option<u32> {
        let process = record.process();
        let is_first = self.first.is_none_or(|first| first == process);
        (!is_first).then(|| record.own_process().unwrap_or(process))
    }
}
