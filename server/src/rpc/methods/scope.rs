//! Which goroutine and which frame a client means.

use super::RpcError;
use crate::host::Rest;
use crate::inspect::{FrameRef, Whose};
use crate::rpc::wire::EvalScope;

/// The goroutine that a client calls `id`, -1 being the selected one (`FindGoroutine` in Delve's `pkg/proc/variables.go`). Goroutine 0 is the thread that is
/// selected while it runs no goroutine.
pub(super) fn whose(rest: &Rest, id: i64) -> Result<Whose, RpcError> {
    match rest.selected {
        selected if id == -1 => return Ok(selected),
        Whose::Goroutine(selected) if selected == id => return Ok(rest.selected),
        Whose::Thread(_) if id == 0 => return Ok(rest.selected),
        _ => {}
    }
    if id == 0 {
        return Err("unknown goroutine 0".into());
    }
    rest.session.goroutine(id)?;
    Ok(Whose::Goroutine(id))
}

/// The frame, or deferred call of a frame, that a client means.
pub(super) fn frame(rest: &Rest, scope: &EvalScope) -> Result<FrameRef, RpcError> {
    let whose = whose(rest, scope.goroutine_id)?;
    let missing = || {
        RpcError(format!(
            "Frame {} does not exist in goroutine {}",
            scope.frame, scope.goroutine_id
        ))
    };
    let number = usize::try_from(scope.frame).map_err(|_| missing())?;
    let stack = rest.session.stack(whose, number.saturating_add(1))?;
    if stack.frames.len() <= number {
        return Err(missing());
    }
    let deferred = usize::try_from(scope.deferred_call).unwrap_or(0);
    Ok(FrameRef {
        whose,
        frame: number,
        deferred,
    })
}
