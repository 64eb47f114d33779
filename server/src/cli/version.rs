//! `version`.

use std::{fmt::Write, process::ExitCode};

use super::topics;

/// The version of Delve whose command line and protocols are followed.
const DELVE: &str = "1.27.1";

/// Prints our version and Delve's.
pub(super) fn print(verbose: bool) -> ExitCode {
    let mut text = format!(
        "spelunk\nVersion: {}\nCompatible with Delve: {DELVE}\n",
        env!("CARGO_PKG_VERSION")
    );
    if verbose {
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Build Details: {profile} build for {os}-{machine}");
    }
    topics::print(&text)
}
