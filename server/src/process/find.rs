//! Processes, found by number or by how their command line begins.

use std::path::Path;

/// The process of that number, if there is one.
pub(crate) fn existing(pid: i64) -> Option<i32> {
    let pid = i32::try_from(pid).ok()?;
    Path::new("/proc").join(pid.to_string()).exists().then_some(pid)
}

/// The first process, other than this one, whose command line (arguments joined by spaces) begins with `prefix`.
pub(crate) fn process_with_prefix(prefix: &str) -> Option<i32> {
    below(Path::new("/proc"), prefix)
}

fn below(proc: &Path, prefix: &str) -> Option<i32> {
    let own = std::process::id();
    std::fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut line = std::fs::read(entry.path().join("cmdline")).ok()?;
        for byte in &mut line {
            if *byte == 0 {
                *byte = b' ';
            }
        }
        (pid != own && line.starts_with(prefix.as_bytes())).then(|| i32::try_from(pid).ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_how_their_command_line_begins() {
        let proc = tempfile::tempdir().expect("a scratch directory");
        for (pid, line) in [
            ("7", &b"/bin/server\0--port\x0080\0"[..]),
            ("8", b""),
            ("self", b"/bin/server\0"),
        ] {
            std::fs::create_dir(proc.path().join(pid)).expect("a directory");
            std::fs::write(proc.path().join(pid).join("cmdline"), line).expect("a file");
        }
        assert_eq!(below(proc.path(), "/bin/server --port"), Some(7));
        assert_eq!(below(proc.path(), "/bin/servers"), None);
    }
}
