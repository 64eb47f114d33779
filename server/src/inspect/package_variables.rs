//! The variables of a package.

use std::sync::Arc;

use spelunk_dwarf::{Binary, LoadBias};

use crate::value::{LoadConfig, Loader, Memory, Value};

/// The variables of the package with the import path `package`, named with it, in the order in which the compiler described them.
pub(crate) fn package_variables(
    binary: &Arc<Binary>,
    bias: LoadBias,
    memory: &dyn Memory,
    package: &str,
    config: LoadConfig,
) -> Vec<Value> {
    let loader = Loader {
        binary,
        bias,
        memory,
        config,
    };
    let prefix = format!("{package}.");
    let mut globals: Vec<_> = binary
        .globals()
        .iter()
        .filter(|global| global.name.starts_with(&prefix))
        .collect();
    globals.sort_by_key(|global| global.entry);
    globals
        .into_iter()
        .map(|global| loader.load(&global.name, global.ty, bias.to_proc(global.addr)))
        .collect()
}
