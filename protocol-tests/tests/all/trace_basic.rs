//! One function traced, in all the ways that a function is called.

use std::collections::BTreeMap;

use protocol_tests::child::Finished;
use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, Source, fixture};
use protocol_tests::trace::Tracer;
use protocol_tests::trace_text::{Entry, entries};

fn trace(name: &str, build: Build, regexp: &str, args: &[&str]) -> Result<Finished> {
    let built = fixture(name, build)?;
    let program = built.program.to_string_lossy();
    let mut all = vec!["--exec", &program, regexp];
    if !args.is_empty() {
        all.push("--");
        all.extend(args);
    }
    Tracer::spelunk()?.run(&all)
}

/// Calls and returns as `f(1)` and `f => 2`, without goroutines.
fn steps(stderr: &str) -> Vec<String> {
    let step = |entry: Entry| match entry {
        Entry::Call {
            function, arguments, ..
        } => Some(format!("{}({arguments})", short(&function))),
        Entry::Return { function, results, .. } => Some(format!("{} => {results}", short(&function))),
        Entry::Other(_) => None,
    };
    entries(stderr).into_iter().filter_map(step).collect()
}

fn short(function: &str) -> &str {
    function.strip_prefix("main.").unwrap_or(function)
}

/// The process id in `Process N has exited with status S`, taken out.
fn without_pid(stderr: &str) -> String {
    let words = stderr.split_inclusive(char::is_whitespace).collect::<Vec<_>>();
    let mut out = String::new();
    for (i, word) in words.iter().enumerate() {
        let is_pid = i > 0 && words[i - 1] == "Process " && word.trim().parse::<u32>().is_ok();
        out.push_str(if is_pid { "N " } else { word });
    }
    out
}

/// What is left of standard error without these lines of the trace, which have to be there. Go's runtime writes the words
/// of a crash piece by piece to the same pipe, so a line of the trace may stand in the middle of one of its lines.
fn without_lines(stderr: &str, lines: &[&str]) -> String {
    let mut rest = stderr.to_owned();
    for line in lines {
        let at = rest
            .find(line)
            .unwrap_or_else(|| panic!("{line:?} is not in:\n{stderr}"));
        rest.replace_range(at..at + line.len(), "");
    }
    rest
}

const FOO: &str =
    "> goroutine(1): main.foo(99, 9801)\n>> goroutine(1): main.foo => (9900)\nProcess N has exited with status 0\n";

#[test]
fn the_first_trace_reads_exactly_so() -> Result<()> {
    for build in [Build::NoOpt, Build::PieNoOpt] {
        let traced = trace("foo", build, "^main.foo$", &[])?;
        assert_eq!(without_pid(&traced.stderr), FOO, "{build:?}");
        assert_eq!(
            traced.stdout, "x=99, y=9801, z=0\n",
            "{build:?}: standard output is the program's own"
        );
        assert_eq!(traced.code(), 0, "{build:?}");
    }
    Ok(())
}

#[test]
fn a_package_is_built_and_traced() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let mut command = Tracer::spelunk()?.command(&["main.foo"]);
    let here = tempfile::tempdir().expect("a temporary folder");
    for file in ["main.go", "go.mod"] {
        std::fs::copy(built.dir.join(file), here.path().join(file)).expect("copying the package");
    }
    let traced = protocol_tests::child::run(command.current_dir(here.path()), std::time::Duration::from_secs(120))?;
    assert_eq!(without_pid(&traced.stderr), FOO);
    let left: Vec<_> = std::fs::read_dir(here.path())
        .expect("listing")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left.len(), 2, "the built program is removed again: {left:?}");
    Ok(())
}

#[test]
fn an_explicit_backend_flag_is_taken() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let program = built.program.to_string_lossy();
    let tracer = Tracer::spelunk()?;
    let with = tracer.run(&["--ebpf", "--exec", &program, "main.foo"])?;
    assert_eq!(without_pid(&with.stderr), FOO);
    let without = tracer.run(&["--ebpf=false", "--exec", &program, "main.foo"])?;
    assert_eq!(without_pid(&without.stderr), FOO);
    Ok(())
}

#[test]
fn methods_have_their_receiver_first() -> Result<()> {
    for build in [Build::NoOpt, Build::Opt] {
        let found = steps(&trace("calls", build, r"^main\.\(?\*?Account\)?\.", &["methods"])?.stderr);
        assert_eq!(found.len(), 4, "{build:?} {found:?}");
        assert!(
            found[0].starts_with("(*Account).Deposit((*main.Account)(0x") && found[0].ends_with("), 5)"),
            "{build:?} {found:?}"
        );
        let rest = [
            "(*Account).Deposit => 15",
            r#"Account.Describe(main.Account {Owner: "Ada", Balance: 15}, "owner: ")"#,
            r#"Account.Describe => "owner: Ada""#,
        ];
        assert_eq!(found[1..], rest, "{build:?}");
    }
    Ok(())
}

#[test]
fn recursion_pairs_by_depth() -> Result<()> {
    let expected = [
        "factorial(4)",
        "factorial(3)",
        "factorial(2)",
        "factorial(1)",
        "factorial => 1",
        "factorial => 2",
        "factorial => 6",
        "factorial => 24",
    ];
    for build in [Build::NoOpt, Build::Opt] {
        assert_eq!(
            steps(&trace("calls", build, "^main.factorial$", &["recursion"])?.stderr),
            expected,
            "{build:?}"
        );
    }
    Ok(())
}

#[test]
fn a_growing_stack_is_entered_once_per_call() -> Result<()> {
    for build in [Build::NoOpt, Build::Opt, Build::Pie] {
        let traced = trace("calls", build, "^main.deep$", &["deep"])?;
        let expected: Vec<String> = (0..=300)
            .rev()
            .map(|n| format!("deep({n})"))
            .chain((0..=300).map(|n| format!("deep => {n}")))
            .collect();
        assert_eq!(steps(&traced.stderr), expected, "{build:?}");
        assert_eq!(traced.stdout, "300\n");
    }
    Ok(())
}

/// Parameters that a function does not use are not kept over the growth of its stack, so they must be read before it.
#[test]
fn parameters_are_right_when_entering_grows_the_stack() -> Result<()> {
    let calls = (0..20).flat_map(|i| [format!("roomy({i}, {}, \"label\")", 2 * i), "roomy => 3".to_owned()]);
    let expected: Vec<String> = calls.collect();
    for build in [Build::NoOpt, Build::Opt, Build::Pie] {
        assert_eq!(
            steps(&trace("calls", build, "^main.roomy$", &["growth"])?.stderr),
            expected,
            "{build:?}"
        );
    }
    Ok(())
}

/// As above in functions of many lengths: the assembler pads the call that grows the stack where it would straddle 32 bytes.
#[test]
fn parameters_are_right_wherever_the_call_that_grows_the_stack_lies() -> Result<()> {
    use std::fmt::Write;
    let mut text = String::from("package main\n\nvar sink int\n\n");
    let mut calls = String::new();
    let mut expected = Vec::new();
    for i in 0..40 {
        let _ = write!(
            text,
            "//go:noinline\nfunc roomy{i}(a, b int, label string) {{\n\tvar room [9000]byte\n\tfill(&room)\n"
        );
        text.push_str(&"\tsink++\n".repeat(i % 3));
        let _ = writeln!(text, "{}}}\n", "\tfill(nil)\n".repeat(i));
        let _ = writeln!(
            calls,
            "\tgo func() {{ roomy{i}({i}, 1{i}, \"label\"); done <- true }}()\n\t<-done"
        );
        expected.push(format!("roomy{i}({i}, 1{i}, \"label\")"));
    }
    text.push_str("//go:noinline\nfunc fill(room *[9000]byte) {\n\tif room != nil {\n\t\troom[sink] = 1\n\t}\n}\n\n");
    let _ = write!(text, "func main() {{\n\tdone := make(chan bool)\n{calls}}}\n");
    let built = Source::generated("lengths", vec![("main.go".into(), text)]).build(Build::Opt)?;
    let traced = Tracer::spelunk()?.run(&["--exec", &built.program.to_string_lossy(), r"^main\.roomy\d+$"])?;
    let mut called = steps(&traced.stderr);
    called.retain(|step| !step.contains("=>"));
    assert_eq!(called, expected);
    Ok(())
}

#[test]
fn a_panic_leaves_out_the_return_and_pairing_stays_right() -> Result<()> {
    let expected = [
        "guarded(1)",
        "fails(1)",
        r#"guarded => "recovered: no 1""#,
        "guarded(0)",
        "fails(0)",
        "fails => 0",
        r#"guarded => "fine""#,
        "guarded(2)",
        "fails(2)",
        r#"guarded => "recovered: no 2""#,
    ];
    for build in [Build::NoOpt, Build::Opt] {
        assert_eq!(
            steps(&trace("calls", build, "^main.(guarded|fails)$", &["panic"])?.stderr),
            expected,
            "{build:?}"
        );
    }
    Ok(())
}

#[test]
fn an_uncaught_panic_is_the_programs_own_end() -> Result<()> {
    let traced = trace("calls", Build::NoOpt, "^main.fails$", &["uncaught"])?;
    let own = without_lines(&traced.stderr, &["> goroutine(1): main.fails(7)\n"]);
    assert!(
        own.starts_with("panic: no 7") && !own.contains("main.fails =>"),
        "the program's own words are on standard error: {own}"
    );
    assert!(
        without_pid(&traced.stderr).ends_with("Process N has exited with status 2\n"),
        "{}",
        traced.stderr
    );
    Ok(())
}

#[test]
fn a_goroutine_that_ends_itself_leaves_no_pair_behind() -> Result<()> {
    let found = steps(&trace("calls", Build::NoOpt, "^main.leaves$", &["goexit"])?.stderr);
    assert_eq!(
        found,
        [
            "leaves(1)",
            "leaves => 1",
            "leaves(2)",
            "leaves => 2",
            "leaves(3)",
            "leaves(4)",
            "leaves => 4"
        ]
    );
    Ok(())
}

#[test]
fn goroutines_are_told_apart() -> Result<()> {
    for build in [Build::NoOpt, Build::Opt] {
        let traced = trace("calls", build, "^main.worker$", &["goroutines"])?;
        let mut calls: BTreeMap<i64, i64> = BTreeMap::new();
        let mut returns = 0;
        for entry in entries(&traced.stderr) {
            match entry {
                Entry::Call {
                    goroutine, arguments, ..
                } => drop(calls.insert(goroutine, arguments.parse().expect("a number"))),
                Entry::Return { goroutine, results, .. } => {
                    let argument = calls[&goroutine];
                    assert_eq!(results, (argument * argument).to_string(), "goroutine {goroutine}");
                    returns += 1;
                }
                Entry::Other(_) => {}
            }
        }
        assert_eq!((calls.len(), returns), (50, 50), "{build:?}: {}", traced.stderr);
        assert!(calls.keys().all(|goroutine| *goroutine > 1), "{build:?}: {calls:?}");
    }
    Ok(())
}

#[test]
fn many_parameters_come_from_registers_and_stack() -> Result<()> {
    let expected = [
        r#"many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "twelve", []uint8 len: 8, cap: 8, [...])"#,
        r#"many => 12,"twelve",true"#,
        "named(7)",
        "named => 3,true",
    ];
    // In optimised builds `named` is inlined into its caller and is not there to be traced.
    for (build, lines) in [(Build::NoOpt, 4), (Build::Opt, 2), (Build::Pie, 2), (Build::Cgo, 2)] {
        let found = steps(&trace("calls", build, "^main.(many|named)$", &["many"])?.stderr);
        assert_eq!(found, expected[..lines], "{build:?}");
    }
    Ok(())
}

#[test]
fn the_end_is_told_as_dlv_tells_it() -> Result<()> {
    for (how, status) in [("0", "0"), ("3", "3"), ("kill", "-9"), ("term", "-15")] {
        let traced = trace("exits", Build::NoOpt, "^main.last$", &[how])?;
        let expected = format!(
            "> goroutine(1): main.last(\"{how}\")\n>> goroutine(1): main.last => ({})\nProcess N has exited with status {status}\n",
            how.len()
        );
        assert_eq!(without_pid(&traced.stderr), expected);
    }
    // A fault is the Go runtime's to report: it prints a traceback and exits with 2.
    let traced = trace("exits", Build::NoOpt, "^main.last$", &["segv"])?;
    let lines = [
        "> goroutine(1): main.last(\"segv\")\n",
        ">> goroutine(1): main.last => (4)\n",
    ];
    let own = without_lines(&traced.stderr, &lines);
    assert!(
        own.contains("SIGSEGV") && without_pid(&own).ends_with("Process N has exited with status 2\n"),
        "{own}"
    );
    Ok(())
}

#[test]
fn standard_input_reaches_the_program() -> Result<()> {
    use std::io::Write;
    use std::process::Stdio;
    let files = vec![(
        "main.go".to_owned(),
        "package main\n\nimport (\n\t\"bufio\"\n\t\"fmt\"\n\t\"os\"\n)\n\n//go:noinline\nfunc shout(s string) string { return s + \"!\" }\n\nfunc main() {\n\tin := bufio.NewScanner(os.Stdin)\n\tfor in.Scan() {\n\t\tfmt.Println(shout(in.Text()))\n\t}\n}\n".to_owned(),
    )];
    let built = Source::generated("reader", files).build(Build::Opt)?;
    let mut command = Tracer::spelunk()?.command(&["--exec", &built.program.to_string_lossy(), "^main.shout$"]);
    command.stdin(Stdio::piped());
    let mut child = protocol_tests::child::ChildGroup::start_with_stdin(&mut command)?;
    let mut stdin = child.stdin().expect("a pipe");
    stdin.write_all(b"hello\n").expect("writing");
    drop(stdin);
    let traced = child.finish(std::time::Duration::from_secs(20))?;
    assert_eq!(traced.stdout, "hello!\n");
    assert_eq!(steps(&traced.stderr), [r#"shout("hello")"#, r#"shout => "hello!""#]);
    Ok(())
}

#[test]
fn inlined_calls_are_named() -> Result<()> {
    // `total` is inlined into `ship`.
    let some = trace("orders", Build::Opt, r"^main\.(ship|total)$", &[])?;
    assert!(some.stderr.contains("main.ship("), "{}", some.stderr);
    let told = "spelunk: calls that the compiler inlined are not seen: main.total (at 1 place)\n";
    assert!(some.stderr.contains(told), "{}", some.stderr);
    let program = fixture("orders", Build::Opt)?.program;
    let none = Tracer::spelunk()?.run(&["--exec", &program.to_string_lossy(), r"^main\.total$"])?;
    assert_eq!(none.code(), 1, "{}", none.stderr);
    assert!(
        none.stderr.contains("the compiler inlined all calls of main.total"),
        "{}",
        none.stderr
    );
    Ok(())
}

#[test]
fn a_call_that_cannot_be_told_from_a_loop_is_refused() -> Result<()> {
    let program = fixture("loops", Build::Opt)?.program;
    let refused = Tracer::spelunk()?.run(&["--exec", &program.to_string_lossy(), r"^main\.count$"])?;
    assert_eq!(refused.code(), 1, "{}", refused.stderr);
    for told in [
        "main.count: its first instruction is also the head of a loop",
        "no breakpoints set",
    ] {
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    Ok(())
}
