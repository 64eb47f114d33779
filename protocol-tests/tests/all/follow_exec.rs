//! The end of a debugger that follows children: nobody is left stopped.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol_tests::child::{is_alive, tracer_of, wait_until};
use protocol_tests::dap_client::STEP;
use protocol_tests::failure::Result;
use protocol_tests::headless::Headless;
use protocol_tests::paths;
use protocol_tests::rpc_client::RpcClient;
use protocol_tests::toolchain::{Build, fixture};
use serde_json::json;

/// A launched program and a child of it, both stopped because the child has come to a breakpoint.
fn stopped_family() -> Result<(Headless, RpcClient, Vec<i32>)> {
    let program = fixture("spawns", Build::NoOpt)?.program;
    let program = program.to_string_lossy();
    let server = Headless::start(&paths::spelunk()?, "exec", &[&program, "--", "children", "2"])?;
    let mut client = server.connect()?;
    client.call("FollowExec", &json!({"Enable": true, "Regex": "member"}))?;
    client.call(
        "CreateBreakpoint",
        &json!({"Breakpoint": {"functionName": "main.member"}}),
    )?;
    client.call("Command", &json!({"name": "continue"}))?;
    let targets = client.call("ListTargets", &json!({}))?;
    let targets = targets["Targets"].as_array().cloned().unwrap_or_default();
    let pids: Vec<i32> = targets
        .iter()
        .filter_map(|target| i32::try_from(target["Pid"].as_i64()?).ok())
        .collect();
    assert_eq!(pids.len(), 2, "{targets:?}");
    Ok((server, client, pids))
}

#[test]
fn children_end_with_a_debugger_that_is_killed() -> Result<()> {
    // The process that users know, and the tracer itself, which nobody can stand in for.
    for kills_tracer in [false, true] {
        let (server, _client, pids) = stopped_family()?;
        let tracer = tracer_of(pids[1]).unwrap_or_default();
        assert!(
            tracer > 0 && tracer_of(pids[0]) == Some(tracer),
            "one thread traces both"
        );
        let victim = if kills_tracer { tracer } else { server.server.pid() };
        // A thread's number will do: the signal is for its whole process.
        kill(Pid::from_raw(victim), Signal::SIGKILL).expect("it is there");
        for pid in pids {
            wait_until("the end of a process that was debugged", STEP, || {
                (!is_alive(pid)).then_some(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn children_end_with_a_session_that_is_interrupted() -> Result<()> {
    let (server, _client, pids) = stopped_family()?;
    kill(Pid::from_raw(server.server.pid()), Signal::SIGINT).expect("it is there");
    let ended = server.finish()?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(!pids.into_iter().any(is_alive));
    Ok(())
}
