//! Addresses as `--listen` and `--client-addr` take them.

use std::{fmt, path::PathBuf};

/// Where to listen, or whom to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `HOST:PORT`; an empty host means every interface.
    Tcp(String),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl Address {
    /// Reads an address. Names and ports are checked when it is used.
    pub(crate) fn parse(text: &str) -> Address {
        match text.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(text.to_owned()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(formatter, "tcp {address}"),
            Address::Unix(path) => write!(formatter, "unix {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_decides() {
        assert_eq!(Address::parse("unix:/tmp/s"), Address::Unix("/tmp/s".into()));
        assert_eq!(Address::parse("127.0.0.1:0"), Address::Tcp("127.0.0.1:0".to_owned()));
        assert_eq!(Address::parse(":2345"), Address::Tcp(":2345".to_owned()));
    }
}
