//! Gives an expression its value for one user.
//!
//! NULL goes through arithmetic and tools as in SQL; it is equal to NULL alone, and no comparison with it holds.

use std::cmp::Ordering;

use super::{
    Maps,
    error::{EvalErrorKind, Failure},
    node::{Kind, Node},
    number,
    scope::{self, Scope},
    tools::Surroundings,
};
use crate::record::Value;

/// What a part of an expression is worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    /// A value of a column, or one computed from such. JSON is a list or an object.
    Value(Value),
    /// Finished Markdown: what `link` makes.
    Markup(String),
    /// Several values.
    List(Vec<Value>),
}

impl From<Value> for Datum {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Datum {
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Markup(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Value(value) => match value {
                Value::Null => false,
                Value::Bool(value) => *value,
                Value::Int(value) => *value != 0,
                Value::Decimal(text) => number::parse(text).is_none_or(|value| !value.is_zero()),
                Value::Text(text) => !text.is_empty(),
                Value::Instant(_) | Value::Date(_) => true,
                Value::Json(json) => match json {
                    serde_json::Value::Array(items) => !items.is_empty(),
                    serde_json::Value::Object(fields) => !fields.is_empty(),
                    // A scalar is never kept as JSON: `scope` types it.
                    _ => true,
                },
            },
        }
    }

    /// The value; finished Markdown is text, several values are a JSON list.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Value(value) => value,
            Self::Markup(text) => Value::Text(text),
            Self::List(values) => Value::Json(
                values
                    .iter()
                    .map(|value| serde_json::Value::String(scope::text(value)))
                    .collect(),
            ),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Value(value) => scope::kind(value),
            Self::Markup(_) => "a link",
            Self::List(_) => "a list",
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Value(Value::Null))
    }

    /// The value as text.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Value(value) => scope::text(value),
            Self::Markup(text) => text.clone(),
            Self::List(values) => values
                .iter()
                .map(scope::text)
                .collect::<Vec<_>>()
                .join(", "),
        }
    }
}

pub(super) fn evaluate(node: &Node, scope: &Scope<'_>, maps: &Maps) -> Result<Datum, Failure> {
    let worth = |node: &Node| evaluate(node, scope, maps);
    let fails = |kind: EvalErrorKind| Failure {
        range: node.range.clone(),
        kind,
    };
    let truth = |value: bool| Ok(Datum::Value(Value::Bool(value)));
    match &node.kind {
        Kind::Constant(value) => Ok(value.clone().into()),
        Kind::Path(path) => scope.look_up(path).map_err(fails),
        Kind::List(items) => items
            .iter()
            .map(|item| worth(item).map(Datum::into_value))
            .collect::<Result<_, _>>()
            .map(Datum::List),
        Kind::Index(of, index) => self::index(&worth(of)?, &worth(index)?).map_err(fails),
        Kind::Not(inner) => truth(!worth(inner)?.is_true()),
        Kind::Negate(inner) => {
            arithmetic("-", &Value::Int(0).into(), &worth(inner)?).map_err(fails)
        }
        Kind::And(left, right) => {
            let left = worth(left)?;
            if left.is_true() {
                worth(right)
            } else {
                Ok(left)
            }
        }
        Kind::Or(left, right) => {
            let left = worth(left)?;
            if left.is_true() {
                Ok(left)
            } else {
                worth(right)
            }
        }
        Kind::Binary(operator, left, right) => {
            binary(operator, &worth(left)?, &worth(right)?).map_err(fails)
        }
        Kind::In(item, within) => {
            contains(&worth(within)?, &worth(item)?).map_or_else(|kind| Err(fails(kind)), truth)
        }
        Kind::IsNull(inner) => truth(worth(inner)?.is_null()),
        Kind::If {
            test,
            then,
            otherwise,
        } => {
            if worth(test)?.is_true() {
                worth(then)
            } else {
                otherwise
                    .as_ref()
                    .map_or(Ok(Value::Null.into()), |otherwise| worth(otherwise))
            }
        }
        Kind::Call(tool, arguments) => {
            let arguments = arguments.iter().map(worth).collect::<Result<Vec<_>, _>>()?;
            let surroundings = Surroundings {
                now: scope.now,
                maps,
            };
            (tool.run)(&arguments, &surroundings).map_err(|reason| {
                fails(EvalErrorKind::Tool {
                    tool: tool.name,
                    reason,
                })
            })
        }
    }
}

fn binary(operator: &'static str, left: &Datum, right: &Datum) -> Result<Datum, EvalErrorKind> {
    let holds = |test: fn(Ordering) -> bool| {
        if left.is_null() || right.is_null() {
            return Ok(Value::Bool(false).into());
        }
        compare(operator, left, right).map(|order| Value::Bool(test(order)).into())
    };
    match operator {
        "==" => equal(operator, left, right).map(|equal| Value::Bool(equal).into()),
        "!=" => equal(operator, left, right).map(|equal| Value::Bool(!equal).into()),
        "<" => holds(Ordering::is_lt),
        "<=" => holds(Ordering::is_le),
        ">" => holds(Ordering::is_gt),
        ">=" => holds(Ordering::is_ge),
        "~" => Ok(Value::Text(left.text() + &right.text()).into()),
        _ => arithmetic(operator, left, right),
    }
}

fn equal(operator: &'static str, left: &Datum, right: &Datum) -> Result<bool, EvalErrorKind> {
    if left.is_null() || right.is_null() {
        return Ok(left.is_null() && right.is_null());
    }
    compare(operator, left, right).map(Ordering::is_eq)
}

/// Compares what can be compared. Text that meets a moment is read as one; a boolean that meets a number is 0 or 1, because
/// some databases have no booleans. Anything else is a mistake in the definition and said so.
fn compare(operator: &'static str, left: &Datum, right: &Datum) -> Result<Ordering, EvalErrorKind> {
    let mismatch = || EvalErrorKind::Mismatch {
        operator,
        left: left.kind(),
        right: right.kind(),
    };
    let (Datum::Value(one), Datum::Value(other)) = (left, right) else {
        return Err(mismatch());
    };
    let is_moment = |value: &Value| matches!(value, Value::Instant(_) | Value::Date(_));
    let order = match (one, other) {
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        _ if is_moment(one) || is_moment(other) => number::instant(one)
            .zip(number::instant(other))
            .map(|(one, other)| one.cmp(&other)),
        _ => number::decimal(one)
            .zip(number::decimal(other))
            .map(|(one, other)| one.cmp(&other)),
    };
    order.ok_or_else(mismatch)
}

fn arithmetic(operator: &'static str, left: &Datum, right: &Datum) -> Result<Datum, EvalErrorKind> {
    if left.is_null() || right.is_null() {
        return Ok(Value::Null.into());
    }
    let operand = |datum: &Datum| match datum {
        Datum::Value(value @ (Value::Int(_) | Value::Decimal(_))) => number::decimal(value),
        _ => None,
    };
    let (Some(one), Some(other)) = (operand(left), operand(right)) else {
        return Err(EvalErrorKind::Mismatch {
            operator,
            left: left.kind(),
            right: right.kind(),
        });
    };
    let result = match operator {
        "+" => one.checked_add(other),
        "-" => one.checked_sub(other),
        "*" => one.checked_mul(other),
        // Nothing divided among nobody is nothing known, as in MySQL and SQLite.
        _ if other.is_zero() => return Ok(Value::Null.into()),
        "/" => one.checked_div(other).map(|quotient| quotient.normalize()),
        "//" => one.checked_div(other).map(|quotient| quotient.floor()),
        _ => one.checked_rem(other),
    };
    result
        .map(|result| number::value(result).into())
        .ok_or(EvalErrorKind::Unfit("the number is beyond 28 digits"))
}

pub(super) fn contains(within: &Datum, item: &Datum) -> Result<bool, EvalErrorKind> {
    if within.is_null() || item.is_null() {
        return Ok(false);
    }
    let is_item = |value: &Value| equal("in", &Datum::Value(value.clone()), item).unwrap_or(false);
    match (within, item) {
        (Datum::List(values), _) => Ok(values.iter().any(is_item)),
        (Datum::Value(Value::Json(serde_json::Value::Array(values))), _) => Ok(values
            .iter()
            .map(scope::from_json)
            .any(|value| is_item(&value))),
        (Datum::Value(Value::Json(serde_json::Value::Object(fields))), _) => {
            Ok(fields.contains_key(&item.text()))
        }
        (Datum::Value(Value::Text(text)), Datum::Value(Value::Text(part))) => {
            Ok(text.contains(part.as_str()))
        }
        _ => Err(EvalErrorKind::Mismatch {
            operator: "in",
            left: item.kind(),
            right: within.kind(),
        }),
    }
}

fn index(of: &Datum, index: &Datum) -> Result<Datum, EvalErrorKind> {
    let place = match index {
        Datum::Value(Value::Int(place)) => usize::try_from(*place).ok(),
        _ => None,
    };
    match (of, index) {
        _ if of.is_null() || index.is_null() => Ok(Value::Null.into()),
        (Datum::List(values), Datum::Value(Value::Int(_))) => Ok(place
            .and_then(|place| values.get(place))
            .cloned()
            .unwrap_or(Value::Null)
            .into()),
        (Datum::Value(Value::Json(json)), Datum::Value(Value::Int(_))) => Ok(place
            .and_then(|place| json.get(place))
            .map_or(Value::Null, scope::from_json)
            .into()),
        (Datum::Value(Value::Json(json)), Datum::Value(Value::Text(name))) => {
            Ok(json.get(name).map_or(Value::Null, scope::from_json).into())
        }
        _ => Err(EvalErrorKind::Mismatch {
            operator: "[]",
            left: of.kind(),
            right: index.kind(),
        }),
    }
}
