//! How clients reach the server: TCP or a unix socket, listened on or dialled out to.

mod address;
mod listener;
mod protocol;
mod same_user;

use tokio::io::{AsyncRead, AsyncWrite};

pub(crate) use address::Address;
pub(crate) use listener::{Listener, TransportError, dial};
pub(crate) use protocol::{Protocol, recognise};

/// A stream of bytes to and from one client.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// One client's connection.
pub(crate) struct Connection {
    /// The bytes.
    pub(crate) stream: Box<dyn Duplex>,
    /// Our end's address, as messages to the user name it.
    pub(crate) local: String,
}
