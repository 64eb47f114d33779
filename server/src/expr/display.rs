//! Expressions as text again, as Go's formatter writes them.

use std::fmt;

use super::{Binary, Expr, TypeExpr, Unary};

impl fmt::Display for Unary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unary::Plus => "+",
            Unary::Minus => "-",
            Unary::Not => "!",
            Unary::Complement => "^",
            Unary::Address => "&",
            Unary::Receive => "<-",
        })
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Binary::Add => "+",
            Binary::Sub => "-",
            Binary::Mul => "*",
            Binary::Div => "/",
            Binary::Rem => "%",
            Binary::And => "&",
            Binary::Or => "|",
            Binary::Xor => "^",
            Binary::AndNot => "&^",
            Binary::Shl => "<<",
            Binary::Shr => ">>",
            Binary::LogicalAnd => "&&",
            Binary::LogicalOr => "||",
            Binary::Equal => "==",
            Binary::NotEqual => "!=",
            Binary::Less => "<",
            Binary::LessEqual => "<=",
            Binary::Greater => ">",
            Binary::GreaterEqual => ">=",
        })
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Name(name) => f.write_str(name),
            Expr::Literal(literal) => f.write_str(&literal.text),
            Expr::Field(base, name) => write!(f, "{base}.{name}"),
            Expr::Assert(base, ty) => write!(f, "{base}.({ty})"),
            Expr::Index(base, indices) => {
                write!(f, "{base}[")?;
                list(f, indices)?;
                f.write_str("]")
            }
            Expr::Slice(base, low, high) => {
                write!(f, "{base}[")?;
                if let Some(low) = low {
                    write!(f, "{low}")?;
                }
                f.write_str(":")?;
                if let Some(high) = high {
                    write!(f, "{high}")?;
                }
                f.write_str("]")
            }
            Expr::Dereference(inside) => write!(f, "*{inside}"),
            Expr::Unary(operator, inside) => write!(f, "{operator}{inside}"),
            Expr::Binary(operator, left, right) => write!(f, "{left} {operator} {right}"),
            Expr::Call(function, arguments) => {
                write!(f, "{function}(")?;
                list(f, arguments)?;
                f.write_str(")")
            }
            Expr::Paren(inside) => write!(f, "({inside})"),
            Expr::Type(ty) => write!(f, "{ty}"),
            Expr::Unimplemented(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for TypeExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypeExpr::Array(None, elem) => write!(f, "[]{elem}"),
            TypeExpr::Array(Some(len), elem) => write!(f, "[{len}]{elem}"),
            TypeExpr::Map(key, elem) => write!(f, "map[{key}]{elem}"),
            TypeExpr::Chan(direction, elem) => write!(f, "{direction}{elem}"),
            TypeExpr::Spelled(text) => f.write_str(text),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[Expr]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
    }
    Ok(())
}
