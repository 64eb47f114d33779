//! Plans what a trace needs: the sites of the functions that were asked for, and those that tell where calls end otherwise.

use spelunk_bpf::{HitCount, RateLimit};
use spelunk_dwarf::{Binary, Function};

use super::function::{Decides, FunctionError, FunctionPlanner, Runtime, SiteKind, SitePlan};
use super::layouts::Layouts;
use super::terms::Terms;
use crate::expr::Expr;

/// What is asked of the calls that are seen.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'e> {
    /// What must be true of a call.
    pub(crate) condition: Option<&'e Expr>,
    /// How often it must have been true: for each function, in their order; or nothing.
    pub(crate) hits: &'e [HitCount],
    /// How many may be seen in a while: for each function, in their order; or nothing.
    pub(crate) rates: &'e [RateLimit],
    /// Whether only some calls are seen, by these terms or by others.
    pub(crate) only_some: bool,
    /// Who decides that.
    pub(crate) decides: Decides,
}

/// A function that cannot be traced, by its name, and why.
pub(crate) type Refused = (String, FunctionError);

/// Plans functions; what cannot be traced is answered with the reason.
pub(super) fn functions(
    binary: &Binary,
    runtime: Runtime,
    layouts: &mut Layouts<'_>,
    functions: &[&Function],
    asked: Asked<'_>,
) -> (Vec<SitePlan>, Vec<Refused>) {
    let (mut sites, mut refused) = (Vec::new(), Vec::new());
    for (number, function) in functions.iter().enumerate() {
        let mut planner = FunctionPlanner {
            binary,
            runtime,
            layouts: &mut *layouts,
            terms: Terms {
                condition: asked.condition,
                hits: asked.hits.get(number).copied(),
                rate: asked.rates.get(number).copied(),
            },
            only_some: asked.only_some,
            decides: asked.decides,
        };
        match planner.plan(function) {
            Ok(planned) => sites.extend(planned),
            Err(why) => refused.push((function.name.to_string(), why)),
        }
    }
    (sites, refused)
}

/// Nothing is asked: all calls are seen.
pub(super) const ALL_CALLS: Asked<'static> = Asked {
    condition: None,
    hits: &[],
    rates: &[],
    only_some: false,
    decides: Decides::Kernel,
};

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
        let (planned, _) = functions(binary, runtime, layouts, &[function], ALL_CALLS);
        sites.extend(
            planned
                .into_iter()
                .filter(|site| site.kind == SiteKind::Call)
                .map(|site| SitePlan { kind, ..site }),
        );
    }
    sites
}
