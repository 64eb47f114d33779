//! Which of a function's statements a step can come to first.
//!
//! A step ends at the first landing place, so one that lies behind others on every way through the function need not be watched. Most functions have
//! hundreds of statements, and most instructions have one or two that can follow.

use std::collections::HashSet;

use iced_x86::{FlowControl, Instruction};
use spelunk_dwarf::{Binary, FileAddr};

use super::code::{Code, direct_target};

/// The places that can be the first to be come to from the instruction at `from`, which is about to be executed; `None` where that cannot be told, because
/// the code jumps to where a table says, or was not understood. `recovery` are the instructions that [`recovery_points`] gives.
pub(super) fn first_places(
    code: &Code,
    from: FileAddr,
    places: &[FileAddr],
    recovery: &[usize],
) -> Option<HashSet<FileAddr>> {
    let places: HashSet<FileAddr> = places.iter().copied().collect();
    let first = code.index(from)?;
    let mut found = HashSet::new();
    let mut seen = vec![false; code.instructions.len()];
    // The instruction that the step begins on is executed, whatever it is a place for.
    let mut waiting = successors(code, first)?;
    waiting.extend(recovery);
    while let Some(index) = waiting.pop() {
        if std::mem::replace(seen.get_mut(index)?, true) {
            continue;
        }
        let addr = FileAddr(code.instructions.get(index)?.ip());
        if places.contains(&addr) {
            found.insert(addr);
        } else {
            waiting.extend(successors(code, index)?);
        }
    }
    Some(found)
}

/// The instructions that can follow one in the same call of the function; a call is taken to return.
fn successors(code: &Code, index: usize) -> Option<Vec<usize>> {
    let instruction = code.instructions.get(index)?;
    let next = || Some(index + 1).filter(|next| *next < code.instructions.len());
    // A jump out of the function leaves it for good.
    let target = || code.index(direct_target(instruction)?);
    let mut following = Vec::with_capacity(2);
    match instruction.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt => {
            following.extend(next());
        }
        FlowControl::UnconditionalBranch => following.extend(target()),
        FlowControl::ConditionalBranch => following.extend(next().into_iter().chain(target())),
        FlowControl::Return | FlowControl::Exception => {}
        FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => return None,
    }
    Some(following)
}

/// Where the function goes on when a deferred call has recovered from a panic: behind the call that deferred it, as if that had returned 1, or, since
/// Go 1.22, at its call of `runtime.deferreturn` (`recovery` in `runtime/panic.go`).
pub(super) fn recovery_points(binary: &Binary, code: &Code) -> Vec<usize> {
    let calls = |instruction: &Instruction| {
        let called = direct_target(instruction).and_then(|target| binary.function_at(target));
        called.is_some_and(|called| called.name.starts_with("runtime.defer"))
    };
    let found = code.instructions.iter().enumerate();
    found
        .filter(|(_, instruction)| super::code::is_call(instruction) && calls(instruction))
        .flat_map(|(index, _)| [index, index + 1])
        .filter(|index| *index < code.instructions.len())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: [u8; 11] = [
        0x74, 0x02, // 0x1000: je 0x1004
        0x90, // 0x1002: nop
        0xc3, // 0x1003: ret
        0x90, // 0x1004: nop
        0x90, // 0x1005: nop
        0x90, // 0x1006: nop
        0xeb, 0xf7, // 0x1007: jmp 0x1000
        0xff, 0xe0, // 0x1009: jmp *%rax
    ];

    fn first(from: u64, places: &[u64], recovery: &[usize]) -> Option<Vec<u64>> {
        let code = Code::from_bytes(&CODE, FileAddr(0x1000));
        let places: Vec<_> = places.iter().copied().map(FileAddr).collect();
        let mut found: Vec<u64> = first_places(&code, FileAddr(from), &places, recovery)?
            .into_iter()
            .map(|addr| addr.0)
            .collect();
        found.sort_unstable();
        Some(found)
    }

    #[test]
    fn what_lies_behind_other_places_is_left_out() {
        assert_eq!(
            first(0x1000, &[0x1002, 0x1005, 0x1006], &[]),
            Some(vec![0x1002, 0x1005])
        );
        assert_eq!(first(0x1005, &[0x1002, 0x1005, 0x1006], &[]), Some(vec![0x1006]));
        // Round the loop to where it began.
        assert_eq!(first(0x1006, &[0x1003, 0x1006], &[]), Some(vec![0x1003, 0x1006]));
    }

    #[test]
    fn a_function_may_go_on_where_it_recovers() {
        assert_eq!(first(0x1003, &[0x1002, 0x1006], &[]), Some(vec![]));
        let nop = 4;
        assert_eq!(first(0x1003, &[0x1002, 0x1006], &[nop]), Some(vec![0x1006]));
    }

    #[test]
    fn what_cannot_be_told_is_not_guessed() {
        assert_eq!(first(0x1009, &[0x1002], &[]), None);
        assert_eq!(first(0x1001, &[0x1002], &[]), None);
    }
}
