//! What the binary says about the program, for whoever asks without stopping it.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Field, Kind, LoadBias, ProcAddr};

use super::control::{Control, Phase};

/// The binary of a target, and where it lies in the process. It outlives the process.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    binary: Arc<Binary>,
    bias: LoadBias,
}

/// A function as a process has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name with its package.
    pub(crate) name: Arc<str>,
    /// Its first instruction.
    pub(crate) entry: ProcAddr,
    /// Whether it was compiled with optimisations.
    pub(crate) optimized: bool,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TypeFacts {
    /// The kind as Go numbers it (`reflect.Kind`); 0 for maps, channels, interfaces and `unsafe.Pointer`, as with Delve.
    pub(crate) kind: u64,
    /// In bytes.
    pub(crate) size: u64,
    /// The names and types of a struct's fields.
    pub(crate) fields: Vec<(String, String)>,
    /// The full names of the functions that are its methods, or those of pointers to it, by their addresses. What the compiler wrapped is left out.
    pub(crate) methods: Vec<String>,
}

impl Program {
    /// The binary.
    pub(crate) fn binary(&self) -> &Arc<Binary> {
        &self.binary
    }

    /// Where the binary lies in the process.
    pub(crate) fn bias(&self) -> LoadBias {
        self.bias
    }

    /// The function whose code an address is in, calls that were inlined there not told apart.
    pub(crate) fn function_at(&self, pc: ProcAddr) -> Option<Function> {
        let function = self.binary.function_at(self.bias.to_file(pc))?;
        let info = self.binary.function_info(function).ok();
        Some(Function {
            name: Arc::from(&*function.name),
            entry: self.bias.to_proc(function.entry),
            // What has no description was compiled by somebody else, as a release.
            optimized: info.is_none_or(|info| info.optimized),
        })
    }

    /// The names of all functions that the debug information describes, those that were only ever inlined included; sorted.
    pub(crate) fn function_names(&self) -> Vec<&str> {
        let functions = self.binary.functions().iter().map(|function| &*function.name);
        let inlined = self.binary.inlined_functions().iter().map(|name| &**name);
        let mut names: Vec<&str> = functions.chain(inlined).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the type of that name is made of; `None` where none has it.
    pub(crate) fn type_facts(&self, name: &str) -> Option<TypeFacts> {
        let spelled = name.replace("interface{", "interface {").replace("struct{", "struct {");
        let id = self.binary.type_named(&spelled)?;
        let ty = self.binary.type_info(id).ok()?;
        let kind = match ty.kind {
            Kind::Map { .. } | Kind::Chan { .. } | Kind::Interface { .. } | Kind::UnsafePointer => 0,
            _ => self.binary.go_kind(id).unwrap_or(0),
        };
        let fields = match &ty.kind {
            Kind::Struct { fields } => fields.iter().map(|field| self.field(field)).collect(),
            _ => Vec::new(),
        };
        Some(TypeFacts {
            kind,
            size: ty.size,
            fields,
            methods: self.methods(name),
        })
    }

    fn field(&self, field: &Field) -> (String, String) {
        let ty = match self.binary.type_info(field.ty) {
            Ok(ty) if ty.kind == Kind::UnsafePointer => "*void".to_owned(),
            // Delve puts the word before every struct's name, and one without a name begins with it.
            Ok(ty) if ty.name.starts_with("struct {") => format!("struct {}", ty.name),
            Ok(ty) => ty.name.to_string(),
            Err(error) => format!("(unreadable {error})"),
        };
        (field.name.to_string(), ty)
    }

    fn methods(&self, name: &str) -> Vec<String> {
        let plain = format!("{name}.");
        let pointer = name
            .rsplit_once('.')
            .filter(|(package, _)| !package.is_empty())
            .map(|(package, name)| format!("{package}.(*{name})."));
        let is_method = |function: &str| {
            function.starts_with(&plain) || pointer.as_ref().is_some_and(|pointer| function.starts_with(pointer))
        };
        let methods = self
            .binary
            .functions()
            .iter()
            .filter(|function| is_method(&function.name));
        let own = methods.filter(|function| {
            let info = self.binary.function_info(function);
            info.is_ok_and(|info| !info.is_wrapper)
        });
        own.map(|function| function.name.to_string()).collect()
    }
}

impl Control {
    /// As [`super::Session::program`].
    pub(super) fn program(&mut self) -> Program {
        if self.phase == Phase::Held {
            // Only a program that was executed lies somewhere; where it fails to be, whoever looks at the target is told why.
            let _ = self.seize();
        }
        Program {
            binary: Arc::clone(&self.binary),
            bias: self.bias,
        }
    }
}
