//! Variables and expressions.

use crate::rpc::wire::{LoadConfig, Variable};
use crate::value::{self, Value};

/// How far to load; without a wish, as Delve does for itself (`LoadFullValue` in `pkg/proc/variables.go`).
pub(super) fn load_config(config: Option<&LoadConfig>) -> value::LoadConfig {
    config.map_or(value::LoadConfig::FULL, LoadConfig::limits)
}

/// Values as clients see them.
pub(super) fn variables_of(values: &[Value]) -> Vec<Variable> {
    values.iter().map(Variable::of).collect()
}
