//! Listening for clients, and calling the one that listens.

use std::{io, net::IpAddr, os::fd::AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{Address, Connection, same_user};

/// Why no client can be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// An address that is none.
    #[error("{address}: missing port in address; give one as HOST:PORT, or unix:PATH for a unix socket")]
    NoPort {
        /// What was given.
        address: String,
    },
    /// A port that is none.
    #[error("{address}: invalid port {port:?}; ports are numbers from 0 to 65535")]
    Port {
        /// What was given.
        address: Address,
        /// The part after the last colon.
        port: String,
    },
    /// Somebody else listens there.
    #[error(
        "listen {address}: bind: address already in use; choose another address with --listen, or port 0 for any free one"
    )]
    InUse {
        /// Where.
        address: Address,
    },
    /// Listening failed.
    #[error("listen {address}: {}", reason(.source))]
    Listen {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// Calling failed.
    #[error("error dialing {address}: {}", reason(.source))]
    Dial {
        /// Whom.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// A connection could not be taken.
    #[error("could not accept a client's connection: {0}")]
    Accept(io::Error),
}

/// The system's words without the number that `io::Error` adds.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

/// A socket that waits for clients.
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, whose file is removed with the listener.
    Unix(UnixListener, RemovedPath),
}

/// A socket's file, removed when the listener goes.
pub(crate) struct RemovedPath(std::path::PathBuf);

impl Drop for RemovedPath {
    fn drop(&mut self) {
        // Somebody may have removed it before; there is nothing more to do then.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens at `address`.
    pub(crate) async fn bind(address: &Address) -> Result<Listener, TransportError> {
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AddrInUse {
                TransportError::InUse {
                    address: address.clone(),
                }
            } else {
                TransportError::Listen {
                    address: address.clone(),
                    source,
                }
            }
        };
        match address {
            Address::Tcp(text) => {
                let (host, port) = split(address, text)?;
                if host.is_empty() {
                    // An IPv6 socket takes IPv4 clients as well; without IPv6 on the machine, the other one is tried.
                    return match TcpListener::bind(("::", port)).await {
                        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", port))
                            .await
                            .map(Listener::Tcp)
                            .map_err(failed),
                        bound => bound.map(Listener::Tcp).map_err(failed),
                    };
                }
                TcpListener::bind((host, port)).await.map(Listener::Tcp).map_err(failed)
            }
            Address::Unix(path) => {
                let listener = UnixListener::bind(path).map_err(failed)?;
                Ok(Listener::Unix(listener, RemovedPath(path.clone())))
            }
        }
    }

    /// The address as clients are told it: `HOST:PORT` with the port that was chosen, or the socket's path.
    pub(crate) fn local_address(&self) -> String {
        match self {
            Listener::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| "unknown".to_owned(), |address| address.to_string()),
            Listener::Unix(_, path) => path.0.display().to_string(),
        }
    }

    /// Listens no longer, whoever else has the socket: a program that was forked and is held before it is executed has it too.
    pub(crate) fn close(self) {
        let socket = match &self {
            Listener::Tcp(listener) => listener.as_raw_fd(),
            Listener::Unix(listener, _) => listener.as_raw_fd(),
        };
        // Where it fails, it is closed for us all the same.
        let _ = shutdown(socket, Shutdown::Both);
    }

    /// Whether other machines can reach it.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Listener::Tcp(listener) => !listener.local_addr().is_ok_and(|address| is_loopback(address.ip())),
            Listener::Unix(..) => false,
        }
    }

    /// Waits for the next client. With `only_same_user`, clients of other users on this machine are turned away, and
    /// the wait goes on.
    pub(crate) async fn accept(&self, only_same_user: bool) -> Result<Connection, TransportError> {
        loop {
            match self {
                Listener::Tcp(listener) => {
                    let (stream, peer) = listener.accept().await.map_err(TransportError::Accept)?;
                    let local = stream.local_addr().map_err(TransportError::Accept)?;
                    if only_same_user && is_loopback(peer.ip()) && !same_user::owns_tcp_peer(local, peer) {
                        eprintln!(
                            "closing connection from different user ({peer}): connections to localhost are only accepted from the same UNIX user for security reasons; see --only-same-user"
                        );
                        continue;
                    }
                    return tcp_connection(stream, local.to_string());
                }
                Listener::Unix(listener, path) => {
                    let (stream, _) = listener.accept().await.map_err(TransportError::Accept)?;
                    let peer = stream.peer_cred().map_err(TransportError::Accept)?;
                    if only_same_user && peer.uid() != nix::unistd::getuid().as_raw() {
                        eprintln!(
                            "closing connection from different user ({}): connections are only accepted from the same UNIX user for security reasons; see --only-same-user",
                            peer.uid()
                        );
                        continue;
                    }
                    return Ok(Connection {
                        stream: Box::new(stream),
                        local: path.0.display().to_string(),
                    });
                }
            }
        }
    }
}

/// Calls a client that listens at `address`.
pub(crate) async fn dial(address: &Address) -> Result<Connection, TransportError> {
    let failed = |source| TransportError::Dial {
        address: address.clone(),
        source,
    };
    match address {
        Address::Tcp(text) => {
            let (host, port) = split(address, text)?;
            let host = if host.is_empty() { "localhost" } else { host };
            let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
            let local = stream.local_addr().map_err(failed)?.to_string();
            tcp_connection(stream, local)
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(failed)?;
            Ok(Connection {
                stream: Box::new(stream),
                local: path.display().to_string(),
            })
        }
    }
}

fn tcp_connection(stream: TcpStream, local: String) -> Result<Connection, TransportError> {
    // Messages are small and each is waited for.
    stream.set_nodelay(true).map_err(TransportError::Accept)?;
    Ok(Connection {
        stream: Box::new(stream),
        local,
    })
}

/// Host without brackets, and port.
fn split<'text>(address: &Address, text: &'text str) -> Result<(&'text str, u16), TransportError> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| TransportError::NoPort {
        address: text.to_owned(),
    })?;
    let number = port.parse().map_err(|_| TransportError::Port {
        address: address.clone(),
        port: port.to_owned(),
    })?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    Ok((host, number))
}

/// Loopback in either family, IPv4 addresses in IPv6 clothes included.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_what_to_do() {
        let first = Listener::bind(&Address::parse("127.0.0.1:0"))
            .await
            .expect("a free port");
        let text = match Listener::bind(&Address::parse(&first.local_address())).await {
            Ok(_) => panic!("two listeners on one port"),
            Err(error) => error.to_string(),
        };
        assert!(
            text.starts_with(&format!(
                "listen tcp {}: bind: address already in use",
                first.local_address()
            )),
            "{text}"
        );
        assert!(text.contains("--listen"), "{text}");
    }

    #[tokio::test]
    async fn addresses_that_are_none_say_why() {
        for (address, part) in [
            ("127.0.0.1", "missing port"),
            ("127.0.0.1:99999", "invalid port"),
            ("1.2.3.4:0", "cannot assign"),
        ] {
            match Listener::bind(&Address::parse(address)).await {
                Ok(_) => panic!("{address} was taken"),
                Err(error) => assert!(error.to_string().contains(part), "{error}"),
            }
        }
    }

    #[tokio::test]
    async fn an_empty_host_listens_beyond_this_machine() {
        let listener = Listener::bind(&Address::parse(":0")).await.expect("a free port");
        assert!(listener.is_remote());
        let listener = Listener::bind(&Address::parse("localhost:0"))
            .await
            .expect("a free port");
        assert!(!listener.is_remote());
    }

    #[tokio::test]
    async fn the_same_user_is_let_in_over_tcp_and_unix_sockets() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("socket");
        for text in [
            "127.0.0.1:0".to_owned(),
            "[::1]:0".to_owned(),
            format!("unix:{}", path.display()),
        ] {
            let listener = Listener::bind(&Address::parse(&text)).await.expect("a listener");
            let target = match &listener {
                Listener::Tcp(_) => Address::parse(&listener.local_address()),
                Listener::Unix(..) => Address::parse(&text),
            };
            let (accepted, dialled) = tokio::join!(listener.accept(true), dial(&target));
            let (mut accepted, mut dialled) = (accepted.expect("a client"), dialled.expect("a server"));
            dialled.stream.write_all(b"hello").await.expect("written");
            let mut bytes = [0; 5];
            accepted.stream.read_exact(&mut bytes).await.expect("read");
            assert_eq!(&bytes, b"hello");
        }
        assert!(!path.exists(), "the socket's file is removed with the listener");
    }

    #[tokio::test]
    async fn a_closed_listener_is_closed_for_all_who_have_it() {
        let listener = Listener::bind(&Address::parse("127.0.0.1:0"))
            .await
            .expect("a free port");
        let address = Address::parse(&listener.local_address());
        let Listener::Tcp(socket) = &listener else {
            panic!("no TCP")
        };
        let copy = std::os::fd::AsFd::as_fd(socket).try_clone_to_owned().expect("a copy");
        listener.close();
        assert!(dial(&address).await.is_err());
        drop(copy);
    }

    #[tokio::test]
    async fn calling_where_nobody_listens_is_an_error() {
        let listener = Listener::bind(&Address::parse("127.0.0.1:0"))
            .await
            .expect("a free port");
        let address = Address::parse(&listener.local_address());
        drop(listener);
        match dial(&address).await {
            Ok(_) => panic!("somebody answered"),
            Err(error) => assert!(error.to_string().ends_with("connection refused"), "{error}"),
        }
    }
}
