//! Requests and responses as Go's `net/rpc/jsonrpc` has them (`server.go`, Go 1.26).

use std::fmt::Write as _;

use serde_json::Value;

use crate::rpc::go_json::{Json, JsonText, Kind, names};

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    /// The method's whole name; empty where there is none.
    pub(crate) method: String,
    /// The argument, or why it cannot be had.
    pub(crate) argument: Result<String, String>,
    /// The id as it was written, but for blanks, to be sent back as it is.
    pub(crate) id: String,
}

impl Request {
    /// Reads a request. An error is one that Go's codec ends the connection for.
    pub(crate) fn read(text: &str) -> Result<Request, String> {
        let request = Json::parse(text).map_err(|error| error.to_string())?;
        let (mut method, mut params, mut id) = (String::new(), None, None);
        for (name, value) in request.fields() {
            let value = Some(value).filter(|value| value.kind() != Kind::Null);
            if names(&name, "method") {
                match value.map(|value| (value, value.kind())) {
                    None => {}
                    Some((value, Kind::String)) => method = value.characters(),
                    Some((_, other)) => {
                        return Err(format!("cannot read a {} as the name of a method", other.name()));
                    }
                }
            } else if names(&name, "params") {
                params = value;
            } else if names(&name, "id") {
                id = value;
            }
        }
        Ok(Request {
            method,
            argument: argument(params),
            id: compact(id.map_or("null", Json::text)),
        })
    }
}

/// The first parameter of a list; null where the list is empty.
fn argument(params: Option<Json<'_>>) -> Result<String, String> {
    let Some(params) = params else {
        return Err("jsonrpc: request body missing params".to_owned());
    };
    match params.kind() {
        Kind::Array => Ok(params
            .elements()
            .into_iter()
            .next()
            .map_or("null", Json::text)
            .to_owned()),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type [1]interface {{}}",
            other.name()
        )),
    }
}

/// JSON without the blanks between its parts, as Go writes what it has read.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |character: &char| {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            return true;
        }
        in_string = *character == '"';
        !character.is_ascii_whitespace()
    };
    json.chars().filter(is_kept).collect()
}

/// A line with what could be taken for HTML or JavaScript written as escapes, as Go does by default. All of it can only be part of strings.
fn escaped(line: String) -> String {
    const ESCAPED: [char; 5] = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    if !line.contains(ESCAPED) {
        return line;
    }
    let mut text = String::with_capacity(line.len() + line.len() / 8);
    for character in line.chars() {
        if ESCAPED.contains(&character) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text
}

/// The line that answers a request.
pub(crate) fn response(id: &str, answer: &Result<JsonText, String>) -> String {
    match answer {
        Ok(JsonText(result)) => escaped(format!("{{\"id\":{id},\"result\":{result},\"error\":null}}\n")),
        Err(error) => {
            let error = Value::String(error.clone());
            escaped(format!("{{\"id\":{id},\"result\":null,\"error\":{error}}}\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_come_back_as_they_were() {
        for id in [
            "0",
            "-1",
            "1e400",
            "\"a \\u0062\\\" \"",
            "[1,{}]",
            "{\"a\":1}",
            "18446744073709551616",
            "true",
            "null",
        ] {
            let request = Request::read(&format!("{{\"id\":{id},\"method\":\"x\",\"params\":[{{}}]}}")).expect(id);
            assert_eq!(
                response(&request.id, &Ok(JsonText(json!({"A": null}).to_string()))),
                format!("{{\"id\":{id},\"result\":{{\"A\":null}},\"error\":null}}\n")
            );
        }
        let request = Request::read("{\"method\":\"x\"}").expect("a request");
        assert_eq!(
            response(&request.id, &Err("no \"x\"\n".to_owned())),
            "{\"id\":null,\"result\":null,\"error\":\"no \\\"x\\\"\\n\"}\n"
        );
    }

    #[test]
    fn blanks_and_what_looks_like_html_are_written_as_go_writes_them() {
        let request = Request::read("{\"id\": [ 1, \"<\\\" &\", {\"a\" : null} ] }").expect("a request");
        assert_eq!(
            response(&request.id, &Ok(JsonText(json!("\u{2028}>").to_string()))),
            "{\"id\":[1,\"\\u003c\\\" \\u0026\",{\"a\":null}],\"result\":\"\\u2028\\u003e\",\"error\":null}\n"
        );
    }

    #[test]
    fn parameters_are_a_list_and_the_first_counts() {
        let read = |params: &str| {
            Request::read(&format!("{{\"method\":\"x\",\"Params\":{params}}}"))
                .expect("a request")
                .argument
        };
        assert_eq!(read("[{\"a\":1}, 2]"), Ok("{\"a\":1}".to_owned()));
        assert_eq!(read("[]"), Ok("null".to_owned()));
        assert_eq!(read("[null]"), Ok("null".to_owned()));
        let missing = Err("jsonrpc: request body missing params".to_owned());
        assert_eq!(read("null"), missing);
        assert_eq!(Request::read("{}").expect("a request").argument, missing);
        assert_eq!(
            read("{}"),
            Err("json: cannot unmarshal object into Go value of type [1]interface {}".to_owned())
        );
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for text in ["{\"method\":5}", "{", "{]", "{\"id\":nul}"] {
            assert!(Request::read(text).is_err(), "{text}");
        }
    }
}
