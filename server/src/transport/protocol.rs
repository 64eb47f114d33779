//! What a client speaks, told by the first byte it sends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{Connection, Duplex};

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// The Debug Adapter Protocol: its messages begin with a header, `Content-Length: ...`.
    Dap,
    /// Go's JSON-RPC 1.0.
    GoRpc,
    /// HTTP, perhaps to become a WebSocket.
    Http,
}

impl Protocol {
    /// DAP begins with a `C`, as no method of HTTP does but CONNECT, which nobody sends to a server that is no proxy. Methods of HTTP are upper-case
    /// letters. Everything else is for Go's codec, which knows how to refuse it.
    fn of(first: u8) -> Protocol {
        match first {
            b'C' => Protocol::Dap,
            b'A'..=b'Z' => Protocol::Http,
            _ => Protocol::GoRpc,
        }
    }
}

/// Waits for a client's first byte. `None` when it hangs up before, as do programs that only look whether the port is there.
pub(crate) async fn recognise(mut connection: Connection) -> io::Result<Option<(Protocol, Connection)>> {
    let mut first = [0];
    if connection.stream.read(&mut first).await? == 0 {
        return Ok(None);
    }
    let [byte] = first;
    connection.stream = Box::new(Begun {
        first: Some(byte),
        stream: connection.stream,
    });
    Ok(Some((Protocol::of(byte), connection)))
}

/// A stream of which the first byte was taken, which it gives again.
struct Begun {
    first: Option<u8>,
    stream: Box<dyn Duplex>,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn the_first_byte_decides_and_is_not_lost() {
        for (bytes, protocol) in [
            (&b"Content-Length: 2"[..], Protocol::Dap),
            (b"{\"method\":\"\"}", Protocol::GoRpc),
            (b" {}", Protocol::GoRpc),
            (b"GET / HTTP/1.1", Protocol::Http),
            (b"POST / HTTP/1.1", Protocol::Http),
            (b"OPTIONS * HTTP/1.1", Protocol::Http),
            (b"\xff", Protocol::GoRpc),
        ] {
            let (mut client, server) = tokio::io::duplex(64);
            client.write_all(bytes).await.expect("written");
            drop(client);
            let connection = Connection {
                stream: Box::new(server),
                local: String::new(),
            };
            let (recognised, mut connection) = recognise(connection).await.expect("read").expect("a byte");
            assert_eq!(recognised, protocol);
            let mut all = Vec::new();
            connection.stream.read_to_end(&mut all).await.expect("read");
            assert_eq!(all, bytes);
        }
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_none() {
        let (client, server) = tokio::io::duplex(64);
        drop(client);
        let connection = Connection {
            stream: Box::new(server),
            local: String::new(),
        };
        assert!(recognise(connection).await.expect("read").is_none());
    }
}
