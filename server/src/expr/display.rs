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
            Unary::Tilde => "~",
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
        write_at(f, self, 1)
    }
}

/// Writes an expression that is nested `depth` deep, 1 being the outermost: the deeper, the fewer operators have blanks around them.
fn write_at(f: &mut fmt::Formatter<'_>, expr: &Expr, depth: u32) -> fmt::Result {
    match expr {
        Expr::Name(name) => f.write_str(name),
        Expr::Literal(literal) => f.write_str(&literal.text),
        Expr::Field(base, name) => {
            write_at(f, base, depth)?;
            write!(f, ".{name}")
        }
        Expr::Assert(base, ty) => {
            write_at(f, base, depth)?;
            write!(f, ".({ty})")
        }
        Expr::Index(base, indices) => {
            write_at(f, base, 1)?;
            f.write_str("[")?;
            list(f, indices, depth + 1)?;
            f.write_str("]")
        }
        Expr::Slice(base, low, high) => {
            write_at(f, base, 1)?;
            f.write_str("[")?;
            if let Some(low) = low {
                write_at(f, low, depth + 1)?;
            }
            let is_binary = |index: &Option<Box<Expr>>| matches!(index.as_deref(), Some(Expr::Binary(..)));
            let parted = depth <= 1 && low.is_some() && high.is_some() && (is_binary(low) || is_binary(high));
            f.write_str(if parted { " : " } else { ":" })?;
            if let Some(high) = high {
                write_at(f, high, depth + 1)?;
            }
            f.write_str("]")
        }
        Expr::Dereference(inside) => {
            f.write_str("*")?;
            write_at(f, inside, depth)
        }
        Expr::Unary(operator, inside) => {
            write!(f, "{operator}")?;
            write_at(f, inside, depth)
        }
        Expr::Binary(operator, left, right) => {
            let precedence = precedence(*operator);
            let is_same = matches!(&**left, Expr::Binary(inner, ..) if self::precedence(*inner) == precedence);
            write_at(f, left, if is_same { depth } else { depth + 1 })?;
            if precedence < cutoff(expr, depth) {
                write!(f, " {operator} ")?;
            } else {
                write!(f, "{operator}")?;
            }
            write_at(f, right, depth + 1)
        }
        Expr::Call(function, arguments) => {
            write_at(f, function, depth)?;
            f.write_str("(")?;
            list(f, arguments, if arguments.len() > 1 { depth + 1 } else { depth })?;
            f.write_str(")")
        }
        Expr::Composite(ty, elements) => {
            // The elements of a literal in another one may leave their type out.
            if !matches!(**ty, Expr::Unimplemented(_)) {
                write_at(f, ty, 1)?;
            }
            f.write_str("{")?;
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    f.write_str(", ")?;
                }
                if let Some(key) = &element.key {
                    write!(f, "{key}: ")?;
                }
                write_at(f, &element.value, depth + 1)?;
            }
            f.write_str("}")
        }
        Expr::Paren(inside) => {
            f.write_str("(")?;
            write_at(f, inside, depth.saturating_sub(1).max(1))?;
            f.write_str(")")
        }
        Expr::Type(ty) => write!(f, "{ty}"),
        Expr::Unimplemented(what) => f.write_str(what),
    }
}

/// How tightly an operator binds (Go specification, "Operator precedence").
fn precedence(operator: Binary) -> u32 {
    match operator {
        Binary::LogicalOr => 1,
        Binary::LogicalAnd => 2,
        Binary::Equal
        | Binary::NotEqual
        | Binary::Less
        | Binary::LessEqual
        | Binary::Greater
        | Binary::GreaterEqual => 3,
        Binary::Add | Binary::Sub | Binary::Or | Binary::Xor => 4,
        Binary::Mul | Binary::Div | Binary::Rem | Binary::Shl | Binary::Shr | Binary::And | Binary::AndNot => 5,
    }
}

/// Operators that bind less tightly than this have blanks around them, as in the rules that `go/printer` describes at `binaryExpr`.
fn cutoff(expr: &Expr, depth: u32) -> u32 {
    let found = Operators::of(expr);
    match (found.must_part, found.sums && found.products, depth) {
        (problem @ 1.., _, _) => problem + 1,
        (_, true, 1) => 5,
        (_, false, 1) => 6,
        _ => 4,
    }
}

/// Which operators are in an expression that no parentheses hold together.
#[derive(Default)]
struct Operators {
    /// Of the precedence of `+`.
    sums: bool,
    /// Of the precedence of `*`.
    products: bool,
    /// Written without blanks, two operators would be read as another one: the precedence of the one that needs them; 0 for none.
    must_part: u32,
}

impl Operators {
    fn of(expr: &Expr) -> Operators {
        let mut found = Operators::default();
        let Expr::Binary(operator, left, right) = expr else {
            return found;
        };
        let own = precedence(*operator);
        found.sums = own == 4;
        found.products = own == 5;
        if let Expr::Binary(inner, ..) = &**left
            && precedence(*inner) >= own
        {
            found.take(&Operators::of(left));
        }
        match &**right {
            Expr::Binary(inner, ..) if precedence(*inner) > own => found.take(&Operators::of(right)),
            Expr::Dereference(_) if *operator == Binary::Div => found.must_part = 5,
            Expr::Unary(inner, _) => match (operator, inner) {
                (Binary::And, Unary::Address | Unary::Complement) => found.must_part = 5,
                (Binary::Add, Unary::Plus) | (Binary::Sub, Unary::Minus) => found.must_part = found.must_part.max(4),
                _ => {}
            },
            _ => {}
        }
        found
    }

    fn take(&mut self, other: &Operators) {
        self.sums |= other.sums;
        self.products |= other.products;
        self.must_part = self.must_part.max(other.must_part);
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

fn list(f: &mut fmt::Formatter<'_>, items: &[Expr], depth: u32) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write_at(f, item, depth)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::expr::parse;

    #[test]
    fn blanks_are_where_gofmt_has_them() {
        for text in [
            "a + b",
            "n%50 == 0",
            "a*b + c",
            "a == 1 && b == 2",
            "f(a+1, b)",
            "f(a + 1)",
            "x[i+1]",
            "x[1 : i+1]",
            "x[1:i]",
            "(a + b) * c",
            "a - -b",
            "a / *b",
            "!(a == b)",
            "m[\"k\"].f == nil",
            "a&b == c || d",
        ] {
            let tight = text.replace(' ', "");
            let spread = parse(text).map(|expr| expr.to_string());
            assert_eq!(spread.as_deref(), Ok(text));
            // What is one operator without its blank means something else.
            if !text.contains("- -") && !text.contains("/ *") {
                assert_eq!(parse(&tight).map(|expr| expr.to_string()).as_deref(), Ok(text));
            }
        }
    }
}
