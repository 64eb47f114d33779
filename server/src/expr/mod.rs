//! Go expressions as a debugger's user writes them: parsed here, evaluated on a memory.
//!
//! `lex` and `parse` turn text into an [`Expr`]; `eval` walks it over a [`Scope`], with `arith`, `convert` and `builtins` for what is computed and
//! `type_expr` for what names a type. An [`Operand`] is what each step comes to: a place in memory as long as possible, so that nothing is read that is not
//! needed.

mod arith;
mod around;
mod builtins;
mod call;
mod composite;
mod constant;
mod convert;
mod display;
mod error;
mod eval;
#[cfg(test)]
pub(crate) mod fuzz;
mod globals;
mod index;
mod lex;
mod load;
mod method;
mod number;
mod operand;
mod parse;
mod read;
mod select;
mod template;
mod type_expr;

pub(crate) use arith::{fits, fits_into, fitted, has_nil, same_type, shifted, with_nil};
pub(crate) use around::BreakpointName;
pub(crate) use builtins::is_has_prefix;
pub(crate) use call::Call;
pub(crate) use composite::MAX_LITERAL;
pub(crate) use constant::{Const, binary as constant_binary, compare as constant_compare, unary as constant_unary};
pub(crate) use convert::{compatible, may_be_type};
pub(crate) use error::EvalError;
pub(crate) use eval::{Evaluator, Scope, Variable};
pub(crate) use globals::find_global;
pub(crate) use operand::{Operand, What, plain_type};
pub(crate) use parse::{ParseError, parse, sides_of_assignment};
pub(crate) use select::field_path;
pub(crate) use template::{Part, Template};
pub(crate) use type_expr::{find_type, is_type};

/// An expression of Go's grammar (The Go Programming Language Specification, "Expressions").
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// A variable, package, type or builtin.
    Name(String),
    /// A literal.
    Literal(Literal),
    /// `x.f`.
    Field(Box<Expr>, String),
    /// `x.(T)`.
    Assert(Box<Expr>, Box<Expr>),
    /// `x[i]`, and `T[A, B]` of a generic type.
    Index(Box<Expr>, Vec<Expr>),
    /// `x[low:high]`.
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// `*x`.
    Dereference(Box<Expr>),
    /// `-x` and the like; `&x` too.
    Unary(Unary, Box<Expr>),
    /// `x + y` and the like.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `f(a, b)`, and the conversion `T(x)`.
    Call(Box<Expr>, Vec<Expr>),
    /// `T{a, b}`, `T{X: a}`.
    Composite(Box<Expr>, Vec<Element>),
    /// `(x)`, kept for texts.
    Paren(Box<Expr>),
    /// A type that is no name: `[]int`, `map[string]int`, `func()`.
    Type(TypeExpr),
    /// A construct of Go that a debugger does not evaluate, by the name that Go's parser has for it.
    Unimplemented(&'static str),
}

/// An element of a composite literal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    /// What stands before its colon: the name of a field.
    pub(crate) key: Option<Expr>,
    /// What it is set to.
    pub(crate) value: Expr,
}

/// A literal: its text as it was written, for messages, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Literal {
    /// As written.
    pub(crate) text: String,
    /// What it means.
    pub(crate) value: Const,
}

/// A type literal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TypeExpr {
    /// `[]T`, `[N]T`.
    Array(Option<Box<Expr>>, Box<Expr>),
    /// `map[K]V`.
    Map(Box<Expr>, Box<Expr>),
    /// `chan T`; the text in front of the element's type.
    Chan(&'static str, Box<Expr>),
    /// `func(int) string`, `struct {}`, `interface {}`: the text as DWARF spells it.
    Spelled(String),
}

/// A unary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `!`
    Not,
    /// `^`
    Complement,
    /// `&`
    Address,
    /// `<-`
    Receive,
    /// `~`, which is an operator to Go's parser alone.
    Tilde,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `&^`
    AndNot,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `&&`
    LogicalAnd,
    /// `||`
    LogicalOr,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Binary {
    /// Whether the result is a bool whatever the operands are.
    pub(crate) fn is_comparison(self) -> bool {
        matches!(
            self,
            Binary::Equal
                | Binary::NotEqual
                | Binary::Less
                | Binary::LessEqual
                | Binary::Greater
                | Binary::GreaterEqual
        )
    }

    /// Go's precedence, 1 binding least.
    pub(crate) fn precedence(self) -> u32 {
        match self {
            Binary::LogicalOr => 1,
            Binary::LogicalAnd => 2,
            _ if self.is_comparison() => 3,
            Binary::Add | Binary::Sub | Binary::Or | Binary::Xor => 4,
            _ => 5,
        }
    }
}

/// An expression that only names a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainName<'e> {
    /// A variable of the function or of its package.
    Own(&'e str),
    /// A variable of a package.
    Qualified(&'e str, &'e str),
}

impl Expr {
    /// The variable that the expression only names, in parentheses or not.
    pub(crate) fn plain_name(&self) -> Option<PlainName<'_>> {
        match self.bare() {
            Expr::Name(name) => Some(PlainName::Own(name)),
            Expr::Field(package, name) => match &**package {
                Expr::Name(package) => Some(PlainName::Qualified(package, name)),
                Expr::Literal(Literal {
                    value: Const::Text(package),
                    ..
                }) => Some(PlainName::Qualified(std::str::from_utf8(package).ok()?, name)),
                _ => None,
            },
            Expr::Dereference(inside) => match inside.bare() {
                Expr::Unary(Unary::Address, variable) => variable.plain_name(),
                _ => None,
            },
            _ => None,
        }
    }

    /// The expression inside of parentheses.
    pub(crate) fn bare(&self) -> &Expr {
        let mut at = self;
        while let Expr::Paren(inside) = at {
            at = inside;
        }
        at
    }
}
