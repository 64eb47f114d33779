//! The text of a trace at each verbosity, held to that of `dlv trace`.

use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::trace::Tracer;

const FUNCTIONS: &str = "^main.(plain|structures|nested|long|nothing)$";

/// The text with addresses and process ids made equal, and without the elements of maps: their tables are not followed in the kernel, so a trace
/// shows `[...]` for them, where dlv, which stops, walks through.
fn normalised(text: &str) -> String {
    let map = regex::Regex::new(r"(map\[string\]int) \[[^\]]*\]").expect("a pattern");
    let text = &map.replace_all(text, "$1 [...]");
    let address = regex::Regex::new("0x[0-9a-f]+").expect("a pattern");
    let process = regex::Regex::new(r"Process \d+").expect("a pattern");
    process
        .replace_all(&address.replace_all(text, "0xADDRESS"), "Process N")
        .into_owned()
}

fn like_dlv(verbosity: &str) -> Result<()> {
    let Some(dlv) = Tracer::dlv(&format!("trace -v {verbosity} against dlv")) else {
        return Ok(());
    };
    let program = fixture("verbosity", Build::NoOpt)?.program;
    let program = program.to_string_lossy();
    let args = ["-v", verbosity, "--exec", &program, FUNCTIONS];
    let theirs = dlv.run(&args)?;
    assert!(theirs.stderr.contains("main.nested"), "{}", theirs.stderr);
    for tracer in [Tracer::spelunk()?, Tracer::spelunk_by_stops()?] {
        let ours = tracer.run(&args)?;
        assert_eq!(normalised(&ours.stderr), normalised(&theirs.stderr), "{tracer:?}");
    }
    Ok(())
}

#[test]
fn values() -> Result<()> {
    like_dlv("0")
}

#[test]
fn types() -> Result<()> {
    like_dlv("1")
}

#[test]
fn inline() -> Result<()> {
    like_dlv("2")
}

#[test]
fn expanded() -> Result<()> {
    like_dlv("3")
}

#[test]
fn full() -> Result<()> {
    like_dlv("4")
}

/// What the levels show is said here as well, for machines without dlv.
#[test]
fn the_levels_without_dlv() -> Result<()> {
    let program = fixture("verbosity", Build::NoOpt)?.program;
    let program = program.to_string_lossy();
    let expected = [
        (
            "0",
            "> goroutine(1): main.plain(42, 7, true, \"Hello World\")\n>> goroutine(1): main.plain => (84)\n",
        ),
        (
            "1",
            "> goroutine(1): main.plain(i: <int>, u: <uint8>, ok: <bool>, s: <string>)\n>> goroutine(1): main.plain => (<int>)\n",
        ),
        (
            "2",
            "> goroutine(1): main.plain(i: 42, u: 7, ok: true, s: \"Hello World\")\n>> goroutine(1): main.plain => (84)\n",
        ),
        (
            "3",
            "> goroutine(1): main.plain(\n  i: 42\n  u: 7\n  ok: true\n  s: \"Hello World\")\n>> goroutine(1): main.plain => (84)\n",
        ),
        (
            "4",
            "> goroutine(1): main.plain(\n  i: 42\n  u: 7\n  ok: true\n  s: \"Hello World\")\n>> goroutine(1): main.plain => (84)\n",
        ),
    ];
    for (verbosity, text) in expected {
        let traced = Tracer::spelunk()?.run(&["-v", verbosity, "--exec", &program, "^main.plain$"])?;
        assert_eq!(
            normalised(&traced.stderr),
            format!("{text}Process N has exited with status 0\n"),
            "-v {verbosity}"
        );
    }
    Ok(())
}
