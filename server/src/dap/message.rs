//! The envelope: what a request is, and how answers and events are written.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A request, its arguments not looked at yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// The client's number for it.
    pub(crate) seq: i64,
    /// Its name.
    pub(crate) command: String,
    /// Its arguments; `Null` when it came without.
    pub(crate) arguments: Value,
}

/// A message that is no request.
#[derive(Debug, PartialEq)]
pub(crate) struct NoRequest {
    /// The message's number, 0 when it has none.
    pub(crate) seq: i64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Request {
    /// Reads a message as a request.
    pub(crate) fn read(message: Value) -> Result<Request, NoRequest> {
        let Value::Object(mut fields) = message else {
            return Err(NoRequest {
                seq: 0,
                reason: "Unable to process a message that is not an object".to_owned(),
            });
        };
        let seq = match fields.get("seq") {
            None | Some(Value::Null) => 0,
            Some(seq) => match seq.as_i64() {
                Some(seq) => seq,
                None => {
                    return Err(NoRequest {
                        seq: 0,
                        reason: format!("cannot use {seq} as 'seq', which is a number"),
                    });
                }
            },
        };
        let mut text = |name: &str| match fields.remove(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(NoRequest {
                seq,
                reason: format!("cannot use {other} as '{name}', which is a string"),
            }),
        };
        match text("type")?.as_str() {
            "request" => {
                let command = text("command")?;
                Ok(Request {
                    seq,
                    command,
                    arguments: fields.remove("arguments").unwrap_or_default(),
                })
            }
            "event" => Err(NoRequest {
                seq,
                reason: format!("Unable to process non-request event '{}'", text("event")?),
            }),
            "response" => Err(NoRequest {
                seq,
                reason: format!("Unable to process non-request response to '{}'", text("command")?),
            }),
            other => Err(NoRequest {
                seq,
                reason: format!("ProtocolMessage type '{other}' is not supported (seq: {seq})"),
            }),
        }
    }

    /// Reads the arguments as a `T`. Missing arguments read as an empty object, `null` in it as absent.
    pub(crate) fn arguments<T: DeserializeOwned>(&self) -> Result<T, String> {
        let arguments = match &self.arguments {
            Value::Null => Value::Object(Map::new()),
            given => without_nulls(given.clone()),
        };
        serde_json::from_value(arguments).map_err(|error| format!("invalid arguments for '{}': {error}", self.command))
    }
}

/// Removes members that are `null`: the protocol's optional members are absent, not null, and clients differ in
/// whether they bear a null.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        Value::Array(elements) => Value::Array(elements.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// A successful response.
pub(crate) fn response(seq: i64, request: &Request, body: Option<&impl Serialize>) -> serde_json::Result<Value> {
    let mut message = json!({
        "seq": seq, "type": "response", "request_seq": request.seq, "success": true, "command": request.command,
    });
    if let Some(body) = body {
        message["body"] = without_nulls(serde_json::to_value(body)?);
    }
    Ok(message)
}

/// A successful response as it is sent, with a body in which nothing is null.
pub(crate) fn written_response(seq: i64, request: &Request, body: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Response<'a, B> {
        seq: i64,
        r#type: &'static str,
        request_seq: i64,
        success: bool,
        command: &'a str,
        body: &'a B,
    }
    serde_json::to_vec(&Response {
        seq,
        r#type: "response",
        request_seq: request.seq,
        success: true,
        command: &request.command,
        body,
    })
}

/// A refusal.
pub(crate) fn error_response(
    seq: i64,
    request_seq: i64,
    command: &str,
    id: i64,
    summary: &str,
    details: &str,
    show_user: bool,
) -> Value {
    json!({
        "seq": seq, "type": "response", "request_seq": request_seq, "success": false, "command": command, "message": summary,
        "body": {"error": {"id": id, "format": format!("{summary}: {details}"), "showUser": show_user}},
    })
}

/// An event.
pub(crate) fn event(seq: i64, event: &dap::events::Event) -> serde_json::Result<Value> {
    let mut message = json!({"seq": seq, "type": "event"});
    if let Value::Object(fields) = serde_json::to_value(event)? {
        for (name, value) in fields {
            message[name] = without_nulls(value);
        }
    }
    Ok(message)
}

/// An event, its body written out.
pub(crate) fn event_with(seq: i64, name: &str, body: &Value) -> Value {
    json!({"seq": seq, "type": "event", "event": name, "body": body})
}

#[cfg(test)]
mod tests {
    use dap::{events::Event, requests::DisconnectArguments};

    use super::*;

    #[test]
    fn what_is_no_request_says_why_in_delves_words() {
        for (message, seq, part) in [
            (
                json!({"seq": 5, "type": "bogus"}),
                5,
                "ProtocolMessage type 'bogus' is not supported (seq: 5)",
            ),
            (
                json!({"seq": 5}),
                5,
                "ProtocolMessage type '' is not supported (seq: 5)",
            ),
            (
                json!({"seq": 3, "type": "event", "event": "output"}),
                3,
                "Unable to process non-request",
            ),
            (
                json!({"seq": 4, "type": "response", "command": "runInTerminal"}),
                4,
                "Unable to process non-request",
            ),
            (json!({"seq": "x", "type": "request", "command": "threads"}), 0, "'seq'"),
            (json!({"seq": 7, "type": "request", "command": 3}), 7, "'command'"),
            (json!([]), 0, "not an object"),
        ] {
            let error = Request::read(message.clone()).expect_err("no request");
            assert_eq!(error.seq, seq, "{message}");
            assert!(error.reason.contains(part), "{message}: {}", error.reason);
        }
    }

    #[test]
    fn arguments_may_be_missing_or_null() {
        for message in [
            json!({"seq": 1, "type": "request", "command": "disconnect"}),
            json!({"seq": 1, "type": "request", "command": "disconnect", "arguments": null}),
            json!({"seq": 1, "type": "request", "command": "disconnect", "arguments": {"terminateDebuggee": null}}),
        ] {
            let request = Request::read(message).expect("a request");
            let arguments: DisconnectArguments = request.arguments().expect("arguments");
            assert_eq!(arguments.terminate_debuggee, None);
        }
    }

    #[test]
    fn arguments_of_another_type_are_refused_with_the_requests_name() {
        let request = Request::read(json!({"seq": 1, "type": "request", "command": "disconnect", "arguments": "x"}))
            .expect("a request");
        let error = request.arguments::<DisconnectArguments>().expect_err("a string");
        assert!(error.contains("disconnect"), "{error}");
    }

    #[test]
    fn messages_carry_no_nulls() {
        let request = Request {
            seq: 9,
            command: "continue".to_owned(),
            arguments: Value::Null,
        };
        let body = json!({"allThreadsContinued": true, "text": null, "list": [{"a": null}]});
        assert_eq!(
            response(4, &request, Some(&body)).expect("JSON"),
            json!({"seq": 4, "type": "response", "request_seq": 9, "success": true, "command": "continue", "body": {"allThreadsContinued": true, "list": [{}]}})
        );
        let output = dap::events::OutputEventBody {
            output: "x\n".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            event(1, &Event::Output(output)).expect("JSON"),
            json!({"seq": 1, "type": "event", "event": "output", "body": {"output": "x\n"}})
        );
        assert_eq!(
            event(2, &Event::Initialized).expect("JSON"),
            json!({"seq": 2, "type": "event", "event": "initialized"})
        );
    }
}
