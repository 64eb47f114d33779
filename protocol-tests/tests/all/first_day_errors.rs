//! What a newcomer meets on the first day: each mistake is answered by a sentence that helps.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use protocol_tests::child::{ChildGroup, Finished, run};
use protocol_tests::executable::write_executable;
use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, Go, fixture};
use protocol_tests::{paths, peer};

const LIMIT: Duration = Duration::from_secs(30);

fn spelunk(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(paths::spelunk()?);
    command.args(args);
    if let Ok(go) = Go::find() {
        command.env("PATH", go.path_variable());
    }
    Ok(command)
}

/// It failed, and its standard error has all of `parts`, in any case of letters.
fn fails_with(finished: &Finished, parts: &[&str]) {
    assert_ne!(finished.code(), 0, "{}", finished.stderr);
    let said = finished.stderr.to_lowercase();
    for part in parts {
        assert!(
            said.contains(&part.to_lowercase()),
            "`{part}` is not in:\n{}",
            finished.stderr
        );
    }
    assert!(!said.contains("panicked"), "{}", finished.stderr);
}

fn trace_fails(args: &[&str], parts: &[&str]) -> Result<()> {
    let all: Vec<&str> = std::iter::once("trace").chain(args.iter().copied()).collect();
    fails_with(&run(&mut spelunk(&all)?, LIMIT)?, parts);
    Ok(())
}

#[test]
fn no_go_toolchain() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let empty = tempfile::tempdir().expect("a folder");
    let spelunk = paths::spelunk()?;
    let installed = Path::new("/usr/local/go");
    let mut command = if installed.exists() && nix::unistd::geteuid().is_root() {
        // Where Go's own archive installs it is looked at too, so it is hidden, from this one process.
        let mut hidden = Command::new("unshare");
        hidden.args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /usr/local/go && PATH=$1 exec \"$2\" trace main.foo",
            "sh",
        ]);
        hidden.arg(empty.path()).arg(spelunk);
        hidden
    } else if installed.exists() {
        peer::skip("the error without a Go toolchain", "hiding /usr/local/go takes root");
        return Ok(());
    } else {
        let mut plain = Command::new(spelunk);
        plain.args(["trace", "main.foo"]).env("PATH", empty.path());
        plain
    };
    command
        .current_dir(&built.dir)
        .env("HOME", empty.path())
        .env_remove("GOROOT");
    fails_with(
        &run(&mut command, LIMIT)?,
        &["Go toolchain was not found", "PATH", "go.dev/dl", "--exec"],
    );
    Ok(())
}

#[test]
fn a_build_failure_shows_what_the_compiler_said() -> Result<()> {
    let here = tempfile::tempdir().expect("a folder");
    fs::write(here.path().join("go.mod"), "module broken\n\ngo 1.21\n").expect("writing");
    fs::write(
        here.path().join("main.go"),
        "package main\n\nfunc main() {\n\tundefinedName()\n}\n",
    )
    .expect("writing");
    let mut command = spelunk(&["trace", "main.main"])?;
    fails_with(
        &run(command.current_dir(here.path()), LIMIT)?,
        &["main.go:4", "undefined: undefinedName"],
    );
    Ok(())
}

#[test]
fn the_file_is_absent() -> Result<()> {
    trace_fails(
        &["--exec", "/nowhere/at/all", "main.foo"],
        &["/nowhere/at/all", "no such file"],
    )
}

#[test]
fn the_file_is_a_folder() -> Result<()> {
    trace_fails(&["--exec", "/tmp", "main.foo"], &["/tmp", "directory"])
}

#[test]
fn the_file_is_no_program() -> Result<()> {
    let here = tempfile::tempdir().expect("a folder");
    let script = here.path().join("script");
    fs::write(&script, "#!/bin/sh\necho hello\n").expect("writing");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("making it executable");
    trace_fails(&["--exec", &script.to_string_lossy(), "main.foo"], &["script", "ELF"])
}

#[test]
fn the_file_is_damaged() -> Result<()> {
    let here = tempfile::tempdir().expect("a folder");
    let half = here.path().join("half");
    let whole = fs::read(fixture("foo", Build::NoOpt)?.program).expect("reading");
    for length in [3, 64, 1000, whole.len() / 2, whole.len() - 1] {
        fs::write(&half, &whole[..length]).expect("writing");
        fs::set_permissions(&half, fs::Permissions::from_mode(0o755)).expect("making it executable");
        trace_fails(&["--exec", &half.to_string_lossy(), "main.foo"], &["half"])?;
    }
    Ok(())
}

#[test]
fn the_program_is_not_go() -> Result<()> {
    let own = std::env::current_exe().expect("this program");
    trace_fails(&["--exec", &own.to_string_lossy(), "main.foo"], &["Go", "not"])
}

#[test]
fn the_program_is_stripped() -> Result<()> {
    let built = fixture("foo", Build::Stripped)?;
    trace_fails(
        &["--exec", &built.program.to_string_lossy(), "main.foo"],
        &["debug information", "-ldflags"],
    )
}

#[test]
fn no_function_matches() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    trace_fails(
        &["--exec", &built.program.to_string_lossy(), "main.absent"],
        &["main.absent"],
    )
}

#[test]
fn the_expression_is_malformed() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    trace_fails(&["--exec", &built.program.to_string_lossy(), "main.("], &["main.("])
}

#[test]
fn no_expression_is_given() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    trace_fails(
        &["--exec", &built.program.to_string_lossy()],
        &["you must supply a regexp for functions to trace"],
    )
}

#[test]
fn the_process_is_gone() -> Result<()> {
    let gone = run(&mut Command::new("true"), LIMIT)?;
    assert_eq!(gone.code(), 0);
    // The highest id a 64-bit kernel gives out, which nothing here reaches.
    trace_fails(&["-p", "4194303", "main.foo"], &["4194303", "no such process"])
}

#[test]
fn the_running_program_is_another_build() -> Result<()> {
    let mut running = ChildGroup::start(&mut Command::new(fixture("counter", Build::Opt)?.program))?;
    let other = fixture("counter", Build::NoOpt)?.program;
    let pid = running.pid().to_string();
    trace_fails(
        &["-p", &pid, "--exec", &other.to_string_lossy(), "main.work"],
        &["build id", &pid, &other.to_string_lossy()],
    )?;
    assert!(running.poll()?.is_none(), "the program was harmed");
    Ok(())
}

/// A copy of the built binary that an ordinary user can reach, run as that user.
fn as_nobody(args: &[&str], folder: &Path) -> Result<Option<Command>> {
    if !nix::unistd::geteuid().is_root() {
        peer::skip(
            "errors of an ordinary user",
            "the tests do not run as root and cannot become somebody else",
        );
        return Ok(None);
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("opening the folder");
    let copy = folder.join("spelunk");
    write_executable(&copy, &fs::read(paths::spelunk()?).expect("reading spelunk"))?;
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ])
        .arg(copy)
        .args(args);
    command.current_dir(folder);
    Ok(Some(command))
}

#[test]
fn an_ordinary_user_is_told_which_capability_is_missing() -> Result<()> {
    let here = tempfile::tempdir().expect("a folder");
    let program = here.path().join("foo");
    fs::copy(fixture("foo", Build::NoOpt)?.program, &program).expect("copying");
    let Some(mut command) = as_nobody(
        &["trace", "--ebpf", "--exec", &program.to_string_lossy(), "main.foo"],
        here.path(),
    )?
    else {
        return Ok(());
    };
    fails_with(&run(&mut command, LIMIT)?, &["cap_bpf", "cap_perfmon", "setcap"]);
    Ok(())
}

#[test]
fn a_kernel_without_type_information_is_named() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let mut command = spelunk(&[
        "trace",
        "--ebpf",
        "--exec",
        &built.program.to_string_lossy(),
        "main.foo",
    ])?;
    command.env("SPELUNK_BTF", "/nowhere/vmlinux");
    fails_with(&run(&mut command, LIMIT)?, &["BTF", "/nowhere/vmlinux"]);
    Ok(())
}

#[test]
fn a_kernel_without_uprobe_multi_is_named() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let mut command = spelunk(&[
        "trace",
        "--ebpf",
        "--exec",
        &built.program.to_string_lossy(),
        "main.foo",
    ])?;
    command.env("SPELUNK_NO_UPROBE_MULTI", "1");
    fails_with(&run(&mut command, LIMIT)?, &["uprobe_multi"]);
    Ok(())
}

#[test]
fn the_port_is_in_use() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let finished = run(&mut spelunk(&["dap", "--listen", &address])?, LIMIT)?;
    fails_with(&finished, &[&address, "in use"]);
    Ok(())
}

#[test]
fn an_unknown_command_and_an_unknown_flag_are_refused() -> Result<()> {
    fails_with(&run(&mut spelunk(&["tarce"])?, LIMIT)?, &["tarce"]);
    fails_with(
        &run(&mut spelunk(&["trace", "--exce", "x", "main.foo"])?, LIMIT)?,
        &["--exce"],
    );
    Ok(())
}

#[test]
fn doctor_says_what_this_machine_and_user_can_do() -> Result<()> {
    let doctor = run(&mut spelunk(&["doctor"])?, LIMIT)?;
    let said = doctor.stdout.to_lowercase();
    for part in [
        "kernel",
        "btf",
        "ring buffer",
        "uprobe_multi",
        "cap_bpf",
        "cap_perfmon",
        "go",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{}", doctor.stdout);
    }
    let here = tempfile::tempdir().expect("a folder");
    if let Some(mut command) = as_nobody(&["doctor"], here.path())? {
        let said = run(&mut command, LIMIT)?;
        assert!(said.stdout.contains("setcap"), "{}", said.stdout);
    }
    Ok(())
}

#[test]
fn under_the_name_dlv_it_behaves_the_same() -> Result<()> {
    let here = tempfile::tempdir().expect("a folder");
    let link = here.path().join("dlv");
    std::os::unix::fs::symlink(paths::spelunk()?, &link).expect("linking");
    let built = fixture("foo", Build::NoOpt)?;
    let traced = run(
        Command::new(&link).args(["trace", "--exec", &built.program.to_string_lossy(), "main.foo"]),
        LIMIT,
    )?;
    assert!(
        traced
            .stderr
            .starts_with("> goroutine(1): main.foo(99, 9801)\n>> goroutine(1): main.foo => (9900)\n"),
        "{}",
        traced.stderr
    );
    Ok(())
}
