//! Which variables can be seen from an address, by Delve's rules.

use rustc_hash::{FxBuildHasher, FxHashSet};

use crate::function_info::{FunctionInfo, InlinedCall, Scope, Variable};
use crate::{Binary, FileAddr};

/// A variable that can be seen.
#[derive(Clone, Debug)]
pub struct ScopedVariable<'f> {
    /// The variable.
    pub variable: &'f Variable,
    /// How deep its block is nested: 0 for parameters and results, 1 for the function's body, and so on.
    pub depth: u32,
    /// A variable of the same name in a block further in hides it.
    pub shadowed: bool,
    /// The inlined call whose variable it is; `None` for the function itself.
    pub inlined: Option<&'f InlinedCall>,
}

impl Binary {
    /// The variables that are in scope at `pc`, whose line is `line`: those of the innermost inlined call there, else
    /// those of the function. A local is visible from the line after its declaration on, a captured one from its
    /// line on, parameters everywhere. Sorted by depth and declaration; what the compiler made up is left out.
    pub fn variables_in_scope<'f>(
        &self,
        function: &'f FunctionInfo,
        pc: FileAddr,
        line: u32,
    ) -> Vec<ScopedVariable<'f>> {
        match function.scope.inlined_at(pc).last() {
            Some(innermost) => variables_of_inlined(innermost, pc, line),
            None => variables_of_function(function, pc, line),
        }
    }
}

/// What the compiler calls the dictionary of a generic function: an array of words, of which types name some by index (Go's
/// cmd/compile/internal/noder/reader.go).
pub const DICTIONARY: &str = ".dict";

/// The variable that points to the dictionary of a generic function, of which these are the parameters and the scope; with an inlined call, its own.
pub fn dictionary_of<'f>(params: &'f [Variable], scope: &'f Scope) -> Option<&'f Variable> {
    params
        .iter()
        .chain(&scope.variables)
        .find(|variable| &*variable.name == DICTIONARY)
}

impl FunctionInfo {
    /// The variable that points to the dictionary of the function whose variables are in scope at `pc`: of the innermost inlined call there, else of this one.
    pub fn dictionary_at(&self, pc: FileAddr) -> Option<&Variable> {
        match self.scope.inlined_at(pc).last() {
            Some(innermost) => dictionary_of(&innermost.params, innermost),
            None => dictionary_of(&self.params, &self.scope),
        }
    }
}

/// The variables of the function itself, even if `pc` is within an inlined call.
pub fn variables_of_function(function: &FunctionInfo, pc: FileAddr, line: u32) -> Vec<ScopedVariable<'_>> {
    collect(&function.params, &function.scope, pc, line)
}

/// The variables of an inlined call, one of those that [`Scope::inlined_at`] gives.
pub fn variables_of_inlined(call: &Scope, pc: FileAddr, line: u32) -> Vec<ScopedVariable<'_>> {
    collect(&call.params, call, pc, line)
}

fn collect<'f>(params: &'f [Variable], scope: &'f Scope, pc: FileAddr, line: u32) -> Vec<ScopedVariable<'f>> {
    let inlined = scope.inlined.as_ref();
    let mut found: Vec<ScopedVariable<'f>> = params
        .iter()
        .filter(|variable| !variable.is_internal())
        .map(|variable| ScopedVariable {
            variable,
            depth: 0,
            shadowed: false,
            inlined,
        })
        .collect();
    let mut waiting = vec![(scope, 1u32)];
    while let Some((scope, depth)) = waiting.pop() {
        let visible = scope
            .variables
            .iter()
            .filter(|variable| !variable.is_internal() && is_visible(variable, line));
        found.extend(visible.map(|variable| ScopedVariable {
            variable,
            depth,
            shadowed: false,
            inlined,
        }));
        let blocks = scope
            .children
            .iter()
            .filter(|child| child.inlined.is_none() && child.contains(pc));
        waiting.extend(blocks.map(|block| (block, depth + 1)));
    }
    // Parameters stay in the order of declaration, also those that a closure was given for what it captured, whose lines are anywhere.
    found.sort_by_key(|scoped| {
        (
            scoped.depth,
            if scoped.depth == 0 {
                0
            } else {
                scoped.variable.decl_line
            },
        )
    });
    let mut names = FxHashSet::with_capacity_and_hasher(found.len(), FxBuildHasher);
    for scoped in found.iter_mut().rev() {
        scoped.shadowed = !names.insert(scoped.variable.display_name());
    }
    found
}

fn is_visible(variable: &Variable, line: u32) -> bool {
    if variable.decl_line == 0 {
        true
    } else if variable.closure_offset.is_some() {
        line >= variable.decl_line
    } else {
        line > variable.decl_line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeId;
    use crate::function_info::Home;

    fn variable(name: &str, decl_line: u32) -> Variable {
        Variable {
            name: name.into(),
            ty: TypeId(0),
            decl_line,
            is_result: false,
            is_param: false,
            closure_offset: None,
            home: Home::None,
            unit: 0,
        }
    }

    fn body(variables: Vec<Variable>, children: Vec<Scope>) -> Scope {
        let ranges = vec![FileAddr(0)..FileAddr(0x100)];
        Scope {
            inlined: None,
            ranges,
            params: Vec::new(),
            variables,
            children,
        }
    }

    #[test]
    fn inner_blocks_shadow_outer_ones() {
        let block = body(vec![variable("x", 5), variable("late", 9)], Vec::new());
        let outer = body(vec![variable("&x", 3), variable(".dict", 1)], vec![block]);
        let found = collect(&[], &outer, FileAddr(1), 9);
        let shown: Vec<_> = found
            .iter()
            .map(|s| (s.variable.display_name(), s.depth, s.shadowed))
            .collect();
        assert_eq!(shown, [("x", 1, true), ("x", 2, false)]);
    }

    #[test]
    fn captured_variables_are_visible_on_their_own_line() {
        let mut captured = variable("k", 7);
        captured.closure_offset = Some(8);
        let scope = body(vec![captured, variable("plain", 7)], Vec::new());
        assert_eq!(collect(&[], &scope, FileAddr(1), 7).len(), 1);
        assert_eq!(collect(&[], &scope, FileAddr(1), 8).len(), 2);
        assert_eq!(collect(&[], &scope, FileAddr(1), 6).len(), 0);
    }
}
