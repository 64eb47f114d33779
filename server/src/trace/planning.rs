//! Plans what a trace needs: the sites of the functions that were asked for, and those that tell where calls end otherwise.

use spelunk_dwarf::{Binary, Function};

use super::function::{FunctionPlanner, Runtime, SiteKind, SitePlan};
use super::layouts::Layouts;

/// Plans functions; what cannot be traced is answered with the reason.
pub(super) fn functions(
    binary: &Binary,
    runtime: Runtime,
    layouts: &mut Layouts<'_>,
    functions: &[&Function],
) -> (Vec<SitePlan>, Vec<(String, String)>) {
    let mut planner = FunctionPlanner {
        binary,
        runtime,
        layouts,
    };
    let (mut sites, mut refused) = (Vec::new(), Vec::new());
    for function in functions {
        match planner.plan(function) {
            Ok(planned) => sites.extend(planned),
            Err(why) => refused.push((function.name.to_string(), why.to_string())),
        }
    }
    (sites, refused)
}

/// The sites that tell where calls end without returning.
pub(super) fn endings(binary: &Binary, runtime: Runtime, layouts: &mut Layouts<'_>) -> Vec<SitePlan> {
    let endings = [
        ("runtime.recovery", SiteKind::Recovery),
        ("runtime.goexit0", SiteKind::GoroutineExit),
    ];
    let mut sites = Vec::new();
    for (name, kind) in endings {
        let Some(function) = binary.function_named(name) else {
            continue;
        };
        let (planned, _) = functions(binary, runtime, layouts, &[function]);
        sites.extend(
            planned
                .into_iter()
                .filter(|site| site.kind == SiteKind::Call)
                .map(|site| SitePlan { kind, ..site }),
        );
    }
    sites
}
