//! Single steps.

use std::time::Duration;

use iced_x86::FlowControl;
use spelunk_dwarf::ProcAddr;

use super::testee::{Build, Deadline, Testee};
use crate::inspect::Tid;
use crate::process::{ExitStatus, Inferior, ProcessEvent};

const LIMIT: Duration = Duration::from_secs(240);

fn pc(inferior: &Inferior, thread: Tid) -> u64 {
    let registers = inferior.general_registers(thread).expect("it is stopped");
    registers.pc().expect("a thread has one")
}

/// Steps the thread once; what other threads tell meanwhile is answered by letting them go on.
fn step(inferior: &mut Inferior, thread: Tid) -> ProcessEvent {
    inferior.resume(thread, true).expect("it steps");
    loop {
        match inferior.next_event().expect("an event") {
            ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) | ProcessEvent::Kicked => {}
            ProcessEvent::Site { thread: other, .. } if other != thread => {
                inferior.resume(other, false).expect("it goes on");
            }
            event => return event,
        }
    }
}

/// Steps through `main.pass` from its entry to its return, 30 times, and checks each step against the instruction that was stepped. `sites` are put on
/// every instruction too, so that each is executed elsewhere.
fn through_a_function(sites: bool, storm: &str) {
    let _deadline = Deadline::new(LIMIT);
    // Others pass the entry while one is stepped, so there must be many passes.
    let Some(mut testee) = Testee::launch(Build::Plain, &["passes", "3", "2000", storm]) else {
        return;
    };
    let instructions = testee.instructions("main.pass");
    let (entry, end) = testee.function("main.pass");
    if sites {
        testee.insert_everywhere("main.pass");
        testee.insert_everywhere("main.leaf");
    } else {
        testee.inferior.insert_site(entry).expect("a site");
    }
    let mut left = 30;
    let mut steps = 0;
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { thread, addr } = event else {
            return;
        };
        if addr != entry || left == 0 {
            if left == 0 && !inferior.memory().all_patches().is_empty() {
                for (addr, _) in inferior.memory().all_patches() {
                    inferior.remove_site(ProcAddr(addr)).expect("taken out");
                }
            }
            return;
        }
        left -= 1;
        let memory = inferior.memory();
        while (entry.0..end.0).contains(&pc(inferior, thread)) {
            let at = pc(inferior, thread);
            let (_, instruction) = instructions
                .iter()
                .find(|(addr, _)| addr.0 == at)
                .unwrap_or_else(|| panic!("a step led to {at:#x}, where no instruction begins"));
            let before = inferior.general_registers(thread).expect("stopped");
            assert_eq!(
                step(inferior, thread),
                ProcessEvent::Stepped { thread },
                "{instruction}"
            );
            steps += 1;
            let after = inferior.general_registers(thread).expect("stopped");
            let now = after.pc().expect("a thread has one");
            match instruction.flow_control() {
                FlowControl::Next => assert_eq!(now, instruction.next_ip(), "{instruction}"),
                FlowControl::ConditionalBranch => {
                    assert!(
                        now == instruction.next_ip() || now == instruction.near_branch_target(),
                        "{instruction}"
                    );
                }
                FlowControl::Call | FlowControl::IndirectCall => {
                    if instruction.flow_control() == FlowControl::Call {
                        assert_eq!(now, instruction.near_branch_target());
                    }
                    let sp = after.sp().expect("a thread has one");
                    assert_eq!(Some(sp + 8), before.sp());
                    let mut pushed = [0; 8];
                    crate::value::Memory::read(&*memory, ProcAddr(sp), &mut pushed).expect("the stack is readable");
                    assert_eq!(
                        u64::from_le_bytes(pushed),
                        instruction.next_ip(),
                        "the return address of {instruction}"
                    );
                    // Out of the call again, as a debugger does it.
                    let behind = ProcAddr(instruction.next_ip());
                    let had = inferior.has_site(behind);
                    inferior.insert_site(behind).expect("a site");
                    inferior.resume(thread, false).expect("it runs");
                    loop {
                        match inferior.next_event().expect("an event") {
                            ProcessEvent::Site { thread: other, addr } if other == thread && addr == behind => break,
                            ProcessEvent::Site { thread, .. } => inferior.resume(thread, false).expect("it goes on"),
                            ProcessEvent::Exited(status) => panic!("it ended with {status:?}"),
                            _ => {}
                        }
                    }
                    if !had {
                        inferior.remove_site(behind).expect("taken out");
                    }
                }
                _ => {}
            }
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(left, 0);
    assert!(steps > 500, "{steps} steps");
}

#[test]
fn steps_go_from_instruction_to_instruction() {
    through_a_function(false, "0");
}

#[test]
fn steps_over_sites_are_like_others() {
    through_a_function(true, "0");
}

#[test]
fn steps_are_not_disturbed_by_signals() {
    through_a_function(false, "1");
}

#[test]
fn steps_over_sites_are_not_disturbed_by_signals() {
    through_a_function(true, "1");
}

/// Steps over `pushf` in C code, in place and in slots: the trap flag of the step does not come into the program.
#[test]
fn a_step_leaves_no_trap_flag_behind() {
    let _deadline = Deadline::new(LIMIT);
    for sites in [false, true] {
        let Some(mut testee) = Testee::launch(Build::Cgo, &["flags", "5"]) else {
            return;
        };
        let name = testee
            .binary
            .functions()
            .iter()
            .map(|function| function.name.to_string())
            .find(|name| name.starts_with("_cgo_") && name.ends_with("_Cfunc_flags"))
            .expect("cgo makes a function that calls it");
        let (entry, end) = testee.function(&name);
        let instructions = testee.instructions(&name);
        let is_push = |(_, instruction): &(_, iced_x86::Instruction)| instruction.code() == iced_x86::Code::Pushfq;
        assert_eq!(
            instructions.iter().filter(|at| is_push(at)).count(),
            2,
            "the C function is inlined in {name}"
        );
        if sites {
            testee.insert_everywhere(&name);
        } else {
            let first = instructions.iter().position(is_push).expect("there are two");
            testee.inferior.insert_site(instructions[first - 1].0).expect("a site");
        }
        let mut steps = 0;
        let (status, output) = testee.run(|inferior, event| {
            let ProcessEvent::Site { thread, .. } = event else {
                return;
            };
            while (entry.0..end.0).contains(&pc(inferior, thread)) {
                assert_eq!(step(inferior, thread), ProcessEvent::Stepped { thread });
                steps += 1;
            }
        });
        assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
        assert!(steps >= 5 * 8, "{steps} steps");
    }
}

/// Steps through thousands of instructions of the runtime's start: system calls, locked and vector instructions, `cpuid`, `pushfq`.
#[test]
fn a_program_survives_being_stepped_from_its_first_instruction() {
    let _deadline = Deadline::new(LIMIT);
    for how in [Build::Plain, Build::Cgo] {
        let Some(mut testee) = Testee::launch(how, &["passes", "1", "1", "0"]) else {
            return;
        };
        let thread = Tid(testee.inferior.pid());
        let mut last = 0;
        for _ in 0..20_000 {
            match step(&mut testee.inferior, thread) {
                ProcessEvent::Stepped { .. } => last = pc(&testee.inferior, thread),
                event => panic!("{event:?} behind {last:#x}"),
            }
        }
        let (status, output) = testee.run(|_, _| {});
        assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    }
}

#[test]
fn hardcoded_breakpoints_are_told_and_passed() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["breakpoint", "5"]) else {
        return;
    };
    let instructions = testee.instructions("runtime.breakpoint");
    assert!(instructions.is_empty(), "its first instruction is an int3");
    let (entry, _) = testee.function("runtime.breakpoint");
    let mut seen = 0;
    testee.inferior.resume_all().expect("it goes on");
    let (status, output) = testee.run(|inferior, event| {
        if let ProcessEvent::HardcodedBreakpoint { thread } = event {
            seen += 1;
            assert_eq!(pc(inferior, thread), entry.0 + 1);
            if seen == 2 {
                // Now one of ours on top of it.
                inferior.insert_site(entry).expect("a site");
            }
        }
        if let ProcessEvent::Site { addr, .. } = event {
            assert_eq!(addr, entry);
            seen += 10;
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(seen, 32, "two of the program's own, and three of ours");
}

#[test]
fn registers_and_memory_can_be_changed() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["passes", "1", "3", "0"]) else {
        return;
    };
    let (double, _) = testee.function("main.double");
    testee.inferior.insert_site(double).expect("a site");
    let mut seen = 0;
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { thread, .. } = event else {
            return;
        };
        let mut registers = inferior.registers(thread).expect("stopped");
        let xmm5 = spelunk_dwarf::DwarfReg(17 + 5);
        assert!(registers.vector(xmm5).is_some());
        inferior.set_vector(thread, xmm5, [seen; 16]).expect("set");
        assert_eq!(
            inferior.registers(thread).expect("stopped").vector(xmm5),
            Some([seen; 16])
        );
        seen += 1;
        // The argument is in RAX: the program notices.
        let rax = spelunk_dwarf::DwarfReg(0);
        let argument = registers.general(rax).expect("known");
        registers.set_general(rax, Some(argument + if seen == 3 { 1000 } else { 0 }));
        inferior.set_registers(thread, &registers).expect("set");
        let now = inferior.general_registers(thread).expect("stopped");
        assert_eq!(now.general(rax), registers.general(rax));
        assert_eq!(now.pc(), Some(double.0));
    });
    assert_eq!(seen, 3, "setting registers at a site does not make it hit again");
    assert_eq!(status, ExitStatus::Code(3));
    assert_eq!(output, "WRONG: pass answered 2006, not 6\n");
}
