//! Where functions return, and which functions they call, as their machine code says.

use std::collections::{BTreeSet, HashSet, VecDeque};

use iced_x86::FlowControl;
use spelunk_dwarf::{Function, ProcAddr};

use super::code::{Code, direct_target, is_call};
use super::program::Program;

/// The runtime's functions that a trace of calls goes into although it leaves the others out.
const FOLLOWED: [&str; 3] = ["runtime.deferreturn", "runtime.gorecover", "runtime.gopanic"];

impl Program {
    /// Where the functions of a name return: their `ret` instructions, and their calls of `runtime.deferreturn`. A generic function's name without type
    /// arguments means all its instances. `None` where there is no such function.
    pub(crate) fn returns_of(&self, name: &str) -> Option<Vec<ProcAddr>> {
        let binary = self.binary();
        let mut functions = binary.functions_named(name);
        if functions.is_empty() {
            let is_instance = |function: &&Function| without_type_arguments(&function.name) == name;
            functions = binary.functions().iter().filter(is_instance).collect();
        }
        if functions.is_empty() {
            return None;
        }
        let mut found = Vec::new();
        for function in functions {
            let code = self.code_of(function);
            let at =
                |instruction: &iced_x86::Instruction| self.bias().to_proc(spelunk_dwarf::FileAddr(instruction.ip()));
            let returns = code.instructions.iter();
            let returns = returns.filter(|instruction| instruction.flow_control() == FlowControl::Return);
            found.extend(returns.map(at));
            let deferred = code.calls().filter(|call| {
                let callee = direct_target(call).and_then(|target| binary.function_at(target));
                callee.is_some_and(|callee| &*callee.name == "runtime.deferreturn")
            });
            found.extend(deferred.map(at));
        }
        Some(found)
    }

    /// The functions that a function calls by name, and those that these call, to the depth `depth`, at which the function itself is the first. The
    /// runtime's are left out, but for those that run deferred calls, recover and panic.
    pub(crate) fn reached_from<'p>(&'p self, root: &'p Function, depth: usize, found: &mut BTreeSet<&'p str>) {
        let mut known = HashSet::from([&*root.name]);
        let mut queue = VecDeque::from([(root, 1)]);
        while let Some((function, level)) = queue.pop_front() {
            if level > depth {
                continue;
            }
            found.insert(&function.name);
            if level == depth {
                continue;
            }
            let code = self.code_of(function);
            let callees = code.instructions.iter().filter(|instruction| is_call(instruction));
            for call in callees {
                let callee = direct_target(call).and_then(|target| self.binary().function_at(target));
                if let Some(callee) = callee.filter(|callee| is_followed(&callee.name))
                    && known.insert(&callee.name)
                {
                    queue.push_back((callee, level + 1));
                }
            }
        }
    }

    fn code_of(&self, function: &Function) -> Code {
        Code::decode(self.binary(), function)
    }
}

fn is_followed(name: &str) -> bool {
    let is_runtimes = name.starts_with("runtime.") || name.starts_with("runtime/internal");
    !is_runtimes || FOLLOWED.contains(&name)
}

/// A function's name without the type arguments of a generic one: `main.Map` for `main.Map[go.shape.int]`, `main.(*List).Add` for
/// `main.(*List[go.shape.int]).Add`.
fn without_type_arguments(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut depth = 0usize;
    for character in name.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            other if depth == 0 => plain.push(other),
            _ => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_arguments_are_no_part_of_a_generic_functions_name() {
        for (name, plain) in [
            ("main.main", "main.main"),
            ("main.Map[go.shape.int]", "main.Map"),
            ("main.(*List[go.shape.[]int]).Add", "main.(*List).Add"),
            ("main.Map[go.shape.int].func1", "main.Map.func1"),
        ] {
            assert_eq!(without_type_arguments(name), plain);
        }
    }

    #[test]
    fn the_runtime_is_left_out_of_a_trace_of_calls() {
        for name in ["main.f", "runtime.deferreturn", "runtime.gopanic", "runtime/pprof.Do"] {
            assert!(is_followed(name), "{name}");
        }
        for name in ["runtime.newobject", "runtime/internal/atomic.Load"] {
            assert!(!is_followed(name), "{name}");
        }
    }
}
