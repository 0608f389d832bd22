//! Reads tokens into a tree, and refuses there what can never work: unknown tools, wrong numbers of arguments, unknown maps.
//!
//! Precedence, loosest first: `a if b else c` · `or` · `and` · `not` · comparisons, `in`, `is` · `~` · `+ -` · `* / // %` ·
//! sign · `.`, `[…]`, `|`. Operators are read here, what they stand between by [`operand`].

mod operand;

use std::ops::Range;

use super::{
    Maps,
    fault::ExpressionFault,
    node::{Kind, Node},
    token::{Placed, Token, tokens},
};

/// How deep an expression may nest, and how long it may be: far beyond what anybody reads, far below what the stack holds.
const DEEPEST: usize = 100;
const LONGEST: usize = 2000;

/// Reads `source[within]` as one expression. Ranges are those of `source`.
pub(super) fn parse(
    source: &str,
    within: Range<usize>,
    maps: &Maps,
) -> Result<Node, ExpressionFault> {
    let tokens = tokens(source, within.clone())?;
    if tokens.len() > LONGEST {
        return Err(too_big(within));
    }
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
        maps,
    };
    if parser.peek() == &Token::End {
        return Err(ExpressionFault::new(within, "an expression is missing"));
    }
    let node = parser.expression()?;
    match parser.peek() {
        Token::End if node.depth() > DEEPEST => Err(too_big(within)),
        Token::End => Ok(node),
        _ => Err(parser.unexpected()),
    }
}

fn too_big(range: Range<usize>) -> ExpressionFault {
    ExpressionFault::new(
        range,
        format!("the expression is longer than {LONGEST} words or nests more than {DEEPEST} deep"),
    )
    .hint("compute it in the query")
}

struct Parser<'a> {
    tokens: Vec<Placed>,
    next: usize,
    depth: usize,
    maps: &'a Maps,
}

type Parsed = Result<Node, ExpressionFault>;

const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn range(&self) -> Range<usize> {
        self.tokens[self.next].range.clone()
    }

    fn take(&mut self) -> Placed {
        let placed = self.tokens[self.next].clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        placed
    }

    /// Takes the next token if it is this symbol or this word.
    fn takes(&mut self, wanted: &str) -> bool {
        let is = match self.peek() {
            Token::Symbol(symbol) => *symbol == wanted,
            Token::Name(name) => name == wanted,
            _ => false,
        };
        if is {
            self.take();
        }
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<usize, ExpressionFault> {
        let end = self.range().end;
        if self.takes(symbol) {
            Ok(end)
        } else {
            let fault = self.unexpected();
            Err(match fault.hint {
                None => fault.hint(format!("`{symbol}` is expected here")),
                Some(_) => fault,
            })
        }
    }

    fn unexpected(&self) -> ExpressionFault {
        let (message, hint) = match self.peek() {
            Token::End => ("the expression ends too early".to_owned(), None),
            Token::Symbol("&&") => ("unexpected `&&`".to_owned(), Some("write `and`")),
            Token::Symbol("||") => ("unexpected `||`".to_owned(), Some("write `or`")),
            Token::Symbol(symbol) => (format!("unexpected `{symbol}`"), None),
            Token::Name(name) => (format!("unexpected `{name}`"), None),
            Token::Text(_) => ("unexpected text".to_owned(), None),
            Token::Number(number) => (format!("unexpected `{number}`"), None),
        };
        let fault = ExpressionFault::new(self.range(), message);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(too_big(self.range()));
        }
        let then = self.or()?;
        let node = if self.takes("if") {
            let test = self.or()?;
            let otherwise = if self.takes("else") {
                Some(Box::new(self.expression()?))
            } else {
                None
            };
            let end = otherwise
                .as_ref()
                .map_or(test.range.end, |node| node.range.end);
            Node {
                range: then.range.start..end,
                kind: Kind::If {
                    test: Box::new(test),
                    then: Box::new(then),
                    otherwise,
                },
            }
        } else {
            then
        };
        self.depth -= 1;
        Ok(node)
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.takes("or") {
            let right = self.and()?;
            left = join(left, right, Kind::Or);
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.negation()?;
        while self.takes("and") {
            let right = self.negation()?;
            left = join(left, right, Kind::And);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed {
        let mut starts = Vec::new();
        let mut start = self.range().start;
        while self.takes("not") {
            starts.push(start);
            start = self.range().start;
        }
        let node = self.comparison()?;
        Ok(starts.into_iter().rev().fold(node, |node, start| Node {
            range: start..node.range.end,
            kind: Kind::Not(Box::new(node)),
        }))
    }

    fn comparison(&mut self) -> Parsed {
        const COMPARISONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
        let left = self.concatenation()?;
        let node = match self.peek().clone() {
            Token::Symbol(symbol) if COMPARISONS.contains(&symbol) => {
                self.take();
                let right = self.concatenation()?;
                join(left, right, |left, right| Kind::Binary(symbol, left, right))
            }
            Token::Name(name) if name == "in" || name == "not" => {
                let negated = self.takes("not");
                self.expect("in")?;
                let right = self.concatenation()?;
                negate_if(negated, join(left, right, Kind::In))
            }
            Token::Name(name) if name == "is" => {
                self.take();
                self.test(left)?
            }
            _ => return Ok(left),
        };
        match self.peek() {
            Token::Symbol(symbol) if COMPARISONS.contains(symbol) => Err(ExpressionFault::new(
                self.range(),
                "comparisons do not chain",
            )
            .hint("write `a < b and b < c`")),
            _ => Ok(node),
        }
    }

    /// `is none`, `is not null`, `is defined`: what can be asked about NULL.
    fn test(&mut self, value: Node) -> Parsed {
        let negated = self.takes("not");
        let Placed { token, range } = self.take();
        let about_null = match &token {
            Token::Name(name) => match name.to_ascii_lowercase().as_str() {
                "none" | "null" => Some(true),
                "defined" => Some(false),
                _ => None,
            },
            _ => None,
        };
        let Some(null) = about_null else {
            return Err(ExpressionFault::new(range, "unknown test after `is`")
                .hint("there are `is null`, `is none` and `is defined`; compare with `==`"));
        };
        let start = value.range.start;
        let node = Node {
            range: start..range.end,
            kind: Kind::IsNull(Box::new(value)),
        };
        Ok(negate_if(negated == null, node))
    }

    fn concatenation(&mut self) -> Parsed {
        self.chain(&["~"], Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&["*", "/", "//", "%"], Self::signed)
    }

    fn chain(&mut self, symbols: &[&str], operand: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = operand(self)?;
        loop {
            match *self.peek() {
                Token::Symbol(symbol) if symbols.contains(&symbol) => {
                    self.take();
                    let right = operand(self)?;
                    left = join(left, right, |left, right| Kind::Binary(symbol, left, right));
                }
                _ => return Ok(left),
            }
        }
    }

    fn signed(&mut self) -> Parsed {
        let start = self.range().start;
        if self.takes("-") {
            let inner = self.postfix()?;
            return Ok(Node {
                range: start..inner.range.end,
                kind: Kind::Negate(Box::new(inner)),
            });
        }
        self.postfix()
    }
}

fn join(left: Node, right: Node, kind: impl FnOnce(Box<Node>, Box<Node>) -> Kind) -> Node {
    Node {
        range: left.range.start..right.range.end,
        kind: kind(Box::new(left), Box::new(right)),
    }
}

fn negate_if(negated: bool, node: Node) -> Node {
    if negated {
        Node {
            range: node.range.clone(),
            kind: Kind::Not(Box::new(node)),
        }
    } else {
        node
    }
}
