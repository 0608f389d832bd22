//! What operators stand between: constants, paths, lists, calls of tools, and what follows them.

use std::ops::Range;

use super::{
    super::{
        fault::{ExpressionFault, nearest},
        node::{Kind, Node},
        token::Token,
        tools,
    },
    KEYWORDS, Parsed, Parser,
};
use crate::record::Value;

impl Parser<'_> {
    pub(super) fn postfix(&mut self) -> Parsed {
        let mut node = self.primary()?;
        loop {
            let start = node.range.start;
            if self.takes(".") {
                node = self.attribute(node)?;
            } else if self.takes("[") {
                let index = self.expression()?;
                let end = self.expect("]")?;
                node = Node {
                    range: start..end,
                    kind: Kind::Index(Box::new(node), Box::new(index)),
                };
            } else if self.takes("|") {
                let (name, range) = self.name()?;
                let mut end = range.end;
                let mut arguments = vec![node];
                if self.takes("(") {
                    end = self.arguments(&mut arguments, ")")?;
                }
                node = self.call(&name, range, arguments, start..end)?;
            } else {
                return Ok(node);
            }
        }
    }

    fn attribute(&mut self, node: Node) -> Parsed {
        let (name, range) = self.name()?;
        if self.peek() == &Token::Symbol("(") {
            return Err(ExpressionFault::new(range, "there are no methods")
                .hint(format!("write `… | {name}`")));
        }
        let whole = node.range.start..range.end;
        match node.kind {
            Kind::Path(mut path) => {
                path.push(name);
                Ok(Node {
                    range: whole,
                    kind: Kind::Path(path),
                })
            }
            kind => Ok(Node {
                range: whole,
                kind: Kind::Index(
                    Box::new(Node {
                        range: node.range,
                        kind,
                    }),
                    Box::new(Node {
                        range,
                        kind: Kind::Constant(Value::Text(name)),
                    }),
                ),
            }),
        }
    }

    fn name(&mut self) -> Result<(String, Range<usize>), ExpressionFault> {
        match self.peek().clone() {
            Token::Name(name) => Ok((name, self.take().range)),
            _ => Err(self.unexpected().hint("a name is expected here")),
        }
    }

    fn primary(&mut self) -> Parsed {
        let range = self.range();
        let kind = match self.peek().clone() {
            Token::Number(number) => {
                Kind::Constant(number.parse().map_or(Value::Decimal(number), Value::Int))
            }
            Token::Text(text) => Kind::Constant(Value::Text(text)),
            Token::Symbol("(") => {
                self.take();
                let inner = self.expression()?;
                let end = self.expect(")")?;
                return Ok(Node {
                    range: range.start..end,
                    kind: inner.kind,
                });
            }
            Token::Symbol("[") => {
                self.take();
                let mut items = Vec::new();
                let end = self.arguments(&mut items, "]")?;
                return Ok(Node {
                    range: range.start..end,
                    kind: Kind::List(items),
                });
            }
            Token::Name(name) if KEYWORDS.contains(&name.as_str()) => {
                return Err(self.unexpected());
            }
            Token::Name(name) => match name.as_str() {
                "true" | "True" => Kind::Constant(Value::Bool(true)),
                "false" | "False" => Kind::Constant(Value::Bool(false)),
                "none" | "None" | "null" => Kind::Constant(Value::Null),
                _ => {
                    self.take();
                    if self.takes("(") {
                        let mut arguments = Vec::new();
                        let end = self.arguments(&mut arguments, ")")?;
                        return self.call(&name, range.clone(), arguments, range.start..end);
                    }
                    return Ok(Node {
                        range,
                        kind: Kind::Path(vec![name]),
                    });
                }
            },
            _ => return Err(self.unexpected()),
        };
        self.take();
        Ok(Node { range, kind })
    }

    /// Expressions up to `close`; the end of that symbol.
    fn arguments(&mut self, into: &mut Vec<Node>, close: &str) -> Result<usize, ExpressionFault> {
        loop {
            let end = self.range().end;
            if self.takes(close) {
                return Ok(end);
            }
            into.push(self.expression()?);
            if !self.takes(",") {
                return self.expect(close);
            }
        }
    }

    fn call(
        &self,
        name: &str,
        named: Range<usize>,
        arguments: Vec<Node>,
        range: Range<usize>,
    ) -> Parsed {
        let Some(tool) = tools::find(name) else {
            let fault = ExpressionFault::new(named, format!("unknown tool `{name}`"));
            return Err(match nearest(name, tools::names()) {
                Some(name) => fault.hint(format!("did you mean `{name}`?")),
                None => fault.hint(format!(
                    "there are {}",
                    tools::names().collect::<Vec<_>>().join(", ")
                )),
            });
        };
        if !(tool.least..=tool.most).contains(&arguments.len()) {
            return Err(
                ExpressionFault::new(range, format!("`{name}` is used as {}", tool.usage))
                    .hint(format!("`x | {name}(…)` counts `x` as the first argument")),
            );
        }
        if tool.name == "map" {
            self.known_map(&arguments[1])?;
        }
        Ok(Node {
            range,
            kind: Kind::Call(tool, arguments),
        })
    }

    fn known_map(&self, argument: &Node) -> Result<(), ExpressionFault> {
        let Kind::Constant(Value::Text(name)) = &argument.kind else {
            return Err(ExpressionFault::new(
                argument.range.clone(),
                "the name of a map is written as text",
            )
            .hint("`plan | map('plan')`"));
        };
        if self.maps.contains_key(name) {
            return Ok(());
        }
        let fault = ExpressionFault::new(argument.range.clone(), format!("no map `{name}`"));
        Err(match nearest(name, self.maps.keys().map(String::as_str)) {
            Some(name) => fault.hint(format!("did you mean `{name}`?")),
            None => fault.hint(format!("define `[maps.{name}]`")),
        })
    }
}
