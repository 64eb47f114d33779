//! Each method with valid, absent, null, wrong-typed and out-of-range arguments.

use serde_json::{Value, json};

use super::super::arguments::{Harm, vary};
use super::{RpcPlay, here, load, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc arguments: inspection", inspection),
    scenario("rpc arguments: the program", program),
    scenario("rpc arguments: breakpoints", breakpoints),
    scenario("rpc arguments: the server", server),
    scenario("rpc arguments: what moves and ends", moving),
];

fn all(play: &mut RpcPlay, methods: &[(&str, Value, Harm)]) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// twice")?;
    for (method, valid, harm) in methods {
        vary(play, method, valid, *harm)?;
    }
    play.end(true)
}

fn inspection(play: &mut RpcPlay) -> Result<()> {
    all(
        play,
        &[
            (
                "Stacktrace",
                json!({"Id": 1, "Depth": 1, "Full": true, "Defers": false, "Opts": 0, "Cfg": load(), "Skip": 0}),
                Harm::None,
            ),
            (
                "Ancestors",
                json!({"GoroutineID": 1, "NumAncestors": 2, "Depth": 2}),
                Harm::None,
            ),
            ("ListLocalVars", json!({"Scope": here(), "Cfg": load()}), Harm::None),
            ("ListFunctionArgs", json!({"Scope": here(), "Cfg": load()}), Harm::None),
            ("Eval", json!({"Scope": here(), "Expr": "n", "Cfg": load()}), Harm::None),
            (
                "Set",
                json!({"Scope": here(), "Symbol": "doubled", "Value": "3"}),
                Harm::None,
            ),
            ("ListThreads", json!({}), Harm::None),
            ("GetThread", json!({"Id": 1}), Harm::None),
            (
                "ListPackageVars",
                json!({"Filter": "^main\\.", "Cfg": load()}),
                Harm::Done,
            ),
            (
                "ListRegisters",
                json!({"ThreadID": 0, "IncludeFp": false, "Scope": here()}),
                Harm::None,
            ),
            (
                "ListGoroutines",
                json!({"Start": 0, "Count": 0, "Filters": [{"Kind": 7, "Negated": false, "Arg": ""}], "GroupBy": 2, "GroupByKey": "", "MaxGroupMembers": 3,
                    "MaxGroups": 30, "EvalScope": here()}),
                Harm::None,
            ),
            ("ExamineMemory", json!({"Address": 16, "Length": 1}), Harm::None),
            (
                "Disassemble",
                json!({"Scope": here(), "StartPC": 0, "EndPC": 0, "Flavour": 1}),
                Harm::None,
            ),
            ("State", json!({"NonBlocking": false}), Harm::None),
        ],
    )
}

fn program(play: &mut RpcPlay) -> Result<()> {
    all(
        play,
        &[
            ("ListSources", json!({"Filter": "^main"}), Harm::None),
            (
                "ListFunctions",
                json!({"Filter": "^main\\.", "FollowCalls": 0}),
                Harm::None,
            ),
            ("ListTypes", json!({"Filter": "^main\\."}), Harm::None),
            (
                "ListPackagesBuildInfo",
                json!({"IncludeFiles": false, "Filter": "^main$"}),
                Harm::None,
            ),
            ("FunctionReturnLocations", json!({"FnName": "main.twice"}), Harm::None),
            ("TypeInfo", json!({"Name": "main.Cart"}), Harm::None),
            (
                "FindLocation",
                json!({"Scope": here(), "Loc": "main.twice", "IncludeNonExecutableLines": false, "SubstitutePathRules": [["a", "b"]]}),
                Harm::None,
            ),
            (
                "GuessSubstitutePath",
                json!({"Args": {"ImportPathOfMainPackage": "walks", "ClientGOROOT": "/x", "ClientModuleDirectories": {"walks": "/y"}}}),
                Harm::None,
            ),
            ("ListDynamicLibraries", json!({}), Harm::None),
            ("BuildID", json!({}), Harm::None),
        ],
    )
}

fn breakpoints(play: &mut RpcPlay) -> Result<()> {
    let whole = json!({"id": 9, "name": "", "addr": 0, "addrs": [], "addrpid": [], "file": "", "line": 0, "functionName": "main.loop", "ExprString": "", "Cond": "",
        "HitCond": "", "HitCondPerG": false, "continue": false, "traceReturn": false, "goroutine": false, "stacktrace": 0, "variables": ["x"], "LoadArgs": load(),
        "LoadLocals": load(), "customCommands": [], "WatchExpr": "", "WatchType": 0, "VerboseDescr": [], "hitCount": {}, "totalHitCount": 0, "disabled": false,
        "RootFuncName": "", "TraceFollowCalls": 0});
    all(
        play,
        &[
            ("ListBreakpoints", json!({"All": false}), Harm::None),
            ("GetBreakpoint", json!({"Id": 7, "Name": ""}), Harm::None),
            ("ClearBreakpoint", json!({"Id": 7, "Name": ""}), Harm::None),
            ("ToggleBreakpoint", json!({"Id": 7, "Name": ""}), Harm::None),
            ("AmendBreakpoint", json!({"Breakpoint": whole}), Harm::None),
            (
                "CreateBreakpoint",
                json!({"Breakpoint": {"file": "main.go", "line": 3, "addrs": [1]}, "LocExpr": "", "SubstitutePathRules": [["a", "b"]], "Suspended": false}),
                Harm::None,
            ),
            ("CreateBreakpoint", json!({"Breakpoint": whole}), Harm::Done),
            (
                "CreateEBPFTracepoint",
                json!({"FunctionName": "main.nothing"}),
                Harm::Done,
            ),
            ("GetBufferedTracepoints", json!({"LoadCfg": load()}), Harm::None),
            (
                "CreateWatchpoint",
                json!({"Scope": here(), "Expr": "n", "Type": 3}),
                Harm::Done,
            ),
            ("CancelNext", json!({}), Harm::None),
        ],
    )
}

fn server(play: &mut RpcPlay) -> Result<()> {
    all(
        play,
        &[
            ("GetVersion", json!({}), Harm::None),
            ("SetApiVersion", json!({"APIVersion": 2}), Harm::None),
            ("ProcessPid", json!({}), Harm::None),
            ("LastModified", json!({}), Harm::None),
            ("IsMulticlient", json!({}), Harm::None),
            ("AttachedToExistingProcess", json!({}), Harm::None),
            ("Recorded", json!({}), Harm::None),
            ("Checkpoint", json!({"Where": "x"}), Harm::None),
            ("ListCheckpoints", json!({}), Harm::None),
            ("ClearCheckpoint", json!({"ID": 1}), Harm::None),
            ("StopRecording", json!({}), Harm::None),
            ("ListTargets", json!({}), Harm::None),
            ("FollowExec", json!({"Enable": true, "Regex": "nothing"}), Harm::None),
            ("FollowExecEnabled", json!({}), Harm::None),
            (
                "DebugInfoDirectories",
                json!({"Set": true, "List": ["/nowhere"]}),
                Harm::None,
            ),
            ("CancelDownloads", json!({}), Harm::None),
            ("DumpStart", json!({"Destination": "/nowhere/at/all"}), Harm::Done),
            ("DumpWait", json!({"Wait": 0}), Harm::Done),
            ("GetEvents", json!({}), Harm::Done),
        ],
    )
}

fn moving(play: &mut RpcPlay) -> Result<()> {
    all(
        play,
        &[
            (
                "Command",
                json!({"name": "next", "threadID": 1, "goroutineID": 1, "ReturnInfoLoadConfig": load(), "expr": "x", "WithEvents": false, "unsafeCall": false}),
                Harm::Done,
            ),
            (
                "Restart",
                json!({"Position": "", "ResetArgs": false, "NewArgs": ["a"], "Rerecord": false, "Rebuild": false, "NewRedirects": ["", "", ""]}),
                Harm::Done,
            ),
            ("Detach", json!({"Kill": true}), Harm::Done),
        ],
    )
}
