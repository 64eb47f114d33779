//! Prints a loaded value as Delve prints it (the texts that its terminal, its trace command and its DAP server show).

use std::borrow::Cow;
use std::fmt::Write;

use spelunk_dwarf::{Kind, ProcAddr, Type};

use super::float::{float32, float64};
use super::{
    Content, Value, is_made_up,
    quote::{push_escaped, push_quoted},
};

/// Strings longer than this put the elements around them on lines of their own.
const SHORT_STRING: usize = 7;

/// How a value is printed.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Composite values take several lines.
    pub(crate) newlines: bool,
    /// Package paths of types are cut to the package's name.
    pub(crate) shorten_types: bool,
    /// Strings stand as they are, without quotes.
    pub(crate) raw_strings: bool,
    /// Integers stand in hexadecimal; lengths and capacities do not.
    pub(crate) hexadecimal: bool,
}

/// What of the style changes on the way down.
#[derive(Clone, Copy)]
struct Context {
    style: Style,
    /// The outermost value.
    top: bool,
    /// Whether the type is written before the value.
    with_type: bool,
    /// Tabs before a new line.
    indent: usize,
}

impl Context {
    fn below(self, with_type: bool) -> Context {
        Context {
            top: false,
            with_type,
            ..self
        }
    }

    fn indented(self, newlines: bool) -> Context {
        Context {
            indent: self.indent + 1,
            style: Style {
                newlines,
                raw_strings: false,
                ..self.style
            },
            ..self
        }
    }
}

impl Value {
    /// The value as text, its type in front where the text alone would not say it.
    pub(crate) fn text(&self, style: Style) -> String {
        let mut text = String::new();
        self.push_text(&mut text, style);
        text
    }

    /// Appends the text.
    pub(crate) fn push_text(&self, text: &mut String, style: Style) {
        let at = Context {
            style,
            top: true,
            with_type: true,
            indent: 0,
        };
        Printer(text).value(self, at);
    }
}

/// Writes into a string; writing cannot fail.
struct Printer<'o>(&'o mut String);

impl Printer<'_> {
    fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(arguments);
    }

    fn line(&mut self, indent: usize) {
        self.0.push('\n');
        for _ in 0..indent {
            self.0.push('\t');
        }
    }

    fn type_name(&mut self, value: &Value, style: Style) {
        self.push(&type_name(value, style));
    }

    fn value(&mut self, value: &Value, at: Context) {
        if let Some(why) = &value.unreadable {
            return self.put(format_args!("(unreadable {why})"));
        }
        if !at.top && value.addr.0 == 0 && !value.is_loaded() {
            if at.with_type && !matches!(value.ty.kind, Kind::Void) {
                self.type_name(value, at.style);
                self.push(" ");
            }
            return self.push("nil");
        }
        match &value.content {
            Content::NotLoaded if value.addr.0 == 0 => self.push("nil"),
            Content::NotLoaded => self.put(format_args!("(not loaded {})", value.addr)),
            Content::Bool(b) => self.put(format_args!("{b}")),
            Content::Int(n) if at.style.hexadecimal => {
                let sign = if *n < 0 { "-" } else { "" };
                self.integer(value, format_args!("{sign}{:#x}", n.unsigned_abs()));
            }
            Content::Wide(n) => self.integer(value, format_args!("{n}")),
            Content::Uint(n) if at.style.hexadecimal => self.integer(value, format_args!("{n:#x}")),
            Content::Int(n) => self.integer(value, format_args!("{n}")),
            Content::Uint(n) => self.integer(value, format_args!("{n}")),
            Content::Float32(x) => self.push(&float32(*x)),
            Content::Float64(x) => self.push(&float64(*x)),
            Content::Complex64(re, im) => self.put(format_args!("({} + {}i)", float32(*re), float32(*im))),
            Content::Complex128(re, im) => self.put(format_args!("({} + {}i)", float64(*re), float64(*im))),
            Content::String { bytes, len } => self.string(bytes, *len, at),
            Content::Pointer(pointee) => self.pointer(value, pointee, at),
            Content::UnsafePointer(address) => self.put(format_args!("unsafe.Pointer({address:#x})")),
            Content::Slice {
                base,
                len,
                cap,
                elements,
            } => {
                if at.with_type {
                    self.type_name(value, at.style);
                    self.put(format_args!(" len: {len}, cap: {cap}, "));
                }
                if *base == 0 && elements.is_empty() {
                    self.push("nil");
                } else {
                    self.elements(elements, *len, at);
                }
            }
            Content::Array { len, elements } => {
                self.leading_type(value, at);
                self.elements(elements, *len, at);
            }
            Content::Struct { len, fields, summary } => self.structure(value, *len, fields, summary.as_deref(), at),
            Content::NilInterface => {
                if at.with_type {
                    self.type_name(value, at.style);
                    self.push(" ");
                }
                self.push("nil");
            }
            Content::Interface(held) => self.interface(value, held, at),
            Content::Map {
                base: 1..,
                len,
                missing: Some(why),
                ..
            } => {
                self.leading_type(value, at);
                let entries = if *len == 1 { "entry" } else { "entries" };
                self.put(format_args!("[(unreadable {len} {entries}: {why})]"));
            }
            Content::Map { base, len, entries, .. } => self.map(value, *base, *len, entries, at),
            // On several lines a channel is opened like a struct, and a nil one has nothing in it.
            Content::NilChan if at.style.newlines => {
                self.leading_type(value, at);
                self.push("{}");
            }
            Content::NilChan => {
                self.type_name(value, at.style);
                self.push(" nil");
            }
            Content::Chan { fields, len, .. } if at.style.newlines && !fields.is_empty() => {
                self.structure(value, *len, fields, None, at);
            }
            Content::Chan { queued, buffer, .. } => {
                self.type_name(value, at.style);
                self.put(format_args!(" {queued}/{buffer}"));
            }
            Content::Func { name, .. } if name.is_empty() => self.push("nil"),
            Content::Func { name, captured, .. } => {
                self.push(name);
                if at.style.newlines && !captured.is_empty() {
                    self.captured(captured, at);
                }
            }
        }
    }

    /// What a closure captured, a line each.
    fn captured(&mut self, captured: &[Value], at: Context) {
        self.push(" {\n");
        for variable in captured {
            for _ in 0..=at.indent {
                self.push("\t");
            }
            self.put(format_args!("{} ", variable.name));
            self.type_name(variable, at.style);
            self.push(" = ");
            let inner = Context {
                indent: at.indent + 1,
                ..at.below(false)
            };
            self.value(variable, inner);
            self.push("\n");
        }
        for _ in 0..at.indent {
            self.push("\t");
        }
        self.push("}");
    }

    fn leading_type(&mut self, value: &Value, at: Context) {
        if at.with_type {
            self.type_name(value, at.style);
            self.push(" ");
        }
    }

    fn integer(&mut self, value: &Value, number: std::fmt::Arguments<'_>) {
        match &value.constant {
            Some(name) => self.put(format_args!("{name} ({number})")),
            None => self.put(number),
        }
    }

    fn string(&mut self, bytes: &[u8], len: i64, at: Context) {
        let missing = len - bytes.len() as i64;
        let quote = if at.style.raw_strings { "" } else { "\"" };
        self.push(quote);
        if at.style.raw_strings {
            self.push(&String::from_utf8_lossy(bytes));
        } else {
            push_escaped(self.0, bytes);
        }
        if missing != 0 {
            self.put(format_args!("...+{missing} more"));
        }
        self.push(quote);
    }

    fn pointer(&mut self, value: &Value, pointee: &Value, at: Context) {
        let target = pointee.addr;
        let open = pointee.is_loaded() || pointee.unreadable.is_some();
        if target.0 != 0 && !open {
            return self.typed_address("(", value, target.0, at);
        }
        if at.top && at.style.newlines && target.0 != 0 {
            self.typed_address("(", value, target.0, at);
            self.push("\n");
        }
        self.push("*");
        self.value(pointee, at.below(at.with_type));
    }

    /// `(T)(0x…)`, or with more in front of the type; a type with a path is quoted so that the text is an expression again.
    fn typed_address(&mut self, open: &str, value: &Value, address: u64, at: Context) {
        let name = type_name(value, at.style);
        if is_made_up(ProcAddr(address)) {
            // A value in registers has no address that could be looked at later.
            return self.put(format_args!("{name} {{...}}"));
        }
        if value.ty.name.contains('/') {
            self.push(open);
            push_quoted(self.0, name.as_bytes());
        } else {
            self.put(format_args!("{open}{name}"));
        }
        self.put(format_args!(")({address:#x})"));
    }

    fn interface(&mut self, value: &Value, held: &Value, at: Context) {
        if at.with_type {
            self.type_name(value, at.style);
            self.push("(");
            self.type_name(held, at.style);
            self.push(") ");
        }
        match &held.content {
            // Delve prints the address of the interface's own data word here, which is an implementation detail (and a made-up number for a value in
            // registers); the pointer that the interface holds is what a reader takes it for.
            Content::Pointer(pointee) if pointee.addr.0 == 0 => self.push("nil"),
            Content::Pointer(pointee) if !pointee.is_loaded() && pointee.unreadable.is_none() => {
                self.put(format_args!("{:#x}", pointee.addr.0));
            }
            Content::NotLoaded if held.unreadable.is_none() && matches!(held.ty.kind, Kind::Pointer { .. }) => {
                self.push("...");
            }
            Content::NotLoaded if held.unreadable.is_none() => self.typed_address("*(*", value, value.addr.0, at),
            _ => self.value(held, at.below(!at.with_type)),
        }
    }

    fn structure(&mut self, value: &Value, len: usize, fields: &[Value], summary: Option<&str>, at: Context) {
        let mut at = at;
        if let Some(summary) = summary {
            self.type_name(value, at.style);
            self.put(format_args!("({summary})"));
            at.with_type = false;
        }
        if fields.is_empty() && len != 0 {
            return self.typed_address("(*", value, value.addr.0, at);
        }
        self.leading_type(value, at);
        let lines = at.style.newlines && fields.iter().any(wants_line);
        let inner = at.indented(lines);
        self.push("{");
        for (i, field) in fields.iter().enumerate() {
            if lines {
                self.line(inner.indent);
            }
            self.put(format_args!("{}: ", field.name));
            self.value(field, inner.below(true));
            let last = i + 1 == fields.len();
            if !last || lines {
                self.push(",");
                if !lines {
                    self.push(" ");
                }
            }
        }
        if fields.len() != len {
            if lines {
                self.line(inner.indent);
            } else {
                self.push(",");
            }
            self.put(format_args!("...+{} more", len - fields.len()));
        }
        self.push("}");
    }

    fn elements(&mut self, elements: &[Value], len: i64, at: Context) {
        let lines = at.style.newlines && lists_by_line(elements);
        let inner = at.indented(lines);
        self.push("[");
        for (i, element) in elements.iter().enumerate() {
            if lines {
                self.line(inner.indent);
            }
            self.value(element, inner.below(false));
            if i + 1 != elements.len() || lines {
                self.push(",");
            }
        }
        self.rest(elements.len(), len, lines, inner);
        if lines {
            self.line(at.indent);
        }
        self.push("]");
    }

    fn map(&mut self, value: &Value, base: u64, len: i64, entries: &[(Value, Value)], at: Context) {
        self.leading_type(value, at);
        if base == 0 && entries.is_empty() {
            return self.push("nil");
        }
        let lines = at.style.newlines && !entries.is_empty();
        let inner = at.indented(lines);
        self.push("[");
        for (key, entry) in entries {
            if lines {
                self.line(inner.indent);
            }
            self.value(
                key,
                Context {
                    style: Style::default(),
                    ..inner.below(false)
                },
            );
            self.push(": ");
            self.value(entry, inner.below(false));
            // Behind the last one, too: so does Delve.
            self.push(", ");
        }
        self.rest(entries.len(), len, lines, inner);
        if lines {
            self.line(at.indent);
        }
        self.push("]");
    }

    /// What was not loaded of `len` elements.
    fn rest(&mut self, loaded: usize, len: i64, lines: bool, inner: Context) {
        let missing = len - loaded as i64;
        if missing == 0 {
            return;
        }
        if loaded == 0 {
            return self.push("...");
        }
        if lines {
            self.line(inner.indent);
        } else {
            self.push(",");
        }
        self.put(format_args!("...+{missing} more"));
    }
}

fn type_name(value: &Value, style: Style) -> Cow<'_, str> {
    if style.shorten_types {
        shorten_type(&value.ty.name).into()
    } else {
        (&*value.ty.name).into()
    }
}

/// The kind behind all pointers, whether there was one, and the value there.
fn behind_pointers(value: &Value) -> (&Value, bool) {
    let mut at = value;
    let mut through = false;
    while matches!(at.ty.kind, Kind::Pointer { .. }) {
        through = true;
        match &at.content {
            Content::Pointer(pointee) => at = pointee,
            _ => break,
        }
    }
    (at, through)
}

fn is_composite(value: &Value) -> bool {
    matches!(
        value.ty.kind,
        Kind::Slice { .. } | Kind::Array { .. } | Kind::Struct { .. } | Kind::Map { .. } | Kind::Interface { .. }
    )
}

fn is_long_string(value: &Value) -> bool {
    matches!(&value.content, Content::String { bytes, .. } if bytes.len() > SHORT_STRING)
}

/// Whether a field is big enough for its struct to take several lines.
fn wants_line(field: &Value) -> bool {
    let (end, through) = behind_pointers(field);
    is_composite(end) || (matches!(end.ty.kind, Kind::String) && (through || is_long_string(field)))
}

/// Whether elements take a line each; the first one's type decides.
fn lists_by_line(elements: &[Value]) -> bool {
    let Some(first) = elements.first() else { return false };
    let (end, through) = behind_pointers(first);
    is_composite(end) || (matches!(end.ty.kind, Kind::String) && (through || elements.iter().any(is_long_string)))
}

/// A type as the error about a value that it does not take names it: Delve's words, in which a struct is called one.
pub(crate) fn type_in_error(ty: &Type) -> String {
    match ty.kind {
        Kind::Struct { .. } => format!("struct {}", ty.name),
        _ => ty.name.to_string(),
    }
}

/// Cuts the package paths in a type's name to the package's name: `[]example.org/a/b.T` becomes `[]b.T`. Names with anonymous types in them stay whole.
pub(crate) fn shorten_type(name: &str) -> String {
    shortened(name).unwrap_or_else(|| name.to_owned())
}

fn shortened(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix('*') {
        return Some(format!("*{}", shortened(rest)?));
    }
    if let Some(inside) = name.strip_prefix("map[") {
        let (key, entry) = split_at_close(inside)?;
        return Some(format!("map[{}]{}", shortened(key)?, shortened(entry)?));
    }
    if name.starts_with('[') {
        let close = name.find(']')? + 1;
        return Some(format!("{}{}", &name[..close], shortened(&name[close..])?));
    }
    if matches!(name, "interface {}" | "interface{}" | "struct {}" | "struct{}") {
        return Some(name.to_owned());
    }
    if let Some(bracket) = name.find('[') {
        // As Delve does, at each comma: a name with several arguments within an argument stays whole.
        let arguments = name[bracket + 1..].strip_suffix(']')?;
        let arguments: Option<Vec<String>> = arguments
            .split(',')
            .map(|argument| shortened(argument.trim()))
            .collect();
        return Some(format!("{}[{}]", shortened(&name[..bracket])?, arguments?.join(", ")));
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | '@' | '%' | '-');
    if !name.chars().all(plain) {
        return None;
    }
    // One slash is a standard package, whose path is short enough and says more than its name.
    match (name.matches('/').count(), name.rfind('/')) {
        (2.., Some(slash)) => Some(name[slash + 1..].to_owned()),
        _ => Some(name.to_owned()),
    }
}

/// Splits `K]V`, in which K may have brackets of its own.
fn split_at_close(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1u32;
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..i], &text[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::shorten_type;

    #[test]
    fn type_names_lose_their_paths() {
        for (long, short) in [
            ("uint8", "uint8"),
            ("encoding/json.Decoder", "encoding/json.Decoder"),
            ("example.org/x/shop.Order", "shop.Order"),
            ("[]*example.org/x/shop.Order", "[]*shop.Order"),
            ("map[a/b/c.K]map[a/b/d.K]a/b/e.V", "map[c.K]map[d.K]e.V"),
            ("a/b/c.List[a/b/d.T, map[a/b/e.K]int]", "c.List[d.T, map[e.K]int]"),
            ("a/b/c.List[a/b/d.T,a/b/e.K]", "c.List[d.T, e.K]"),
            ("c.List[d.Pair[int,e.K]]", "c.List[d.Pair[int,e.K]]"),
            ("[4]a/b/c.T", "[4]c.T"),
            ("chan func()", "chan func()"),
            ("struct { X a/b/c.T }", "struct { X a/b/c.T }"),
        ] {
            assert_eq!(shorten_type(long), short);
        }
    }
}
