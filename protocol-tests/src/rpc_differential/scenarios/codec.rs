//! Go's net/rpc/jsonrpc, byte by byte.

use serde_json::json;

use super::{RpcPlay, scenario};
use crate::failure::Result;
use crate::rpc_differential::raw::exchange;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc codec: ids", ids),
    scenario("rpc codec: requests", requests),
    scenario("rpc codec: what is no request", no_requests),
    scenario("rpc codec: many at once", pipelined),
];

fn exchanged(play: &mut RpcPlay, texts: &[&str]) -> Result<()> {
    let address = play.address()?;
    for text in texts {
        let answered = exchange(&address, text.as_bytes())?;
        play.note(&format!("bytes {text}"), answered);
    }
    // The server still serves.
    play.ask("IsMulticlient", json!({}))?;
    Ok(())
}

fn ids(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    exchanged(
        play,
        &[
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":0}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":-7}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1.50}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1e3}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":123456789012345678901234567890}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":"a text"}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":"<\u0041é\u00e9&>"}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":null}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":true}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":[1, "a",  {"b": null}]}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":{"b":1, "a" : 2}}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}]}"#,
            r#"{"method":"RPCServer.Nothing","params":[{}],"id":"a text"}"#,
            r#"{"method":"RPCServer.Nothing","params":[{}]}"#,
            r#"{"id":5,"params":[{}],"method":"RPCServer.IsMulticlient"}"#,
            r#"{"id":5,"id":6,"params":[{}],"method":"RPCServer.IsMulticlient"}"#,
            r#"{"ID":5,"Params":[{}],"METHOD":"RPCServer.IsMulticlient"}"#,
        ],
    )?;
    play.end(true)
}

fn requests(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    exchanged(
        play,
        &[
            r#"{"method":"RPCServer.IsMulticlient","id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":null,"id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[],"id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":{},"id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[1],"id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{},{}],"id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1,"jsonrpc":"2.0"}"#,
            r#"{"method":"RPCServer.isMulticlient","params":[{}],"id":1}"#,
            r#"{"method":"IsMulticlient","params":[{}],"id":1}"#,
            r#"{"method":"Other.IsMulticlient","params":[{}],"id":1}"#,
            r#"{"method":"","params":[{}],"id":1}"#,
            r#"{"params":[{}],"id":1}"#,
            "{}",
            r#"{"method":null,"params":[{}],"id":1}"#,
            "\n\n  {\"method\":\"RPCServer.IsMulticlient\",\n\t\"params\":[{}],\r\n\"id\":1}\n\n",
            r#"{"method":"RPCServer.GetBreakpoint","params":[{"Id":3,"id":4}],"id":1}"#,
            r#"{"method":"RPCServer.GetBreakpoint","params":[{"Name":"a<b>&\u2028é"}],"id":1}"#,
            "{\"method\":\"RPCServer.GetBreakpoint\",\"params\":[{\"Name\":\"\\ud800x\"}],\"id\":1}",
        ],
    )?;
    play.end(true)
}

fn no_requests(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    exchanged(
        play,
        &[
            " ",
            "x",
            "5",
            "null",
            "[]",
            r#""text""#,
            r#"[{"method":"RPCServer.IsMulticlient","params":[{}],"id":1}]"#,
            r#"{"method":5,"params":[{}],"id":1}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1}}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1} x"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":1,}"#,
            r#"{"method":"RPCServer.IsMulticlient","params":[{}],"id":01}"#,
            "{'method':'RPCServer.IsMulticlient'}",
        ],
    )?;
    play.end(true)
}

fn pipelined(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    let many: Vec<String> = (0..200)
        .map(|id| format!(r#"{{"method":"RPCServer.IsMulticlient","params":[{{}}],"id":{id}}}"#))
        .collect();
    let many = many.concat();
    let mixed = [
        r#"{"method":"RPCServer.Nothing","params":[{}],"id":"a"}"#,
        r#"{"method":"RPCServer.ListSources","params":[{"Filter":"main.go$"}],"id":"b"}"#,
        r#"{"method":"RPCServer.GetBreakpoint","params":[7],"id":"c"}"#,
        r#"{"method":"RPCServer.GetBreakpoint","params":[{"Id":7}],"id":"d"}"#,
    ]
    .concat();
    exchanged(play, &[&many, &mixed])?;
    play.end(true)
}
