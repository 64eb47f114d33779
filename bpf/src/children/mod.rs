//! Following a process into its children.
//!
//! A link that is scoped to a process sees none of its children, so followed processes are probed by links for all that run the file, with a dispatcher that
//! passes over those that are not in a set of process numbers. The kernel keeps that set itself, by programs on its tracepoints of forking, executing and
//! exiting: a child is in it before its first instruction runs. What is not followed, the same program of another user for one, pays for the probe and is
//! not looked at.

mod programs;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use aya::maps::HashMap;

use crate::asm::{Asm, AsmError, Code, Label};
use crate::btf;
use crate::error::BpfError;
use crate::link::{Link, Target};
use crate::loader::load_raw_tracepoint;
use crate::maps::{Maps, adopt, create, map_error};
use crate::namespace::Numbers;
use crate::plan::PlanError;
use crate::probeset::SiteId;
use crate::sys::{self, MapType};
use crate::table::Table;
use programs::Offsets;

/// The most processes that are followed at once.
const MAX_FOLLOWED: u32 = 1 << 13;

/// The one entry of the table of what is being followed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct FollowingEntry {
    /// The kernel's address of the executable's inode.
    inode: u64,
    /// How many children there was no room for.
    no_room: u64,
}

// SAFETY: plain integers without padding between them, so any bytes are a value.
unsafe impl aya::Pod for FollowingEntry {}

/// The maps of followed processes.
pub(crate) struct ChildMaps {
    /// Process number, as this process's pid namespace has it, to 1.
    pub(crate) followed: OwnedFd,
    pub(crate) following: OwnedFd,
    table: Table<FollowingEntry>,
}

impl ChildMaps {
    fn create() -> Result<ChildMaps, BpfError> {
        let word = size_of::<u32>();
        let following = create(
            MapType::Array,
            "spelunk_family",
            word,
            size_of::<FollowingEntry>(),
            1,
            sys::MMAPABLE,
        )?;
        Ok(ChildMaps {
            followed: create(MapType::Hash, "spelunk_follow", word, word, MAX_FOLLOWED, 0)?,
            table: Table::map(&following, 1, "the table of what is being followed")?,
            following,
        })
    }
}

/// Processes that are followed into their children: those that were [adopted](Family::adopt), what they have forked since, and so on, as long as they run
/// the one file. Dropping it ends the following.
pub struct Family {
    maps: Arc<Maps>,
    dispatcher: OwnedFd,
    /// The programs on the tracepoints.
    _tracepoints: Vec<OwnedFd>,
    /// Keeps the inode, which is known by its address, from becoming another's.
    _executable: File,
}

/// A program that the verifier is not known to accept is a defect of this crate, a jump too far as well.
fn finished(code: Result<Code, AsmError>) -> Result<Code, BpfError> {
    code.map_err(|error| PlanError::TooLong(error.to_string()).into())
}

/// What a dispatcher for followed processes begins with; see [`programs::admit`].
pub(crate) fn admit(asm: &mut Asm, numbers: Numbers, key: i16, word: i16, unfollowed: Label) {
    programs::admit(asm, numbers, key, word, unfollowed);
}

impl Family {
    /// Begins to follow what runs `executable`. So far that is nobody. `dispatcher` makes the program for its links once the maps are there.
    pub(crate) fn begin(
        maps: &Arc<Maps>,
        numbers: Numbers,
        executable: &File,
        dispatcher: impl FnOnce() -> Result<OwnedFd, BpfError>,
    ) -> Result<Family, BpfError> {
        maps.children.set(ChildMaps::create()?).map_err(|_| BpfError::Full {
            what: "families of followed processes",
            max: 1,
        })?;
        let executable = executable
            .try_clone()
            .map_err(|source| BpfError::system("keeping the executable open", source))?;
        let path = btf::kernel_btf_path();
        let offsets = Offsets::read(&btf::read_kernel_btf(&path)?, &path)?;
        let descriptor = executable.as_raw_fd().cast_unsigned();
        let note = load_raw_tracepoint(
            "spelunk_file",
            &finished(programs::note_executable(offsets, descriptor))?,
            maps,
        )?;
        let action = "telling the kernel which executable is followed";
        match sys::run_once(&note) {
            Ok(1) => {}
            Ok(_) => {
                return Err(BpfError::system(
                    action,
                    std::io::Error::other("its structures could not be read"),
                ));
            }
            Err(source) => return Err(BpfError::system(action, source)),
        }
        // Ends first: whoever comes in is to be let out.
        let programs = [
            (
                c"sched_process_exit",
                "spelunk_exit",
                programs::on_exit(numbers, offsets),
            ),
            (
                c"sched_process_exec",
                "spelunk_exec",
                programs::on_exec(numbers, offsets),
            ),
            (
                c"sched_process_fork",
                "spelunk_fork",
                programs::on_fork(numbers, offsets),
            ),
        ];
        let mut tracepoints = Vec::with_capacity(programs.len());
        for (tracepoint, name, code) in programs {
            let program = load_raw_tracepoint(name, &finished(code)?, maps)?;
            let link = sys::raw_tracepoint_open(tracepoint, program.as_fd()).map_err(|source| {
                BpfError::system(
                    format!("attaching to the tracepoint {}", tracepoint.to_string_lossy()),
                    source,
                )
            })?;
            tracepoints.push(link);
        }
        Ok(Family {
            maps: Arc::clone(maps),
            dispatcher: dispatcher()?,
            _tracepoints: tracepoints,
            _executable: executable,
        })
    }

    /// Attaches probes, given by their offsets in the executable file, to the processes that are followed now and later, by one link.
    pub(crate) fn attach(&self, path: &Path, probes: &[(u64, SiteId)]) -> Result<Link, BpfError> {
        let everybody = Target {
            path: path.to_owned(),
            pid: None,
        };
        Link::attach(self.dispatcher.as_fd(), &self.maps, &everybody, probes)
    }

    fn children(&self) -> Result<&ChildMaps, BpfError> {
        self.maps.children.get().ok_or(BpfError::Foreign("a family"))
    }

    fn set(&self) -> Result<HashMap<aya::maps::MapData, u32, u32>, BpfError> {
        const ACTION: &str = "opening the set of followed processes";
        HashMap::try_from(adopt(&self.children()?.followed, ACTION)?).map_err(|error| map_error(ACTION, error))
    }

    /// Follows a process that runs the file or, if it is held before that, is about to; by its number in this process's pid namespace. Answers whether it
    /// lives.
    pub fn adopt(&self, pid: i32) -> Result<bool, BpfError> {
        let key = pid.cast_unsigned();
        let mut set = self.set()?;
        set.insert(key, 1, 0)
            .map_err(|error| map_error("following a process", error))?;
        // One that passed the end of its life before it was in the set would stay there.
        if is_living(pid) {
            return Ok(true);
        }
        self.release(pid)?;
        Ok(false)
    }

    /// Follows a process no more; its children are followed on.
    pub fn release(&self, pid: i32) -> Result<(), BpfError> {
        match self.set()?.remove(&pid.cast_unsigned()) {
            // It has ended, which took it out.
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => Ok(()),
            Err(aya::maps::MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(())
            }
            Err(error) => Err(map_error("following a process no more", error)),
        }
    }

    /// The numbers of the processes that are followed now, in this process's pid namespace.
    pub fn members(&self) -> Result<Vec<i32>, BpfError> {
        let set = self.set()?;
        set.keys()
            .map(|key| key.map(u32::cast_signed))
            .collect::<Result<_, _>>()
            .map_err(|error| map_error("listing the followed processes", error))
    }

    /// How many children are not followed because there were too many at once.
    pub fn unfollowed(&self) -> u64 {
        self.children()
            .ok()
            .and_then(|children| children.table.get(0))
            .map_or(0, |entry| entry.no_room)
    }
}

/// Whether a thread of the process has yet to begin to end; if so, the kernel tells of the process's end later.
fn is_living(pid: i32) -> bool {
    /// `PF_EXITING` of the kernel's `include/linux/sched.h`, in field 9 of `proc_pid_stat(5)`.
    const EXITING: u32 = 4;
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    tasks.flatten().any(|task| {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else {
            return false;
        };
        // The command, field 2, may hold anything, closing brackets too.
        let flags = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse::<u32>().ok());
        flags.is_some_and(|flags| flags & EXITING == 0)
    })
}
