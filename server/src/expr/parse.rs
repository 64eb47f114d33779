//! From text to [`Expr`].

use super::Expr;

/// Expressions nest at most this deep: they come from outside.
const MAX_DEPTH: u32 = 100;

/// Why a text is not an expression that is understood here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    /// Something else belongs at this place.
    #[error("{column}: expected {expected}, found {found}")]
    Expected {
        /// 1-based column in characters.
        column: usize,
        /// What would fit.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A construct of Go that is not available here.
    #[error("{column}: {what} cannot be used here yet")]
    Unsupported {
        /// 1-based column in characters.
        column: usize,
        /// The construct.
        what: String,
    },
    /// Nested beyond any sense.
    #[error("the expression is nested too deeply")]
    TooDeep,
}

/// Parses one expression; nothing may follow it.
pub(crate) fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { text, at: 0 };
    let expr = parser.unary(0)?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(expr),
        Some(c) if "+-*/%&|^<>=!.([:".contains(c) => Err(parser.unsupported(format!("operator {}", parser.operator()))),
        Some(_) => Err(parser.expected("the end of the expression")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        self.skip_space();
        let taken = self.peek() == Some(c);
        if taken {
            self.at += c.len_utf8();
        }
        taken
    }

    fn column(&self) -> usize {
        self.text[..self.at].chars().count() + 1
    }

    fn expected(&self, expected: &'static str) -> ParseError {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        ParseError::Expected {
            column: self.column(),
            expected,
            found,
        }
    }

    fn unsupported(&self, what: String) -> ParseError {
        ParseError::Unsupported {
            column: self.column(),
            what,
        }
    }

    /// The run of operator characters at this place, for messages.
    fn operator(&self) -> String {
        self.rest()
            .chars()
            .take_while(|c| "+-*/%&|^<>=!.([:".contains(*c))
            .take(2)
            .collect()
    }

    fn unary(&mut self, depth: u32) -> Result<Expr, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        if self.take('*') {
            return Ok(Expr::Dereference(Box::new(self.unary(depth + 1)?)));
        }
        if self.take('-') {
            return Ok(Expr::Negative(Box::new(self.unary(depth + 1)?)));
        }
        let mut expr = self.primary(depth)?;
        loop {
            if self.take('.') {
                if self.take('(') {
                    return Err(self.unsupported("a type assertion".to_owned()));
                }
                expr = Expr::Field(Box::new(expr), self.name()?);
            } else if self.take('[') {
                let index = self.unary(depth + 1)?;
                self.skip_space();
                if self.peek() == Some(':') {
                    return Err(self.unsupported("a slice expression".to_owned()));
                }
                self.close(']', "`]`")?;
                expr = Expr::Index(Box::new(expr), Box::new(index));
            } else if self.take('(') {
                let mut arguments = Vec::new();
                while !self.take(')') {
                    arguments.push(self.unary(depth + 1)?);
                    if !self.take(',') {
                        self.close(')', "`)`")?;
                        break;
                    }
                }
                expr = Expr::Call(Box::new(expr), arguments);
            } else {
                return Ok(expr);
            }
        }
    }

    fn close(&mut self, c: char, name: &'static str) -> Result<(), ParseError> {
        if self.take(c) {
            return Ok(());
        }
        match self.peek() {
            Some(c) if "+-*/%&|^<>=!:".contains(c) => Err(self.unsupported(format!("operator {}", self.operator()))),
            _ => Err(self.expected(name)),
        }
    }

    fn primary(&mut self, depth: u32) -> Result<Expr, ParseError> {
        self.skip_space();
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inside = self.unary(depth + 1)?;
                self.close(')', "`)`")?;
                Ok(inside)
            }
            Some('"' | '`') => self.string(),
            Some(c) if c.is_ascii_digit() => self.integer(),
            Some(c) if is_name_start(c) => Ok(Expr::Name(self.name()?)),
            Some(c) if "&!^+<".contains(c) => Err(self.unsupported(format!("operator {c}"))),
            _ => Err(self.expected("a name, a number or `(`")),
        }
    }

    fn name(&mut self) -> Result<String, ParseError> {
        self.skip_space();
        if !self.peek().is_some_and(is_name_start) {
            return Err(self.expected("a name"));
        }
        let rest = self.rest();
        let end = rest
            .find(|c: char| !is_name_start(c) && !c.is_numeric())
            .unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    fn integer(&mut self) -> Result<Expr, ParseError> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let digits: String = rest[..end]
            .chars()
            .filter(|c| *c != '_')
            .collect::<String>()
            .to_ascii_lowercase();
        let parsed = match digits.get(..2) {
            Some("0x") => u64::from_str_radix(&digits[2..], 16),
            Some("0b") => u64::from_str_radix(&digits[2..], 2),
            Some("0o") => u64::from_str_radix(&digits[2..], 8),
            _ => digits.parse(),
        };
        let number = parsed.map_err(|_| self.expected("an integer"))?;
        self.at += end;
        Ok(Expr::Integer(number))
    }

    fn string(&mut self) -> Result<Expr, ParseError> {
        let raw = self.take('`');
        if raw {
            let end = self.rest().find('`').ok_or_else(|| self.expected("a closing quote"))?;
            let text = self.rest().as_bytes()[..end].to_vec();
            self.at += end + 1;
            return Ok(Expr::Text(text));
        }
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let c = self.peek().ok_or_else(|| self.expected("a closing quote"))?;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(Expr::Text(text)),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| self.expected("a closing quote"))?;
                    let byte = match escaped {
                        'n' => b'\n',
                        't' => b'\t',
                        'r' => b'\r',
                        '"' => b'"',
                        '\\' => b'\\',
                        _ => return Err(self.unsupported(format!("the escape \\{escaped}"))),
                    };
                    self.at += 1;
                    text.push(byte);
                }
                c => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

fn is_name_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Expr {
        Expr::Name(text.to_owned())
    }

    fn refusal(text: &str) -> String {
        parse(text).expect_err("a refusal").to_string()
    }

    #[test]
    fn postfix_operators_chain() {
        let items = Expr::Field(Box::new(Expr::Field(Box::new(name("a")), "b".into())), "items".into());
        let first = Expr::Index(Box::new(items), Box::new(Expr::Integer(16)));
        assert_eq!(
            parse("a.b.items[0x10].Name"),
            Ok(Expr::Field(Box::new(first), "Name".into()))
        );
        assert_eq!(
            parse(" len( xs ) "),
            Ok(Expr::Call(Box::new(name("len")), vec![Expr::Name("xs".into())]))
        );
        assert_eq!(parse("*(p)"), Ok(Expr::Dereference(Box::new(name("p")))));
        assert_eq!(
            parse("m[\"k\\n\"]"),
            Ok(Expr::Index(Box::new(name("m")), Box::new(Expr::Text(b"k\n".to_vec()))))
        );
    }

    #[test]
    fn errors_say_where_and_what() {
        assert_eq!(refusal("a + b"), "3: operator + cannot be used here yet");
        assert_eq!(refusal("xs[1:2]"), "5: a slice expression cannot be used here yet");
        assert_eq!(refusal(""), "1: expected a name, a number or `(`, found the end");
        assert_eq!(refusal("a b"), "3: expected the end of the expression, found 'b'");
        assert_eq!(parse(&"(".repeat(1000)), Err(ParseError::TooDeep));
        assert!(parse("99999999999999999999").is_err());
    }
}
