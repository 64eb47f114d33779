//! `substitutePath`: the client's paths and those in the binary.

use crate::location::substitute;

/// Rules for both directions, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubstitutePath {
    /// (client's prefix, binary's prefix).
    rules: Vec<(String, String)>,
}

impl SubstitutePath {
    /// Rules as the client gave them: `from` its own path, `to` the one in the binary.
    pub(crate) fn new(rules: Vec<(String, String)>) -> SubstitutePath {
        SubstitutePath { rules }
    }

    /// The rules: (client's prefix, binary's prefix).
    pub(crate) fn rules(&self) -> &[(String, String)] {
        &self.rules
    }

    /// The path in the binary for a path of the client.
    pub(crate) fn to_server(&self, path: &str) -> String {
        substitute(
            path,
            self.rules
                .iter()
                .map(|(client, server)| (client.as_str(), server.as_str())),
        )
    }

    /// The client's path for a path in the binary.
    pub(crate) fn to_client(&self, path: &str) -> String {
        substitute(
            path,
            self.rules
                .iter()
                .map(|(client, server)| (server.as_str(), client.as_str())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(rules: &[(&str, &str)]) -> SubstitutePath {
        SubstitutePath::new(
            rules
                .iter()
                .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn whole_elements_are_replaced_by_the_first_rule_that_matches() {
        let paths = paths(&[("/home/me/src", "/build"), ("/home/me/", "/other/")]);
        assert_eq!(paths.to_server("/home/me/src/a/main.go"), "/build/a/main.go");
        assert_eq!(paths.to_server("/home/me/src2/main.go"), "/other/src2/main.go");
        assert_eq!(paths.to_server("/elsewhere/main.go"), "/elsewhere/main.go");
        assert_eq!(paths.to_server("/home/me/src"), "/build");
        assert_eq!(paths.to_client("/build/a/main.go"), "/home/me/src/a/main.go");
    }

    #[test]
    fn empty_prefixes_are_for_trimmed_paths() {
        let paths = paths(&[("/home/me/src", "")]);
        assert_eq!(paths.to_server("/home/me/src/a/main.go"), "a/main.go");
        assert_eq!(paths.to_client("a/main.go"), "/home/me/src/a/main.go");
        assert_eq!(
            paths.to_client("/usr/local/go/src/fmt/print.go"),
            "/usr/local/go/src/fmt/print.go"
        );
    }

    #[test]
    fn clients_on_windows_keep_their_separators() {
        let paths = paths(&[(r"C:\code", "/code")]);
        assert_eq!(paths.to_server(r"C:\code\a\main.go"), "/code/a/main.go");
        assert_eq!(paths.to_client("/code/a/main.go"), r"C:\code\a\main.go");
    }
}
