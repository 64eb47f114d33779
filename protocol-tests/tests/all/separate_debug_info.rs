//! A stripped program is debugged like a whole one, if its debug information can be found.

use std::fs;
use std::path::Path;
use std::process::Command;

use protocol_tests::child::run;
use protocol_tests::dap_client::STEP;
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::headless::Headless;
use protocol_tests::rpc_client::RpcClient;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::{paths, peer};
use serde_json::json;

fn objcopy(arguments: &[&str]) -> Result<()> {
    let finished = run(Command::new("objcopy").args(arguments), STEP)?;
    assert_eq!(finished.code(), 0, "objcopy {arguments:?}: {}", finished.stderr);
    Ok(())
}

/// Stops in a function, and looks at its argument.
fn look(client: &mut RpcClient) -> Result<()> {
    client.call(
        "CreateBreakpoint",
        &json!({"Breakpoint": {"name": "here", "functionName": "main.total"}}),
    )?;
    let state = client.call("Command", &json!({"name": "continue"}))?;
    let place = &state["State"]["currentThread"]["function"]["name"];
    assert_eq!(place, "main.total", "{state}");
    let scope = json!({"GoroutineID": -1, "Frame": 0});
    let value = client.call("Eval", &json!({"Scope": scope, "Expr": "order.Customer.Name"}))?;
    assert_eq!(value["Variable"]["value"], "Ada", "{value}");
    client.call("ClearBreakpoint", &json!({"Name": "here"})).map(drop)
}

#[test]
fn debug_information_is_found_elsewhere() -> Result<()> {
    if Command::new("objcopy").arg("--version").output().is_err() {
        peer::skip("stripped programs", "objcopy is not there to strip one");
        return Ok(());
    }
    let whole = fixture("orders", Build::NoOpt)?.program;
    let folder = tempfile::tempdir().attempt("making a folder")?;
    let folder = folder.path().canonicalize().attempt("resolving a folder")?;
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (program, beside) = (folder.join("orders"), folder.join("orders.debug"));
    objcopy(&["--only-keep-debug", &text(&whole), &text(&beside)])?;
    let link = format!("--add-gnu-debuglink={}", text(&beside));
    objcopy(&["--strip-all", &link, &text(&whole), &text(&program)])?;
    // As the linker left them, before any debugger: a link, and nothing else.
    let arguments = ["--accept-multiclient", &*text(&program), "--", "forever"];
    let server = Headless::start(&paths::spelunk()?, "exec", &arguments)?;
    let mut client = server.connect()?;
    look(&mut client)?;
    // Elsewhere, it is found as soon as somebody says where.
    let elsewhere = folder.join("debug");
    let below = elsewhere.join(folder.strip_prefix("/").attempt("an absolute path")?);
    fs::create_dir_all(&below).attempt("making a folder")?;
    fs::rename(&beside, below.join("orders.debug")).attempt("moving a file")?;
    let directories = client.call("DebugInfoDirectories", &json!({}))?;
    assert_eq!(directories["List"], json!(["/usr/lib/debug/.build-id"]));
    let refused = client.refused("Restart", &json!({}))?;
    for part in ["no debug information", &text(&beside)] {
        assert!(refused.contains(part), "{refused}");
    }
    let set = client.call(
        "DebugInfoDirectories",
        &json!({"Set": true, "List": [text(&elsewhere)]}),
    )?;
    assert_eq!(set["List"], json!([text(&elsewhere)]));
    client.call("Restart", &json!({}))?;
    look(&mut client)?;
    client.call("Detach", &json!({"Kill": true}))?;
    assert_eq!(server.finish()?.code(), 0);
    Ok(())
}
