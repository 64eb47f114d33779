//! Ordinary users: with the two capabilities on its file spelunk traces their own programs in the kernel and nobody else's; without, it stops the program.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, Finished, descendants, is_alive, run, tracer_of, wait_until};
use protocol_tests::dap_client::{DapClient, STEP, SourceBreakpoint};
use protocol_tests::failure::Result;
use protocol_tests::ordinary_user::{OrdinaryUser, USER};
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// What the README tells to type.
const CAPABILITIES: &str = "cap_bpf,cap_perfmon+ep";

/// A user with a spelunk that has the capabilities, one that has none, and a program.
struct Setting {
    user: OrdinaryUser,
    able: PathBuf,
    plain: PathBuf,
    counter: PathBuf,
    built: Built,
}

impl Setting {
    fn or_skip(what: &str) -> Result<Option<Setting>> {
        let Some(user) = OrdinaryUser::or_skip(what)? else {
            return Ok(None);
        };
        let built = fixture("counter", Build::NoOpt)?;
        // Installed as root does it: the user cannot write there.
        let able = user.roots_copy(&paths::spelunk()?, "spelunk")?;
        user.give(&able, CAPABILITIES)?;
        Ok(Some(Setting {
            plain: user.roots_copy(&paths::spelunk()?, "plain")?,
            counter: user.copy(&built.program, "counter")?,
            able,
            user,
            built,
        }))
    }

    fn run(&self, spelunk: &Path, arguments: &[&str]) -> Result<Finished> {
        run(self.user.command(spelunk).args(arguments), LIMIT)
    }

    fn start(&self, spelunk: &Path, arguments: &[&str]) -> Result<ChildGroup> {
        ChildGroup::start(self.user.command(spelunk).args(arguments))
    }
}

fn counting(command: &mut Command) -> Result<ChildGroup> {
    let running = ChildGroup::start(command)?;
    running.stdout.wait_for("the first numbers", STEP, |text| {
        text.lines().last()?.parse::<u64>().ok().filter(|n| *n >= 3)
    })?;
    Ok(running)
}

/// How many calls with their results there are of the counter's work.
fn returns(text: &str) -> usize {
    text.lines()
        .filter(|line| line.starts_with(">> goroutine(1): main.work => ("))
        .count()
}

#[test]
fn with_the_capabilities_a_users_own_programs_are_traced_in_the_kernel() -> Result<()> {
    let Some(setting) = Setting::or_skip("tracing as an ordinary user")? else {
        return Ok(());
    };
    let launched = setting.run(
        &setting.able,
        &["trace", "--exec", "./counter", "^main.work$", "--", "5"],
    )?;
    assert_eq!(launched.code(), 0, "{}", launched.stderr);
    assert_eq!(returns(&launched.stderr), 5, "{}", launched.stderr);
    assert!(!launched.stderr.contains("ptrace"), "{}", launched.stderr);

    let running = counting(&mut setting.user.command(&setting.counter))?;
    let pid = running.pid().to_string();
    let tracing = setting.start(&setting.able, &["trace", "-p", &pid, "^main.work$"])?;
    tracing
        .stderr
        .wait_for("traced calls", STEP, |text| (returns(text) >= 5).then_some(()))?;
    assert_eq!(tracer_of(running.pid()), Some(0));
    tracing.signal(Signal::SIGINT)?;
    let ended = tracing.finish(STEP)?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("ptrace"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn with_the_capabilities_programs_are_stopped_and_end_with_spelunk_as_ever() -> Result<()> {
    let Some(setting) = Setting::or_skip("stopping programs as an ordinary user")? else {
        return Ok(());
    };
    // A program with capabilities is protected from its own user, spelunk and what it has forked too.
    let stopped = setting.run(
        &setting.able,
        &["trace", "--ebpf=false", "--exec", "./counter", "^main.work$", "--", "5"],
    )?;
    assert_eq!((stopped.code(), returns(&stopped.stderr)), (0, 5), "{}", stopped.stderr);

    let tracing = setting.start(&setting.able, &["trace", "--exec", "./counter", "^main.work$"])?;
    tracing
        .stderr
        .wait_for("traced calls", STEP, |text| (returns(text) >= 3).then_some(()))?;
    let family = descendants(tracing.pid());
    assert!(!family.is_empty());
    tracing.signal(Signal::SIGKILL)?;
    tracing.finish(STEP)?;
    wait_until("the launched program to end with spelunk", STEP, || {
        family.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
}

#[test]
fn with_the_capabilities_an_editor_logs_and_stops() -> Result<()> {
    let Some(setting) = Setting::or_skip("an editor's session as an ordinary user")? else {
        return Ok(());
    };
    let mut command = setting.user.command(&setting.able);
    // The tests are root's, and connect as root.
    command.args(["dap", "--only-same-user=false"]);
    let mut client = DapClient::start_by(command)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": setting.counter}))?;
    let line = setting.built.line("main.go", "a logpoint stands here")?;
    let source = setting.built.source("main.go");
    let set = client.set_breakpoints(&source, &[SourceBreakpoint::log(line, "number {number}")])?;
    assert!(set[0].verified, "{set:?}");
    client.configuration_done()?;
    loop {
        let said = client.event("output")?;
        if said.body["output"]
            .as_str()
            .is_some_and(|text| text.contains("]: number "))
        {
            break;
        }
    }
    let target = wait_until("the launched program", STEP, || {
        let runs = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == setting.counter);
        descendants(client.server().pid()).into_iter().find(runs)
    })?;
    assert_eq!(tracer_of(target), Some(0), "a logpoint traces nobody");
    client.set_breakpoints(&source, &[SourceBreakpoint::stop(line)])?;
    client.event("stopped")?;
    assert_ne!(tracer_of(target), Some(0));
    // The guardian tells the server of its own end by a signal, which capabilities must not keep from it.
    client.server().signal(Signal::SIGKILL)?;
    wait_until("the launched program to end with its server", STEP, || {
        (!is_alive(target)).then_some(())
    })
}

#[test]
fn other_users_programs_are_refused_with_and_without_the_capabilities() -> Result<()> {
    let Some(setting) = Setting::or_skip("refusing other users' programs")? else {
        return Ok(());
    };
    let roots = counting(&mut Command::new(&setting.counter))?;
    let pid = roots.pid().to_string();
    for spelunk in [&setting.able, &setting.plain] {
        for how in ["--ebpf", "--ebpf=false"] {
            let refused = setting.run(spelunk, &["trace", how, "-p", &pid, "^main.work$"])?;
            assert_eq!(
                (refused.code(), refused.stderr.as_str()),
                (
                    1,
                    &*format!(
                        "could not attach to pid {pid}: it belongs to user id 0, and spelunk runs as user id {USER}; run spelunk as that user or as root\n"
                    )
                )
            );
        }
    }
    Ok(())
}

#[test]
fn programs_with_more_rights_than_their_user_are_refused() -> Result<()> {
    let Some(setting) = Setting::or_skip("refusing privileged programs")? else {
        return Ok(());
    };
    let user = &setting.user;
    let family = fixture("family", Build::Opt)?.program;

    let set_id = user.roots_copy(&family, "setid")?;
    std::fs::set_permissions(&set_id, Permissions::from_mode(0o4755)).expect("root may");
    let refused = setting.run(
        &setting.able,
        &["trace", "--exec", "./setid", "^main.visit$", "--", "x", "1"],
    )?;
    assert_eq!(refused.code(), 1, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("with the set-user-id bit it has rights"),
        "{}",
        refused.stderr
    );
    assert!(refused.stdout.is_empty(), "it has run: {}", refused.stdout);
    let running = ChildGroup::start(user.command(&set_id).args(["stay", "1"]))?;
    running
        .stdout
        .wait_for("the program", STEP, |text| text.contains("stay 1").then_some(()))?;
    let refused = setting.run(
        &setting.able,
        &["trace", "-p", &running.pid().to_string(), "^main.visit$"],
    )?;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("its effective user id is 0"),
        "{}",
        refused.stderr
    );
    drop(running);

    let capable = user.copy(&family, "capable")?;
    user.give(&capable, "cap_net_raw+ep")?;
    let refused = setting.run(
        &setting.able,
        &["trace", "--exec", "./capable", "^main.visit$", "--", "x", "1"],
    )?;
    assert_eq!(refused.code(), 1, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("with file capabilities it has rights"),
        "{}",
        refused.stderr
    );
    let running = ChildGroup::start(user.command(&capable).args(["stay", "1"]))?;
    running
        .stdout
        .wait_for("the program", STEP, |text| text.contains("stay 1").then_some(()))?;
    let refused = setting.run(
        &setting.able,
        &["trace", "-p", &running.pid().to_string(), "^main.visit$"],
    )?;
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("the kernel protects it"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_program_that_changes_its_user_is_probed_no_further() -> Result<()> {
    let Some(setting) = Setting::or_skip("a program that changes its user")? else {
        return Ok(());
    };
    let user = &setting.user;
    let built = fixture("family", Build::NoOpt)?;
    let program = user.copy(&built.program, "family")?;
    // Without CAP_SYS_PTRACE the kernel already refuses a program that could change its user.
    user.give(&setting.able, "cap_bpf,cap_perfmon,cap_sys_ptrace+ep")?;
    let id = USER.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .args(["--inh-caps=+setuid", "--ambient-caps=+setuid"])
        .arg(&program)
        .args(["become", "61235"])
        .stdin(Stdio::piped());
    let mut running = ChildGroup::start_with_stdin(&mut command)?;
    let mut input = running.stdin().expect("a pipe");
    running
        .stdout
        .wait_for("the program", STEP, |text| text.contains("become").then_some(()))?;

    let mut command = user.command(&setting.able);
    // The tests are root's, and connect as root.
    command.args(["dap", "--only-same-user=false"]);
    let mut client = DapClient::start_by(command)?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": running.pid()}))?;
    let source = built.source("main.go");
    let line = built.line("main.go", "return what + strconv.Itoa(level)")?;
    let before = client.set_breakpoints(&source, &[SourceBreakpoint::log(line, "first {what}")])?;
    assert!(before[0].verified, "{before:?}");
    client.configuration_done()?;

    writeln!(input, "now").expect("it reads");
    let status = format!("/proc/{}/status", running.pid());
    wait_until("the program to be another user's", STEP, || {
        let status = std::fs::read_to_string(&status).ok()?;
        status.contains("Uid:\t61235\t61235\t61235").then_some(())
    })?;
    let after = client.set_breakpoints(&source, &[SourceBreakpoint::log(line, "second {what}")])?;
    assert!(!after[0].verified, "{after:?}");
    let why = after[0].message.clone().unwrap_or_default();
    assert!(why.contains("it belongs to user id 61235"), "{why}");
    // With the capability that it has, the kernel would let spelunk stop it.
    let refused = client.refused("pause", json!({"threadId": 1}))?;
    assert!(
        refused.error_text().contains("it belongs to user id 61235"),
        "{refused:?}"
    );
    assert_eq!(tracer_of(running.pid()), Some(0));
    client.disconnect(json!({"terminateDebuggee": false}))?;
    assert!(is_alive(running.pid()));
    Ok(())
}

#[test]
fn children_of_a_file_of_somebody_else_are_not_followed() -> Result<()> {
    let Some(setting) = Setting::or_skip("following children as an ordinary user")? else {
        return Ok(());
    };
    let family = fixture("family", Build::Opt)?.program;
    let own = setting.user.copy(&family, "own")?;
    let roots = setting.user.roots_copy(&family, "roots")?;
    let trace = |program: &Path| {
        let program = program.to_string_lossy().into_owned();
        let arguments = [
            "trace",
            "--follow-children",
            "--exec",
            &program,
            "^main.visit$",
            "--",
            "again",
            "1",
        ];
        setting.run(&setting.able, &arguments)
    };
    let followed = trace(&own)?;
    assert_eq!(followed.code(), 0, "{}", followed.stderr);
    assert_eq!(followed.stderr.matches("[pid ").count(), 4, "{}", followed.stderr);
    // Its probes would lie in root's processes of the same file.
    let refused = trace(&roots)?;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("the file belongs to user id 0"),
        "{}",
        refused.stderr
    );
    Ok(())
}

#[test]
fn without_the_capabilities_the_program_is_stopped_and_one_line_says_why() -> Result<()> {
    let Some(setting) = Setting::or_skip("tracing without capabilities")? else {
        return Ok(());
    };
    let traced = setting.run(
        &setting.plain,
        &["trace", "--exec", "./counter", "^main.work$", "--", "5"],
    )?;
    assert_eq!((traced.code(), returns(&traced.stderr)), (0, 5), "{}", traced.stderr);
    let told: Vec<&str> = traced
        .stderr
        .lines()
        .filter(|line| line.starts_with("spelunk: "))
        .collect();
    let [told] = told[..] else { panic!("{}", traced.stderr) };
    assert!(
        told.starts_with("spelunk: tracing with ptrace, which stops the program at each call")
            && told.contains("CAP_BPF and CAP_PERFMON missing")
            && told.ends_with("sudo setcap cap_bpf,cap_perfmon+ep $(which spelunk)"),
        "{told}"
    );
    let refused = setting.run(
        &setting.plain,
        &["trace", "--ebpf", "--exec", "./counter", "^main.work$", "--", "5"],
    )?;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stderr.contains("CAP_BPF and CAP_PERFMON missing"),
        "{}",
        refused.stderr
    );
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
    Ok(())
}

/// The line of the doctor that begins with this name.
fn finding(said: &Finished, name: &str) -> String {
    said.stdout
        .lines()
        .find(|line| line.get(5..).is_some_and(|rest| rest.starts_with(name)))
        .unwrap_or_else(|| panic!("no line about {name} in:\n{}", said.stdout))
        .to_owned()
}

#[test]
fn the_doctor_says_what_is_there_and_what_to_type_for_the_rest() -> Result<()> {
    let Some(setting) = Setting::or_skip("the doctor as an ordinary user")? else {
        return Ok(());
    };
    let well = setting.run(&setting.able, &["doctor"])?;
    assert_eq!(well.code(), 0, "{}", well.stdout);
    for name in ["CAP_BPF", "CAP_PERFMON", "probe programs", "probes", "kernel types"] {
        assert!(finding(&well, name).starts_with("yes "), "{}", well.stdout);
    }
    let from = finding(&well, "from");
    assert!(from.ends_with("the file's own: cap_bpf,cap_perfmon=ep"), "{from}");
    assert!(
        well.stdout
            .ends_with("Traces and logpoints work here. Delve is not needed for them.\n")
    );

    let ill = setting.run(&setting.plain, &["doctor"])?;
    assert_eq!(ill.code(), 1, "{}", ill.stdout);
    let remedy = format!("sudo setcap cap_bpf,cap_perfmon+ep {}", setting.plain.display());
    for name in ["CAP_BPF", "CAP_PERFMON", "from"] {
        let line = finding(&ill, name);
        assert!(line.starts_with("no ") && line.ends_with(&remedy), "{line}");
    }
    for name in ["unprivileged BPF", "perf events", "locked memory", "stopping"] {
        assert_eq!(finding(&ill, name), finding(&well, name));
    }

    // What was typed has no effect where new privileges are not to be had.
    let mut command = setting.user.command(Path::new("setpriv"));
    command.arg("--no-new-privs").arg(&setting.able).arg("doctor");
    let without = run(&mut command, LIMIT)?;
    let line = finding(&without, "CAP_BPF");
    assert!(
        line.starts_with("no ") && line.contains("no_new_privs is set"),
        "{line}"
    );
    Ok(())
}
