//! Following processes into their children: forks and executions of the same file are seen from their first instruction, others are not.

mod common;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{OwnedRecord, probe_set, records, register};
use spelunk_bpf::{Family, Gate, GoroutineSource, Link, Plan, ProbeSet, Reg, RuntimeOffsets, Site};

/// Set for a child that executes this very file again: what it passes the probe with.
const AGAIN: &str = "SPELUNK_TEST_AGAIN";

/// The function that is probed. Its first argument is in RDI (System V ABI for AMD64, 3.2.3).
#[inline(never)]
extern "C" fn probed(value: u64) -> u64 {
    black_box(value).rotate_left(1)
}

fn plan() -> Plan {
    Plan {
        roots: vec![register(Reg::Rdi)],
        follows: Vec::new(),
        goroutine: GoroutineSource::None,
        runtime: RuntimeOffsets::default(),
        max_record: 256,
        gate: Gate::default(),
        stops: false,
    }
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// All tests fork this one process, and each is to see its own children only.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// This process's executable with a probe on [`probed`], for a family that has no members yet.
struct Following {
    _alone: MutexGuard<'static, ()>,
    set: ProbeSet,
    family: Family,
    _link: Link,
}

impl Following {
    fn begin() -> Option<Following> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut set = probe_set()?;
        let executable = File::open("/proc/self/exe").expect("this program's file");
        let family = set.follow(&executable).expect("following begins");
        let address = probed as *const () as usize as u64;
        let plan = set.add_plan(&plan()).expect("the plan loads");
        let site = set
            .add_site(Site {
                plan,
                file_addr: address,
            })
            .expect("there is room");
        let link = set
            .attach_to(&family, Path::new("/proc/self/exe"), &[(file_offset(address), site)])
            .expect("the probe attaches");
        Some(Following {
            _alone: alone,
            set,
            family,
            _link: link,
        })
    }

    /// What was passed, by process.
    fn seen(&self) -> BTreeMap<u32, Vec<u64>> {
        let mut seen: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for record in records(&self.set, &plan()) {
            let value: fn(&OwnedRecord) -> u64 = |record| record.root_word(0);
            seen.entry(record.process).or_default().push(value(&record));
        }
        seen
    }

    fn wait_for_members(&self, wanted: &[i32]) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut members = self.family.members().expect("they can be listed");
            members.sort_unstable();
            if members == wanted {
                return;
            }
            assert!(Instant::now() < end, "{members:?} are followed in place of {wanted:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Where an address of this process lies in its executable.
fn file_offset(address: u64) -> u64 {
    let number = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
    maps.lines()
        .find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let (start, end) = (number(start), number(end));
            let offset = number(fields.nth(1)?);
            (start..end).contains(&address).then(|| address - start + offset)
        })
        .expect("a mapping")
}

/// Forks a child that does `work`, which may only use what is safe in the child of a process with other threads, and then ends.
fn fork(work: impl FnOnce()) -> i32 {
    // SAFETY: the child calls nothing but what `work` does, and `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            work();
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(0) }
        }
        pid => {
            assert!(pid > 0, "fork");
            pid
        }
    }
}

fn reap(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: writes one int.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

/// Executes a file in place of this child; only system calls.
fn execute(file: &CString, args: &[CString], env: &[CString]) {
    let pointers = |strings: &[CString]| -> [*const libc::c_char; 8] {
        let mut out = [std::ptr::null(); 8];
        for (to, from) in out.iter_mut().take(7).zip(strings) {
            *to = from.as_ptr();
        }
        out
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: null-terminated arrays of live strings. It returns only where it fails.
    unsafe { libc::execve(file.as_ptr(), args.as_ptr(), env.as_ptr()) };
}

fn string(text: &[u8]) -> CString {
    CString::new(text).expect("no zero byte")
}

/// What a child that executes this file again runs.
#[test]
fn again() {
    if let Some(value) = std::env::var_os(AGAIN).and_then(|text| text.to_str()?.parse().ok()) {
        black_box(probed(value));
    }
}

#[test]
fn children_are_seen_from_their_first_instruction() {
    let Some(following) = Following::begin() else { return };
    black_box(probed(1));
    assert!(following.seen().is_empty(), "nobody is followed yet");

    assert!(following.family.adopt(own_pid()).expect("this process is followed"));
    black_box(probed(2));
    let mut wanted = BTreeMap::from([(std::process::id(), vec![2])]);
    for value in 100..150 {
        let child = fork(|| {
            // The first thing it does.
            probed(value);
            let grandchild = fork(|| {
                black_box(probed(1000 + value));
            });
            reap(grandchild);
        });
        wanted.insert(child.cast_unsigned(), vec![value]);
        assert_eq!(reap(child), 0);
    }
    let (grandchildren, seen): (BTreeMap<_, _>, BTreeMap<_, _>) =
        following.seen().into_iter().partition(|(_, values)| values[0] >= 1000);
    assert_eq!(seen, wanted);
    let mut values: Vec<u64> = grandchildren.values().flatten().copied().collect();
    values.sort_unstable();
    assert_eq!(values, (1100..1150).collect::<Vec<u64>>());
    following.wait_for_members(&[own_pid()]);
    assert_eq!(following.family.unfollowed(), 0);
}

#[test]
fn executing_the_same_file_again_is_followed_and_another_is_not() {
    let Some(following) = Following::begin() else { return };
    let exe = std::env::current_exe().expect("this program's file");
    let exe = string(exe.as_os_str().as_bytes());
    let args = [&b"test"[..], b"--exact", b"again", b"--quiet"].map(string);
    let env = [string(format!("{AGAIN}=7").as_bytes())];
    let (shell, shell_args) = (
        string(b"/bin/sh"),
        [&b"sh"[..], b"-c", b"exec \"$0\" --exact again --quiet"].map(string),
    );
    let shell_args: Vec<CString> = shell_args.into_iter().chain([exe.clone()]).collect();
    let quiet = || {
        // SAFETY: plain system calls with a live string.
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
            libc::dup2(null, 1);
        }
    };

    assert!(following.family.adopt(own_pid()).expect("this process is followed"));
    let same = fork(|| {
        quiet();
        probed(3);
        execute(&exe, &args, &env);
    });
    assert_eq!(reap(same), 0);
    // A shell is another file, and what it executes is not followed again.
    let through_shell = fork(|| {
        quiet();
        probed(4);
        execute(&shell, &shell_args, &env);
    });
    assert_eq!(reap(through_shell), 0);
    let seen = following.seen();
    assert_eq!(seen.get(&same.cast_unsigned()), Some(&vec![3, 7]), "{seen:?}");
    assert_eq!(seen.get(&through_shell.cast_unsigned()), Some(&vec![4]), "{seen:?}");
    following.wait_for_members(&[own_pid()]);
}

#[test]
fn a_process_of_another_pid_namespace_is_called_by_both_its_numbers() {
    let Some(following) = Following::begin() else { return };
    assert!(following.family.adopt(own_pid()).expect("this process is followed"));
    let outer = fork(|| {
        // SAFETY: takes a number. The next child is the first of a new pid namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0 {
            let inner = fork(|| {
                black_box(probed(10));
            });
            reap(inner);
        } else {
            // SAFETY: ends the child.
            unsafe { libc::_exit(9) };
        }
    });
    if reap(outer) != 0 {
        common::skip("pid namespaces are not permitted");
        return;
    }
    let mut seen = Vec::new();
    following
        .set
        .drain(Duration::ZERO, |record| {
            seen.push((record.process(), record.own_process()));
        })
        .expect("the ring drains");
    let [(outside, Some(1))] = seen[..] else {
        panic!("{seen:?}")
    };
    assert_ne!(outside.cast_signed(), outer);
    following.wait_for_members(&[own_pid()]);
}

/// Runs this very test program inside a pid namespace: all must hold there as well.
#[test]
fn the_same_holds_inside_a_pid_namespace() {
    const INSIDE: &str = "SPELUNK_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() || probe_set().is_none() {
        return;
    }
    let flags = ["--pid", "--mount-proc", "--fork", "--kill-child"];
    let possible = Command::new("unshare").args(flags).arg("true").output();
    if !possible.is_ok_and(|tried| tried.status.success()) {
        common::skip("pid namespaces are not permitted");
        return;
    }
    let tests = ["children_are_seen", "executing_the_same", "a_process_of_another"];
    let inside = Command::new("unshare")
        .args(flags)
        .arg(std::env::current_exe().expect("this program's file"))
        .args(tests)
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&inside.stdout);
    assert!(
        inside.status.success() && text.contains(&format!("{} passed", tests.len())),
        "{text}\n{}",
        String::from_utf8_lossy(&inside.stderr)
    );
}

#[test]
fn a_process_that_runs_the_same_file_unrelated_is_neither_seen_nor_counted() {
    let Some(following) = Following::begin() else { return };
    let first = fork(|| {
        // SAFETY: waits to be killed.
        unsafe { libc::pause() };
    });
    assert!(following.family.adopt(first).expect("the child is followed"));
    black_box(probed(5));
    let stranger = fork(|| {
        black_box(probed(6));
    });
    reap(stranger);
    assert!(following.seen().is_empty());
    assert_eq!(following.set.total_counters().hits, 0);
    following.wait_for_members(&[first]);
    // SAFETY: takes two numbers.
    assert_eq!(unsafe { libc::kill(first, libc::SIGKILL) }, 0);
    reap(first);
    following.wait_for_members(&[]);
    assert!(
        !following.family.adopt(first).expect("nobody is followed"),
        "it has ended"
    );
    following.wait_for_members(&[]);
}

#[test]
fn a_thread_is_no_child_and_ends_without_its_process() {
    let Some(following) = Following::begin() else { return };
    assert!(following.family.adopt(own_pid()).expect("this process is followed"));
    std::thread::spawn(|| {
        black_box(probed(8));
    })
    .join()
    .expect("it ends");
    black_box(probed(9));
    assert_eq!(following.seen(), BTreeMap::from([(std::process::id(), vec![8, 9])]));
    following.wait_for_members(&[own_pid()]);
}
