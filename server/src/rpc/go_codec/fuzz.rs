//! Fuzz target: bytes from a client that speaks Go's codec, up to the requests in them.

use super::framing::Requests;
use super::message::{Request, response};
use crate::fuzz::{check, input::bytes_like};

const RIGHT: [&str; 12] = [
    r#"{"method":"RPCServer.State","params":[{"NonBlocking":true}],"id":1}"#,
    r#"{"method":"RPCServer.Command","params":[{"name":"halt"}],"id":"\u0041\n"}"#,
    r#"{"method":"RPCServer.Eval","params":[{"Scope":{"GoroutineID":-1},"Expr":"a\"}{"}],"id":[{}]}"#,
    r#"{"METHOD":1,"params":{},"id":null}"#,
    "null",
    "nul",
    "{}",
    "[]",
    " \r\n\t",
    "{\"a\":",
    "\"\\",
    "}}",
];

#[test]
fn bytes_of_a_client() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of one thread");
    check(&bytes_like(&RIGHT), |bytes| {
        runtime.block_on(async {
            let mut requests = Requests::new(&bytes[..]);
            while let Ok(Some(text)) = requests.next().await {
                if let Ok(request) = Request::read(&text) {
                    // What the client calls it comes back as it was, and makes an answer that is JSON.
                    let answer = response(&request.id, &Ok(crate::rpc::go_json::JsonText("null".to_owned())));
                    assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "{answer}");
                }
            }
        });
    });
}
