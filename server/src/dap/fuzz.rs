//! Fuzz target: bytes from a client, up to the requests in them.

use bytes::BytesMut;
use tokio_util::codec::Decoder;

use super::codec::{Codec, Frame};
use super::message::Request;
use crate::fuzz::{check, input::bytes_like};

const RIGHT: [&str; 12] = [
    "Content-Length: 119\r\n\r\n{\"seq\":1,\"type\":\"request\",\"command\":\"initialize\",\"arguments\":{\"adapterID\":\"go\",\"linesStartAt1\":true,\"pathFormat\":\"path\"}}",
    "Content-Length: 52\r\n\r\n{\"seq\":2,\"type\":\"request\",\"command\":\"threads\",\"x\":[]}",
    "Content-Length: 2\r\n\r\n{}",
    "Content-Length: 4\r\n\r\nnull",
    "Content-Length: 0\r\n\r\n",
    "Content-Length: 99999999999999999999\r\n\r\n",
    "Content-Length: 4194305\r\n\r\n{",
    "content-length:3\n\n[1]",
    "Content-Type: x\r\n",
    "Origin: http://example.com\r\n",
    "\r\n\r\n",
    "{\"seq\":9223372036854775808,\"command\":null,\"arguments\":[[[[",
];

#[test]
fn bytes_of_a_client() {
    let pieces = (bytes_like(&RIGHT), 1usize..100);
    check(&pieces, |(bytes, size)| {
        let (mut codec, mut buffer) = (Codec::default(), BytesMut::new());
        'stream: for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            loop {
                match codec.decode(&mut buffer) {
                    Ok(Some(Frame::Message(message))) => {
                        if let Ok(request) = Request::read(message) {
                            let _ = request.arguments::<serde_json::Value>();
                        }
                    }
                    Ok(Some(Frame::Malformed(why))) => assert!(!why.is_empty()),
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
        }
    });
}
