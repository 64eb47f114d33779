//! What the server and the program are: questions that need no place in the program.

use serde_json::json;

use super::{RpcPlay, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc program: the server", server),
    scenario("rpc program: lists", lists),
    scenario("rpc program: calls that functions make", follow_calls),
    scenario("rpc program: types", types),
    scenario("rpc program: substitute paths", substitute_paths),
    scenario("rpc program: recordings", recordings),
];

fn server(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["exit"])?;
    for (method, argument) in [
        ("GetVersion", json!({})),
        ("SetApiVersion", json!({"APIVersion": 2})),
        ("SetApiVersion", json!({"APIVersion": 1})),
        ("SetApiVersion", json!({})),
        ("IsMulticlient", json!({})),
        ("AttachedToExistingProcess", json!({})),
        ("ProcessPid", json!({})),
        ("LastModified", json!({})),
        ("BuildID", json!({})),
        ("ListTargets", json!({})),
        ("ListDynamicLibraries", json!({})),
        ("DebugInfoDirectories", json!({})),
        ("DebugInfoDirectories", json!({"Set": true, "List": ["/a", "/b"]})),
        ("DebugInfoDirectories", json!({})),
        ("DebugInfoDirectories", json!({"Set": true, "List": null})),
        ("FollowExecEnabled", json!({})),
        ("FollowExec", json!({"Enable": true, "Regex": "nothing like that"})),
        ("FollowExecEnabled", json!({})),
        ("FollowExec", json!({"Enable": true, "Regex": "["})),
        ("FollowExec", json!({"Enable": false, "Regex": "x"})),
        ("FollowExec", json!({"Enable": false})),
        ("FollowExecEnabled", json!({})),
        ("CancelDownloads", json!({})),
        ("State", json!({})),
        ("Nothing", json!({})),
    ] {
        play.ask(method, argument)?;
    }
    play.end(true)
}

fn lists(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    for filter in ["", "main\\.go$", "^/usr/local/go/src/fmt", "no such file", "["] {
        play.ask("ListSources", json!({"Filter": filter}))?;
    }
    for filter in ["", "^main\\.", "^fmt\\.Fprint", "largest", "no such function", "["] {
        play.ask("ListFunctions", json!({"Filter": filter}))?;
    }
    for filter in ["", "^main\\.", "^\\*main", "^map", "no such type", "["] {
        play.ask("ListTypes", json!({"Filter": filter}))?;
    }
    for filter in ["", "^main$", "^fmt$", "no such package", "["] {
        for files in [false, true] {
            play.ask(
                "ListPackagesBuildInfo",
                json!({"IncludeFiles": files, "Filter": filter}),
            )?;
        }
    }
    for name in [
        "main.twice",
        "main.risky",
        "main.guarded",
        "main.(*Cart).Add",
        "main.main",
        "runtime.goexit",
        "nothing",
        "",
    ] {
        play.ask("FunctionReturnLocations", json!({"FnName": name}))?;
    }
    play.end(true)
}

fn follow_calls(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    for (filter, depth) in [
        ("^main\\.main$", 1),
        ("^main\\.main$", 2),
        ("^main\\.loop$", 3),
        ("^main\\.closes$", 2),
        ("^main\\.guarded$", 2),
        ("^main\\.defers$", 2),
        ("^main\\.deep$", 5),
        ("no such function", 2),
        ("^main\\.", 2),
        ("^main\\.main$", -1),
    ] {
        play.ask("ListFunctions", json!({"Filter": filter, "FollowCalls": depth}))?;
    }
    play.end(true)
}

fn types(play: &mut RpcPlay) -> Result<()> {
    play.serve("kinds", &[])?;
    for name in [
        "main.Point",
        "*main.Point",
        "main.Named",
        "main.Colour",
        "main.Shape",
        "main.Pair[string,int]",
        "main.failure",
        "*main.failure",
        "int",
        "string",
        "error",
        "[]int",
        "map[string]int",
        "time.Time",
        "chan int",
        "func(int) int",
        "nothing",
        "main.nothing",
        "[",
        "",
    ] {
        play.ask("TypeInfo", json!({"Name": name}))?;
    }
    play.end(true)
}

fn substitute_paths(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    for arguments in [
        json!({}),
        json!({"ImportPathOfMainPackage": "walks", "ClientGOROOT": "/client/go", "ClientModuleDirectories": {"walks": "/client/walks"}}),
        json!({"ImportPathOfMainPackage": "walks", "ClientGOROOT": "/client/go", "ClientModuleDirectories": {"walks": built.dir}}),
        json!({"ImportPathOfMainPackage": "other", "ClientGOROOT": "", "ClientModuleDirectories": {"other": "/client/other"}}),
        json!({"ImportPathOfMainPackage": "walks", "ClientGOROOT": "/client/go", "ClientModuleDirectories": null}),
    ] {
        play.ask("GuessSubstitutePath", json!({"Args": arguments}))?;
    }
    play.end(true)
}

fn recordings(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    for (method, argument) in [
        ("Recorded", json!({})),
        ("Checkpoint", json!({"Where": "here"})),
        ("ListCheckpoints", json!({})),
        ("ClearCheckpoint", json!({"ID": 1})),
        ("StopRecording", json!({})),
        ("Command", json!({"name": "rewind"})),
        ("Command", json!({"name": "reverseNext"})),
        ("Command", json!({"name": "reverseStep"})),
        ("Command", json!({"name": "reverseStepOut"})),
        ("Command", json!({"name": "reverseStepInstruction"})),
        ("Command", json!({"name": "reverseNextInstruction"})),
        ("Restart", json!({"Position": "c1"})),
        ("Restart", json!({"Rerecord": true, "Position": "5"})),
    ] {
        play.ask(method, argument)?;
    }
    play.end(true)
}
