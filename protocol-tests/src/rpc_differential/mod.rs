//! The same calls of Delve's `RPCServer` to both servers: sessions that are played, and what each answered, comparable.

mod arguments;
mod normalise;
mod play;
mod raw;
mod scenarios;

pub use play::RpcPlay;
pub use scenarios::all;
