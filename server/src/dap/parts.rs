//! The parts of a scope or value, each as a variable of the protocol.
//!
//! Names, expressions and order are Delve's (`service/dap/server.go`, `childrenToDAPVariables`).

use spelunk_dwarf::ProcAddr;

use crate::value::{Content, Value, float32, float64, is_made_up};

use super::{
    bench::Look,
    container::{Container, Parts, Variable},
    present::{Manner, indexed_parts, is_text_in_pieces, named_parts},
};

/// How many bytes of a key are part of a variable's name.
const MAX_KEY: usize = 64;

impl Look<'_> {
    /// The parts that have numbers, or fields, or are variables of a scope.
    pub(crate) fn parts(&mut self, container: &Container) -> Vec<Variable> {
        match &container.parts {
            Parts::Locals(locals) => locals
                .iter()
                .map(|local| {
                    let name = &local.value.name;
                    let mut part = self.named_part(container, &local.value, in_scope(&container.expression, name));
                    part.name = if local.shadowed {
                        format!("({name})")
                    } else {
                        name.clone()
                    };
                    part
                })
                .collect(),
            Parts::Variables(variables) => variables
                .iter()
                .map(|one| self.named_part(container, one, in_scope(&container.expression, &one.name)))
                .collect(),
            Parts::Called(values) => values
                .iter()
                .map(|one| self.named_part(container, one, String::new()))
                .collect(),
            Parts::Registers(registers) => registers.iter().map(|(name, text)| register(name, text)).collect(),
            Parts::Value(value) => self.parts_of_value(container, value),
        }
    }

    fn parts_of_value(&mut self, container: &Container, value: &Value) -> Vec<Variable> {
        let whole = container.expression.as_str();
        let below = |part: String| if whole.is_empty() { String::new() } else { part };
        match &value.content {
            Content::Slice { elements, .. } | Content::Array { elements, .. } => (container.start..)
                .zip(elements)
                .map(|(index, element)| Variable {
                    name: format!("[{index}]"),
                    ..self.part(container, element, format!("{whole}[{index}]"))
                })
                .collect(),
            Content::Map { entries, .. } => (container.start..)
                .zip(entries)
                .flat_map(|(index, (key, entry))| self.entry(container, index, key, entry))
                .collect(),
            Content::Pointer(pointee) => vec![self.named_part(container, pointee, below(format!("(*{whole})")))],
            Content::Interface(held) => vec![Variable {
                name: "data".to_owned(),
                ..self.named_part(container, held, below(format!("{whole}.(data)")))
            }],
            Content::Struct { fields: named, .. }
            | Content::Chan { fields: named, .. }
            | Content::Func { captured: named, .. } => named
                .iter()
                .map(|one| self.named_part(container, one, in_struct(whole, &one.name)))
                .collect(),
            Content::Complex64(re, im) => self.complex(&float32(*re), &float32(*im), "float32"),
            Content::Complex128(re, im) => self.complex(&float64(*re), &float64(*im), "float64"),
            _ => Vec::new(),
        }
    }

    fn complex(&self, re: &str, im: &str, type_name: &str) -> Vec<Variable> {
        let part = |name: &str, value: &str| Variable {
            name: name.to_owned(),
            value: value.to_owned(),
            type_name: if self.settings.client.variable_type {
                type_name.to_owned()
            } else {
                String::new()
            },
            ..Variable::default()
        };
        vec![part("real", re), part("imaginary", im)]
    }

    /// A part that has a name, and memory that can be looked at.
    fn named_part(&mut self, container: &Container, value: &Value, expression: String) -> Variable {
        Variable {
            memory_reference: self.memory_of(value).unwrap_or_default(),
            ..self.part(container, value, expression)
        }
    }

    /// Where the bytes of a string or the elements of a slice lie; the client knows the place by this text from now on.
    fn memory_of(&mut self, value: &Value) -> Option<String> {
        if value.unreadable.is_some() {
            return None;
        }
        let (base, len) = match &value.content {
            Content::String { len, .. } if is_made_up(value.addr) || value.addr.0 == 0 => (0, *len),
            Content::String { len, .. } => (value.head.base, *len),
            Content::Slice { base, len, .. } => (*base, *len),
            _ => return None,
        };
        let addr = if base == 0 { value.addr } else { ProcAddr(base) };
        if addr.0 == 0 || is_made_up(addr) {
            return None;
        }
        let reference = format!("{:#x}", addr.0);
        self.memory.insert(reference.clone(), (addr, len));
        Some(reference)
    }

    fn part(&mut self, container: &Container, value: &Value, expression: String) -> Variable {
        let mut value = value.clone();
        let text = self.text_of(&mut value, container.frame, Manner::default());
        Variable {
            name: value.name.clone(),
            value: text,
            type_name: self.type_name(&value),
            named_variables: named_parts(&value),
            indexed_variables: indexed_parts(&value),
            variables_reference: self.keep(value, &expression, container.frame),
            evaluate_name: expression,
            memory_reference: String::new(),
        }
    }

    /// An entry of a map: one variable where key or value has no parts, else one for each.
    fn entry(&mut self, container: &Container, index: u64, key: &Value, entry: &Value) -> Vec<Variable> {
        let key_expression = format!("(*(*{:?})({:#x}))", key.ty.name, key.addr.0);
        let entry_expression = format!(
            "{}[{}]",
            container.expression,
            literal(key).unwrap_or(key_expression.clone())
        );
        let key_part = self.part(container, key, key_expression);
        let entry_part = self.part(container, entry, entry_expression);
        if key_part.variables_reference > 0 && entry_part.variables_reference > 0 {
            return vec![
                Variable {
                    name: format!("[key {index}]"),
                    ..key_part
                },
                Variable {
                    name: format!("[val {index}]"),
                    ..entry_part
                },
            ];
        }
        let type_name = if key_part.type_name.is_empty() || entry_part.type_name.is_empty() {
            entry_part.type_name
        } else {
            format!("{}: {}", key_part.type_name, entry_part.type_name)
        };
        let mut name = key_part.value;
        let expands = if key_part.variables_reference > 0 {
            if name.len() > MAX_KEY {
                let cut = String::from_utf8_lossy(&name.as_bytes()[..MAX_KEY]).into_owned();
                name = format!("{cut}... @ {:#x}", key.addr.0);
            }
            (
                key_part.variables_reference,
                key_part.named_variables,
                key_part.indexed_variables,
            )
        } else if entry_part.variables_reference > 0 {
            (
                entry_part.variables_reference,
                entry_part.named_variables,
                entry_part.indexed_variables,
            )
        } else {
            (0, 0, 0)
        };
        vec![Variable {
            name,
            value: entry_part.value,
            type_name,
            evaluate_name: entry_part.evaluate_name,
            variables_reference: expands.0,
            named_variables: expands.1,
            indexed_variables: expands.2,
            memory_reference: String::new(),
        }]
    }

    /// Parts that tell something of the whole: a map's length, the text of a list of bytes or runes.
    pub(crate) fn told_of_the_whole(&mut self, container: &Container) -> Vec<Variable> {
        let Parts::Value(value) = &container.parts else {
            return Vec::new();
        };
        let mut told = Vec::new();
        if let Content::Map { len, .. } = &value.content
            && *len > 0
        {
            told.push(Variable {
                name: "len()".to_owned(),
                value: len.to_string(),
                type_name: "int".to_owned(),
                evaluate_name: format!("len({})", container.expression),
                ..Variable::default()
            });
        }
        if is_text_in_pieces(value) && value.addr.0 != 0 && !is_made_up(value.addr) {
            let mut config = self.settings.load_config();
            config.max_array_values = config.max_string_len;
            let expression = format!("string(*(*{:?})({:#x}))", value.ty.name, value.addr.0);
            let frame = self.selected_frame();
            match self.target.evaluate(frame, &expression, config) {
                Ok(mut text) => {
                    let manner = Manner {
                        without_reference: true,
                        in_full: false,
                    };
                    told.push(Variable {
                        name: "string()".to_owned(),
                        value: self.present(&mut text, "", None, manner).text,
                        type_name: "string".to_owned(),
                        ..Variable::default()
                    });
                }
                Err(why) => tracing::debug!("failed to load {expression}: {why}"),
            }
        }
        told
    }
}

/// A register, its name right-aligned as in Delve's view.
fn register(name: &str, text: &str) -> Variable {
    Variable {
        name: format!("{:>6}", name.to_lowercase()),
        value: text.to_owned(),
        evaluate_name: format!("_{}", name.to_uppercase()),
        ..Variable::default()
    }
}

/// The expression for a variable of a scope. What the compiler named has none.
fn in_scope(package: &str, name: &str) -> String {
    if name.starts_with(['~', '.']) {
        String::new()
    } else if package.is_empty() {
        name.to_owned()
    } else {
        format!("{package}.{name}")
    }
}

/// The expression for a field.
fn in_struct(whole: &str, name: &str) -> String {
    if whole.is_empty() || name.starts_with(['~', '.']) {
        String::new()
    } else {
        format!("{whole}.{name}")
    }
}

/// A key as it would be written in an expression, where it can be.
fn literal(key: &Value) -> Option<String> {
    if key.unreadable.is_some() {
        return None;
    }
    match &key.content {
        Content::Bool(_)
        | Content::Int(_)
        | Content::Uint(_)
        | Content::Wide(_)
        | Content::Float32(_)
        | Content::Float64(_)
        | Content::Complex64(..)
        | Content::Complex128(..) => Some(key.text(crate::value::Style::default())),
        Content::String { bytes, len } if bytes.len() as i64 == *len => Some(key.text(crate::value::Style::default())),
        _ => None,
    }
}
