//! The text that a trace writes, taken apart into calls, returns and the rest.

/// One entry of a trace's standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `> goroutine(N): FUNCTION(ARGUMENTS)`
    Call {
        /// The goroutine's number.
        goroutine: i64,
        /// Its name as printed.
        function: String,
        /// What stands between the parentheses; several lines at higher verbosities.
        arguments: String,
    },
    /// `>> goroutine(N): FUNCTION => (RESULTS)`
    Return {
        /// The goroutine's number.
        goroutine: i64,
        /// Its name as printed.
        function: String,
        /// What stands between the parentheses.
        results: String,
    },
    /// Any other line: `Process N has exited with status 0`, a warning, a count of what was lost.
    Other(String),
}

/// Takes the text apart. An entry of several lines ends where a line begins that can begin an entry.
pub fn entries(text: &str) -> Vec<Entry> {
    let mut blocks: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let starts = line.starts_with("> goroutine(") || line.starts_with(">> goroutine(");
        if starts || !open || line.starts_with("Process ") {
            blocks.push(line.to_owned());
        } else if let Some(last) = blocks.last_mut() {
            last.push('\n');
            last.push_str(line);
        }
        let whole = blocks.last().map_or("", String::as_str);
        open = whole.starts_with('>') && !(line.ends_with(')') && is_balanced(whole));
    }
    blocks.iter().map(|block| parse(block)).collect()
}

/// Whether all parentheses outside of quoted strings are closed.
fn is_balanced(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_i64, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth <= 0
}

fn parse(block: &str) -> Entry {
    parse_call(block)
        .or_else(|| parse_return(block))
        .unwrap_or_else(|| Entry::Other(block.to_owned()))
}

fn goroutine(rest: &str) -> Option<(i64, &str)> {
    let (number, rest) = rest.split_once("): ")?;
    Some((number.parse().ok()?, rest))
}

fn parse_call(block: &str) -> Option<Entry> {
    let (goroutine, rest) = goroutine(block.strip_prefix("> goroutine(")?)?;
    let name = function_length(rest);
    let arguments = rest.get(name..)?.strip_prefix('(')?.strip_suffix(')')?;
    Some(Entry::Call {
        goroutine,
        function: rest[..name].to_owned(),
        arguments: arguments.to_owned(),
    })
}

fn parse_return(block: &str) -> Option<Entry> {
    let (goroutine, rest) = goroutine(block.strip_prefix(">> goroutine(")?)?;
    let (function, results) = rest.split_once(" => (")?;
    let results = results.strip_suffix(')')?;
    Some(Entry::Return {
        goroutine,
        function: function.to_owned(),
        results: results.to_owned(),
    })
}

/// The length of a function's name at the start of `text`: up to the parenthesis of its arguments, which is not
/// the one of a receiver (that follows a dot).
fn function_length(text: &str) -> usize {
    let mut previous = ' ';
    let mut in_receiver = false;
    for (i, c) in text.char_indices() {
        match c {
            '(' if previous == '.' => in_receiver = true,
            ')' if in_receiver => in_receiver = false,
            '(' => return i,
            _ => {}
        }
        previous = c;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_trace_apart() {
        let text = "> goroutine(1): main.(*T).m(1, \")(\")\n>> goroutine(1): main.(*T).m => (2)\nProcess 7 has exited with status 0\n";
        let call = Entry::Call {
            goroutine: 1,
            function: "main.(*T).m".into(),
            arguments: "1, \")(\"".into(),
        };
        let back = Entry::Return {
            goroutine: 1,
            function: "main.(*T).m".into(),
            results: "2".into(),
        };
        assert_eq!(
            entries(text),
            [call, back, Entry::Other("Process 7 has exited with status 0".into())]
        );
    }

    #[test]
    fn an_entry_may_take_several_lines() {
        let text = "> goroutine(4): main.f(\n  a: main.T {\n\tX: 1,}\n  b: 2)\nnote\n>> goroutine(4): main.f => ()\n";
        let found = entries(text);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(matches!(&found[0], Entry::Call { arguments, .. } if arguments.ends_with("b: 2")));
        assert_eq!(found[1], Entry::Other("note".into()));
    }
}
