//! Text with placeholders.
//!
//! A template is cut at `{{` and `}}` by us, so that a lone placeholder keeps its type and each value is escaped where it
//! enters. Statements (`{% … %}`) and comments are refused.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use super::{
    Maps,
    error::{EvalError, EvalErrorKind, Failure},
    evaluate::{Datum, evaluate},
    fault::ExpressionFault,
    markdown::{self, Piece},
    node::Node,
    number, parse,
    scope::Scope,
};
use crate::{data::DataValue, record::Value};

/// Compiled text with placeholders.
#[derive(Debug, Clone)]
pub struct Template {
    source: Arc<str>,
    parts: Vec<Part>,
    maps: Arc<Maps>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(Range<usize>),
    Placeholder(Node),
}

impl Template {
    pub(super) fn compile(source: &str, maps: &Arc<Maps>) -> Result<Self, ExpressionFault> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = source[at..].find("{{").map(|found| at + found) {
            literal(source, at..open, &mut parts)?;
            let inside = open + 2;
            let close = end_of_placeholder(source, inside)
                .ok_or_else(|| ExpressionFault::new(open..source.len(), "`{{` has no `}}`"))?;
            if source[..open].ends_with("](") {
                return Err(
                    ExpressionFault::new(open..close + 2, "a link is made of a value")
                        .hint("write `{{ link('label', url) }}`: it checks the address"),
                );
            }
            parts.push(Part::Placeholder(parse::parse(
                source,
                inside..close,
                maps,
            )?));
            at = close + 2;
        }
        literal(source, at..source.len(), &mut parts)?;
        Ok(Self {
            source: Arc::from(source),
            parts,
            maps: Arc::clone(maps),
        })
    }

    /// The data value: typed if the template is one placeholder, otherwise text. NULL is "absent".
    pub fn value(&self, scope: &Scope<'_>) -> Result<DataValue, EvalError> {
        Ok(self.value_opt(scope)?.unwrap_or_else(DataValue::absent))
    }

    /// The data value, or `None` where it is NULL or blank.
    pub fn value_opt(&self, scope: &Scope<'_>) -> Result<Option<DataValue>, EvalError> {
        if let [Part::Placeholder(node)] = self.parts.as_slice() {
            let datum = self.worth(node, scope)?;
            return data(&datum).map_err(|kind| self.error(node, kind));
        }
        let text = self.text(scope)?;
        Ok((!text.is_empty()).then_some(DataValue::Text(text)))
    }

    /// The text, values escaped for Markdown, blanks at the ends cut off.
    pub fn text(&self, scope: &Scope<'_>) -> Result<String, EvalError> {
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            pieces.push(match part {
                Part::Literal(range) => Piece::Markdown(self.source[range.clone()].into()),
                Part::Placeholder(node) => {
                    let datum = self.worth(node, scope)?;
                    piece(&datum).map_err(|kind| self.error(node, kind))?
                }
            });
        }
        Ok(markdown::compose(&pieces))
    }

    /// The text without escaping, for places that know no Markdown: segments, names. `None` as soon as one placeholder is
    /// NULL or blank, so that half a name never appears.
    pub fn plain_text(&self, scope: &Scope<'_>) -> Result<Option<String>, EvalError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(range) => text.push_str(&self.source[range.clone()]),
                Part::Placeholder(node) => {
                    let datum = self.worth(node, scope)?;
                    let value =
                        markdown::one_line(&printable(&datum).map_or_else(
                            |kind| Err(self.error(node, kind)),
                            |()| Ok(datum.text()),
                        )?);
                    if value.is_empty() {
                        return Ok(None);
                    }
                    text.push_str(&value);
                }
            }
        }
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// What stands before the first placeholder.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(range)) => &self.source[range.clone()],
            _ => "",
        }
    }

    /// Whether it has no placeholder.
    pub fn is_literal(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
    }

    /// Whether it can make a link.
    pub fn makes_links(&self) -> bool {
        self.nodes().any(Node::makes_links)
    }

    /// What was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The columns it reads: `plan`, and `billing.amount` for a further look-up or an event row.
    pub fn columns(&self) -> BTreeSet<String> {
        self.nodes().flat_map(Node::columns).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(node) => Some(node),
            Part::Literal(_) => None,
        })
    }

    fn worth(&self, node: &Node, scope: &Scope<'_>) -> Result<Datum, EvalError> {
        evaluate(node, scope, &self.maps).map_err(|failure| failure.of(&self.source))
    }

    fn error(&self, node: &Node, kind: EvalErrorKind) -> EvalError {
        Failure {
            range: node.range.clone(),
            kind,
        }
        .of(&self.source)
    }
}

/// Keeps literal text, and refuses what looks like the rest of a template language.
fn literal(
    source: &str,
    range: Range<usize>,
    parts: &mut Vec<Part>,
) -> Result<(), ExpressionFault> {
    let text = &source[range.clone()];
    for (mark, message, hint) in [
        (
            "{%",
            "there are no statements",
            "write `{{ a if b else c }}`, or use `when`",
        ),
        (
            "{#",
            "there are no comments",
            "comment in the file with `#`",
        ),
        ("}}", "`}}` has no `{{`", "write `{{ … }}`"),
    ] {
        if let Some(found) = text.find(mark) {
            let start = range.start + found;
            return Err(ExpressionFault::new(start..start + mark.len(), message).hint(hint));
        }
    }
    if !text.is_empty() {
        parts.push(Part::Literal(range));
    }
    Ok(())
}

/// Where the `}}` of a placeholder starts; one inside quotes does not count.
fn end_of_placeholder(source: &str, start: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let mut quote = None;
    let mut at = start;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'\'' | b'"')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn data(datum: &Datum) -> Result<Option<DataValue>, EvalErrorKind> {
    Ok(match datum {
        Datum::Value(Value::Null) => None,
        Datum::Value(Value::Bool(value)) => Some(DataValue::Bool(*value)),
        Datum::Value(Value::Int(value)) => Some(number::integer_data(*value)),
        Datum::Value(Value::Decimal(text)) => Some(number::decimal_data(text)),
        _ => {
            let text = markdown::compose(&[piece(datum)?]);
            (!text.is_empty()).then_some(DataValue::Text(text))
        }
    })
}

/// A value inside Markdown.
fn piece(datum: &Datum) -> Result<Piece<'static>, EvalErrorKind> {
    printable(datum)?;
    Ok(match datum {
        Datum::Value(Value::Text(text)) => Piece::Text(text.clone().into()),
        _ => Piece::Markdown(datum.text().into()),
    })
}

fn printable(datum: &Datum) -> Result<(), EvalErrorKind> {
    match datum {
        Datum::Value(Value::Json(_)) => Err(EvalErrorKind::Unfit(
            "Crisp keeps no JSON lists or objects; take one field of it",
        )),
        Datum::List(_) => Err(EvalErrorKind::Unfit(
            "Crisp keeps no lists; write `… | join(', ')`",
        )),
        _ => Ok(()),
    }
}
