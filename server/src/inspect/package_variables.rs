//! The variables of a package.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Global, LoadBias};

use crate::value::{LoadConfig, Loader, Memory, Origin, Value};

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
    globals.into_iter().map(|global| load(&loader, global)).collect()
}

/// Every package's variables whose names `wanted` likes, named with their packages, in the order in which the compiler described them.
pub(crate) fn all_package_variables(
    binary: &Arc<Binary>,
    bias: LoadBias,
    memory: &dyn Memory,
    wanted: &dyn Fn(&str) -> bool,
    config: LoadConfig,
) -> Vec<Value> {
    let loader = Loader {
        binary,
        bias,
        memory,
        config,
    };
    let mut globals: Vec<_> = binary.globals().iter().filter(|global| wanted(&global.name)).collect();
    globals.sort_by_key(|global| global.entry);
    globals.into_iter().map(|global| load(&loader, global)).collect()
}

fn load(loader: &Loader<'_>, global: &Global) -> Value {
    let value = loader.load(&global.name, global.ty, loader.bias.to_proc(global.addr));
    let origin = Some(origin_of_global(loader.binary, global));
    Value { origin, ..value }
}

/// What the compiler says of a package's variable.
pub(super) fn origin_of_global(binary: &Binary, global: &Global) -> Origin {
    Origin {
        location: binary.global_location_text(global.entry).into(),
        decl_line: u32::try_from(binary.global_declaration_line(global.entry)).unwrap_or(0),
    }
}
