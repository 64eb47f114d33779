//! Delve's JSON-RPC, API version 2: its methods and types, over Go's `net/rpc/jsonrpc` 1.0 codec and over JSON-RPC 2.0.
//!
//! * `go_json`: JSON as Go reads and writes it, and the macro that defines the types on the wire
//! * `go_codec/`: Go's dialect on a connection
//! * `http/`: JSON-RPC 2.0 over HTTP and WebSocket, and who may use it
//! * `reference`: the text that describes them all, `REFERENCE.md`
//! * `subscriptions`: what a WebSocket client is told without asking again
//! * `wire/`: Delve's types, field for field (`service/api`), and how our own become them
//! * `methods/`: one file for each group of methods, with the structs they take and give (`service/rpc2`)

pub(crate) mod go_codec;
pub(crate) mod go_json;
pub(crate) mod http;
pub(crate) mod methods;
mod reference;
mod subscriptions;
pub(crate) mod wire;
