//! The maps that the programs of one probe set share.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use aya::maps::{Map, MapData, MapError};

use crate::asm::{Code, MapRef};
use crate::children::ChildMaps;
use crate::error::BpfError;
use crate::insn::Insn;
use crate::layout::{LayoutEntry, TypeEntry};
use crate::plans::Attachments;
use crate::probeset::Options;
use crate::sys::{self, MapType};
use crate::table::Table;

/// One entry of the site table as the programs read it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SiteEntry {
    pub(crate) plan: u32,
    /// Bits of [`site_state`].
    pub(crate) state: u32,
    /// Link-time address of the site.
    pub(crate) file_addr: u64,
}

/// What is so of a site.
pub(crate) mod site_state {
    /// It does what its plan says, if that is to stop the process.
    pub(crate) const ARMED: u32 = 1;
    /// It does nothing, whatever its plan says.
    pub(crate) const OFF: u32 = 2;
    /// The kernel steps its instruction rather than emulating it.
    pub(crate) const STEPPED: u32 = 4;
    /// It is about to be taken out, and does nothing any more.
    pub(crate) const RETIRED: u32 = 8;
}

/// One entry of the counter table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CounterEntry {
    pub(crate) hits: u64,
    pub(crate) emitted: u64,
    pub(crate) ring_full: u64,
    pub(crate) unplanned: u64,
    pub(crate) condition_false: u64,
    pub(crate) throttled: u64,
    pub(crate) faults: u64,
    pub(crate) idle: u64,
    pub(crate) nanoseconds: u64,
}

/// Key of the table in which hits are counted for each goroutine by itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoroutineKey {
    /// Number of the counter.
    pub(crate) counter: u32,
    /// The process, as the pid namespace of this process numbers it.
    pub(crate) process: u32,
    /// `g.goid`.
    pub(crate) goroutine: u64,
}

/// Key of the table of calls that passed and have not returned.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkKey {
    /// `g.goid`.
    pub(crate) goroutine: u64,
    /// From the canonical frame address to the upper end of the goroutine's stack, in bytes.
    pub(crate) depth: u64,
    /// The process, as the pid namespace of this process numbers it.
    pub(crate) process: u32,
    /// Zero.
    pub(crate) padding: u32,
}

/// How many calls can be open at a time whose returns are told from others. Calls that end by a panic or with their goroutine leave their marks, so those
/// that were left the longest ago make room for new ones.
const MAX_MARKS: u32 = 1 << 14;

/// Size of the ring for records of stops, in bytes. Each stops the process, so few come before somebody looks.
const STOP_RING_BYTES: u32 = 256 << 10;

/// One entry of the limiter table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LimiterEntry {
    /// When the interval began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) began: u64,
    /// How many have asked to pass since.
    pub(crate) asked: u64,
}

// SAFETY: plain integers without padding between them, so any bytes are a value.
unsafe impl aya::Pod for SiteEntry {}
// SAFETY: as above.
unsafe impl aya::Pod for CounterEntry {}
// SAFETY: as above.
unsafe impl aya::Pod for TypeEntry {}
// SAFETY: as above.
unsafe impl aya::Pod for LimiterEntry {}
// SAFETY: as above.
unsafe impl aya::Pod for GoroutineKey {}

/// The maps. Their descriptors keep the program array filled: the kernel empties one when its last
/// user-space descriptor is closed, so whatever is attached holds on to this.
pub(crate) struct Maps {
    sites: OwnedFd,
    counters: OwnedFd,
    hits: OwnedFd,
    pub(crate) goroutine_hits: OwnedFd,
    limiters: OwnedFd,
    /// The same in this process's memory.
    pub(crate) site_table: Table<SiteEntry>,
    pub(crate) counter_table: Table<CounterEntry>,
    pub(crate) layout_table: Table<LayoutEntry>,
    pub(crate) hit_table: Table<u64>,
    pub(crate) limiter_table: Table<LimiterEntry>,
    pub(crate) programs: OwnedFd,
    pub(crate) ring: OwnedFd,
    pub(crate) stop_ring: OwnedFd,
    layouts: OwnedFd,
    pub(crate) types: OwnedFd,
    /// Which sites are probed.
    pub(crate) attachments: Attachments,
    /// Calls that passed and have not returned, once a plan asks for them.
    marks: OnceLock<OwnedFd>,
    /// Those that follow processes, where that was asked for.
    pub(crate) children: OnceLock<ChildMaps>,
}

pub(crate) fn create(
    map_type: MapType,
    name: &str,
    key_size: usize,
    value_size: usize,
    entries: u32,
    flags: u32,
) -> Result<OwnedFd, BpfError> {
    sys::map_create(map_type, name, key_size as u32, value_size as u32, entries, flags)
        .map_err(|source| BpfError::system(format!("making the kernel table {name} with {entries} entries"), source))
}

impl Maps {
    pub(crate) fn create(options: &Options, stripes: u32) -> Result<Maps, BpfError> {
        let counters = options.max_sites.checked_mul(stripes).ok_or(BpfError::Full {
            what: "sites",
            max: u32::MAX / stripes,
        })?;
        let array = |name, value_size, entries| {
            create(
                MapType::Array,
                name,
                size_of::<u32>(),
                value_size,
                entries,
                sys::MMAPABLE,
            )
        };
        let site_map = array("spelunk_sites", size_of::<SiteEntry>(), options.max_sites)?;
        let counter_map = array("spelunk_counts", size_of::<CounterEntry>(), counters)?;
        let layout_map = array("spelunk_layouts", size_of::<LayoutEntry>(), options.max_layouts)?;
        let hit_map = array("spelunk_hits", size_of::<u64>(), options.max_counters)?;
        let limiter_map = array("spelunk_limits", size_of::<LimiterEntry>(), options.max_counters)?;
        Ok(Maps {
            hit_table: Table::map(&hit_map, options.max_counters, "the table of hits")?,
            limiter_table: Table::map(&limiter_map, options.max_counters, "the table of limits")?,
            hits: hit_map,
            limiters: limiter_map,
            site_table: Table::map(&site_map, options.max_sites, "the site table")?,
            counter_table: Table::map(&counter_map, counters, "the counter table")?,
            layout_table: Table::map(&layout_map, options.max_layouts, "the layout table")?,
            sites: site_map,
            counters: counter_map,
            programs: create(
                MapType::ProgArray,
                "spelunk_plans",
                size_of::<u32>(),
                size_of::<u32>(),
                options.max_plans,
                0,
            )?,
            ring: create(MapType::Ringbuf, "spelunk_ring", 0, 0, options.ring_bytes, 0)?,
            stop_ring: create(MapType::Ringbuf, "spelunk_stops", 0, 0, STOP_RING_BYTES, 0)?,
            goroutine_hits: create(
                MapType::Hash,
                "spelunk_ghits",
                size_of::<GoroutineKey>(),
                size_of::<u64>(),
                options.max_goroutine_hits,
                sys::NO_PREALLOC,
            )?,
            attachments: Attachments::default(),
            layouts: layout_map,
            types: create(
                MapType::Hash,
                "spelunk_types",
                size_of::<u64>(),
                size_of::<TypeEntry>(),
                options.max_runtime_types,
                sys::NO_PREALLOC,
            )?,
            marks: OnceLock::new(),
            children: OnceLock::new(),
        })
    }

    /// Makes the table of calls that passed, if there is none yet.
    pub(crate) fn require_marks(&self) -> Result<(), BpfError> {
        if self.marks.get().is_none() {
            let marks = create(
                MapType::LruHash,
                "spelunk_marks",
                size_of::<MarkKey>(),
                size_of::<u64>(),
                MAX_MARKS,
                0,
            )?;
            // Another thread's is as good.
            let _ = self.marks.set(marks);
        }
        Ok(())
    }

    /// The map's descriptor; `None` for those that nothing has asked for yet.
    fn fd(&self, map: MapRef) -> Option<&OwnedFd> {
        Some(match map {
            MapRef::Sites => &self.sites,
            MapRef::Counters => &self.counters,
            MapRef::Hits => &self.hits,
            MapRef::GoroutineHits => &self.goroutine_hits,
            MapRef::Marks => self.marks.get()?,
            MapRef::Limiters => &self.limiters,
            MapRef::Programs => &self.programs,
            MapRef::Ring => &self.ring,
            MapRef::StopRing => &self.stop_ring,
            MapRef::Layouts => &self.layouts,
            MapRef::RuntimeTypes => &self.types,
            MapRef::Followed => &self.children.get()?.followed,
            MapRef::Following => &self.children.get()?.following,
        })
    }

    /// The instructions of a program with the maps it refers to filled in.
    pub(crate) fn link(&self, code: &Code) -> Vec<Insn> {
        let mut insns = code.insns.clone();
        for &(at, map) in &code.maps {
            if let (Some(insn), Some(fd)) = (insns.get_mut(at), self.fd(map)) {
                insn.immediate = sys::map_number(fd);
            }
        }
        insns
    }
}

/// What aya says about a map, as an error of ours.
pub(crate) fn map_error(action: &str, error: MapError) -> BpfError {
    match error {
        MapError::SyscallError(error) => BpfError::system(action, error.io_error),
        MapError::IoError(source) => BpfError::system(action, source),
        other => BpfError::system(action, io::Error::other(other)),
    }
}

/// aya's own handle on a map that was made here.
pub(crate) fn adopt(fd: &OwnedFd, action: &str) -> Result<Map, BpfError> {
    let copy = fd
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| BpfError::system(action, source))?;
    MapData::from_fd(copy)
        .and_then(Map::from_map_data)
        .map_err(|error| map_error(action, error))
}
