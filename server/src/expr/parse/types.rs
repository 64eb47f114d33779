//! Types among expressions: a conversion, a literal and an assertion begin with one or end in one (Go specification, "Types").

use super::{KEYWORDS, ParseError, Parser};
use crate::expr::lex::TokenKind;
use crate::expr::{Const, Expr, TypeExpr};

impl Parser<'_> {
    /// A type where nothing else can stand: a name, a pointer, or a literal.
    pub(super) fn ty(&mut self, depth: u32) -> Result<Expr, ParseError> {
        let depth = self.deeper(depth)?;
        if self.take("*") {
            return Ok(Expr::Dereference(Box::new(self.ty(depth)?)));
        }
        if self.take("(") {
            let inside = self.ty(depth)?;
            self.close(")")?;
            return Ok(Expr::Paren(Box::new(inside)));
        }
        if self.take("<-") {
            return Ok(Expr::Type(TypeExpr::Chan(
                "<-chan ",
                Box::new(self.channel_element(depth)?),
            )));
        }
        match self.peek().clone() {
            // A type by its name in quotes, which Delve understands wherever a type may stand.
            TokenKind::Literal(literal) if matches!(literal.value, Const::Text(_)) => {
                self.at += 1;
                Ok(Expr::Literal(literal))
            }
            TokenKind::Operator("[") => self.type_literal(depth),
            TokenKind::Name(name) if TYPE_KEYWORDS.contains(&name.as_str()) => self.type_literal(depth),
            TokenKind::Name(name) if !KEYWORDS.contains(&name.as_str()) => {
                self.at += 1;
                let mut expr = Expr::Name(name);
                if self.take(".") {
                    let TokenKind::Name(name) = self.peek().clone() else {
                        return Err(self.expected("'IDENT'"));
                    };
                    self.at += 1;
                    expr = Expr::Field(Box::new(expr), name);
                }
                if self.take("[") {
                    let mut arguments = vec![self.ty(depth)?];
                    while self.take(",") {
                        arguments.push(self.ty(depth)?);
                    }
                    self.close("]")?;
                    expr = Expr::Index(Box::new(expr), arguments);
                }
                Ok(expr)
            }
            _ => Err(self.expected("type")),
        }
    }

    fn channel_element(&mut self, depth: u32) -> Result<Expr, ParseError> {
        match self.peek() {
            TokenKind::Name(name) if name == "chan" => {
                self.at += 1;
                self.ty(depth)
            }
            _ => Err(self.expected("'chan'")),
        }
    }

    pub(super) fn type_literal(&mut self, depth: u32) -> Result<Expr, ParseError> {
        let depth = self.deeper(depth)?;
        if self.take("[") {
            if self.take("...") {
                self.close("]")?;
                let elem = self.ty(depth)?;
                return Ok(Expr::Type(TypeExpr::Spelled(format!("[...]{elem}"))));
            }
            let len = if self.is("]") {
                None
            } else {
                Some(Box::new(self.binary(1, depth)?))
            };
            self.close("]")?;
            return Ok(Expr::Type(TypeExpr::Array(len, Box::new(self.ty(depth)?))));
        }
        let TokenKind::Name(keyword) = self.peek().clone() else {
            return Err(self.expected("operand"));
        };
        self.at += 1;
        match keyword.as_str() {
            "map" => {
                self.close("[")?;
                let key = self.ty(depth)?;
                self.close("]")?;
                Ok(Expr::Type(TypeExpr::Map(Box::new(key), Box::new(self.ty(depth)?))))
            }
            "chan" => {
                let direction = if self.take("<-") { "chan<- " } else { "chan " };
                Ok(Expr::Type(TypeExpr::Chan(direction, Box::new(self.ty(depth)?))))
            }
            "func" => self.function_type(depth),
            // DWARF's spelling has a blank before the brace.
            _ => {
                let body = self.braces()?;
                Ok(Expr::Type(TypeExpr::Spelled(format!("{keyword} {body}"))))
            }
        }
    }

    /// `func(A, B) R` from behind `func` on.
    fn function_type(&mut self, depth: u32) -> Result<Expr, ParseError> {
        let mut text = format!("func({})", self.parameter_types(depth)?);
        if self.is("(") {
            text.extend([" (", &self.parameter_types(depth)?, ")"]);
        } else if self.begins_type() {
            text.extend([" ", &self.ty(depth)?.to_string()]);
        }
        if self.is("{") {
            self.skip_braces()?;
            return Ok(Expr::Unimplemented("*ast.FuncLit"));
        }
        Ok(Expr::Type(TypeExpr::Spelled(text)))
    }

    fn begins_type(&self) -> bool {
        match self.peek() {
            TokenKind::Name(name) => TYPE_KEYWORDS.contains(&name.as_str()) || !KEYWORDS.contains(&name.as_str()),
            TokenKind::Operator(operator) => matches!(*operator, "*" | "[" | "<-"),
            _ => false,
        }
    }

    fn parameter_types(&mut self, depth: u32) -> Result<String, ParseError> {
        self.close("(")?;
        let mut types = Vec::new();
        while !self.is(")") && self.peek() != &TokenKind::End {
            let mut variadic = self.take("...");
            let mut ty = self.ty(depth)?;
            // What stood before a type was a parameter's name.
            if !variadic && (self.is("...") || self.begins_type()) {
                variadic = self.take("...");
                ty = self.ty(depth)?;
            }
            types.push(format!("{}{ty}", if variadic { "..." } else { "" }));
            if !self.comma("parameter list", ")")? {
                break;
            }
        }
        self.close(")")?;
        Ok(types.join(", "))
    }

    /// The source between braces, with blanks inside as DWARF spells it.
    fn braces(&mut self) -> Result<String, ParseError> {
        let start = self.position() + 1;
        self.skip_braces()?;
        let end = self
            .tokens
            .get(self.at.saturating_sub(1))
            .map_or(start, |token| token.at);
        let inside = self.text.get(start..end).unwrap_or("").trim();
        Ok(if inside.is_empty() {
            "{}".to_owned()
        } else {
            format!("{{ {inside} }}")
        })
    }

    fn skip_braces(&mut self) -> Result<(), ParseError> {
        self.close("{")?;
        let mut open = 1u32;
        while open > 0 {
            match self.peek() {
                TokenKind::Operator("{") => open += 1,
                TokenKind::Operator("}") => open -= 1,
                TokenKind::End => return Err(self.expected("'}'")),
                _ => {}
            }
            self.at += 1;
        }
        Ok(())
    }
}

/// Whether braces behind an expression make it a composite literal.
pub(super) fn names_type(expr: &Expr) -> bool {
    match expr {
        Expr::Name(_) => true,
        Expr::Field(base, _) | Expr::Index(base, _) => names_type(base),
        Expr::Type(ty) => !matches!(ty, TypeExpr::Chan(..)),
        _ => false,
    }
}

/// The keywords that begin a type.
pub(super) const TYPE_KEYWORDS: [&str; 5] = ["map", "chan", "func", "struct", "interface"];
