//! Traces with conditions and hit conditions, decided by the kernel and by stops.

use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, fixture, fixture_dir};
use protocol_tests::trace::Tracer;
use protocol_tests::trace_text::{Entry, entries};

const BUILDS: [Build; 2] = [Build::NoOpt, Build::Opt];

fn tracers() -> Result<[Tracer; 2]> {
    Ok([Tracer::spelunk()?, Tracer::spelunk_by_stops()?])
}

/// Standard output and standard error of a trace of the fixture.
fn trace(tracer: &Tracer, build: Build, flags: &[&str], regexp: &str, args: &[&str]) -> Result<(String, String)> {
    let built = fixture("conditions", build)?;
    let program = built.program.to_string_lossy();
    let mut all = vec!["--exec", &program];
    all.extend(flags);
    all.extend([regexp, "--"]);
    all.extend(args);
    let finished = tracer.run(&all)?;
    Ok((finished.stdout, finished.stderr))
}

/// The first argument of each call, and the results of each return.
fn calls_and_returns(stderr: &str) -> (Vec<String>, Vec<String>) {
    let (mut calls, mut returns) = (Vec::new(), Vec::new());
    for entry in entries(stderr) {
        match entry {
            Entry::Call { arguments, .. } => {
                let first = arguments.split(',').next().unwrap_or_default();
                calls.push(first.to_owned());
            }
            Entry::Return { results, .. } => returns.push(results),
            Entry::Other(_) => {}
        }
    }
    (calls, returns)
}

/// The conditions of the fixture, as its source has them.
fn conditions(source: &str) -> Vec<String> {
    let quoted = |line: &str| Some(line.trim().strip_prefix("{`")?.split_once('`')?.0.to_owned());
    source.lines().filter_map(quoted).collect()
}

#[test]
fn calls_are_shown_of_which_the_condition_is_true() -> Result<()> {
    for build in BUILDS {
        let source = std::fs::read_to_string(fixture_dir("conditions").join("main.go")).expect("the fixture is there");
        let conditions = conditions(&source);
        assert!(conditions.len() >= 7);
        for (number, condition) in conditions.iter().enumerate() {
            for tracer in tracers()? {
                let flags = ["--cond", condition];
                let (stdout, stderr) = trace(
                    &tracer,
                    build,
                    &flags,
                    r"^main\.visit$",
                    &["visit", &number.to_string()],
                )?;
                let (calls, returns) = calls_and_returns(&stderr);
                let wanted: Vec<&str> = stdout.lines().collect();
                assert_eq!(calls, wanted, "{condition} {build:?}:\n{stderr}");
                assert!(!wanted.is_empty() && wanted.len() < 40, "{condition} tells nothing");
                assert_eq!(returns.len(), calls.len(), "{condition}:\n{stderr}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_return_is_shown_with_its_call() -> Result<()> {
    for build in BUILDS {
        for tracer in tracers()? {
            let (_, stderr) = trace(&tracer, build, &["--cond", "n%3 == 0"], r"^main\.down$", &["down"])?;
            let (calls, returns) = calls_and_returns(&stderr);
            assert_eq!(calls, ["0", "3", "6", "9"], "{stderr}");
            // down(n, 9-n) is 9 plus the calls in between.
            assert_eq!(returns, ["9", "12", "15", "18"], "{stderr}");
            // The third call panics; the fourth, which is not shown, stands where the third stood.
            let flags = ["--cond", "n == 1 || n == 3 || n > 4"];
            let (_, stderr) = trace(&tracer, build, &flags, r"^main\.risky$", &["risky"])?;
            let (calls, returns) = calls_and_returns(&stderr);
            assert_eq!(calls, ["1", "3", "5", "6"], "{stderr}");
            assert_eq!(returns, ["2", "10", "12"], "{stderr}");
            // A function that recovers from its own panic returns as any other.
            let (_, stderr) = trace(
                &tracer,
                build,
                &["--cond", "n > 2 && n != 5"],
                r"^main\.healed$",
                &["healed"],
            )?;
            let (calls, returns) = calls_and_returns(&stderr);
            assert_eq!(calls, ["3", "4", "6"], "{stderr}");
            assert_eq!(returns, ["3", "-4", "-6"], "{stderr}");
        }
    }
    Ok(())
}

#[test]
fn hits_are_counted_for_each_function_or_goroutine() -> Result<()> {
    for tracer in tracers()? {
        let build = Build::Opt;
        let count = |flags: &[&str]| -> Result<(Vec<String>, Vec<String>)> {
            let (_, stderr) = trace(&tracer, build, flags, r"^main\.worker$", &["worker"])?;
            Ok(calls_and_returns(&stderr))
        };
        let (calls, returns) = count(&["--hitcond", "% 10"])?;
        assert_eq!((calls.len(), returns.len()), (10, 10));
        let (calls, _) = count(&["--hitcond", "> 97"])?;
        assert_eq!(calls.len(), 3);
        // Of each goroutine's 25 calls the even ones count: 12.
        let (calls, returns) = count(&["--cond", "n%2 == 0", "--hitcond", "== 12", "--hitcond-per-goroutine"])?;
        let mut ids = calls;
        ids.sort();
        assert_eq!(ids, ["1", "2", "3", "4"]);
        let mut results = returns;
        results.sort();
        assert_eq!(results, ["1024", "2024", "3024", "4024"]);
    }
    Ok(())
}

#[test]
fn a_function_for_which_the_condition_means_nothing_is_left_out_and_named() -> Result<()> {
    for tracer in tracers()? {
        let flags = ["--cond", "len(s) == 2"];
        let (_, stderr) = trace(&tracer, Build::Opt, &flags, r"^main\.(text|worker)$", &["mixed"])?;
        let why = "unable to set tracepoint on function main.worker: error evaluating condition: could not find symbol value for s";
        assert!(stderr.contains(why), "{stderr}");
        assert_eq!(calls_and_returns(&stderr).0, ["\"xx\""], "{stderr}");
        let (_, stderr) = trace(&tracer, Build::Opt, &flags, r"^main\.worker$", &["mixed"])?;
        assert!(
            stderr.contains(why) && stderr.contains("no breakpoints set"),
            "{stderr}"
        );
    }
    Ok(())
}

#[test]
fn a_call_whose_condition_has_no_value_is_shown_with_the_reason() -> Result<()> {
    for build in BUILDS {
        for tracer in tracers()? {
            let (_, stderr) = trace(&tracer, build, &["--cond", "p.Left == 2"], r"^main\.pointer$", &["nil"])?;
            let (calls, returns) = calls_and_returns(&stderr);
            assert_eq!(calls.len(), 2, "{stderr}");
            assert_eq!(calls[0], "*main.Pair nil");
            assert!(stderr.contains("error evaluating condition: p is nil"), "{stderr}");
            assert_eq!(returns, ["2"], "{stderr}");
        }
    }
    Ok(())
}

#[test]
fn what_the_kernel_cannot_decide_is_told() -> Result<()> {
    let kernel = Tracer::spelunk()?;
    let flags = ["--ebpf=true", "--cond", "m[\"key\"] == n"];
    let (_, stderr) = trace(&kernel, Build::Opt, &flags, r"^main\.visit$", &["visit", "0"])?;
    let why = "the kernel cannot decide the condition: m[\"key\"] needs a map lookup";
    assert!(stderr.contains(why) && stderr.contains("--ebpf=false"), "{stderr}");
    assert!(calls_and_returns(&stderr).0.is_empty(), "{stderr}");
    let (_, stderr) = trace(&kernel, Build::Opt, &flags[1..], r"^main\.visit$", &["visit", "0"])?;
    // Where Go reads 0 there is no key for a debugger, as for Delve.
    let undecided = stderr.matches("error evaluating condition: key not found").count();
    let (calls, _) = calls_and_returns(&stderr);
    assert_eq!((undecided, calls.len()), (8, 8 + 4), "{stderr}");
    let falls_back = format!("spelunk: tracing with ptrace, which stops the program at each call, because {why}");
    assert!(stderr.contains(&falls_back), "{stderr}");
    for (flags, text) in [
        (["--cond", "n >"], "invalid --cond: "),
        (["--cond", "n + 1"], "condition expression not boolean"),
        (
            ["--hitcond", "often"],
            "unable to parse breakpoint hit condition: \"often\"",
        ),
    ] {
        let (_, stderr) = trace(&kernel, Build::Opt, &flags, r"^main\.visit$", &["visit", "0"])?;
        assert!(stderr.contains(text), "{stderr}");
    }
    Ok(())
}
