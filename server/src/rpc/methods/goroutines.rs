//! The goroutines of the program.

use super::Methods;
use crate::host::Rest;
use crate::inspect::Whose;
use crate::rpc::wire::Goroutine;

/// Adds them.
pub(super) fn register(_methods: &mut Methods) {}

/// A goroutine; `None` for a thread without one, and for one that cannot be read.
pub(super) fn goroutine_of(rest: &Rest, whose: Whose) -> Option<Goroutine> {
    let Whose::Goroutine(id) = whose else { return None };
    let goroutine = rest.session.goroutine(id).ok()?;
    let program = rest.session.program().ok()?;
    Some(Goroutine::of(&program, &goroutine))
}
