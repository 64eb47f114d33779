//! What runs in the kernel: capture plans, generated eBPF programs, probe links, rings.
//!
//! A [`ProbeSet`] holds one ring and the programs of any number of [`Plan`]s. Sites are added to
//! it, each with its plan, and [attached](ProbeSet::attach) to an executable, all by one link. Each
//! hit of a site is copied by its plan's program into one record, which [`Ring::drain`] hands
//! out as a [`RecordView`].

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("spelunk probes Go programs on Linux x86-64 only");

mod asm;
mod btf;
mod children;
mod codegen;
mod cost;
mod error;
mod features;
mod gate;
mod insn;
mod layout;
mod link;
mod loader;
mod maps;
mod moment;
mod namespace;
mod plan;
mod plans;
mod positions;
mod probeset;
mod record;
mod ring;
mod sys;
mod table;
mod watch;

pub use children::Family;
pub use cost::SiteCosts;
pub use error::{BTF_VARIABLE, BpfError};
pub use features::{Feature, Features, Support, kernel_release};
pub use gate::{
    CallEnd, Comparison, Condition, CounterId, Gate, Goroutines, HitCount, HitTest, LimiterId, MAX_COMPARED,
    MAX_CONDITION_DEPTH, MAX_CONDITION_NODES, MAX_LITERAL, Mark, Operation, RateLimit, Term, Text,
};
pub use layout::{Count, Edge, EdgeKind, Layout, LayoutId, RECHECKED, RuntimeTypeEntry};
pub use link::{Link, Target};
pub use moment::{Moment, Shown};
pub use plan::{
    CountedHits, Follow, FollowKind, GoroutineSource, Index, MAX_DEPTH, MAX_FOLLOWS, MAX_ROOTS, Plan, PlanError,
    RECORD_CLASSES, Reg, Root, RootSource, RuntimeOffsets,
};
pub use probeset::{Counters, HitCounts, Losses, Options, PlanId, ProbeSet, Site, SiteId};
pub use record::{
    CHUNK_HEADER_SIZE, Chunk, ChunkKind, Chunks, DamagedRecord, Flags, HEADER_SIZE, Origin, RecordView, RootError,
    Status,
};
pub use ring::{Drained, Ring, Waker};
pub use watch::Watch;
