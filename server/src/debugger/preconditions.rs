//! What is checked before a target is brought about, so that the errors are Delve's.

use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::LaunchSpec;

/// Refuses what cannot be launched, in Delve's words without the beginning `could not launch process: `. Files for output are emptied, as they will be.
pub(crate) fn check_launch(spec: &LaunchSpec) -> Result<(), String> {
    check_executable(&spec.program)?;
    if let Some(cwd) = &spec.cwd {
        std::fs::read_dir(cwd).map_err(|error| {
            format!(
                "fork/exec {}: {} (working directory {})",
                spec.program.display(),
                go_reason(&error),
                cwd.display()
            )
        })?;
    }
    check_terminal(spec.terminal.as_deref())?;
    check_redirects(&spec.redirect)
}

/// Which backends there are.
pub(crate) fn check_backend(backend: &str) -> Result<(), String> {
    match backend {
        "default" | "native" => Ok(()),
        "lldb" | "rr" => Err("backend unavailable".to_owned()),
        other => Err(format!("unknown backend {other:?}")),
    }
}

/// Refuses what cannot be run, in Delve's words. What the file holds is for the debugger to say.
fn check_executable(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("open {}: {}", path.display(), go_reason(&error));
    let data = std::fs::metadata(path).map_err(failed)?;
    if !data.is_file() || data.permissions().mode() & 0o111 == 0 {
        return Err("not an executable file".to_owned());
    }
    Ok(())
}

/// Refuses what is not a terminal, in Delve's words.
fn check_terminal(path: Option<&Path>) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let mut options = File::options();
    // It is to control the program's session, and never ours.
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
    let file = options
        .open(path)
        .map_err(|error| format!("open {}: {}", path.display(), go_reason(&error)))?;
    if !file.is_terminal() {
        return Err(format!("{} is not a terminal", path.display()));
    }
    Ok(())
}

/// Refuses files for input and output that cannot be opened, in Delve's words. Those for output are emptied, as they will be.
fn check_redirects(files: &[Option<PathBuf>; 3]) -> Result<(), String> {
    for (number, file) in files.iter().enumerate() {
        let Some(file) = file else { continue };
        let opened = if number == 0 {
            File::open(file)
        } else {
            File::create(file)
        };
        opened.map_err(|error| format!("open {}: {}", file.display(), go_reason(&error)))?;
    }
    Ok(())
}

/// The system's words as Go prints them.
pub(crate) fn go_reason(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}
