//! Which goroutines are shown: the filters of Delve's `goroutines` command (`Documentation/cli/README.md`,
//! "goroutines").

use crate::inspect::{Goroutine, Location};

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    what: What,
    /// Whether those are shown that it does not hold for.
    negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// Where it stands.
    Current(String),
    /// Where it stands in code that is not the runtime's.
    User(String),
    /// The statement that started it.
    GoStatement(String),
    /// Its first function.
    Start(String),
    /// A label, or one with a value.
    Label(String),
    /// It runs on a thread.
    Running,
    /// The runtime did not start it for itself.
    NotSystem,
    /// Everything.
    Any,
}

impl Filter {
    /// Goroutines that the runtime did not start for itself.
    pub(crate) fn users() -> Filter {
        Filter {
            what: What::NotSystem,
            negated: false,
        }
    }

    /// Reads filters as they stand behind `goroutines`; what concerns that command's output is passed over.
    pub(crate) fn parse(text: &str) -> Result<Vec<Filter>, String> {
        let mut filters = Vec::new();
        let mut words = text.split(' ').peekable();
        while let Some(word) = words.next() {
            let wrong = || format!("wrong argument: '{word}'");
            match word {
                "" | "-u" | "-r" | "-g" | "-s" | "-l" => {}
                "-t" => {
                    words.next_if(|depth| depth.parse::<i64>().is_ok());
                }
                "-w" | "-with" | "-wo" | "-without" => filters.push(Filter {
                    what: what(&mut words).ok_or_else(wrong)?,
                    negated: matches!(word, "-wo" | "-without"),
                }),
                "-group" => match words.next() {
                    Some("curloc" | "userloc" | "goloc" | "startloc" | "running" | "user") => {}
                    Some("label") if words.next().is_some() => {}
                    _ => return Err(wrong()),
                },
                // Which goroutines wait on a channel is not a question of the list.
                "-chan" if words.next().is_some() => filters.push(Filter {
                    what: What::Any,
                    negated: false,
                }),
                "-chan" => return Err("not enough arguments after -chan".to_owned()),
                "-exec" => break,
                _ => return Err(wrong()),
            }
        }
        Ok(filters)
    }

    /// Whether a goroutine is shown.
    pub(crate) fn shows(&self, goroutine: &Goroutine) -> bool {
        let at = |location: &Location, part: &str| describe(location).contains(part);
        let holds = match &self.what {
            What::Current(part) => at(&goroutine.current, part),
            What::User(part) => at(&goroutine.user_current, part),
            What::GoStatement(part) => at(&goroutine.go_statement, part),
            What::Start(part) => at(&goroutine.start, part),
            What::Label(label) => match label.split_once('=') {
                Some((key, value)) => {
                    let found = goroutine.labels.iter().find(|(name, _)| name == key);
                    found.map_or("", |(_, value)| value) == value
                }
                None => goroutine.labels.iter().any(|(name, _)| name == label),
            },
            What::Running => goroutine.thread.is_some(),
            What::NotSystem => !goroutine.is_system,
            What::Any => true,
        };
        holds != self.negated
    }
}

fn what<'text>(words: &mut impl Iterator<Item = &'text str>) -> Option<What> {
    let kind = words.next()?;
    let mut argument = || words.next().map(str::to_owned);
    Some(match kind {
        "running" => What::Running,
        "user" => What::NotSystem,
        "curloc" => What::Current(argument()?),
        "userloc" => What::User(argument()?),
        "goloc" => What::GoStatement(argument()?),
        "startloc" => What::Start(argument()?),
        "label" => What::Label(argument()?),
        _ => return None,
    })
}

fn describe(location: &Location) -> String {
    format!(
        "{}:{} in {}",
        location.file.as_deref().unwrap_or("?"),
        location.line,
        location.function.as_deref().unwrap_or("?")
    )
}

#[cfg(test)]
mod tests {
    use spelunk_dwarf::ProcAddr;

    use super::*;
    use crate::inspect::{GoroutineStatus, Tid};

    fn location(file: &str, line: u32, function: &str) -> Location {
        Location {
            pc: ProcAddr(1),
            file: Some(file.into()),
            line,
            function: Some(function.into()),
        }
    }

    fn goroutine() -> Goroutine {
        Goroutine {
            id: 7,
            addr: ProcAddr(1),
            thread: Some(Tid(3)),
            status: GoroutineStatus::Running,
            status_number: 2,
            wait_reason: "".into(),
            wait_reason_number: 0,
            wait_since: 0,
            stack_hi: ProcAddr(2),
            current: location("/go/proc.go", 10, "runtime.gopark"),
            user_current: location("/a/main.go", 20, "main.work"),
            go_statement: location("/a/main.go", 30, "main.main"),
            start: location("/a/main.go", 15, "main.work"),
            labels: vec![("kind".to_owned(), "batch".to_owned())],
            is_system: false,
        }
    }

    #[test]
    fn goroutines_are_chosen_by_place_label_and_state() {
        let one = goroutine();
        for (text, shown) in [
            ("", true),
            ("-w userloc main.go:20", true),
            ("-w userloc gopark", false),
            ("-wo userloc gopark", true),
            ("-with curloc runtime.gopark -without startloc main.work", false),
            ("-w goloc main.main", true),
            ("-w label kind", true),
            ("-w label kind=batch", true),
            ("-w label kind=other", false),
            ("-w running -w user", true),
            ("-wo running", false),
            ("-group userloc -t 5 -l", true),
        ] {
            let filters = Filter::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(filters.iter().all(|filter| filter.shows(&one)), shown, "{text}");
        }
        for (text, why) in [
            ("-x", "wrong argument: '-x'"),
            ("-w", "wrong argument: '-w'"),
            ("-w userloc", "wrong argument: '-w'"),
            ("-w nowhere x", "wrong argument: '-w'"),
            ("-chan", "not enough arguments after -chan"),
        ] {
            assert_eq!(Filter::parse(text), Err(why.to_owned()));
        }
    }
}
