//! Go's types that are more than a bare number: numbers with a name of their own, and `[]byte`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::rpc::go_json::{Decoding, Json, Kind, Wire};

/// Numbers that Go gives a name, which shows in the errors of its decoder.
macro_rules! named_numbers {
    ($( $(#[doc = $doc:literal])* $name:ident : $number:ty = $go:literal, )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $number);

        impl Wire for $name {
            fn go_type() -> String {
                $go.to_owned()
            }

            fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
                match json.kind() {
                    Kind::Number => match json.text().parse() {
                        Ok(value) => self.0 = value,
                        Err(_) => at.mismatch(&format!("number {}", json.text()), $go),
                    },
                    Kind::Null => {}
                    other => at.mismatch(other.name(), $go),
                }
            }

            fn encode(&self) -> Value {
                self.0.encode()
            }

            fn write(&self, out: &mut String) {
                self.0.write(out);
            }

            fn is_empty(&self) -> bool {
                self.0 == 0
            }
        }
    )* };
}

named_numbers! {
    /// What a watchpoint watches: bit 0 reads, bit 1 writes.
    WatchType: u8 = "api.WatchType",
    /// How a stack is to be walked: bit 0 with the deferred calls of each frame, bit 1 without switching stacks, bit 2 from the registers saved in
    /// `runtime.g`.
    StacktraceOptions: u16 = "api.StacktraceOptions",
    /// A field of a goroutine, for filters and groups: see [`ListGoroutinesFilter`](super::ListGoroutinesFilter).
    GoroutineField: u8 = "api.GoroutineField",
    /// The syntax of a disassembly: 0 GNU, 1 Intel, 2 Go.
    AssemblyFlavour: isize = "api.AssemblyFlavour",
    /// What is special about a variable, a sum of the constants of `service/api` that begin with `Variable`.
    VariableFlags: u16 = "api.VariableFlags",
    /// A kind of type, numbered as Go's `reflect.Kind` is.
    ReflectKind: u64 = "reflect.Kind",
}

/// Go's `[]byte`, in JSON a string of Base64; nil is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Option<Vec<u8>>);

impl Wire for Bytes {
    fn go_type() -> String {
        "[]uint8".to_owned()
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        match json.kind() {
            Kind::String => match STANDARD.decode(json.characters()) {
                Ok(bytes) => self.0 = Some(bytes),
                Err(error) => at.fail(error.to_string()),
            },
            Kind::Null => self.0 = None,
            other => at.mismatch(other.name(), "[]uint8"),
        }
    }

    fn encode(&self) -> Value {
        match &self.0 {
            Some(bytes) => Value::String(STANDARD.encode(bytes)),
            None => Value::Null,
        }
    }

    fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Bytes, WatchType};
    use crate::rpc::go_json::{Wire, decode};

    #[test]
    fn bytes_are_base64_and_nil_is_null() {
        assert_eq!(Bytes(Some(vec![0xff, 0x00])).encode(), json!("/wA="));
        assert_eq!(Bytes(None).encode(), json!(null));
        assert_eq!(decode::<Bytes>("\"/wA=\""), Ok(Bytes(Some(vec![0xff, 0x00]))));
    }

    #[test]
    fn a_number_of_a_wrong_type_is_refused_with_its_name() {
        let error = decode::<WatchType>("256").expect_err("256 is no byte");
        assert_eq!(
            error,
            "json: cannot unmarshal number 256 into Go value of type api.WatchType"
        );
    }
}
