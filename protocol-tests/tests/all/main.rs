//! The tests that drive the built binary: one module for each capability, one test binary for all of them.

mod begin_and_end;
mod conditional_stops;
mod conditions;
mod containers;
mod dap_errors;
mod dap_logpoints;
mod dap_session;
mod dap_stopping;
mod dap_vscode_replay;
mod first_day_errors;
mod follow_children;
mod front_door;
mod hostile;
mod peer_rpc;
mod probe_accounting;
mod queues;
mod stress;
mod stress_probes;
mod trace_basic;
mod trace_corpus;
mod trace_order;
mod trace_safety;
mod trace_stops;
mod trace_verbosity;
mod transcripts;
mod unprivileged;
