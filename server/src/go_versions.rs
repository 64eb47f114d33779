//! Which versions of Go this debugger knows.

use spelunk_dwarf::{Binary, GoVersion};

/// The first and the last minor version of Go 1 that spelunk is tested with.
const KNOWN: (u32, u32) = (21, 27);

/// What becomes of programs of a Go version that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UnknownVersions {
    /// The user is warned.
    #[default]
    Warned,
    /// They are refused.
    Refused,
}

impl UnknownVersions {
    /// As `--check-go-version` has it.
    pub(crate) fn checked(check: bool) -> UnknownVersions {
        if check {
            UnknownVersions::Refused
        } else {
            UnknownVersions::Warned
        }
    }
}

/// Looks at the Go version of a program. The error is in Delve's words, with its advice. What a binary does not tell is not asked.
pub(crate) fn check(binary: &Binary, unknown_versions: UnknownVersions) -> Result<(), String> {
    let Some((reason, limit)) = binary.go_version().as_ref().and_then(unknown) else {
        return Ok(());
    };
    if unknown_versions == UnknownVersions::Refused {
        return Err(format!(
            "{reason} ({limit}, suppress this error with --check-go-version=false)"
        ));
    }
    tracing::warn!("undefined behavior - {reason} ({limit})");
    Ok(())
}

/// Why a version is none that is known, and which are.
fn unknown(version: &GoVersion) -> Option<(String, String)> {
    let (first, last) = KNOWN;
    // Versions are told without what follows them, such as experiments.
    let text = version.raw.split_whitespace().find(|word| word.starts_with("go"));
    let text = text.unwrap_or(&version.raw);
    if !version.at_least(1, first) {
        return Some((
            format!("Go version {text} is too old for this version of spelunk"),
            format!("minimum supported version 1.{first}"),
        ));
    }
    if version.at_least(1, last.saturating_add(1)) {
        return Some((
            format!("Version of spelunk is too old for Go version {text}"),
            format!("maximum supported version 1.{last}"),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::unknown;
    use spelunk_dwarf::GoVersion;

    #[test]
    fn versions_between_the_first_and_the_last_are_known() {
        let why = |text| unknown(&GoVersion::parse(text).expect("a version")).map(|(reason, _)| reason);
        for known in ["go1.21", "go1.26.8", "go1.27.3 X:nodwarf5", "go1.27rc1"] {
            assert_eq!(why(known), None, "{known}");
        }
        let old = why("go1.20.14").expect("too old");
        assert_eq!(old, "Go version go1.20.14 is too old for this version of spelunk");
        let new = why("devel go1.28-4f3a Tue").expect("too new");
        assert_eq!(new, "Version of spelunk is too old for Go version go1.28-4f3a");
    }
}
