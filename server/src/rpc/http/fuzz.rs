//! Fuzz target: bytes from a client that speaks HTTP or WebSocket, up to the arguments of its calls.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::fuzz::{check, input::bytes_like};

const RIGHT: [&str; 12] = [
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 63\r\n\r\n",
    r#"{"jsonrpc":"2.0","method":"RPCServer.State","params":[],"id":1}"#,
    r#"[{"jsonrpc":"2.0","method":"RPCServer.State","params":{"a":[1,"\u0041"]},"id":"x"},{"jsonrpc":"2.0"}]"#,
    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    "3f\r\n",
    "\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "\u{1}\u{3f}\u{2}",
    "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://example.org\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Expect: 100-continue\r\n\r\n",
];

/// How long a client that has hung up may be served still.
const SOON: Duration = Duration::from_secs(10);

/// A server whose one method answers its argument.
fn echo() -> HttpServer {
    let mut module = RpcModule::new(());
    let registered = module.register_async_method("RPCServer.State", |params, _, _| async move { argument(&params) });
    assert!(registered.is_ok(), "it is the only one");
    HttpServer::of(
        module.into(),
        BTreeSet::new(),
        Admission::default(),
        "the reference".to_owned(),
    )
}

/// What a client is answered that says this and hangs up.
async fn answer(server: &HttpServer, bytes: Vec<u8>) -> Vec<u8> {
    let (mut client, ours) = duplex(1 << 20);
    let connection = Connection {
        stream: Box::new(ours),
        local: "here".to_owned(),
    };
    let spoken = async move {
        // Nobody may read to the end what makes no sense.
        let _ = client.write_all(&bytes).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let served = server.serve(connection, CancellationToken::new());
    let both = tokio::time::timeout(SOON, async { tokio::join!(spoken, served).0 });
    both.await.expect("a client that has hung up is not served for long")
}

#[tokio::test]
async fn what_is_right_is_answered() {
    let answered = |parts: &[usize]| {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| RIGHT[*part].bytes()).collect();
        async move { String::from_utf8_lossy(&answer(&echo(), bytes).await).into_owned() }
    };
    for parts in [&[0, 1][..], &[3, 4, 1, 5]] {
        let text = answered(parts).await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("\"result\":\"null\"}"),
            "{text}"
        );
    }
    let reference = answered(&[6]).await;
    assert!(reference.ends_with("the reference"), "{reference}");
    assert!(answered(&[7]).await.starts_with("HTTP/1.1 101"));
}

#[test]
fn bytes_of_a_client() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime of one thread");
    let server = echo();
    check(&bytes_like(&RIGHT), |bytes| {
        let answer = runtime.block_on(answer(&server, bytes));
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    });
}
