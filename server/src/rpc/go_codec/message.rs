//! Requests and responses as Go's `net/rpc/jsonrpc` has them (`server.go`, Go 1.26).

use serde_json::Value;
use serde_json::value::RawValue;

use crate::rpc::go_json::kind_of;

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    /// The method's whole name; empty where there is none.
    pub(crate) method: String,
    /// The argument, or why it cannot be had.
    pub(crate) argument: Result<Value, String>,
    /// The id as it was written, to be sent back as it is.
    pub(crate) id: Box<RawValue>,
}

impl Request {
    /// Reads a request. An error is one that Go's codec ends the connection for.
    pub(crate) fn read(text: &str) -> Result<Request, serde_json::Error> {
        let fields: Fields = serde_json::from_str(text)?;
        Ok(Request {
            method: fields.method,
            argument: argument(fields.params.as_deref()),
            id: fields.id.unwrap_or_else(|| RawValue::NULL.to_owned()),
        })
    }
}

/// The fields of a request. Go matches their names whatever their case, and the last one counts.
#[derive(Default)]
struct Fields {
    method: String,
    params: Option<Box<RawValue>>,
    id: Option<Box<RawValue>>,
}

impl<'de> serde::Deserialize<'de> for Fields {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a request")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name.eq_ignore_ascii_case("method") {
                        if let Some(method) = map.next_value()? {
                            fields.method = method;
                        }
                    } else if name.eq_ignore_ascii_case("params") {
                        fields.params = map.next_value()?;
                    } else if name.eq_ignore_ascii_case("id") {
                        fields.id = map.next_value()?;
                    } else {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

/// The first parameter of a list; null where the list is empty.
fn argument(params: Option<&RawValue>) -> Result<Value, String> {
    let Some(params) = params else {
        return Err("jsonrpc: request body missing params".to_owned());
    };
    match serde_json::from_str(params.get()).map_err(|error| error.to_string())? {
        Value::Array(mut list) if !list.is_empty() => Ok(list.swap_remove(0)),
        Value::Array(_) => Ok(Value::Null),
        other => Err(format!(
            "json: cannot unmarshal {} into Go value of type [1]interface {{}}",
            kind_of(&other)
        )),
    }
}

/// The line that answers a request.
pub(crate) fn response(id: &RawValue, answer: &Result<Value, String>) -> String {
    let id = id.get();
    match answer {
        Ok(result) => format!("{{\"id\":{id},\"result\":{result},\"error\":null}}\n"),
        Err(error) => {
            let error = Value::String(error.clone());
            format!("{{\"id\":{id},\"result\":null,\"error\":{error}}}\n")
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
            "\"a\\u0062\"",
            "[1, {}]",
            "{\"a\" :1}",
            "18446744073709551616",
            "true",
            "null",
        ] {
            let request = Request::read(&format!("{{\"id\":{id},\"method\":\"x\",\"params\":[{{}}]}}")).expect(id);
            assert_eq!(
                response(&request.id, &Ok(json!({"A": null}))),
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
    fn parameters_are_a_list_and_the_first_counts() {
        let read = |params: &str| {
            Request::read(&format!("{{\"method\":\"x\",\"Params\":{params}}}"))
                .expect("a request")
                .argument
        };
        assert_eq!(read("[{\"a\":1}, 2]"), Ok(json!({"a": 1})));
        assert_eq!(read("[]"), Ok(Value::Null));
        assert_eq!(read("[null]"), Ok(Value::Null));
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
