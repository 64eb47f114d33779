//! Lowers conditions: from a Go expression to what the kernel evaluates at a site.
//!
//! The second back end of the expression compiler. It walks an expression as `expr::eval` does, with the same typing and the same refusals, but where the
//! interpreter reads, it writes down what the kernel is to read. What both come to is the same, or the kernel says that it does not know: where Go would
//! panic, and where memory cannot be read. Types, constants and names are decided here, at plan time, so what the kernel evaluates is numbers alone.

mod arith;
mod builtins;
mod compare;
mod error;
#[cfg(test)]
pub(crate) mod model;
mod names;
mod operand;
mod place;
mod read;
mod strings;
mod terms;
mod walk;

use spelunk_bpf::Condition;
use spelunk_dwarf::Binary;

pub(crate) use error::{LowerError, NotLowered};
pub(crate) use names::{AtCall, AtLine, Names, UNUSED};

use crate::expr::Expr;

/// What the kernel evaluates for `condition` at the site where `names` mean what they say.
///
/// The error tells a condition that has no value there, wherever it is evaluated, from one that is beyond the kernel.
pub(crate) fn lower(binary: &Binary, names: &dyn Names, condition: &Expr) -> Result<Condition, LowerError> {
    let lowering = Lowering { binary, names };
    let lowered = lowering.truth_of(condition)?;
    if !terms::is_small_enough(&lowered) {
        return Err(NotLowered::new(condition, "is too large for a condition in the kernel").into());
    }
    Ok(lowered)
}

/// Lowers expressions at one site.
struct Lowering<'a> {
    binary: &'a Binary,
    names: &'a dyn Names,
}
