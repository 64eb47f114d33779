//! How a target comes to be, so that it can come to be again.

use std::sync::Arc;

use crate::debugger::LaunchSpec;
use crate::go_versions::UnknownVersions;
use crate::toolchain::{Binary, Build};

/// How a target comes to be.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// Where a target comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// It is started.
    Launch {
        /// How.
        spec: Box<LaunchSpec>,
        /// What it is built from, where we build it.
        build: Option<Arc<Build>>,
        /// What was built; the file is removed when nobody needs it any more.
        binary: Option<Arc<Binary>>,
    },
    /// It was running before.
    Attach {
        /// Its process id.
        pid: i32,
        /// As [`LaunchSpec::unknown_versions`].
        unknown_versions: UnknownVersions,
    },
}
