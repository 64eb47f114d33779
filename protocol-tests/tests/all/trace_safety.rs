//! Tracing never harms the traced program, and nothing is lost in silence.

use std::fmt::Write;
use std::io::{Read, Seek, SeekFrom};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, descendants, is_alive, run, tracer_of, wait_until};
use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, Built, Source, fixture};
use protocol_tests::trace::Tracer;
use protocol_tests::trace_text::{Entry, entries};

const STEP: Duration = Duration::from_secs(30);

fn last_number(text: &str) -> Option<u64> {
    text.lines().last()?.parse().ok()
}

/// A running counter that has counted a little.
fn counter(build: Build) -> Result<(Built, ChildGroup)> {
    let built = fixture("counter", build)?;
    let running = ChildGroup::start(&mut Command::new(&built.program))?;
    running.stdout.wait_for("the counter's first numbers", STEP, |text| {
        last_number(text).filter(|n| *n >= 3)
    })?;
    Ok((built, running))
}

fn goes_on(running: &ChildGroup) -> Result<()> {
    let now = last_number(&running.stdout.text()).unwrap_or(0);
    running
        .stdout
        .wait_for("the counter to go on", STEP, |text| {
            last_number(text).filter(|n| *n > now + 5)
        })
        .map(drop)
}

/// The bytes of a symbol's code: in the file, and where it runs.
fn code(built: &Built, pid: i32, symbol: &str) -> (Vec<u8>, Vec<u8>) {
    use std::fs::File;
    let go = protocol_tests::toolchain::Go::find().expect("a toolchain");
    let listed = Command::new(&go.program)
        .args(["tool", "nm", "-size", "-n"])
        .arg(&built.program)
        .output()
        .expect("go tool nm");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let line = listed
        .lines()
        .find(|line| line.ends_with(&format!(" {symbol}")))
        .expect("the symbol");
    let words: Vec<&str> = line.split_whitespace().collect();
    let address = u64::from_str_radix(words[0], 16).expect("an address");
    let mut running = vec![0; words[1].parse().expect("a size")];
    let mut memory = File::open(format!("/proc/{pid}/mem")).expect("the program's memory");
    memory.seek(SeekFrom::Start(address)).expect("seeking");
    memory.read_exact(&mut running).expect("reading the program's code");
    // The text segment's place in the file comes from the mapping that holds the address.
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the mappings");
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("a number in maps");
    let offset = maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        (hex(start) <= address && address < hex(end))
            .then(|| address - hex(start) + hex(rest.split_whitespace().nth(1).unwrap_or("0")))
    });
    let mut original = vec![0; running.len()];
    let mut file = File::open(&built.program).expect("the program's file");
    file.seek(SeekFrom::Start(offset.expect("the mapping")))
        .expect("seeking");
    file.read_exact(&mut original).expect("reading the file");
    (original, running)
}

#[test]
fn a_traced_program_has_no_tracer() -> Result<()> {
    let program = fixture("counter", Build::Opt)?.program;
    let tracing = Tracer::spelunk()?.start(&["--exec", &program.to_string_lossy(), "^main.work$", "--", "400"])?;
    tracing.stderr.wait_for("the first traced calls", STEP, |text| {
        (entries(text).len() >= 10).then_some(())
    })?;
    let target = wait_until("the traced program among spelunk's children", STEP, || {
        descendants(tracing.pid())
            .into_iter()
            .find(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program))
    })?;
    for _ in 0..50 {
        assert_eq!(tracer_of(target), Some(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let traced = tracing.finish(Duration::from_secs(60))?;
    assert!(
        traced
            .stderr
            .ends_with(&format!("Process {target} has exited with status 0\n")),
        "{}",
        traced.stderr
    );
    Ok(())
}

#[test]
fn attached_and_left_in_peace() -> Result<()> {
    let (built, running) = counter(Build::Opt)?;
    let (original, before) = code(&built, running.pid(), "main.work");
    assert_eq!(original, before);
    let tracing = Tracer::spelunk()?.start(&["-p", &running.pid().to_string(), "^main.work$"])?;
    tracing
        .stderr
        .wait_for("traced calls of an attached program", STEP, |text| {
            (entries(text).len() >= 10).then_some(())
        })?;
    assert_eq!(tracer_of(running.pid()), Some(0));
    let (_, patched) = code(&built, running.pid(), "main.work");
    assert_ne!(
        original, patched,
        "the probes are not in the code, so their going cannot be shown"
    );
    tracing.signal(Signal::SIGINT)?;
    let ended = tracing.finish(STEP)?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(
        code(&built, running.pid(), "main.work").1,
        original,
        "probes are left behind"
    );
    goes_on(&running)
}

#[test]
fn killing_spelunk_leaves_an_attached_program_running_without_probes() -> Result<()> {
    let (built, running) = counter(Build::Opt)?;
    let tracing = Tracer::spelunk()?.start(&["-p", &running.pid().to_string(), "^main.work$"])?;
    tracing
        .stderr
        .wait_for("traced calls of an attached program", STEP, |text| {
            (entries(text).len() >= 10).then_some(())
        })?;
    let (original, patched) = code(&built, running.pid(), "main.work");
    assert_ne!(original, patched);
    tracing.signal(Signal::SIGKILL)?;
    let ended = tracing.finish(STEP)?;
    assert_eq!(ended.code(), 128 + 9);
    wait_until("the probes to go", STEP, || {
        (code(&built, running.pid(), "main.work").1 == original).then_some(())
    })?;
    goes_on(&running)
}

#[test]
fn killing_spelunk_ends_what_it_launched() -> Result<()> {
    let program = fixture("counter", Build::Opt)?.program;
    let tracing = Tracer::spelunk()?.start(&["--exec", &program.to_string_lossy(), "^main.work$"])?;
    tracing.stderr.wait_for("the first traced calls", STEP, |text| {
        (entries(text).len() >= 4).then_some(())
    })?;
    let family = descendants(tracing.pid());
    assert!(!family.is_empty());
    tracing.signal(Signal::SIGKILL)?;
    tracing.finish(STEP)?;
    wait_until("the launched program to end with spelunk", STEP, || {
        family.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
}

#[test]
fn an_interrupt_ends_a_launched_program() -> Result<()> {
    let program = fixture("counter", Build::Opt)?.program;
    let tracing = Tracer::spelunk()?.start(&["--exec", &program.to_string_lossy(), "^main.work$"])?;
    tracing.stderr.wait_for("the first traced calls", STEP, |text| {
        (entries(text).len() >= 4).then_some(())
    })?;
    let family = descendants(tracing.pid());
    tracing.signal(Signal::SIGINT)?;
    tracing.finish(STEP)?;
    wait_until("the launched program to end", STEP, || {
        family.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
}

#[test]
fn the_exit_of_an_attached_program_is_told() -> Result<()> {
    let built = fixture("counter", Build::Opt)?;
    let mut running = ChildGroup::start(Command::new(&built.program).args(["500", "7"]))?;
    running.stdout.wait_for("the counter's first numbers", STEP, |text| {
        last_number(text).filter(|n| *n >= 3)
    })?;
    let pid = running.pid();
    let tracing = Tracer::spelunk()?.start(&["-p", &pid.to_string(), "^main.work$"])?;
    let ended = running.finish_within(Duration::from_secs(60))?;
    assert_eq!(ended.code(), 7);
    let traced = tracing.finish(STEP)?;
    assert!(
        traced
            .stderr
            .ends_with(&format!("Process {pid} has exited with status 7\n")),
        "{}",
        traced.stderr
    );
    Ok(())
}

#[test]
fn every_call_is_there_or_counted_as_lost() -> Result<()> {
    let program = fixture("flood", Build::Opt)?.program;
    let calls = 60_000_usize;
    let mut command = Tracer::spelunk()?.command(&[
        "--exec",
        &program.to_string_lossy(),
        "^main.tick$",
        "--",
        &calls.to_string(),
    ]);
    command.env("SPELUNK_RING_BYTES", "65536");
    let traced = run(&mut command, Duration::from_secs(60))?;
    assert_eq!(traced.stdout, format!("{calls}\n"));
    let printed = entries(&traced.stderr)
        .iter()
        .filter(|entry| !matches!(entry, Entry::Other(_)))
        .count();
    let lost = lost_in(&traced.stderr);
    assert!(printed > 0, "{}", traced.stderr);
    assert!(
        printed + lost >= 2 * calls,
        "{printed} printed and {lost} lost of {} events",
        2 * calls
    );
    assert!(printed <= 2 * calls, "{printed} lines for {} events", 2 * calls);
    Ok(())
}

#[test]
fn a_large_ring_loses_nothing_of_a_burst() -> Result<()> {
    let program = fixture("flood", Build::Opt)?.program;
    let traced = Tracer::spelunk()?.run(&["--exec", &program.to_string_lossy(), "^main.tick$", "--", "20000"])?;
    let mut sum = 0_u64;
    let mut open = false;
    for entry in entries(&traced.stderr) {
        match entry {
            Entry::Call { .. } => {
                assert!(!open, "two calls in a row");
                open = true;
            }
            Entry::Return { results, .. } => {
                sum += 1;
                assert_eq!(results, sum.to_string());
                open = false;
            }
            Entry::Other(_) => {}
        }
    }
    assert_eq!(
        (sum, lost_in(&traced.stderr)),
        (20_000, 0),
        "{}",
        traced.stderr.lines().last().unwrap_or_default()
    );
    Ok(())
}

/// The number in the line that says how many records were lost; 0 without such a line.
fn lost_in(stderr: &str) -> usize {
    let line = stderr
        .lines()
        .find(|line| !line.starts_with('>') && line.contains("lost"));
    let digits = |line: &str| {
        line.split(|c: char| !c.is_ascii_digit())
            .find_map(|part| part.parse().ok())
    };
    line.and_then(digits).unwrap_or(0)
}

/// A program with `functions` functions, each called once, and a moment to attach.
fn thousand(functions: usize) -> Result<Built> {
    let mut text = String::from("package main\n\nimport (\n\t\"fmt\"\n\t\"time\"\n)\n\nvar sink int\n\n");
    for i in 0..functions {
        let _ = writeln!(
            text,
            "//go:noinline\nfunc one{i}(n int, s string) int {{\n\tsink += n + len(s)\n\treturn sink + {i}\n}}\n"
        );
    }
    text.push_str("func main() {\n");
    for i in 0..functions {
        let _ = writeln!(text, "\tone{i}({i}, \"s\")");
    }
    text.push_str("\tfmt.Println(\"called\")\n\ttime.Sleep(time.Minute)\n}\n");
    Source::generated("thousand", vec![("main.go".into(), text)]).build(Build::Opt)
}

#[test]
fn a_thousand_functions_attach_and_detach_quickly() -> Result<()> {
    let built = thousand(1000)?;
    let started = Instant::now();
    let tracing = Tracer::spelunk()?.start(&["--exec", &built.program.to_string_lossy(), r"^main\.one\d+$"])?;
    tracing
        .stderr
        .wait_for("the last of a thousand functions", Duration::from_secs(60), |text| {
            text.contains("main.one999 => ").then_some(())
        })?;
    let attached = started.elapsed();
    let seen = entries(&tracing.stderr.text());
    let calls = seen.iter().filter(|entry| matches!(entry, Entry::Call { .. })).count();
    assert_eq!(calls, 1000);
    let started = Instant::now();
    tracing.signal(Signal::SIGINT)?;
    tracing.finish(STEP)?;
    let detached = started.elapsed();
    println!("1,000 functions: start, attach and trace in {attached:.2?}, detach and end in {detached:.2?}");
    assert!(
        attached < Duration::from_secs(20) && detached < Duration::from_secs(10),
        "attach {attached:?}, detach {detached:?}"
    );
    Ok(())
}
