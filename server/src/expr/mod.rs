//! Go expressions as a debugger's user writes them: parsed here, evaluated on a memory in `eval`.

mod eval;
mod parse;
mod template;

pub(crate) use eval::{EvalError, Operand, Scope, Variable, evaluate, field_path};
pub(crate) use parse::{ParseError, parse};
pub(crate) use template::{Part, Template};

/// An expression of Go's grammar (The Go Programming Language Specification, "Expressions").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// A variable, package or builtin.
    Name(String),
    /// An integer literal.
    Integer(u64),
    /// A string literal, unquoted.
    Text(Vec<u8>),
    /// `x.f`.
    Field(Box<Expr>, String),
    /// `x[i]`.
    Index(Box<Expr>, Box<Expr>),
    /// `*x`.
    Dereference(Box<Expr>),
    /// `-x`.
    Negative(Box<Expr>),
    /// `f(a, b)`.
    Call(Box<Expr>, Vec<Expr>),
}
