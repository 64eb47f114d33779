//! Sites are passed, by many threads at once, and none is missed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::testee::{Build, Deadline, Testee, times};
use crate::process::{ExitStatus, ProcessEvent};

const LIMIT: Duration = Duration::from_secs(240);

/// The runtime's assembly, by the names of several versions of Go.
const FUNCTIONS: [&str; 20] = [
    "internal/runtime/syscall.Syscall6",
    "internal/runtime/syscall/linux.Syscall6",
    "runtime/internal/syscall.Syscall6",
    "runtime.futex",
    "runtime.usleep",
    "runtime.tgkill",
    "runtime.clone",
    "runtime.sigtramp",
    "runtime.sigreturn__sigaction",
    "runtime.sigaltstack",
    "runtime.asyncPreempt",
    "runtime.mcall",
    "runtime.gogo",
    "runtime.systemstack",
    "runtime.morestack",
    "runtime.memmove",
    "runtime.memclrNoHeapPointers",
    "runtime.epollwait",
    "runtime.madvise",
    "runtime.gcWriteBarrier",
];

#[test]
fn a_program_runs_as_without_us() {
    let _deadline = Deadline::new(LIMIT);
    let Some(testee) = Testee::launch(Build::Plain, &["passes", "2", "10", "0"]) else {
        return;
    };
    let (status, output) = testee.run(|_, _| {});
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
}

fn passes(how: Build, threads: usize, passes: usize, storm: bool) {
    let _deadline = Deadline::new(LIMIT * times(1) as u32);
    let arguments = [threads.to_string(), passes.to_string(), u8::from(storm).to_string()];
    let [threads_text, passes_text, storm_text] = &arguments;
    let Some(mut testee) = Testee::launch(how, &["passes", threads_text, passes_text, storm_text]) else {
        return;
    };
    let entry = testee.function("main.leaf").0;
    testee.inferior.insert_site(entry).expect("a site");
    let mut hits = 0;
    let begun = Instant::now();
    let (status, output) = testee.run(|_, event| {
        if let ProcessEvent::Site { addr, .. } = event {
            assert_eq!(addr, entry);
            hits += 1;
        }
    });
    eprintln!("{hits} passes, {:?} each", begun.elapsed() / hits.max(1) as u32);
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(hits, threads * passes);
}

#[test]
fn eight_threads_pass_one_site_and_none_is_missed() {
    passes(Build::Plain, 8, times(2000), false);
}

#[test]
fn none_is_missed_in_a_storm_of_signals() {
    passes(Build::Plain, 4, times(1000), true);
}

#[test]
fn none_is_missed_in_a_position_independent_program() {
    passes(Build::Pie, 2, 200, true);
}

#[test]
fn none_is_missed_in_a_program_with_c_code() {
    passes(Build::Cgo, 2, 200, true);
}

/// Every instruction of a function is a site: each kind of instruction is displaced, and each pass goes through all.
fn everywhere(how: Build, storm: &str) {
    let _deadline = Deadline::new(LIMIT);
    let [threads, passes] = [3, 100];
    let Some(mut testee) = Testee::launch(how, &["passes", "3", "100", storm]) else {
        return;
    };
    let count = testee.insert_everywhere("main.pass") + testee.insert_everywhere("main.leaf");
    let (entry, _) = testee.function("main.pass");
    let (leaf, _) = testee.function("main.leaf");
    let mut hits: HashMap<_, usize> = HashMap::new();
    let (status, output) = testee.run(|inferior, event| {
        if let ProcessEvent::Site { thread, addr } = event {
            *hits.entry(addr).or_default() += 1;
            let registers = inferior.general_registers(thread).expect("it is stopped");
            assert_eq!(registers.pc(), Some(addr.0));
        }
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert!(count > 30, "only {count} instructions");
    // The entry is passed once more where the stack had to grow.
    assert!(hits[&entry] >= threads * passes, "{} passes of the entry", hits[&entry]);
    assert_eq!(hits[&leaf], threads * passes);
    assert!(
        hits.len() > count * 3 / 4,
        "{} of {count} instructions were passed",
        hits.len()
    );
}

#[test]
fn every_instruction_of_a_function_can_be_a_site() {
    everywhere(Build::Plain, "0");
}

#[test]
fn every_instruction_can_be_a_site_in_a_storm_of_signals() {
    everywhere(Build::Plain, "1");
}

#[test]
fn every_instruction_can_be_a_site_in_a_position_independent_program() {
    everywhere(Build::Pie, "1");
}

/// Sites on every instruction of the code that makes system calls, threads and signals work, where interrupted calls are begun again, threads are
/// born in slots and signal handlers run over int3s.
#[test]
fn every_instruction_of_the_runtimes_assembly_can_be_a_site() {
    let _deadline = Deadline::new(LIMIT);
    for mode in [&["passes", "3", "20", "1"][..], &["births", "10"], &["faults", "10"]] {
        let Some(mut testee) = Testee::launch(Build::Plain, mode) else {
            return;
        };
        let mut count = 0;
        for function in FUNCTIONS {
            if testee.binary.functions().iter().any(|known| &*known.name == function) {
                count += testee.insert_everywhere(function);
            }
        }
        assert!(count > 300, "{count} sites");
        let mut hits = 0;
        let (status, output) = testee.run(|_, event| hits += usize::from(matches!(event, ProcessEvent::Site { .. })));
        assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"), "{mode:?}");
        assert!(hits > 1000, "{hits} hits");
    }
}
