//! Drives the built binary from outside: the harness that all tests, the demonstration and the benchmarks share.
//!
//! A test takes a Go program ([`toolchain`]), starts the debug server on it ([`trace`], [`dap_client`], [`rpc_client`]) and reads what comes back. Every wait has a name
//! and an end, and no process outlives the test that started it ([`child`]). The same scenario played with Delve ([`scenarios`], [`transcripts`]) shows where the two differ ([`differential`]).

pub mod bare_client;
pub mod begin_and_end;
pub mod captured;
pub mod child;
pub mod consumer_cost;
pub mod container;
pub mod corpus;
pub mod dap_client;
pub mod differential;
pub mod executable;
pub mod failure;
pub mod headless;
pub mod measure;
pub mod module_program;
pub mod moments;
pub mod normalise;
pub mod ordinary_user;
pub mod paths;
pub mod peer;
pub mod play;
pub mod rpc_client;
pub mod rpc_differential;
pub mod scenarios;
pub mod service_cost;
pub mod session_cost;
pub mod stage;
pub mod storm;
pub mod terminal;
pub mod toolchain;
pub mod trace;
pub mod trace_text;
pub mod transcripts;
pub mod values;
pub mod values_cost;
pub mod web_socket;
