//! Which process was made by which.

use std::collections::HashMap;
use std::fs;
use std::io;

/// The processes that a process has made, those that these have made, and so on; as far as those between them still run.
pub(crate) fn descendants(pid: i32) -> io::Result<Vec<i32>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile is nobody's child.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(number);
        }
    }
    let mut found = children.remove(&pid).unwrap_or_default();
    let mut next = 0;
    while let Some(child) = found.get(next) {
        // Removed, so that nothing that is read here could make this go in circles.
        found.extend(children.remove(child).unwrap_or_default());
        next += 1;
    }
    Ok(found)
}

/// Field 4 of `proc_pid_stat(5)`.
fn parent(stat: &str) -> Option<i32> {
    // The command, field 2, may hold anything, closing brackets too.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn the_parent_follows_the_command_whatever_that_is() {
        assert_eq!(parent("12 (a) R 9 (b) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a"), None);
        assert_eq!(parent(""), None);
    }

    #[test]
    fn grandchildren_are_found() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'sleep 100 & echo $! $$; wait' & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut line = String::new();
        let output = shell.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("it writes");
        let family: Vec<i32> = line
            .split_ascii_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect();
        let found = descendants(shell.id().cast_signed()).expect("/proc can be read");
        let mut both = found.clone();
        both.sort_unstable();
        let mut wanted = family.clone();
        wanted.sort_unstable();
        assert_eq!(both, wanted);
        assert_eq!(found.last(), family.first(), "the sleep comes after its parent");
        // The shell first: it would end by itself with the sleep.
        for pid in family.into_iter().rev() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
                .expect("it runs");
        }
        shell.wait().expect("it ends");
    }
}
