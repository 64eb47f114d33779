//! A probe that stops the process: it stands still, and its record comes at once.

mod common;

use std::time::{Duration, Instant};

use common::{Fixture, Mode, OwnedRecord, probe_set, records, register};
use spelunk_bpf::{Flags, Plan, Reg};

/// The state of a thread as `/proc` has it (`man 5 proc_pid_stat`): `T` when a signal has stopped it.
fn state(task: &std::path::Path) -> char {
    let stat = std::fs::read_to_string(task.join("stat")).expect("the thread exists");
    let (_, behind_name) = stat.rsplit_once(") ").expect("a name in parentheses");
    behind_name.chars().next().expect("a state")
}

/// Whether all threads of a process stand still, now or soon.
fn all_stopped(pid: u32) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process exists");
        let mut states = tasks.filter_map(|task| Some(state(&task.ok()?.path())));
        if states.all(|state| state == 'T') {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: takes two numbers.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), signal) }, 0);
}

fn stopping(fixture: &Fixture) -> Plan {
    Plan {
        stops: true,
        ..fixture.plan(vec![register(Reg::Rsp), register(Reg::Rbp), register(Reg::Rbx)])
    }
}

#[test]
fn an_armed_probe_stops_the_process() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let pid = fixture.child.id();
    let plan = stopping(&fixture);
    let (site, _link) = fixture.probe(&mut set, "main.str", &plan);

    // Not armed: it goes on as if nothing were there.
    fixture.run("str 1");
    assert!(records(&set, &plan).is_empty());
    assert_eq!(set.counters(site).expect("counters").hits, 1);

    set.arm(site, true).expect("the site exists");
    let ring = set.stop_ring();
    let waiting = std::thread::spawn(move || {
        let begin = Instant::now();
        let mut seen = 0;
        ring.drain(Duration::from_secs(10), |_| seen += 1)
            .expect("the ring is read");
        (seen, begin.elapsed())
    });
    // Such a consumer is what must be woken, so it must be waiting.
    std::thread::sleep(Duration::from_millis(20));
    fixture.ask("str 1");
    let (seen, waited) = waiting.join().expect("it does not panic");
    assert_eq!(seen, 1);
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert!(all_stopped(pid));

    signal(pid, libc::SIGCONT);
    fixture.answer();
    set.arm(site, false).expect("the site exists");
    fixture.run("str 1");
    assert!(records(&set, &plan).is_empty());
}

#[test]
fn the_record_has_the_registers_of_the_moment() {
    for mode in [Mode::Exe, Mode::Pie] {
        let Some(mut set) = probe_set() else { return };
        let Some(mut fixture) = Fixture::start(mode) else {
            return;
        };
        let pid = fixture.child.id();
        let plan = stopping(&fixture);
        let (site, link) = fixture.probe(&mut set, "main.str", &plan);
        set.arm(site, true).expect("the site exists");
        fixture.ask("str 1");
        assert!(all_stopped(pid));
        let [record]: [OwnedRecord; 1] = records(&set, &plan).try_into().expect("one record");
        assert!(!record.flags.has(Flags::NOT_STOPPED));
        assert_eq!(record.process, pid);
        assert_eq!(record.root_word(0), record.sp);
        assert_eq!(record.ip, fixture.binary.entry("main.str").wrapping_add(fixture.bias()));
        // Behind the probed instruction, which pushed RBP.
        let mut pushed = [0; 8];
        let memory = std::fs::File::open(format!("/proc/{pid}/mem")).expect("the memory is readable");
        std::os::unix::fs::FileExt::read_exact_at(&memory, &mut pushed, record.sp - 8).expect("the stack is there");
        assert_eq!(u64::from_le_bytes(pushed), record.root_word(1));
        link.detach();
        signal(pid, libc::SIGCONT);
        fixture.answer();
    }
}

#[test]
fn foreign_sites_are_not_armed() {
    let Some(mut set) = probe_set() else { return };
    let Some(fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let (site, _link) = fixture.probe(&mut set, "main.str", &stopping(&fixture));
    let other = probe_set().expect("as the first one");
    assert!(set.arm(site, true).is_ok());
    assert!(other.arm(site, true).is_err());
}
