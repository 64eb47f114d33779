//! The command line of a process.

use crate::value::push_quoted;

/// What a process was started with, its arguments parted by spaces; one that holds a space is quoted as Go quotes strings. Empty for a process that is gone.
pub(crate) fn command_line(pid: i32) -> String {
    let read = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    joined(&read)
}

/// The same of what proc(5) says of it: arguments that each end with a zero byte.
fn joined(read: &[u8]) -> String {
    let read = read.strip_suffix(b"\0").unwrap_or(read);
    let arguments = read.split(|byte| *byte == 0).map(|argument| {
        let mut text = String::new();
        if argument.contains(&b' ') {
            push_quoted(&mut text, argument);
        } else {
            text.push_str(&String::from_utf8_lossy(argument));
        }
        text
    });
    arguments.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn arguments_with_spaces_are_quoted() {
        assert_eq!(joined(b"./a\0b c\0\0d\0"), "./a \"b c\"  d");
        assert_eq!(joined(b""), "");
    }
}
