//! From text to [`Expr`].

mod types;

use self::types::{TYPE_KEYWORDS, names_type};
use super::lex::{LexError, Token, TokenKind, tokens};
use super::{Binary, Element, Expr, TypeExpr, Unary};

/// Expressions nest at most this deep: they come from outside.
const MAX_DEPTH: u32 = 100;
/// Longer texts are no expressions that anybody writes.
const MAX_LENGTH: usize = 1 << 16;

/// Why a text is not an expression: the text of Go's parser, with line and column in bytes, which Delve's clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}{}", more_errors(*more))]
pub(crate) struct ParseError {
    /// 1-based.
    line: usize,
    /// 1-based, in bytes.
    column: usize,
    message: String,
    /// How many errors were found behind this one.
    more: usize,
}

/// How `go/scanner` tells that an error is the first of several.
fn more_errors(more: usize) -> String {
    match more {
        0 => String::new(),
        more => format!(" (and {more} more errors)"),
    }
}

impl ParseError {
    /// An error at an offset in bytes.
    pub(super) fn new(text: &str, at: usize, message: impl Into<String>) -> ParseError {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before.len() - line_start + 1,
            message: message.into(),
            more: 0,
        }
    }
}

/// Parses one expression; nothing may follow it.
pub(crate) fn parse(text: &str) -> Result<Expr, ParseError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseError::new(text, 0, "the expression is too long"));
    }
    let (tokens, errors) = tokens(text);
    let mut parser = Parser { text, tokens, at: 0 };
    let result = parser.whole();
    // Go's parser stops reading where it cannot go on: what is wrong behind that place is not told.
    let read = match &result {
        Ok(_) => usize::MAX,
        Err(error) if is_about_an_operand(&error.message) => parser.next_statement(),
        Err(_) => parser.at + 1,
    };
    let told: Vec<&LexError> = errors.iter().filter(|error| error.token <= read).collect();
    let first = told.iter().min_by_key(|error| error.at);
    match (result, first) {
        (Ok(expr), None) => Ok(expr),
        (Err(error), None) => Err(error),
        (result, Some(first)) => {
            let mut lexical = ParseError::new(text, first.at, first.message.clone());
            lexical.more = told.len() - 1;
            let Err(error) = result else {
                return Err(lexical);
            };
            // On a line with an error another one of the parser is likely to come from it.
            if errors.iter().any(|lexical| lexical.token <= parser.at) {
                return Err(lexical);
            }
            Err(if (lexical.line, lexical.column) < (error.line, error.column) {
                ParseError {
                    more: told.len(),
                    ..lexical
                }
            } else {
                ParseError {
                    more: told.len(),
                    ..error
                }
            })
        }
    }
}

/// The two sides of `what = value`; `None` where a text is no assignment. To Go's parser for expressions the sign is a mistake, by which Delve knows
/// assignments.
pub(crate) fn sides_of_assignment(text: &str) -> Option<(&str, &str)> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let (tokens, errors) = tokens(text);
    let mut parser = Parser { text, tokens, at: 0 };
    parser.binary(1, 0).ok()?;
    if !parser.is("=") || errors.iter().any(|error| error.token <= parser.at) {
        return None;
    }
    let (what, rest) = text.split_at_checked(parser.position())?;
    Some((what, rest.strip_prefix('=')?))
}

/// Behind such an error Go's parser passes over all tokens up to the next statement.
fn is_about_an_operand(message: &str) -> bool {
    message.starts_with("expected operand") || message.starts_with("expected type")
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl Parser<'_> {
    fn whole(&mut self) -> Result<Expr, ParseError> {
        let expr = self.binary(1, 0)?;
        if self.is("=") {
            return Err(self.expected("'=='"));
        }
        if self.peek() == &TokenKind::Newline {
            self.at += 1;
        }
        if self.peek() != &TokenKind::End {
            return Err(self.expected("'EOF'"));
        }
        Ok(expr)
    }

    /// The number of the next token that begins a statement, or of the last one.
    fn next_statement(&self) -> usize {
        let begins =
            |token: &Token| matches!(&token.kind, TokenKind::Name(name) if STATEMENTS.contains(&name.as_str()));
        let found = self.tokens.iter().skip(self.at).position(begins);
        found.map_or(self.tokens.len(), |behind| self.at + behind)
    }

    /// Passes over a comma in a list that ends with `end`; whether there is one. What stands there must be one of both.
    fn comma(&mut self, list: &str, end: &str) -> Result<bool, ParseError> {
        if self.take(",") {
            return Ok(true);
        }
        if self.is(end) {
            return Ok(false);
        }
        let before = if self.peek() == &TokenKind::Newline {
            " before newline"
        } else {
            ""
        };
        Err(ParseError::new(
            self.text,
            self.position(),
            format!("missing ','{before} in {list}"),
        ))
    }

    fn peek(&self) -> &TokenKind {
        self.tokens.get(self.at).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.at)
    }

    fn is(&self, operator: &str) -> bool {
        matches!(self.peek(), TokenKind::Operator(found) if *found == operator)
    }

    fn take(&mut self, operator: &str) -> bool {
        let taken = self.is(operator);
        self.at += usize::from(taken);
        taken
    }

    fn close(&mut self, operator: &str) -> Result<(), ParseError> {
        if self.take(operator) {
            return Ok(());
        }
        Err(self.expected(&format!("'{operator}'")))
    }

    fn expected(&self, what: &str) -> ParseError {
        let found = match self.peek() {
            TokenKind::Name(name) if KEYWORDS.contains(&name.as_str()) => format!("'{name}'"),
            TokenKind::Name(name) => name.clone(),
            TokenKind::Literal(literal) => literal.text.clone(),
            TokenKind::Operator(operator) => format!("'{operator}'"),
            TokenKind::Newline => "newline".to_owned(),
            TokenKind::Illegal => "'ILLEGAL'".to_owned(),
            TokenKind::End => "'EOF'".to_owned(),
        };
        ParseError::new(self.text, self.position(), format!("expected {what}, found {found}"))
    }

    fn deeper(&self, depth: u32) -> Result<u32, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(ParseError::new(
                self.text,
                self.position(),
                "exceeded max nesting depth",
            ));
        }
        Ok(depth + 1)
    }

    fn binary(&mut self, least: u32, depth: u32) -> Result<Expr, ParseError> {
        // A chain of operators is as deep as a tree as it is long.
        let mut depth = self.deeper(depth)?;
        let mut left = self.unary(depth)?;
        while let Some(operator) = self.binary_operator().filter(|operator| operator.precedence() >= least) {
            self.at += 1;
            let right = self.binary(operator.precedence() + 1, depth)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
            depth = self.deeper(depth)?;
        }
        Ok(left)
    }

    fn binary_operator(&self) -> Option<Binary> {
        let TokenKind::Operator(operator) = self.peek() else {
            return None;
        };
        Some(match *operator {
            "+" => Binary::Add,
            "-" => Binary::Sub,
            "*" => Binary::Mul,
            "/" => Binary::Div,
            "%" => Binary::Rem,
            "&" => Binary::And,
            "|" => Binary::Or,
            "^" => Binary::Xor,
            "&^" => Binary::AndNot,
            "<<" => Binary::Shl,
            ">>" => Binary::Shr,
            "&&" => Binary::LogicalAnd,
            "||" => Binary::LogicalOr,
            "==" => Binary::Equal,
            "!=" => Binary::NotEqual,
            "<" => Binary::Less,
            "<=" => Binary::LessEqual,
            ">" => Binary::Greater,
            ">=" => Binary::GreaterEqual,
            _ => return None,
        })
    }

    fn unary(&mut self, depth: u32) -> Result<Expr, ParseError> {
        let depth = self.deeper(depth)?;
        if self.take("*") {
            return Ok(Expr::Dereference(Box::new(self.unary(depth)?)));
        }
        let operator = match self.peek() {
            TokenKind::Operator("+") => Unary::Plus,
            TokenKind::Operator("-") => Unary::Minus,
            TokenKind::Operator("!") => Unary::Not,
            TokenKind::Operator("^") => Unary::Complement,
            TokenKind::Operator("&") => Unary::Address,
            TokenKind::Operator("<-") => Unary::Receive,
            TokenKind::Operator("~") => Unary::Tilde,
            _ => return self.primary(depth),
        };
        self.at += 1;
        if operator == Unary::Receive && matches!(self.peek(), TokenKind::Name(name) if name == "chan") {
            self.at += 1;
            return Ok(Expr::Type(TypeExpr::Chan("<-chan ", Box::new(self.ty(depth)?))));
        }
        Ok(Expr::Unary(operator, Box::new(self.unary(depth)?)))
    }

    fn primary(&mut self, depth: u32) -> Result<Expr, ParseError> {
        let mut expr = self.operand(depth)?;
        // A chain of selectors is as deep as a tree as it is long.
        let mut depth = depth;
        loop {
            if self.take(".") {
                if self.take("(") {
                    let ty = if matches!(self.peek(), TokenKind::Name(name) if name == "type") {
                        self.at += 1;
                        Expr::Type(TypeExpr::Spelled("type".to_owned()))
                    } else {
                        self.ty(depth)?
                    };
                    self.close(")")?;
                    expr = Expr::Assert(Box::new(expr), Box::new(ty));
                } else {
                    let TokenKind::Name(name) = self.peek().clone() else {
                        return Err(self.expected("selector or type assertion"));
                    };
                    self.at += 1;
                    expr = Expr::Field(Box::new(expr), name);
                }
            } else if self.take("[") {
                expr = self.index_or_slice(expr, depth)?;
            } else if self.take("(") {
                let mut arguments = Vec::new();
                while !self.is(")") && self.peek() != &TokenKind::End {
                    arguments.push(self.expr_or_type(depth)?);
                    self.take("...");
                    if !self.comma("argument list", ")")? {
                        break;
                    }
                }
                self.close(")")?;
                expr = Expr::Call(Box::new(expr), arguments);
            } else if self.is("{") && names_type(&expr) {
                expr = Expr::Composite(Box::new(expr), self.elements(depth)?);
            } else {
                return Ok(expr);
            }
            depth = self.deeper(depth)?;
        }
    }

    fn index_or_slice(&mut self, base: Expr, depth: u32) -> Result<Expr, ParseError> {
        if self.is("]") {
            return Err(self.expected("operand"));
        }
        let mut bounds = [None, None, None];
        let mut colons = [0; 2];
        if !self.is(":") {
            bounds[0] = Some(self.expr_or_type(depth)?);
        }
        let mut count = 0;
        for (colon, bound) in colons.iter_mut().zip(&mut bounds[1..]) {
            *colon = self.position();
            if !self.take(":") {
                break;
            }
            count += 1;
            if !self.is(":") && !self.is("]") && self.peek() != &TokenKind::End {
                *bound = Some(self.binary(1, depth)?);
            }
        }
        let [low, high, max] = bounds;
        if count > 0 {
            self.close("]")?;
            if count == 2 {
                let missing = match (&high, &max) {
                    (None, _) => Some((colons[0], "middle")),
                    (_, None) => Some((colons[1], "final")),
                    _ => None,
                };
                if let Some((at, which)) = missing {
                    let message = format!("{which} index required in 3-index slice");
                    return Err(ParseError::new(self.text, at, message));
                }
                return Ok(Expr::Unimplemented("3-index slice"));
            }
            return Ok(Expr::Slice(Box::new(base), low.map(Box::new), high.map(Box::new)));
        }
        let mut indices: Vec<Expr> = low.into_iter().collect();
        while self.take(",") && !self.is("]") && self.peek() != &TokenKind::End {
            indices.push(self.ty(depth)?);
        }
        self.close("]")?;
        Ok(Expr::Index(Box::new(base), indices))
    }

    /// The elements of a composite literal, from its brace on.
    fn elements(&mut self, depth: u32) -> Result<Vec<Element>, ParseError> {
        let depth = self.deeper(depth)?;
        self.close("{")?;
        let mut elements = Vec::new();
        while !self.is("}") && self.peek() != &TokenKind::End {
            let first = self.element_value(depth)?;
            elements.push(if self.take(":") {
                Element {
                    key: Some(first),
                    value: self.element_value(depth)?,
                }
            } else {
                Element {
                    key: None,
                    value: first,
                }
            });
            if !self.comma("composite literal", "}")? {
                break;
            }
        }
        self.close("}")?;
        Ok(elements)
    }

    /// An expression, or a composite literal whose type goes without saying.
    fn element_value(&mut self, depth: u32) -> Result<Expr, ParseError> {
        if self.is("{") {
            return Ok(Expr::Composite(
                Box::new(Expr::Unimplemented("type")),
                self.elements(depth)?,
            ));
        }
        self.expr_or_type(depth)
    }

    fn expr_or_type(&mut self, depth: u32) -> Result<Expr, ParseError> {
        self.binary(1, depth)
    }

    fn operand(&mut self, depth: u32) -> Result<Expr, ParseError> {
        match self.peek().clone() {
            TokenKind::Operator("(") => {
                self.at += 1;
                let inside = self.expr_or_type(depth)?;
                self.close(")")?;
                Ok(Expr::Paren(Box::new(inside)))
            }
            TokenKind::Literal(literal) => {
                self.at += 1;
                Ok(Expr::Literal(literal))
            }
            TokenKind::Operator("[") => self.type_literal(depth),
            TokenKind::Name(name) if TYPE_KEYWORDS.contains(&name.as_str()) => self.type_literal(depth),
            TokenKind::Name(name) if !KEYWORDS.contains(&name.as_str()) => {
                self.at += 1;
                Ok(Expr::Name(name))
            }
            _ => Err(self.expected("operand")),
        }
    }
}

/// The keywords that begin a statement, up to which Go's parser passes over what it does not understand.
const STATEMENTS: [&str; 15] = [
    "break",
    "const",
    "continue",
    "defer",
    "fallthrough",
    "for",
    "go",
    "goto",
    "if",
    "return",
    "select",
    "switch",
    "type",
    "var",
    "import",
];

/// All keywords of Go.
pub(super) const KEYWORDS: [&str; 25] = [
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "fallthrough",
    "for",
    "func",
    "go",
    "goto",
    "if",
    "import",
    "interface",
    "map",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "type",
    "var",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text).expect_err("a refusal").to_string()
    }

    fn printed(text: &str) -> String {
        parse(text).expect("an expression").to_string()
    }

    #[test]
    fn postfix_operators_chain() {
        let items = Expr::Field(
            Box::new(Expr::Field(Box::new(Expr::Name("a".into())), "b".into())),
            "items".into(),
        );
        let parsed = parse("a.b.items[0x10].Name").expect("an expression");
        let Expr::Field(element, last) = parsed else {
            panic!("a selector")
        };
        assert_eq!(last, "Name");
        assert!(matches!(&*element, Expr::Index(base, _) if **base == items));
        assert_eq!(printed(" len( xs ) "), "len(xs)");
        assert_eq!(printed("*(p)"), "*(p)");
        assert_eq!(printed("m[\"k\\n\"]"), "m[\"k\\n\"]");
        assert_eq!(printed("x.(*main.T).f"), "x.(*main.T).f");
        assert_eq!(printed("s[1:n]"), "s[1:n]");
        assert_eq!(printed("s[:]"), "s[:]");
    }

    #[test]
    fn operators_bind_as_in_go() {
        let grouped = |text: &str| {
            fn group(expr: &Expr) -> String {
                match expr {
                    Expr::Binary(operator, left, right) => format!("({} {operator} {})", group(left), group(right)),
                    Expr::Unary(operator, inside) => format!("({operator}{})", group(inside)),
                    other => other.to_string(),
                }
            }
            group(&parse(text).expect("an expression"))
        };
        assert_eq!(grouped("a + b * c"), "(a + (b * c))");
        assert_eq!(grouped("a - b - c"), "((a - b) - c)");
        assert_eq!(grouped("a == b && c < d || !e"), "(((a == b) && (c < d)) || (!e))");
        assert_eq!(grouped("-a << 2 &^ b"), "(((-a) << 2) &^ b)");
        assert_eq!(grouped("a & 1 != 0"), "((a & 1) != 0)");
    }

    #[test]
    fn types_stand_where_values_do() {
        for text in [
            "[]byte(s)",
            "*(*\"example.org/a.T\")(0xc000)",
            "(*[4]int)(p)",
            "map[string][]int(nil)",
            "x.(chan<- int)",
            "x.(func(int, *main.T) error)",
            "x.(interface {})",
            "*(*main.Pair[int, string])(0x1)",
        ] {
            assert_eq!(printed(text), text);
        }
        assert_eq!(printed("x.(struct{})"), "x.(struct {})");
        for text in [
            "main.T{1, 2}",
            "main.T{X: 1}.X",
            "struct {}{}",
            "[]T{{1}, {Y: 2}}",
            "&main.T{}",
        ] {
            assert_eq!(printed(text), text);
        }
    }

    #[test]
    fn an_assignment_has_two_sides() {
        assert_eq!(sides_of_assignment("x = f(1)"), Some(("x ", " f(1)")));
        assert_eq!(
            sides_of_assignment("m[\"a=b\"].x=\"=\""),
            Some(("m[\"a=b\"].x", "\"=\""))
        );
        assert_eq!(sides_of_assignment("x = "), Some(("x ", " ")));
        assert_eq!(sides_of_assignment("x == y"), None);
        assert_eq!(sides_of_assignment("f(x = 1)"), None);
        assert_eq!(sides_of_assignment("= 1"), None);
        assert_eq!(sides_of_assignment("# = 1"), None);
        assert_eq!(sides_of_assignment(""), None);
    }

    #[test]
    fn errors_are_those_of_gos_parser() {
        assert_eq!(refusal(""), "1:1: expected operand, found 'EOF'");
        assert_eq!(refusal("a +"), "1:4: expected operand, found 'EOF'");
        assert_eq!(refusal("a b"), "1:3: expected 'EOF', found b");
        assert_eq!(refusal("a = 1"), "1:3: expected '==', found '='");
        assert_eq!(refusal("f(1"), "1:4: missing ',' before newline in argument list");
        assert_eq!(refusal("f(1,"), "1:5: expected ')', found 'EOF'");
        assert_eq!(refusal("x[1"), "1:4: expected ']', found newline");
        assert_eq!(refusal("x[::]"), "1:3: middle index required in 3-index slice");
        assert_eq!(refusal("\0"), "1:1: illegal character NUL (and 1 more errors)");
        assert_eq!(
            refusal("a # $"),
            "1:3: illegal character U+0023 '#' (and 1 more errors)"
        );
        assert_eq!(refusal("T{1 2}"), "1:5: missing ',' in composite literal");
        assert_eq!(refusal("if x"), "1:1: expected operand, found 'if'");
        for deep in [
            "(".repeat(1000),
            "-".repeat(1000),
            "[]".repeat(1000),
            "T{".repeat(1000),
            "[]T{".to_owned() + &"{".repeat(1000),
            "a".to_owned() + &".b".repeat(10_000),
            "a".to_owned() + &"+a".repeat(10_000),
        ] {
            assert!(parse(&deep).is_err());
        }
    }

    /// What expressions and mistakes in them are made of.
    const PIECES: [&str; 40] = [
        "a", "main", "T", "1", "0x", "1_", "2.5e", "\"s\"", "\"", "'c'", "'", "`", "\\", "/*", "//", "\n", " ", "(",
        ")", "[", "]", "{", "}", ",", ":", ".", "...", "*", "&", "<-", "~", "+", "==", "map", "func", "struct", "chan",
        "if", "\0", "·",
    ];

    proptest::proptest! {
        #[test]
        fn any_text_is_an_expression_or_an_error(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
            let text: String = pieces.iter().filter_map(|piece| PIECES.get(*piece)).copied().collect();
            match parse(&text) {
                // What is printed is the same expression.
                Ok(expr) => {
                    let printed = expr.to_string();
                    let again = parse(&printed).map(|again| again.to_string());
                    if !matches!(again, Ok(ref again) if *again == printed) {
                        // A construct that is not evaluated is known by its name alone.
                        proptest::prop_assert!(printed.contains("*ast.") || printed.contains("3-index slice"), "{text:?}: {printed}");
                    }
                }
                Err(error) => proptest::prop_assert!(error.line >= 1 && error.column >= 1, "{text:?}"),
            }
        }

        #[test]
        fn any_characters_are_an_expression_or_an_error(text in ".{0,60}") {
            let _ = parse(&text).map(|expr| expr.to_string());
        }
    }
}
