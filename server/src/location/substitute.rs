//! Paths by another name: what one side calls a directory that the other calls otherwise.

/// Applies the first rule that matches. A prefix matches whole path elements; an empty one matches relative paths,
/// and an empty replacement makes the path relative.
pub(crate) fn substitute<'rule>(path: &str, rules: impl Iterator<Item = (&'rule str, &'rule str)>) -> String {
    for (from, to) in rules {
        if path == from {
            return to.to_owned();
        }
        let rest = if from.is_empty() {
            if is_absolute(path) {
                continue;
            }
            path
        } else {
            match path.strip_prefix(from) {
                Some(rest) if from.ends_with(is_separator) || rest.starts_with(is_separator) => rest,
                _ => continue,
            }
        };
        let below = rest.strip_prefix(is_separator).unwrap_or(rest);
        if to.is_empty() {
            return below.to_owned();
        }
        let separator = if is_windows(to) { '\\' } else { '/' };
        // A backslash is an ordinary character in a name on Linux; only a path from the other system is rewritten.
        let below = if is_windows(from) || is_windows(to) {
            below.replace(is_separator, &separator.to_string())
        } else {
            below.to_owned()
        };
        return format!("{}{separator}{below}", to.trim_end_matches(is_separator));
    }
    path.to_owned()
}

fn is_separator(character: char) -> bool {
    character == '/' || character == '\\'
}

/// `C:\...`: a client on Windows may debug on this machine.
fn is_windows(path: &str) -> bool {
    let mut characters = path.chars();
    characters.next().is_some_and(|drive| drive.is_ascii_alphabetic())
        && characters.next() == Some(':')
        && characters.next().is_some_and(is_separator)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with(is_separator) || is_windows(path)
}
