//! The JSON-RPC client of the harness, held to the server whose dialect it speaks. spelunk's own server comes with stopping.

use protocol_tests::dap_client::STEP;
use protocol_tests::failure::Result;
use protocol_tests::headless::Headless;
use protocol_tests::peer;
use protocol_tests::toolchain::{Build, fixture};
use serde_json::json;

#[test]
fn calls_are_pipelined_and_errors_are_told() -> Result<()> {
    let Some(dlv) = peer::dlv_or_skip("the JSON-RPC client against dlv") else {
        return Ok(());
    };
    let program = fixture("counter", Build::NoOpt)?.program;
    let server = Headless::start(&dlv, "exec", &[&program.to_string_lossy()])?;
    let mut client = server.connect()?;
    assert_eq!(
        client.refused("Nonsense", &json!({}))?,
        "unknown method: RPCServer.Nonsense"
    );
    let version = client.call("GetVersion", &json!({}))?;
    assert!(
        version["DelveVersion"]
            .as_str()
            .is_some_and(|text| text.contains(peer::VERSION)),
        "{version}"
    );
    let state = client.call("State", &json!({"NonBlocking": false}))?;
    assert_eq!(state["State"]["exited"], false, "{state}");
    // A command that runs does not hold up what comes after it on the same connection.
    let running = client.send("Command", &json!({"name": "continue"}))?;
    let state = client.send("State", &json!({"NonBlocking": true}))?;
    let state = client.wait(&state, STEP)?.expect("a state");
    assert_eq!(state["State"]["Running"], true, "{state}");
    client.call("Command", &json!({"name": "halt"}))?;
    let stopped = client.wait(&running, STEP)?.expect("the stop");
    assert_eq!(stopped["State"]["Running"], false, "{stopped}");
    client.call("Detach", &json!({"Kill": true}))?;
    let ended = server.finish()?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    Ok(())
}
