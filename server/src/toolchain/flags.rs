//! Build flags, as `--build-flags` and the `buildFlags` launch attribute give them.

/// Flags for `go build`: one string to be split, or a list that is used as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum BuildFlags {
    /// No flags.
    #[default]
    None,
    /// One string, split at white space outside of single quotes.
    Text(String),
    /// One flag an element.
    List(Vec<String>),
}

impl BuildFlags {
    /// The flags that come before `-o`, and those that come after `-gcflags`.
    ///
    /// `go` accepts `-C DIR` only as its first flag, so it is moved to the front of a split string; a list goes to
    /// the front as a whole.
    pub(crate) fn split(&self) -> (Vec<String>, Vec<String>) {
        match self {
            BuildFlags::None => (Vec::new(), Vec::new()),
            BuildFlags::List(flags) => (flags.clone(), Vec::new()),
            BuildFlags::Text(text) => {
                let mut flags = split_quoted(text);
                let leading = match flags.first().map(String::as_str) {
                    Some("-C") if flags.len() >= 2 => 2,
                    Some(flag) if flag.starts_with("-C=") => 1,
                    _ => 0,
                };
                let rest = flags.split_off(leading);
                (flags, rest)
            }
        }
    }
}

/// Splits at white space; single quotes keep it, and a backslash inside quotes takes the next character as it is.
fn split_quoted(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field: Option<String> = None;
    let mut quoted = false;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                quoted = !quoted;
                field.get_or_insert_default();
            }
            '\\' if quoted => field.get_or_insert_default().extend(characters.next()),
            _ if !quoted && character.is_whitespace() => fields.extend(field.take()),
            _ => field.get_or_insert_default().push(character),
        }
    }
    fields.extend(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(flags: &str) -> (Vec<String>, Vec<String>) {
        BuildFlags::Text(flags.to_owned()).split()
    }

    #[test]
    fn quotes_keep_spaces() {
        let (front, rest) = text(" -tags=a,b   -ldflags='-X main.Hello=World -s' -v");
        assert!(front.is_empty());
        assert_eq!(rest, ["-tags=a,b", "-ldflags=-X main.Hello=World -s", "-v"]);
    }

    #[test]
    fn a_backslash_counts_only_inside_quotes() {
        assert_eq!(text(r"a\b 'it\'s' ''").1, [r"a\b", "it's", ""]);
    }

    #[test]
    fn an_unclosed_quote_takes_the_rest() {
        assert_eq!(text("-x 'a b").1, ["-x", "a b"]);
    }

    #[test]
    fn a_change_of_directory_comes_first() {
        assert_eq!(
            text("-C /dir -v"),
            (vec!["-C".to_owned(), "/dir".to_owned()], vec!["-v".to_owned()])
        );
        assert_eq!(text("-C=/dir -v"), (vec!["-C=/dir".to_owned()], vec!["-v".to_owned()]));
    }

    #[test]
    fn a_list_is_not_split() {
        let flags = BuildFlags::List(vec!["-ldflags=-X a.b=c d".to_owned()]);
        assert_eq!(flags.split(), (vec!["-ldflags=-X a.b=c d".to_owned()], Vec::new()));
    }
}
