//! Sessions over a real stream, with a target that does what the test says: the order of messages is the subject here.

mod client;
mod lifecycle;
mod script;
mod stopping;
