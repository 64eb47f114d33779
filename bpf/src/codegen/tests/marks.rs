//! Returns that pass only where their call did.

use super::machine::{ENVIRONMENT, G, KERNEL, run, set_memory};
use super::plan;
use crate::codegen::plan_program;
use crate::gate::{CallEnd, Comparison, Condition, Gate, Mark, Term};
use crate::plan::{Plan, Reg};

/// The upper end of the fake goroutine's stack, see `set_memory`.
const STACK_HI: u64 = 0xc000_1000;

/// A call at which RAX must be 1.
fn call(cfa_offset: i64) -> Plan {
    gated(Gate {
        condition: Some(Condition::Compare {
            comparison: Comparison::Equal,
            signed: false,
            left: Term::Register(Reg::Rax),
            right: Term::Const(1),
        }),
        mark: Some(Mark {
            end: CallEnd::Call,
            cfa_offset,
        }),
        ..Gate::default()
    })
}

fn ret(cfa_offset: i64) -> Plan {
    gated(Gate {
        mark: Some(Mark {
            end: CallEnd::Return,
            cfa_offset,
        }),
        ..Gate::default()
    })
}

fn gated(gate: Gate) -> Plan {
    Plan {
        gate,
        ..plan(Vec::new(), Vec::new())
    }
}

fn passes(plan: &Plan, sp: u64, rax: u64) -> bool {
    run(plan, &[(Reg::R14, G), (Reg::Rsp, sp), (Reg::Rax, rax)]).is_some()
}

fn marks() -> usize {
    KERNEL.with_borrow(|kernel| kernel.marks.len())
}

#[test]
fn a_return_passes_once_for_each_call_that_did() {
    set_memory(&[]);
    let (sp, deeper) = (STACK_HI - 0x100, STACK_HI - 0x200);
    assert!(!passes(&ret(8), sp, 0), "there was no call");
    assert!(passes(&call(8), sp, 1));
    assert!(passes(&call(8), deeper, 1));
    assert!(!passes(&call(8), deeper - 64, 0));
    assert_eq!(marks(), 2);
    assert!(!passes(&ret(8), deeper - 64, 0));
    // At the epilogue the frame still stands: its canonical frame address is the same.
    assert!(passes(&ret(40), deeper - 32, 0));
    assert!(!passes(&ret(8), deeper, 0));
    assert!(passes(&ret(8), sp, 0));
    assert_eq!(marks(), 0);
}

#[test]
fn a_call_that_does_not_pass_takes_away_what_one_left_that_never_returned() {
    set_memory(&[]);
    let sp = STACK_HI - 0x100;
    assert!(passes(&call(8), sp, 1));
    assert!(!passes(&call(8), sp, 0));
    assert!(!passes(&ret(8), sp, 0));
}

#[test]
fn a_moved_stack_keeps_its_marks() {
    set_memory(&[]);
    assert!(passes(&call(8), STACK_HI - 0x100, 1));
    let moved = 0xc100_4000u64;
    KERNEL.with_borrow_mut(|kernel| {
        let g = kernel.memory.get_mut(&G).expect("the goroutine is there");
        g[8..16].copy_from_slice(&moved.to_le_bytes());
    });
    assert!(passes(&ret(8), moved - 0x100, 0));
}

#[test]
fn without_a_goroutine_calls_leave_nothing_and_returns_pass() {
    set_memory(&[]);
    let nowhere = |plan: &Plan| run(plan, &[(Reg::R14, 0), (Reg::Rsp, STACK_HI - 0x100), (Reg::Rax, 1)]).is_some();
    assert!(nowhere(&call(8)));
    assert_eq!(marks(), 0);
    assert!(nowhere(&ret(8)));
    assert!(plan_program(&call(8), 1, ENVIRONMENT).is_ok());
}
