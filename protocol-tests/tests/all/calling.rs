//! Calls of the program's functions: what the program allocates for them lives as long as it is needed, and where the runtime allows none, none is made.

use protocol_tests::failure::Result;
use protocol_tests::headless::Headless;
use protocol_tests::paths;
use protocol_tests::rpc_client::RpcClient;
use protocol_tests::toolchain::{Build, fixture};
use serde_json::{Value, json};

/// As much of a value as these tests look at.
fn load() -> Value {
    json!({"FollowPointers": true, "MaxVariableRecurse": 2, "MaxStringLen": 64, "MaxArrayValues": 64, "MaxStructFields": -1})
}

/// A client of a program that stands at a breakpoint.
fn at(breakpoint: &Value) -> Result<(Headless, RpcClient)> {
    let program = fixture("callees", Build::NoOpt)?.program;
    let server = Headless::start(&paths::spelunk()?, "exec", &[&program.to_string_lossy()])?;
    let mut client = server.connect()?;
    client.call("CreateBreakpoint", &json!({"Breakpoint": breakpoint}))?;
    client.call("Command", &json!({"name": "continue"}))?;
    Ok((server, client))
}

fn wish(expression: &str) -> Value {
    json!({"name": "call", "expr": expression, "ReturnInfoLoadConfig": load()})
}

/// What a call has returned, the text of its first result.
fn call(client: &mut RpcClient, expression: &str) -> Result<String> {
    let state = client.call("Command", &wish(expression))?;
    let result = &state["State"]["currentThread"]["ReturnValues"][0];
    assert_eq!(result["unreadable"], json!(""), "{expression}: {state}");
    Ok(result["value"].as_str().unwrap_or_default().to_owned())
}

/// The values of a variable and of what it consists of, one after the other.
fn eval(client: &mut RpcClient, expression: &str) -> Result<Vec<String>> {
    fn collect(variable: &Value, into: &mut Vec<String>) {
        match variable["children"].as_array().filter(|children| !children.is_empty()) {
            Some(children) => children.iter().for_each(|child| collect(child, into)),
            None => into.push(variable["value"].as_str().unwrap_or_default().to_owned()),
        }
    }
    let scope = json!({"Scope": {"GoroutineID": -1}, "Expr": expression, "Cfg": load()});
    let answer = client.call("Eval", &scope)?;
    let mut values = Vec::new();
    collect(&answer["Variable"], &mut values);
    Ok(values)
}

#[test]
fn literals_live_as_long_as_they_are_needed() -> Result<()> {
    let source = fixture("callees", Build::NoOpt)?;
    let line = source.line("main.go", "// breakpoint here")?;
    let (_server, mut client) = at(&json!({"file": source.source("main.go"), "line": line}))?;

    // The garbage collector runs while only the calls know of what was allocated for them.
    let named = call(&mut client, "(&main.point{1, 2}).Name(collects(\"gc \"))")?;
    assert_eq!(named, "gc gc (1,2)");
    client.call(
        "Command",
        &wish("keep(&main.point{Y: one, X: len(collects(collects(\"b\")))})"),
    )?;
    assert_eq!(eval(&mut client, "kept")?, ["4", "1"]);

    // What the program keeps is still there after it.
    client.call(
        "Command",
        &wish("pr = main.pair{1, 2, true, \"text\" + \" of a literal\"}"),
    )?;
    client.call("Command", &wish("q = main.pointed{&main.point{7, 8}, 3}"))?;
    for _ in 0..3 {
        assert_eq!(call(&mut client, "collects(\"again \")")?, "again again ");
    }
    assert_eq!(eval(&mut client, "pr")?, ["1", "2", "true", "text of a literal"]);
    assert_eq!(eval(&mut client, "q")?, ["7", "8", "3"]);
    assert_eq!(eval(&mut client, "kept")?, ["4", "1"]);
    let boxed = call(&mut client, "anything(&main.point{5, 6})")?;
    assert_eq!(boxed, "&{5 6}");
    Ok(())
}

#[test]
fn no_call_is_made_where_the_runtime_allows_none() -> Result<()> {
    let (_server, mut client) = at(&json!({"functionName": "main.keep", "line": -1}))?;
    let mut refused = 0;
    let mut made = 0;
    // The store of a pointer has a write barrier, in the middle of which the garbage collector must not look.
    for _ in 0..80 {
        let state = client.call("Command", &json!({"name": "stepInstruction"}))?;
        if state["State"]["currentThread"]["function"]["name"] != json!("main.keep") {
            break;
        }
        let pending = client.send("Command", &wish("main.add(20, 22)"))?;
        match client.wait(&pending, protocol_tests::dap_client::STEP)? {
            Ok(state) => {
                let result = &state["State"]["currentThread"]["ReturnValues"][0]["value"];
                assert_eq!(result, &json!("42"));
                made += 1;
            }
            Err(why) => {
                assert_eq!(why, "call not at safe point");
                refused += 1;
            }
        }
    }
    assert!(made > 0 && refused > 0, "{made} made, {refused} refused");
    // Nothing of it is left: the function stores what it was given.
    client.call("Command", &json!({"name": "stepOut"}))?;
    assert_eq!(eval(&mut client, "main.kept")?, ["1", "2"]);
    Ok(())
}
