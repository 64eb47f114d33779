//! The dispatcher: the one program that is attached to every site.

use super::{Environment, count, counter, counter_key, site, slot};
use crate::asm::{Asm, AsmError, Code, Label, MapRef};
use crate::children;
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R6, R8, Width};
use crate::maps::site_state;

/// Counts the hit and goes on in the program of the site's plan.
///
/// The attach cookie is the site. The program that is tail-called asks for the cookie again: it
/// belongs to the link under which both run.
pub(crate) fn dispatcher(environment: Environment) -> Result<Code, AsmError> {
    after(environment, |_, _| {})
}

/// As [`dispatcher`], for links that reach processes that are not followed: their hits are neither counted nor looked at.
pub(crate) fn following_dispatcher(environment: Environment) -> Result<Code, AsmError> {
    after(environment, |asm, unfollowed| {
        children::admit(asm, environment.numbers, slot::KEY, slot::WORD, unfollowed);
        asm.mov(R1, R6);
    })
}

/// A dispatcher that begins with what `admit` does, which goes to the label if the hit is none of ours. The context is in R6
/// and R1.
fn after(environment: Environment, admit: impl FnOnce(&mut Asm, Label)) -> Result<Code, AsmError> {
    let mut asm = Asm::default();
    let unknown = asm.label();
    let off = asm.label();
    asm.mov(R6, R1);
    admit(&mut asm, unknown);
    asm.call(Helper::GetAttachCookie);
    asm.mov(R8, R0);
    asm.jump_if_imm(R8, Cond::GreaterOrEqual, environment.max_sites.cast_signed(), unknown);
    counter_key(&mut asm, environment);
    count(&mut asm, counter::HITS);

    asm.store(Width::Word, FP, slot::KEY, R8);
    asm.lookup(MapRef::Sites, slot::KEY);
    asm.jump_if_imm(R0, Cond::Equal, 0, unknown);
    asm.load(Width::Word, R3, R0, site::PLAN);
    asm.load(Width::Word, R1, R0, site::STATE);
    asm.alu_imm(Alu::And, R1, (site_state::OFF | site_state::RETIRED).cast_signed());
    asm.jump_if_imm(R1, Cond::NotEqual, 0, off);
    asm.mov(R1, R6);
    asm.load_map(R2, MapRef::Programs);
    asm.call(Helper::TailCall);
    // A tail call that succeeds does not come back.
    count(&mut asm, counter::UNPLANNED);
    asm.jump(unknown);
    asm.bind(off);
    let retired = asm.label();
    asm.alu_imm(Alu::And, R1, site_state::RETIRED.cast_signed());
    asm.jump_if_imm(R1, Cond::NotEqual, 0, retired);
    count(&mut asm, counter::THROTTLED);
    asm.jump(unknown);
    asm.bind(retired);
    count(&mut asm, counter::IDLE);
    asm.bind(unknown);
    asm.mov_imm(R0, 0);
    asm.exit();
    asm.finish()
}
