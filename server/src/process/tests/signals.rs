//! Signals of the program: its faults, those it handles, those that arrive in the middle of our work.

use std::collections::HashMap;
use std::time::Duration;

use iced_x86::FlowControl;
use spelunk_dwarf::ProcAddr;

use super::testee::{Build, Deadline, Testee, Untraced, times};
use crate::inspect::Tid;
use crate::process::{ExitStatus, Inferior, ProcessEvent, Seize};

const LIMIT: Duration = Duration::from_secs(240);

/// A site on each instruction of the functions that fault: the copies fault in their slots, and the program recovers from what it takes for its own.
#[test]
fn faults_of_displaced_instructions_are_the_programs_own() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["faults", &times(100).to_string()]) else {
        return;
    };
    testee.insert_everywhere("main.load");
    testee.insert_everywhere("main.divide");
    let (load, _) = testee.function("main.load");
    let (divide, _) = testee.function("main.divide");
    let (mut loads, mut divisions) = (0, 0);
    let (status, output) = testee.run(|_, event| {
        if let ProcessEvent::Site { addr, .. } = event {
            loads += usize::from(addr == load);
            divisions += usize::from(addr == divide);
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert!(
        loads >= 2 * times(100) && divisions >= 2 * times(100),
        "{loads} loads, {divisions} divisions"
    );
}

/// The same, each instruction stepped.
#[test]
fn a_step_into_a_fault_ends_in_the_handler() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["faults", "20"]) else {
        return;
    };
    let (entry, end) = testee.function("main.load");
    let (handler, _) = testee.function("runtime.sigtramp");
    testee.insert_everywhere("main.load");
    let mut handlers = 0;
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { thread, addr } = event else {
            return;
        };
        if addr != entry {
            return;
        }
        loop {
            inferior.resume(thread, true).expect("it steps");
            loop {
                match inferior.next_event().expect("an event") {
                    ProcessEvent::Stepped { thread: stepped } if stepped == thread => break,
                    ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
                    event => panic!("{event:?}"),
                }
            }
            let pc = inferior
                .general_registers(thread)
                .expect("stopped")
                .pc()
                .expect("known");
            if pc == handler.0 {
                handlers += 1;
            }
            if !(entry.0..end.0).contains(&pc) {
                break;
            }
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(handlers, 20);
}

/// The instructions of a function, each with its bytes.
fn code_of(testee: &Testee, function: &str) -> HashMap<ProcAddr, Vec<u8>> {
    let instructions = testee.instructions(function);
    let bytes = |addr: ProcAddr, len: usize| testee.binary.code(testee.bias.to_file(addr), len).map(<[u8]>::to_vec);
    let code =
        |(addr, instruction): &(ProcAddr, iced_x86::Instruction)| Some((*addr, bytes(*addr, instruction.len())?));
    instructions.iter().filter_map(code).collect()
}

/// The signals that a thread has blocked, as /proc has them.
fn blocked(pid: i32, thread: Tid) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{}/status", thread.0)).expect("it is there");
    let line = status.lines().find(|line| line.starts_with("SigBlk:"));
    line.expect("a line for blocked signals").to_owned()
}

/// A thread that stands at the beginning of a handler is put back to the instruction that was interrupted, as if the handler had never been begun; what was
/// the instruction's own fault comes again.
#[test]
fn a_thread_is_taken_out_of_a_handler_and_put_back() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["faults", "20"]) else {
        return;
    };
    let (entry, end) = testee.function("main.load");
    let (handler, _) = testee.function("runtime.sigtramp");
    let pid = testee.inferior.pid();
    let code = code_of(&testee, "main.load");
    testee.insert_everywhere("main.load");
    let mut put_back = 0;
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { thread, addr } = event else {
            return;
        };
        if addr != entry {
            return;
        }
        loop {
            let before = inferior.general_registers(thread).expect("stopped");
            let blocked_before = blocked(pid, thread);
            let pc = ProcAddr(before.pc().expect("known"));
            inferior.resume(thread, true).expect("it steps");
            loop {
                match inferior.next_event().expect("an event") {
                    ProcessEvent::Stepped { thread: stepped } if stepped == thread => break,
                    ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
                    event => panic!("{event:?}"),
                }
            }
            let now = inferior.general_registers(thread).expect("stopped").pc();
            if now == Some(handler.0) {
                assert_ne!(
                    blocked(pid, thread),
                    blocked_before,
                    "a handler of Go's blocks all signals"
                );
                inferior.know_probe(pc, &code[&pc]).expect("it can be passed");
                inferior.put_back(thread, pc, &before, None).expect("it goes back");
                let after = inferior.general_registers(thread).expect("stopped");
                assert_eq!((after.pc(), after.sp()), (before.pc(), before.sp()));
                assert_eq!(blocked(pid, thread), blocked_before);
                put_back += 1;
                break;
            }
            if !(entry.0..end.0).contains(&now.unwrap_or(0)) {
                break;
            }
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(put_back, 20);
}

/// A thread that has gone on is left where it is: taking back more than one instruction would do harm.
#[test]
fn a_thread_that_has_gone_on_is_not_put_back() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["passes", "1", "3", "0"]) else {
        return;
    };
    // Its caller's instructions, but for those that lead elsewhere than to the next.
    let instructions = testee.instructions("main.pass");
    let plain: Vec<ProcAddr> = instructions
        .iter()
        .filter(|(_, instruction)| instruction.flow_control() == FlowControl::Next)
        .map(|(addr, _)| *addr)
        .collect();
    let mut code = code_of(&testee, "main.pass");
    code.retain(|addr, _| plain.contains(addr));
    let (entry, _) = testee.function("main.leaf");
    testee.inferior.insert_site(entry).expect("a site");
    let mut refused = 0;
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { thread, .. } = event else {
            return;
        };
        let registers = inferior.general_registers(thread).expect("stopped");
        for (addr, code) in &code {
            inferior.know_probe(*addr, code).expect("it can be passed");
            inferior
                .put_back(thread, *addr, &registers, None)
                .expect_err("it is elsewhere");
            assert_eq!(inferior.general_registers(thread).expect("stopped").pc(), Some(entry.0));
            refused += 1;
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert!(refused > 0);
}

/// Signals sent from outside while a thread passes sites all the time: each reaches the program's handler, with its sender.
#[test]
fn signals_from_outside_arrive_while_sites_are_passed() {
    let _deadline = Deadline::new(LIMIT);
    let count = times(100);
    let Some(untraced) = Untraced::start(Build::Plain, &["count", &count.to_string()]) else {
        return;
    };
    let pid = untraced.pid();
    let inferior = Inferior::seize(pid, Seize { kill_with_us: false }).expect("seized");
    let mut testee = Testee::of(inferior, &untraced.program, None);
    testee.insert_everywhere("main.pass");
    let sender = std::thread::spawn(move || {
        for number in 1..=count {
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(pid, libc::SIGUSR1) };
            assert_eq!(untraced.line(), number.to_string());
        }
        assert_eq!((untraced.line().as_str(), untraced.line().as_str()), ("ok", "exit 0"));
    });
    let mut sites = 0;
    let (status, _) = testee.run(|inferior, event| {
        if let ProcessEvent::Site { thread, .. } = event {
            sites += 1;
            // Every now and then by steps, during which signals are held back.
            if sites % 7 == 0 {
                inferior.resume(thread, true).expect("it steps");
                loop {
                    match inferior.next_event().expect("an event") {
                        ProcessEvent::Stepped { thread: stepped } if stepped == thread => break,
                        ProcessEvent::Site { thread: other, .. } if other != thread => {
                            inferior.resume(other, false).expect("it goes on");
                        }
                        ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
                        event => panic!("{event:?}"),
                    }
                }
            }
        }
    });
    sender.join().expect("every signal arrived");
    assert_eq!(status, ExitStatus::Code(0));
}

#[test]
fn a_signal_that_kills_is_passed_on() {
    let _deadline = Deadline::new(LIMIT);
    let Some(testee) = Testee::launch(Build::Plain, &["sleep", "3"]) else {
        return;
    };
    let pid = testee.inferior.pid();
    let mut sent = false;
    let (status, _) = testee.run(|_, event| {
        if let ProcessEvent::ThreadBorn(_) = event
            && !sent
        {
            sent = true;
            // SAFETY: kill takes two integers. SIGUSR2 is not handled by a Go program that does not ask for it.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    });
    assert_eq!(status, ExitStatus::Signal(libc::SIGKILL));
}

fn state_of(pid: i32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let state = stat.rsplit_once(") ").expect("a command").1;
    state.chars().next().expect("a state")
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets the inferior's events pass until the other thread says that it is done.
fn run_until(inferior: &mut Inferior, other: std::thread::JoinHandle<()>) {
    let kicker = inferior.kicker();
    let waiting = std::thread::spawn(move || {
        let done = other.join();
        kicker.kick();
        done.expect("the other thread found what it expected");
    });
    loop {
        match inferior.next_event().expect("an event") {
            ProcessEvent::Kicked => break,
            ProcessEvent::Site { thread, .. } => inferior.resume(thread, false).expect("it goes on"),
            ProcessEvent::Exited(status) => panic!("it ended with {status:?}"),
            _ => {}
        }
    }
    waiting.join().expect("checked");
}

/// A stop of job control and its end, while traced and resumed (by SIGSTOP, as SIGTSTP does nothing where no shell waits): the program stops and goes on as it would without us, and passes its sites after that.
#[test]
fn job_control_works_under_us() {
    let _deadline = Deadline::new(LIMIT);
    let Some(untraced) = Untraced::start(Build::Plain, &["steady", "3", "200", "0"]) else {
        return;
    };
    let pid = untraced.pid();
    let inferior = Inferior::seize(pid, Seize { kill_with_us: false }).expect("seized");
    let mut testee = Testee::of(inferior, &untraced.program, None);
    let (leaf, _) = testee.function("main.leaf");
    testee.inferior.insert_site(leaf).expect("a site");
    testee.inferior.resume_all().expect("it goes on");
    for _ in 0..3 {
        let other = std::thread::spawn(move || {
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(pid, libc::SIGSTOP) };
        });
        run_until(&mut testee.inferior, other);
        let quiet = std::thread::spawn(move || {
            // A thread that listens is shown as stopped by its tracer.
            eventually("the job-control stop", || matches!(state_of(pid), 'T' | 't'));
        });
        run_until(&mut testee.inferior, quiet);
        // A halt during the stop does not end it.
        testee.inferior.stop_all().expect("it stops");
        testee.inferior.insert_site(leaf).expect("a site");
        testee.inferior.resume_all().expect("it stays stopped");
        let kicker = testee.inferior.kicker();
        let timer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            kicker.kick();
        });
        loop {
            match testee.inferior.next_event().expect("an event") {
                ProcessEvent::Kicked => break,
                // Told late: it was hit before the stop.
                ProcessEvent::Site { thread, .. } => testee.inferior.resume(thread, false).expect("it goes on"),
                event => panic!("{event:?} in a stopped program"),
            }
        }
        timer.join().expect("kicked");
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGCONT) };
        let mut passes = 0;
        while passes < 20 {
            match testee.inferior.next_event().expect("an event") {
                ProcessEvent::Site { thread, .. } => {
                    passes += 1;
                    testee.inferior.resume(thread, false).expect("it goes on");
                }
                ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
                event => panic!("{event:?}"),
            }
        }
    }
    testee.inferior.detach().expect("let go");
    untraced.finish();
}

/// A program stopped by SIGSTOP, as a probe's program does it, is taken, and runs when it is resumed.
#[test]
fn the_stop_of_a_probe_is_ended() {
    let _deadline = Deadline::new(LIMIT);
    let Some(untraced) = Untraced::start(Build::Plain, &["steady", "2", "0", "0"]) else {
        return;
    };
    let pid = untraced.pid();
    // SAFETY: kill takes two integers.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    eventually("the stop", || state_of(pid) == 'T');
    let mut inferior = Inferior::seize(pid, Seize { kill_with_us: false }).expect("seized");
    inferior.end_stop_by_probe().expect("continued");
    let mut testee = Testee::of(inferior, &untraced.program, None);
    let (leaf, _) = testee.function("main.leaf");
    testee.inferior.insert_site(leaf).expect("a site");
    testee.inferior.resume_all().expect("it goes on");
    let mut passes = 0;
    while passes < 10 {
        if let ProcessEvent::Site { thread, .. } = testee.inferior.next_event().expect("an event") {
            passes += 1;
            testee.inferior.resume(thread, false).expect("it goes on");
        }
    }
    testee.inferior.detach().expect("let go");
    eventually("running on", || !matches!(state_of(pid), 'T' | 't'));
    untraced.finish();
}
