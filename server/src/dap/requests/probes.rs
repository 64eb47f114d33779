//! `spelunk/probes`: what became of the hits of probes. Not one of the protocol's requests, and harmless to one who does not know it.
//!
//! And what probes may do, as the user has it.

use serde_json::{Value, json};

use crate::{
    dap::{errors::UNABLE_TO_TELL_PROBES, message::Request, session::Session, substitute_path::SubstitutePath},
    debugger::{ProbeAccount, ProbeState},
};

/// The request's name.
pub(super) const PROBES: &str = "spelunk/probes";

impl Session {
    /// Answers `spelunk/probes`, while the program runs and afterwards.
    pub(super) async fn on_probes(&mut self, request: &Request) {
        let accounts = self
            .call(|target| {
                let target = target.as_deref().ok_or("the program is no longer debugged")?;
                target.probe_accounts().map_err(|error| error.to_string())
            })
            .await
            .unwrap_or_else(|gone| Err(gone.to_string()));
        match accounts {
            Ok(accounts) => {
                let probes: Vec<Value> = accounts
                    .iter()
                    .map(|account| of_account(account, &self.settings.paths))
                    .collect();
                self.out.respond(request, Some(&json!({"probes": probes})));
            }
            Err(why) => self.out.refuse(request, UNABLE_TO_TELL_PROBES, &why),
        }
    }

    /// Tells the debugger what probes may do.
    pub(in crate::dap) async fn limit_probes(&mut self) -> Result<(), String> {
        let Some(debuggee) = self.debuggee() else {
            return Ok(());
        };
        let is_attached = debuggee.is_attached();
        let limits = self.settings.probes.limits(is_attached);
        self.call(move |target| target.as_deref().map_or(Ok(()), |target| target.limit_probes(limits)))
            .await
            .map_err(|gone| gone.to_string())?
            .map_err(|error| error.to_string())
    }
}

fn of_account(account: &ProbeAccount, paths: &SubstitutePath) -> Value {
    let carrier = match account.state {
        ProbeState::InKernel => "kernel",
        ProbeState::AtStops => "stops",
        ProbeState::SwitchedOff => "switchedOff",
        ProbeState::Out => "none",
    };
    json!({
        "breakpointId": account.id.0,
        "path": paths.to_client(&account.file),
        "line": account.line,
        "carrier": carrier,
        "hits": account.hits,
        "conditionFalse": account.condition_false,
        "throttled": account.throttled,
        "ringFull": account.ring_full,
        "idle": account.idle,
        "emitted": account.emitted,
        "faults": account.faults,
        "suppressed": account.suppressed,
    })
}
