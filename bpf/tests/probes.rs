//! Probes in numbers: attaching, detaching, refusals, accounting, and the errors of the first day.

mod common;

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Binary, Fixture, Mode, fixture, probe_set, records, register, skip, three_words};
use spelunk_bpf::{
    BTF_VARIABLE, BpfError, Features, Follow, FollowKind, Options, Plan, ProbeSet, Reg, Site, SiteId, Support, Target,
};

fn string(max: u32) -> Follow {
    Follow {
        kind: FollowKind::String {
            at_ptr: 0,
            at_len: 8,
            max,
        },
        layout: None,
        then: Vec::new(),
    }
}

#[test]
fn every_hit_is_a_record_or_counted_as_lost() {
    if probe_set().is_none() {
        return;
    }
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options {
        ring_bytes: 64 << 10,
        ..Options::default()
    })
    .expect("a small set");
    let plan = Plan {
        follows: vec![string(32)],
        max_record: 256,
        ..fixture.plan(three_words())
    };
    let (site, link) = fixture.probe(&mut set, "main.work", &plan);
    fixture.run("loop 10000");
    link.detach();
    let emitted = records(&set, &plan).len() as u64;
    let counters = set.counters(site).expect("counters");
    assert_eq!(counters.hits, 10_000);
    assert_eq!(counters.emitted, emitted);
    assert_eq!(counters.emitted + counters.ring_full, 10_000);
    // 64 KiB hold no more than this many records of 256 bytes and a header of 8.
    assert!((1..=(64 << 10) / 264).contains(&emitted), "{emitted}");
    assert_eq!(set.total_counters(), counters);
    // What was lost left room for what comes later.
    let (site, _link) = fixture.probe(&mut set, "main.str", &plan);
    fixture.run("str 1");
    assert_eq!(records(&set, &plan).len(), 1);
    assert_eq!(set.counters(site).expect("counters").emitted, 1);
}

#[test]
fn a_waiting_consumer_loses_nothing_and_wakes_before_the_ring_is_full() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        follows: vec![string(32)],
        max_record: 256,
        ..fixture.plan(three_words())
    };
    let (site, _link) = fixture.probe(&mut set, "main.work", &plan);
    let ring = set.ring();
    let waker = ring.waker();
    let (stop, stopped) = std::sync::mpsc::channel();
    let consumer = std::thread::spawn(move || {
        let mut seen = 0;
        // So long a wait that only the half-full ring and the waker can end it.
        while stopped.try_recv().is_err() {
            let drained = ring.drain(Duration::from_secs(60), |record| {
                assert_eq!(record.site(), site);
            });
            seen += drained.expect("the ring drains");
        }
        seen + ring.drain(Duration::ZERO, |_| {}).expect("the ring drains")
    });
    let begin = Instant::now();
    fixture.run("loop 50000");
    stop.send(()).expect("the consumer is there");
    waker.wake();
    let seen = consumer.join().expect("the consumer ends well");
    // Less than the consumer's wait, so the waker ended it.
    assert!(begin.elapsed() < Duration::from_secs(60));
    let counters = set.counters(site).expect("counters");
    assert_eq!(counters.hits, 50_000);
    assert_eq!(counters.emitted, seen as u64);
    assert_eq!(counters.emitted + counters.ring_full, 50_000);
    // The ring holds 4,000 of them; more came through only because the consumer was woken.
    assert!(seen > 6_000, "{seen} of 50,000 records came through");
}

#[test]
fn plans_that_nobody_uses_make_room_for_others() {
    if probe_set().is_none() {
        return;
    }
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let mut set = ProbeSet::new(Options {
        max_plans: 2,
        ..Options::default()
    })
    .expect("as the first one");
    let plan = |max| Plan {
        follows: vec![string(max)],
        max_record: 256,
        ..fixture.plan(three_words())
    };
    let plans: Vec<Plan> = (1..8).map(plan).collect();
    let (kept, staying) = fixture.probe(&mut set, "main.str", &plans[0]);
    let mut taken_out = Vec::new();
    for _ in 0..2 {
        for plan in &plans[1..] {
            let (site, link) = fixture.probe(&mut set, "main.work", plan);
            fixture.run("loop 10");
            link.detach();
            assert_eq!(records(&set, plan).len(), 10);
            taken_out.push((site, plan));
        }
    }
    // What is attached stays what it is.
    fixture.run("str 1");
    let [record] = records(&set, &plans[0]).try_into().expect("one record");
    assert_eq!((record.site, record.chunks[0].bytes.len()), (kept, 1));
    // The last one that was taken out still has its program, those before it do not.
    let offset = fixture.binary.file_offset(fixture.binary.entry("main.work"));
    let (last, _) = taken_out.pop().expect("there were some");
    let link = set
        .attach(&fixture.target(), &[(offset, last)])
        .expect("it attaches again");
    for (site, _) in taken_out {
        let again = set.attach(&fixture.target(), &[(offset, site)]);
        assert!(matches!(again, Err(BpfError::GivenUp { .. })));
    }
    // Two are in use now, and that is all there is room for.
    assert!(matches!(set.add_plan(&plans[1]), Err(BpfError::Full { .. })));
    link.detach();
    set.add_plan(&plans[1]).expect("there is room again");
    staying.detach();
}

#[test]
fn thousands_of_sites_attach_and_detach_at_once() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = fixture.plan(vec![register(Reg::Rax)]);
    let id = set.add_plan(&plan).expect("the plan loads");
    // Instructions that start a function, and those at and behind each `push %rbp`: places where an
    // instruction starts for certain.
    let mut addresses = Vec::new();
    for (_, address, size) in fixture.binary.functions() {
        addresses.push(address);
        let code = fixture.binary.code(address, size.min(200) as usize);
        if let Some(at) = code.windows(4).position(|window| window == [0x55, 0x48, 0x89, 0xe5]) {
            let push = address + at as u64;
            addresses.extend([push, push + 1, push + 4]);
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    assert!(addresses.len() > 5000, "{} places", addresses.len());
    let sites: Vec<Site> = addresses
        .iter()
        .map(|&file_addr| Site { plan: id, file_addr })
        .collect();
    let ids = set.add_sites(&sites).expect("there is room");
    let probes: Vec<(u64, SiteId)> = addresses
        .iter()
        .zip(&ids)
        .map(|(&address, &id)| (fixture.binary.file_offset(address), id))
        .collect();
    // Of the whole text section, some are vector instructions that the kernel refuses.
    let link = set.attach(&fixture.target(), &probes).expect("the probes attach");
    assert_eq!(link.attached().len() + link.refused().len(), probes.len());
    let refused: std::collections::HashSet<_> = link.refused().iter().copied().collect();
    assert!(refused.len() < probes.len() / 50, "{} refused", refused.len());
    // asyncPreempt saves the flags right behind its frame pointer; to step that would kill Go.
    let pushf = fixture.binary.entry("runtime.asyncPreempt.abi0") + 4;
    assert_eq!(fixture.binary.code(pushf, 1), [0x9c]);
    let at = addresses
        .iter()
        .position(|&address| address == pushf)
        .expect("it is among them");
    assert!(refused.contains(&ids[at]));
    link.detach();

    // Without those it is one link. The runtime comes first in the text section and is hit all the
    // time, so it is left out.
    let good: Vec<_> = probes.into_iter().filter(|(_, site)| !refused.contains(site)).collect();
    let good = &good[good.len() - 3000..];
    let begin = Instant::now();
    let link = set.attach(&fixture.target(), good).expect("the probes attach");
    let attached = begin.elapsed();
    assert!(link.refused().is_empty());
    fixture.run("str 3");
    let begin = Instant::now();
    link.detach();
    let detached = begin.elapsed();
    eprintln!("3,000 sites: attached in {attached:?}, detached in {detached:?}");
    let before = set.total_counters();
    assert!(before.hits > 0);
    fixture.run("str 3");
    assert_eq!(set.total_counters().hits, before.hits);
    // Far above what it takes, for machines that are busy: one link for each site would take minutes.
    assert!(
        attached < Duration::from_secs(10) && detached < Duration::from_secs(10),
        "attached in {attached:?}, detached in {detached:?}"
    );
}

#[test]
fn refused_instructions_are_named_and_the_others_attached() {
    let Some(mut set) = probe_set() else { return };
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = fixture.plan(vec![register(Reg::Rax)]);
    let id = set.add_plan(&plan).expect("the plan loads");
    // An int3 of the padding between functions is an instruction that cannot be probed.
    let functions = fixture.binary.functions();
    let padding: Vec<u64> = functions
        .iter()
        .filter(|&&(_, address, size)| fixture.binary.code(address + size - 1, 1) == [0xcc])
        .map(|&(_, address, size)| address + size - 1)
        .take(2)
        .collect();
    assert_eq!(padding.len(), 2, "no padding was found");
    let mut addresses = vec![
        fixture.binary.entry("main.str"),
        fixture.binary.entry("main.ptr"),
        fixture.binary.entry("main.nums"),
    ];
    addresses.splice(1..1, padding);
    let sites: Vec<Site> = addresses
        .iter()
        .map(|&file_addr| Site { plan: id, file_addr })
        .collect();
    let ids = set.add_sites(&sites).expect("there is room");
    let probes: Vec<(u64, SiteId)> = addresses
        .iter()
        .zip(&ids)
        .map(|(&address, &id)| (fixture.binary.file_offset(address), id))
        .collect();
    let link = set.attach(&fixture.target(), &probes).expect("the others attach");
    assert_eq!(link.refused(), &ids[1..3]);
    assert_eq!(link.attached(), [ids[0], ids[3], ids[4]]);
    for scenario in ["str 1", "ptr 1", "nums 1"] {
        fixture.run(scenario);
    }
    for id in [ids[0], ids[3], ids[4]] {
        assert_eq!(set.counters(id).expect("counters").hits, 1);
    }
    let result = set.attach(&fixture.target(), &probes[1..3]);
    assert!(
        matches!(&result, Err(BpfError::AllRefused { sites }) if sites == &ids[1..3]),
        "{:?}",
        result.err()
    );
}

/// Forks a child that waits for a byte before it runs `path`.
fn fork_before_exec(path: &std::path::Path) -> (i32, std::fs::File) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path");
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .expect("/dev/null");
    // SAFETY: the child makes system calls only, on values made before the fork.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0, "fork");
        if pid == 0 {
            let mut byte = 0u8;
            libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::dup2(null.as_raw_fd(), 0);
            libc::dup2(null.as_raw_fd(), 1);
            let args = [path.as_ptr(), std::ptr::null()];
            libc::execv(path.as_ptr(), args.as_ptr());
            libc::_exit(127);
        }
        (pid, std::fs::File::from(OwnedFd::from(writer)))
    }
}

#[test]
fn a_child_that_has_yet_to_exec_is_probed_from_its_first_instruction() {
    let Some(mut set) = probe_set() else { return };
    let Some(path) = fixture(Mode::Exe) else {
        return;
    };
    let binary = Binary::open(path);
    let (pid, mut gate) = fork_before_exec(path);
    let plan = Plan {
        roots: vec![],
        follows: vec![],
        goroutine: spelunk_bpf::GoroutineSource::None,
        runtime: spelunk_bpf::RuntimeOffsets::default(),
        max_record: 256,
        gate: spelunk_bpf::Gate::default(),
        stops: false,
    };
    let id = set.add_plan(&plan).expect("the plan loads");
    let first = binary.symbol("_rt0_amd64_linux");
    let addresses = [first, binary.entry("main.main")];
    let sites = addresses.map(|file_addr| Site { plan: id, file_addr });
    let ids = set.add_sites(&sites).expect("there is room");
    let probes: Vec<_> = addresses
        .iter()
        .zip(&ids)
        .map(|(&address, &id)| (binary.file_offset(address), id))
        .collect();
    let target = Target {
        path: path.to_owned(),
        pid: Some(pid),
    };
    let link = set.attach(&target, &probes).expect("the probes attach");
    // Another process of the same file is not probed.
    let other = Fixture::start(Mode::Exe);
    assert_eq!(set.total_counters().hits, 0);
    drop(other);
    gate.write_all(b"x").expect("the child waits");
    let mut status = 0;
    // SAFETY: waits for the child forked above.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    let records = records(&set, &plan);
    let order: Vec<_> = records.iter().map(|record| (record.site, record.ip)).collect();
    assert_eq!(order, [(ids[0], addresses[0]), (ids[1], addresses[1])]);
    assert!(records.iter().all(|record| record.process == pid.cast_unsigned()));
    drop(link);

    let gone = set.attach(
        &Target {
            path: PathBuf::from(format!("/proc/{pid}/exe")),
            pid: Some(pid),
        },
        &probes,
    );
    assert!(matches!(gone, Err(BpfError::ProcessGone { pid: gone }) if gone == pid));
}

#[test]
fn targets_that_cannot_be_probed_are_errors() {
    let Some(mut set) = probe_set() else { return };
    let plan = Plan {
        roots: vec![register(Reg::Rax)],
        follows: vec![],
        goroutine: spelunk_bpf::GoroutineSource::None,
        runtime: spelunk_bpf::RuntimeOffsets::default(),
        max_record: 256,
        gate: spelunk_bpf::Gate::default(),
        stops: false,
    };
    let plan = set.add_plan(&plan).expect("the plan loads");
    let site = set.add_site(Site { plan, file_addr: 0 }).expect("room");
    for path in ["/nonexistent/program", "/tmp", "/proc/self/maps/absent"] {
        let target = Target {
            path: path.into(),
            pid: None,
        };
        let result = set.attach(&target, &[(0, site)]);
        assert!(
            matches!(&result, Err(BpfError::Target { path: named, .. }) if named == &target.path),
            "{path}: {:?}",
            result.err()
        );
    }
}

#[test]
fn another_users_process_is_not_opened_without_the_capability() {
    let Some(mut set) = probe_set() else { return };
    let plan = Plan {
        roots: vec![register(Reg::Rax)],
        follows: vec![],
        goroutine: spelunk_bpf::GoroutineSource::None,
        runtime: spelunk_bpf::RuntimeOffsets::default(),
        max_record: 256,
        gate: spelunk_bpf::Gate::default(),
        stops: false,
    };
    let plan = set.add_plan(&plan).expect("the plan loads");
    let site = set.add_site(Site { plan, file_addr: 0 }).expect("room");
    let error = std::thread::spawn(move || {
        // CAP_BPF and CAP_PERFMON stay, CAP_SYS_PTRACE goes: init has more than this thread then.
        set_capabilities(1 << 38 | 1 << 39);
        let target = Target {
            path: "/proc/1/exe".into(),
            pid: Some(1),
        };
        set.attach(&target, &[(0, site)]).map(drop)
    })
    .join()
    .expect("the thread ends well")
    .expect_err("no permission");
    assert!(matches!(error, BpfError::PermissionDenied { .. }), "{error:?}");
    assert!(error.to_string().contains("CAP_SYS_PTRACE"), "{error}");
}

#[test]
fn two_capabilities_are_enough() {
    if probe_set().is_none() {
        return;
    }
    let Some(mut fixture) = Fixture::start(Mode::Exe) else {
        return;
    };
    let plan = Plan {
        follows: vec![string(32)],
        goroutine: spelunk_bpf::GoroutineSource::Tls { offset: -8 },
        ..fixture.plan(three_words())
    };
    let address = fixture.binary.entry("main.str");
    let offset = fixture.binary.file_offset(address);
    // The fixture has more capabilities than the thread will have, so not by /proc/PID/exe.
    let target = Target {
        path: common::fixture(Mode::Exe).expect("it is running").to_owned(),
        pid: fixture.target().pid,
    };
    let (set, link, plan) = std::thread::spawn(move || {
        set_capabilities(1 << 38 | 1 << 39);
        let mut set = ProbeSet::new(Options::default()).expect("CAP_BPF is enough");
        let id = set.add_plan(&plan).expect("CAP_PERFMON is enough");
        let site = Site {
            plan: id,
            file_addr: address,
        };
        let site = set.add_site(site).expect("room");
        let link = set.attach(&target, &[(offset, site)]);
        (set, link.expect("CAP_PERFMON is enough"), plan)
    })
    .join()
    .expect("the thread ends well");
    let (_, goroutine) = fixture.run("str 2");
    let records = records(&set, &plan);
    drop(link);
    assert_eq!(records[0].chunks[0].bytes, b"abcabc");
    assert_eq!(records[0].goroutine, goroutine);
}

#[test]
fn equal_plans_share_a_program_and_many_load_at_once() {
    let Some(mut set) = probe_set() else { return };
    let plan = |n: u32| Plan {
        roots: three_words(),
        follows: vec![string(n + 1)],
        goroutine: spelunk_bpf::GoroutineSource::R14,
        runtime: spelunk_bpf::RuntimeOffsets {
            goid: 152,
            stack_hi: 8,
            m: 48,
            curg: 184,
        },
        max_record: 512,
        gate: spelunk_bpf::Gate::default(),
        stops: false,
    };
    let plans: Vec<Plan> = (0..300).map(plan).collect();
    let begin = Instant::now();
    let ids = set.add_plans(&plans).expect("the plans load");
    let elapsed = begin.elapsed();
    eprintln!("300 plans loaded in {elapsed:?}");
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 300);
    assert_eq!(set.add_plan(&plan(7)).expect("it is there"), ids[7]);
    let twice = set.add_plans(&[plan(1000), plan(1000), plan(3)]).expect("they load");
    assert_eq!(twice[0], twice[1]);
    assert_eq!(twice[2], ids[3]);
    // Debug builds of the generator on a busy machine are slow; this only catches the absurd.
    assert!(elapsed < Duration::from_secs(30), "{elapsed:?}");
}

#[test]
fn a_user_without_capabilities_is_told_what_to_type() {
    if probe_set().is_none() {
        return;
    }
    let error = std::thread::spawn(|| {
        // Capabilities belong to the thread, so the other tests keep theirs.
        drop_capabilities();
        ProbeSet::new(Options::default()).map(drop)
    })
    .join()
    .expect("the thread ends well")
    .expect_err("no capabilities");
    assert!(matches!(error, BpfError::PermissionDenied { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("CAP_BPF and CAP_PERFMON missing"), "{text}");
    assert!(
        text.contains("sudo setcap cap_bpf,cap_perfmon+ep $(which spelunk)"),
        "{text}"
    );
}

#[test]
fn features_are_found_by_trying() {
    let features = Features::probe();
    let named = |features: &Features, name: &str| {
        let all = &features.features;
        let feature = all.iter().find(|feature| feature.name == name);
        feature.expect("it is listed").support.clone()
    };
    assert_eq!(features.usable(), probe_set().is_some(), "{features:#?}");
    let without = std::thread::spawn(|| {
        drop_capabilities();
        Features::probe()
    })
    .join()
    .expect("the thread ends well");
    assert!(!without.usable());
    for name in ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"] {
        assert!(matches!(named(&without, name), Support::No(_)));
    }
    for name in ["uprobe_multi", "bpf_loop", "attach cookies"] {
        assert!(matches!(named(&without, name), Support::Unknown(_)), "{name}");
    }
    assert_eq!(named(&without, "BTF"), named(&features, "BTF"));
}

fn drop_capabilities() {
    set_capabilities(0);
}

/// Leaves this thread with these capabilities, of those it has.
fn set_capabilities(set: u64) {
    // _LINUX_CAPABILITY_VERSION_3: a header, and two times effective, permitted, inheritable.
    let header = [0x2008_0522u32, 0];
    let (low, high) = (set as u32, (set >> 32) as u32);
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: both arrays have the layout that capset(2) reads.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    assert_eq!(result, 0, "capset");
}

/// The environment belongs to the whole process, so this runs in one of its own.
#[test]
fn a_kernel_without_btf_is_named() {
    const CHILD: &str = "SPELUNK_BPF_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let error = ProbeSet::new(Options::default()).map(drop).expect_err("no BTF");
        assert!(matches!(error, BpfError::NoBtf { .. }), "{error:?}");
        println!("{error}");
        return;
    }
    let Ok(exe) = std::env::current_exe() else {
        skip("this test does not know its own file");
        return;
    };
    let output = std::process::Command::new(exe)
        .args(["a_kernel_without_btf_is_named", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .env(BTF_VARIABLE, "/nonexistent/btf")
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("no BTF at /nonexistent/btf"), "{text}");
    assert!(text.contains("CONFIG_DEBUG_INFO_BTF"), "{text}");
}
