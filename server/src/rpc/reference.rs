//! The reference of methods and types, `REFERENCE.md` beside this file: made from the same declarations that the server is made from.

use std::fmt::Write as _;

use super::go_json::{Book, FieldPage};
use super::methods::Methods;
use super::subscriptions;

/// What stands in front of everything.
const INTRODUCTION: &str = "# Methods and types

Made by `make reference` from the declarations in `methods/` and `wire/`.

A server that was started with `--headless` serves these on its one port, in two dialects:

* Go's `net/rpc/jsonrpc` 1.0, as `dlv connect` speaks it: `{\"method\":\"RPCServer.State\",\"params\":[{\"NonBlocking\":true}],\"id\":0}` is answered with
  `{\"id\":0,\"result\":{...},\"error\":null}`. Calls of one client are answered in order; behind those marked *asynchronous* the next is looked at before they
  are answered. `RPCServer.Command` with the name `halt` and `RPCServer.State` with `NonBlocking` wait for nothing.
* JSON-RPC 2.0 over HTTP (`POST /`, `Content-Type: application/json`) and WebSocket. `params` is a list with one struct, or the fields of that struct by name.
  Calls do not wait for each other. Over WebSocket there are subscriptions.

Names of fields match in whatever case, unknown fields are left out, missing ones have the zero value of their type. Types have Go's names: `[]T` is a list, and
`null` when it is nil; `*T` can be `null`; `map[string]T` is an object; `[]uint8` is a string in Base64.
";

/// The whole text.
pub(crate) fn of(methods: &Methods) -> String {
    let mut text = INTRODUCTION.to_owned();
    // Writing to a String cannot fail.
    let _ = write!(text, "\n## Methods\n");
    for (name, page) in &methods.pages {
        let how = if page.is_asynchronous { ", asynchronous" } else { "" };
        let (takes, gives) = (link(&page.takes), link(&page.gives));
        let _ = write!(text, "\n### {name}\n\n{takes} → {gives}{how}\n\n{}\n", page.doc.trim());
    }
    let mut all = Book {
        structs: methods.book.structs.clone(),
    };
    let _ = write!(text, "\n## Subscriptions\n");
    for page in &subscriptions::PAGES {
        (page.describe)(&mut all);
        let gives = link(&(page.gives)());
        let _ = write!(
            text,
            "\n### {}\n\nends with {}; notices are called {}: {gives}\n\n{}\n",
            page.subscribe, page.unsubscribe, page.notice, page.doc
        );
    }
    let _ = write!(text, "\n## Types\n");
    for (name, page) in &all.structs {
        let _ = write!(text, "\n### {name}\n\n{}\n", page.doc.trim());
        if !page.fields.is_empty() {
            let _ = write!(text, "\n| field | type | |\n|---|---|---|\n");
        }
        for field in &page.fields {
            let _ = writeln!(text, "{}", row(field));
        }
    }
    text
}

fn row(field: &FieldPage) -> String {
    let doc = field.doc.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "| `{}` | {} | {} |",
        field.name,
        link(&field.go_type),
        doc.replace('|', "\\|")
    )
}

/// A type's name, with a way to its entry where it has one.
fn link(go_type: &str) -> String {
    let start = go_type.rfind(['*', ']']).map_or(0, |at| at + 1);
    let (before, name) = go_type.split_at(start);
    if !name.contains('.') {
        return format!("`{go_type}`");
    }
    // As hosts of such texts name a heading: in small letters, without dots.
    let anchor: String = name
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let before = if before.is_empty() {
        String::new()
    } else {
        format!("`{before}`")
    };
    format!("{before}[{name}](#{anchor})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_up_to_date() {
        let methods = Methods::new();
        let made = of(&methods);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rpc/REFERENCE.md");
        if std::env::var_os("SPELUNK_WRITE_REFERENCE").is_some() {
            std::fs::write(&path, &made).expect("the reference can be written");
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == made,
            "{} is not what the declarations say; write it anew with `make reference`",
            path.display()
        );
        for (name, page) in &methods.pages {
            assert!(!page.doc.trim().is_empty(), "{name} is not described");
        }
    }

    #[test]
    fn types_lead_to_their_entries() {
        assert_eq!(link("[]string"), "`[]string`");
        assert_eq!(
            link("map[string]*api.Variable"),
            "`map[string]*`[api.Variable](#apivariable)"
        );
        assert_eq!(link("rpc2.StateIn"), "[rpc2.StateIn](#rpc2statein)");
    }
}
