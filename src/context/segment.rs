//! One segment rule: a name, with placeholders or without, and a condition.
//!
//! A rendered segment is one line, without blanks at its ends, cut to the longest value; its case stays. It exists only as a
//! whole: a NULL or blank placeholder makes no segment, so `plan-` alone never appears.

use super::{Fault, limits};
use crate::expression::{EvalError, Expression, Language, Scope, Template, markdown};

/// How many literal characters a segment with placeholders starts with: they are what we own, and `p…` would own too much.
const SHORTEST_PREFIX: usize = 3;

#[derive(Debug, Clone)]
pub(super) struct Segment {
    name: Template,
    when: Expression,
    pub(super) reach: Reach,
}

/// What a rule owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// This very segment.
    Whole(String),
    /// Every segment that starts so.
    Prefix(String),
}

impl Segment {
    pub(super) fn compile(
        name: &str,
        when: &str,
        language: &Language,
        longest: usize,
    ) -> Result<Self, Vec<Fault>> {
        let path = || ["context", "segments", name];
        let mut faults = Vec::new();
        let template = language
            .template(name)
            .map_err(|fault| fault.at(path()).on_key())
            .and_then(|template| {
                let reach = reach(&template, longest)
                    .map_err(|(message, hint)| Fault::new(path(), message).on_key().hint(hint))?;
                Ok((template, reach))
            })
            .map_err(|fault| faults.push(fault))
            .ok();
        let when = language
            .expression(when)
            .map_err(|fault| faults.push(fault.at(path())))
            .ok();
        match (template, when) {
            (Some((name, reach)), Some(when)) => Ok(Self { name, when, reach }),
            _ => Err(faults),
        }
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = String> {
        self.name_columns().into_iter().chain(self.when_columns())
    }

    pub(super) fn name_columns(&self) -> std::collections::BTreeSet<String> {
        self.name.columns()
    }

    pub(super) fn when_columns(&self) -> std::collections::BTreeSet<String> {
        self.when.columns()
    }

    /// The segment, if the user has it.
    pub(super) fn render(
        &self,
        scope: &Scope<'_>,
        longest: usize,
    ) -> Result<Option<String>, EvalError> {
        if !self.when.truth(scope)? {
            return Ok(None);
        }
        Ok(self
            .name
            .plain_text(scope)?
            .map(|text| limits::shorten(&markdown::one_line(&text), longest)))
    }
}

fn reach(template: &Template, longest: usize) -> Result<Reach, (String, &'static str)> {
    if template.makes_links() {
        return Err((
            "a segment is plain text".to_owned(),
            "links belong into data with `target = \"contact\"`",
        ));
    }
    let literal = template.literal_prefix();
    let mut prefix = markdown::one_line(literal);
    let length = prefix.chars().count();
    if template.is_literal() {
        return if prefix.is_empty() {
            Err(("a segment is empty".to_owned(), "give it a name"))
        } else if length > longest {
            Err((
                format!("a segment has at most {longest} characters"),
                "shorten it",
            ))
        } else {
            Ok(Reach::Whole(prefix))
        };
    }
    if length < SHORTEST_PREFIX {
        return Err((
            format!(
                "a segment with a placeholder starts with at least {SHORTEST_PREFIX} literal characters"
            ),
            "every segment that starts so is ours to remove; write it like `plan-{{ plan }}`",
        ));
    }
    if length >= longest {
        return Err((
            format!("a segment has at most {longest} characters"),
            "shorten it",
        ));
    }
    if literal.ends_with(char::is_whitespace) {
        prefix.push(' ');
    }
    Ok(Reach::Prefix(prefix))
}
