//! Stacks of goroutines that rest.

use super::program::{Build, Program, Snapshot, eventually};
use spelunk_dwarf::DwarfReg;

use crate::inspect::{Frame, Stack, Stopped as _, Whose, goroutines, running_goroutine, stack, unwind};

fn names(frames: &[Frame]) -> Vec<&str> {
    frames
        .iter()
        .map(|f| f.location.function.as_deref().unwrap_or("?"))
        .collect()
}

/// The stack of the goroutine that was started with a function, or that stands in it.
fn stack_of(stopped: &Snapshot<'_>, function: &str, depth: usize) -> Stack {
    let (all, _) = goroutines(stopped, 0, 0).expect("the list can be read");
    let is = |name: &Option<std::sync::Arc<str>>| name.as_deref() == Some(function);
    let found = all
        .iter()
        .find(|g| is(&g.start.function) || is(&g.user_current.function));
    let id = found.unwrap_or_else(|| panic!("{function} is in {all:#?}")).id;
    stack(stopped, Whose::Goroutine(id), depth).expect("the goroutine exists")
}

fn whole(stopped: &Snapshot<'_>, function: &str) -> Vec<Frame> {
    let stack = stack_of(stopped, function, 10_000);
    assert!(stack.complete, "{:?}: {:#?}", stack.error, names(&stack.frames));
    assert_eq!(stack.error, None);
    check_order(&stack.frames);
    stack.frames
}

/// Frames lie above those they called, and each return address is where its frame says.
fn check_order(frames: &[Frame]) {
    for pair in frames.windows(2) {
        let [callee, caller] = pair else { continue };
        assert!(callee.cfa <= caller.cfa, "{pair:#?}");
        assert_eq!(callee.cfa == caller.cfa, callee.inline_depth > 0, "{pair:#?}");
    }
}

#[test]
fn recursion_is_shown_to_its_end() {
    for build in Build::ALL {
        let Some(program) = Program::start("fixture", build, &["rest"]) else {
            return;
        };
        let stopped = program.stop_at_rest();
        let frames = whole(&stopped, "main.deep");
        let names = names(&frames);
        assert_eq!(
            names.iter().filter(|name| **name == "main.deep").count(),
            101,
            "{names:#?}"
        );
        assert_eq!(names.last(), Some(&"runtime.goexit"));
        for frame in frames.iter().filter(|frame| frame.return_address_at.is_some()) {
            let at = frame.return_address_at.expect("filtered");
            let found = frames.iter().any(|f| stopped.memory().read_uint(at, 8) == Ok(f.pc.0));
            assert!(found, "{frame:#?}");
        }

        let cut = stack_of(&stopped, "main.deep", 10);
        assert_eq!((cut.frames.len(), cut.complete, cut.error), (10, false, None));
    }
}

#[test]
fn panics_in_flight_show_what_panicked() {
    for build in Build::ALL {
        let Some(program) = Program::start("fixture", build, &["rest"]) else {
            return;
        };
        let stopped = program.stop_at_rest();
        let frames = whole(&stopped, "main.recoverer");
        let names = names(&frames);
        let position = |name: &str| {
            let at = names.iter().position(|n| *n == name);
            at.unwrap_or_else(|| panic!("{name} is in {names:#?}"))
        };
        let order = [
            "main.recoverer",
            "runtime.gopanic",
            "runtime.panicmem",
            "runtime.sigpanic",
            "main.nilDereference",
            "main.panics",
        ];
        assert!(order.map(position).is_sorted(), "{names:#?}");
        let faulting = &frames[position("main.nilDereference")];
        // The instruction that faulted is where it stands, not one before.
        assert_eq!(stopped.bias().to_file(faulting.pc), faulting.lookup_pc);
        assert_eq!(line(faulting), "return *p");
    }
}

/// The source line that a frame stands in.
fn line(frame: &Frame) -> String {
    let file = frame.location.file.as_deref().expect("it has a source file");
    let source = std::fs::read_to_string(file).expect("the source is there");
    let line = source
        .lines()
        .nth(frame.location.line as usize - 1)
        .expect("it has that line");
    line.trim().to_owned()
}

#[test]
fn inlined_calls_are_frames() {
    for build in Build::ALL {
        let Some(program) = Program::start("fixture", build, &["rest"]) else {
            return;
        };
        let stopped = program.stop_at_rest();
        let frames = whole(&stopped, "main.outer");
        let at = frames
            .iter()
            .position(|f| f.location.function.as_deref() == Some("main.inner"));
        let three = &frames[at.expect("it waits in inner")..][..3];
        assert_eq!(names(three), ["main.inner", "main.middle", "main.outer"]);
        assert_eq!(
            [line(&three[0]), line(&three[1]), line(&three[2])],
            ["<-never", "inner(n + 1)", "middle(3)"]
        );
        let depths: Vec<usize> = three.iter().map(|frame| frame.inline_depth).collect();
        let cfas: Vec<_> = three.iter().map(|frame| frame.cfa).collect();
        if build == Build::Debug {
            assert_eq!(depths, [0, 0, 0]);
        } else {
            assert_eq!(depths, [2, 1, 0]);
            assert!(cfas.iter().all(|cfa| *cfa == cfas[0]));
            let physical = three[0].info.as_ref().map(|info| info.name.to_string());
            assert_eq!(physical.as_deref(), Some("main.outer"));
        }
    }
}

#[test]
fn a_system_call_shows_its_callers() {
    for build in Build::ALL {
        let Some(program) = Program::start("fixture", build, &["rest"]) else {
            return;
        };
        let stopped = program.stop_at_rest();
        let frames = whole(&stopped, "runtime.main");
        let names = names(&frames);
        for expected in [
            "syscall.Read",
            "io.ReadAll",
            "main.ready",
            "main.rest",
            "main.main",
            "runtime.main",
        ] {
            assert!(names.contains(&expected), "{expected} is in {names:#?}");
        }
        assert!(frames.iter().all(|frame| !frame.on_system_stack));
    }
}

#[test]
fn threads_without_a_goroutine_have_a_stack() {
    let Some(program) = Program::start("fixture", Build::Debug, &["rest"]) else {
        return;
    };
    // Sooner or later a thread has nothing to do.
    let idle = eventually(|| {
        let stopped = program.stop_at_rest();
        let mut idle = 0;
        for thread in stopped.threads() {
            let stack = stack(&stopped, Whose::Thread(thread), 100).expect("the thread exists");
            assert_eq!(stack.error, None, "{:#?}", names(&stack.frames));
            assert!(stack.complete, "{:#?}", names(&stack.frames));
            idle += usize::from(names(&stack.frames).contains(&"runtime.stopm"));
        }
        (idle > 0).then_some(idle)
    });
    assert!(idle.is_some());
}

#[test]
fn the_registers_of_a_frame_are_its_own() {
    let Some(program) = Program::start("fixture", Build::Debug, &["rest"]) else {
        return;
    };
    let stopped = program.stop_at_rest();
    let frames = whole(&stopped, "main.deep");
    for pair in frames.windows(2) {
        let [callee, caller] = pair else { continue };
        assert_eq!(caller.registers.sp(), Some(callee.cfa.0));
        assert_eq!(caller.registers.pc(), Some(caller.pc.0));
        if caller.location.function.as_deref() == Some("main.deep") {
            // Where its prologue pointed RBP: at what it saved of its caller's, below the return address.
            assert_eq!(caller.registers.general(DwarfReg::RBP), Some(caller.cfa.0 - 16));
            assert_eq!(
                caller.registers.general(DwarfReg(0)),
                None,
                "its callee may have changed RAX"
            );
        }
    }
}

#[test]
fn one_stopped_thread_is_enough() {
    for build in Build::ALL {
        let Some(program) = Program::start("fixture", build, &["rest"]) else {
            return;
        };
        let stopped = program.stop_at_rest();
        let layout = stopped.binary().runtime_layout().expect("it is a Go program");
        let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
        let mut running = 0;
        for thread in stopped.threads() {
            let registers = stopped.registers(thread).expect("the thread exists");
            let whole = stack(&stopped, Whose::Thread(thread), 100).expect("the thread exists");
            let alone = unwind(stopped.binary(), stopped.bias(), stopped.memory(), &registers, 100);
            assert_eq!(format!("{whole:?}"), format!("{alone:?}"));

            let described = all.iter().find(|g| g.thread == Some(thread));
            let found = running_goroutine(stopped.memory(), &layout, &registers).expect("readable");
            assert_eq!(
                found.map(|g| (g.id, g.addr, g.stack_hi)),
                described.map(|g| (g.id, g.addr, g.stack_hi))
            );
            running += usize::from(found.is_some_and(|g| !g.on_system_stack));
        }
        assert!(running >= 1, "the main goroutine is in a system call");
    }
}
