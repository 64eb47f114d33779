//! What becomes of arguments in registers when a function's stack grows.

use spelunk_dwarf::{Binary, FunctionInfo, Location, PieceKind, Variable};

use super::abi::AbiRegister;
use super::capture::abi_register;
use super::sites::FunctionCode;

/// Whether a parameter is said to be still in the register in which it was passed, but that register does not survive the growth of the stack.
///
/// Around `runtime.morestack` the compiler saves only the registers that the function will use. Whether the stack grew cannot be seen afterwards.
pub(crate) fn may_be_overwritten(
    binary: &Binary,
    info: &FunctionInfo,
    variable: &Variable,
    location: &Location,
) -> bool {
    let integer = |kind: &PieceKind| match kind {
        PieceKind::Register(register) => match abi_register(register.0) {
            Some(AbiRegister::Integer(n)) => Some(n),
            _ => None,
        },
        _ => None,
    };
    if !info.optimized || !variable.is_param || !location.pieces.iter().any(|piece| integer(&piece.kind).is_some()) {
        return false;
    }
    let Ok(passed) = binary.location(info, variable, info.low_pc) else {
        return false;
    };
    let as_passed = |kind: &PieceKind| passed.pieces.iter().any(|first| first.kind == *kind);
    let mut suspects = location
        .pieces
        .iter()
        .filter(|piece| as_passed(&piece.kind))
        .filter_map(|piece| integer(&piece.kind))
        .peekable();
    if suspects.peek().is_none() {
        return false;
    }
    let len = info
        .high_pc
        .distance_from(info.low_pc)
        .and_then(|len| usize::try_from(len).ok());
    let code = binary
        .code(info.low_pc, len.unwrap_or(0))
        .and_then(|code| FunctionCode::decode(code, info.low_pc).ok());
    let growth = match code.map(|code| code.stack_growth()) {
        Some(Ok(None)) => return false,
        Some(Ok(growth)) => growth,
        // Where the growth is not understood, nothing is known to survive it.
        Some(Err(_)) | None => None,
    };
    suspects.any(|n| !growth.as_ref().is_some_and(|growth| growth.saves(n)))
}
