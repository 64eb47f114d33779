//! What a session says of the hits of its probes.

use crate::failure::{Attempt, Result};
use serde::Deserialize;
use serde_json::Value;

/// What became of the hits of one breakpoint's probes, as `spelunk/probes` tells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Which breakpoint.
    pub breakpoint_id: i64,
    /// Its line, from 1.
    pub line: u32,
    /// What carries it: `kernel`, `stops`, `switchedOff` or `none`.
    pub carrier: String,
    /// How often its probes were hit.
    pub hits: u64,
    /// How often its condition or hit condition was false.
    pub condition_false: u64,
    /// How often the rate limit was reached.
    pub throttled: u64,
    /// How often there was no room for a record.
    pub ring_full: u64,
    /// How often it was hit while it had nothing to do.
    pub idle: u64,
    /// How many records were made.
    pub emitted: u64,
    /// How many of these lack something.
    pub faults: u64,
}

impl Account {
    /// Reads the body of an answer to `spelunk/probes`.
    pub fn read(body: &Value) -> Result<Vec<Account>> {
        serde_json::from_value(body["probes"].clone()).attempt(format_args!("reading the accounts of {body}"))
    }

    /// Whether each hit has its place.
    pub fn is_complete(&self) -> bool {
        self.hits == self.condition_false + self.throttled + self.ring_full + self.idle + self.emitted
    }

    /// Adds another account, of the same line.
    pub fn add(&mut self, other: &Account) {
        self.line = other.line;
        self.hits += other.hits;
        self.condition_false += other.condition_false;
        self.throttled += other.throttled;
        self.ring_full += other.ring_full;
        self.idle += other.idle;
        self.emitted += other.emitted;
        self.faults += other.faults;
    }
}
