//! From a seed to a Go program.

use std::fmt::Write;

use super::Numbers;
use super::kinds::{KINDS, Kind, RECEIVERS};
use crate::toolchain::Source;

/// A generated program.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// How many functions and methods with distinct signatures it has.
    pub functions: usize,
    /// The regular expression that matches all of them and nothing else.
    pub regexp: &'static str,
    source: String,
}

/// One function to be written.
struct Signature {
    number: usize,
    receiver: Option<Kind>,
    parameters: Vec<Kind>,
    variadic: bool,
    results: Vec<Kind>,
    body: Body,
}

/// The shapes of function bodies: what a compiler makes of parameters and results differs with them.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// A leaf that returns values at once; often without a frame.
    Leaf,
    /// Parameters are needed after a call, so they are spilled.
    Busy,
    /// Results have names and are assigned before a bare return.
    Named,
    /// A deferred function sets the results.
    Deferred,
    /// Two returns.
    Branches,
    /// A frame of several kilobytes, so that the stack grows on entry.
    Roomy,
}

const BODIES: [Body; 6] = [
    Body::Leaf,
    Body::Busy,
    Body::Named,
    Body::Deferred,
    Body::Branches,
    Body::Roomy,
];

/// A type that a generic function is instantiated with, the shape it shares code with, and a value.
struct Instance {
    go: &'static str,
    shape: &'static str,
    value: &'static str,
}

const INSTANCES: &[Instance] = &[
    Instance {
        go: "int",
        shape: "int",
        value: "-6",
    },
    Instance {
        go: "uint8",
        shape: "uint8",
        value: "250",
    },
    Instance {
        go: "string",
        shape: "string",
        value: "\"instantiated\"",
    },
    Instance {
        go: "*Point",
        shape: "*uint8",
        value: "&aPoint",
    },
    Instance {
        go: "Color",
        shape: "int",
        value: "Blue",
    },
    Instance {
        go: "[]int",
        shape: "[]int",
        value: "[]int{4, 5}",
    },
];

/// A generic function with one instance, and its caller. Its parameters' types are in the dictionary that it is passed.
fn write_generic(number: usize, instance: &Instance, out: &mut String) {
    let Instance { go, shape, value } = instance;
    let name = format!("main.Call{number}[go.shape.{shape}]");
    let _ = write!(
        out,
        "//go:noinline\nfunc Call{number}[T any](p0 T, p1 []T, p2 string) (T, []T) {{\n\tif touch(1) > 1000 {{\n\t\tuse(p0, p1, p2)\n\t}}\n\treturn p0, p1[:1]\n}}\n\n\
         func run{number}() {{\n\tvar a0 {go} = {value}\n\tvar a1 = []{go}{{a0, a0}}\n\tvar a2 = \"generic\"\n\
         \tshapes := map[reflect.Type]string{{reflect.TypeOf(a0): \"go.shape.{shape}\"}}\n\
         \tsayGeneric(shapes, \"{name}\", false, []string{{\"p0\", \"p1\", \"p2\"}}, &a0, &a1, &a2)\n\tb0, b1 := Call{number}(a0, a1, a2)\n\
         \tsayGeneric(shapes, \"{name}\", true, []string{{\"b0\", \"b1\"}}, &b0, &b1)\n}}\n\n"
    );
}

impl Corpus {
    /// The corpus for `seed`: each kind alone, behind others, and pushed to the stack; each kind as a result; and
    /// `mixed` functions of random kinds with 1 to 15 parameters.
    pub fn generate(seed: u64, mixed: usize) -> Corpus {
        let mut numbers = Numbers::new(seed);
        let mut signatures = Vec::new();
        let int = KINDS[0];
        let text = KINDS.iter().copied().find(|kind| kind.go == "string").unwrap_or(int);
        let mut add = |receiver, parameters, variadic, results, body| {
            let number = signatures.len();
            signatures.push(Signature {
                number,
                receiver,
                parameters,
                variadic,
                results,
                body,
            });
        };
        for (i, kind) in KINDS.iter().copied().enumerate() {
            add(None, vec![kind], false, vec![kind], BODIES[i % BODIES.len()]);
            add(
                None,
                vec![int, kind, text],
                false,
                vec![text, kind],
                BODIES[(i + 1) % BODIES.len()],
            );
            // Ten integers use up the argument registers, so what follows lies on the stack.
            let mut pushed = vec![int; 10];
            pushed.extend([kind, text]);
            let mut results = vec![int; 9];
            results.push(kind);
            add(
                None,
                pushed,
                false,
                if i % 3 == 0 { results } else { vec![kind, kind] },
                BODIES[(i + 2) % BODIES.len()],
            );
        }
        for receiver in RECEIVERS {
            let parameters = (0..numbers.below(4)).map(|_| *numbers.pick(KINDS)).collect();
            add(
                Some(*receiver),
                parameters,
                false,
                vec![*numbers.pick(KINDS)],
                *numbers.pick(&BODIES),
            );
        }
        for _ in 0..mixed {
            let parameters: Vec<Kind> = (0..=numbers.below(15)).map(|_| *numbers.pick(KINDS)).collect();
            let results = (0..numbers.below(5)).map(|_| *numbers.pick(KINDS)).collect();
            let variadic = numbers.below(6) == 0;
            add(None, parameters, variadic, results, *numbers.pick(&BODIES));
        }
        let mut source = String::from(
            "package main\n\nimport (\n\t\"fmt\"\n\t\"math\"\n\t\"reflect\"\n\t\"strings\"\n\t\"unsafe\"\n)\n\n\
             var _ fmt.Stringer\nvar _ unsafe.Pointer\nvar _ = strings.Repeat\nvar _ = math.Pi\n\n",
        );
        for signature in &signatures {
            signature.write_function(&mut numbers, &mut source);
        }
        for (i, instance) in INSTANCES.iter().enumerate() {
            write_generic(signatures.len() + i, instance, &mut source);
        }
        source.push_str("func main() {\n");
        let functions = signatures.len() + INSTANCES.len();
        for number in 0..functions {
            let _ = writeln!(source, "\trun{number}()");
        }
        source.push_str("}\n");
        Corpus {
            functions,
            regexp: r"^main\.(\(?\*?\w+\)?\.)?Call\d+(\[.*\])?$",
            source,
        }
    }

    /// The program's files.
    pub fn source(&self) -> Source {
        Source::generated(
            "corpus",
            vec![
                ("main.go".into(), self.source.clone()),
                ("tracetext.go".into(), include_str!("tracetext.go").into()),
                ("types.go".into(), include_str!("types.go").into()),
            ],
        )
    }
}

impl Signature {
    fn function_name(&self) -> String {
        match self.receiver {
            None => format!("main.Call{}", self.number),
            Some(receiver) if receiver.go.starts_with('*') => format!("main.({}).Call{}", receiver.go, self.number),
            Some(receiver) => format!("main.{}.Call{}", receiver.go, self.number),
        }
    }

    fn has_named_results(&self) -> bool {
        matches!(self.body, Body::Named | Body::Deferred)
    }

    /// The function itself, and `runN`, which says what is coming and calls it.
    fn write_function(&self, numbers: &mut Numbers, out: &mut String) {
        let number = self.number;
        let last = self.parameters.len().wrapping_sub(1);
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .enumerate()
            .map(|(i, kind)| {
                format!(
                    "p{i} {}{}",
                    if self.variadic && i == last { "..." } else { "" },
                    kind.go
                )
            })
            .collect();
        let results: Vec<String> = self
            .results
            .iter()
            .enumerate()
            .map(|(i, kind)| {
                if self.has_named_results() {
                    format!("r{i} {}", kind.go)
                } else {
                    kind.go.to_owned()
                }
            })
            .collect();
        let receiver = self
            .receiver
            .map(|kind| format!("(self {}) ", kind.go))
            .unwrap_or_default();
        let _ = write!(
            out,
            "//go:noinline\nfunc {receiver}Call{number}({}) ({}) {{\n{}}}\n\n",
            parameters.join(", "),
            results.join(", "),
            self.body_text(numbers)
        );
        self.write_caller(numbers, out);
    }

    fn values(&self, numbers: &mut Numbers) -> Vec<&'static str> {
        self.results.iter().map(|kind| *numbers.pick(kind.values)).collect()
    }

    fn body_text(&self, numbers: &mut Numbers) -> String {
        let values = self.values(numbers).join(", ");
        let names: Vec<String> = (0..self.results.len()).map(|i| format!("r{i}")).collect();
        let names = names.join(", ");
        let all: Vec<String> = (0..self.parameters.len()).map(|i| format!("p{i}")).collect();
        let all = all.join(", ");
        let nothing = self.results.is_empty();
        match self.body {
            Body::Leaf => format!("\treturn {values}\n"),
            Body::Busy => format!(
                "\tif touch({}) > 1000 {{\n\t\tuse({all})\n\t}}\n\treturn {values}\n",
                self.number
            ),
            Body::Named if nothing => "\ttouch(1)\n\treturn\n".to_owned(),
            Body::Named => format!("\ttouch(1)\n\t{names} = {values}\n\treturn\n"),
            Body::Deferred if nothing => "\tdefer touch(2)\n\ttouch(1)\n\treturn\n".to_owned(),
            Body::Deferred => format!("\tdefer func() {{\n\t\t{names} = {values}\n\t}}()\n\ttouch(1)\n\treturn\n"),
            Body::Branches => {
                let other = self.values(numbers).join(", ");
                format!(
                    "\tif touch({})%2 == 0 {{\n\t\treturn {values}\n\t}}\n\treturn {other}\n",
                    self.number
                )
            }
            Body::Roomy => format!("\tvar room [6000]byte\n\tfill(&room)\n\treturn {values}\n"),
        }
    }

    fn write_caller(&self, numbers: &mut Numbers, out: &mut String) {
        let number = self.number;
        let name = self.function_name();
        let _ = writeln!(out, "func run{number}() {{");
        let calls = self
            .parameters
            .iter()
            .map(|kind| kind.values.len())
            .max()
            .unwrap_or(1)
            .min(if self.parameters.len() == 1 { 32 } else { 3 });
        for call in 0..calls {
            let _ = writeln!(out, "\t{{");
            let mut names = Vec::new();
            let mut pointers = Vec::new();
            let mut arguments = Vec::new();
            if let Some(receiver) = self.receiver {
                let _ = writeln!(out, "\t\tvar self {} = {}", receiver.go, numbers.pick(receiver.values));
                names.push("\"self\"".to_owned());
                pointers.push("&self".to_owned());
            }
            for (i, kind) in self.parameters.iter().enumerate() {
                let value = if self.parameters.len() == 1 {
                    kind.values[call % kind.values.len()]
                } else {
                    *numbers.pick(kind.values)
                };
                if self.variadic && i + 1 == self.parameters.len() {
                    let more: Vec<&str> = (0..numbers.below(4)).map(|_| *numbers.pick(kind.values)).collect();
                    let _ = writeln!(out, "\t\tvar a{i} = []{}{{{}}}", kind.go, more.join(", "));
                    arguments.push(format!("a{i}..."));
                } else {
                    let _ = writeln!(out, "\t\tvar a{i} {} = {value}", kind.go);
                    arguments.push(format!("a{i}"));
                }
                names.push(format!("\"p{i}\""));
                pointers.push(format!("&a{i}"));
            }
            let say = |is_return: bool, names: &[String], pointers: &[String]| {
                let values: String = pointers.iter().flat_map(|pointer| [", ", pointer]).collect();
                format!(
                    "\t\tsay(\"{name}\", {is_return}, []string{{{}}}{values})\n",
                    names.join(", ")
                )
            };
            out.push_str(&say(false, &names, &pointers));
            let results: Vec<String> = (0..self.results.len()).map(|i| format!("b{i}")).collect();
            let assigned = if results.is_empty() {
                String::new()
            } else {
                format!("{} := ", results.join(", "))
            };
            let receiver = if self.receiver.is_some() { "self." } else { "" };
            let _ = writeln!(out, "\t\t{assigned}{receiver}Call{number}({})", arguments.join(", "));
            let names: Vec<String> = results.iter().map(|name| format!("\"{name}\"")).collect();
            let pointers: Vec<String> = results.iter().map(|name| format!("&{name}")).collect();
            out.push_str(&say(true, &names, &pointers));
            out.push_str("\t}\n");
        }
        out.push_str("}\n\n");
    }
}
