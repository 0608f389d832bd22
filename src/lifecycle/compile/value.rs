//! What a single value of the table may be, and what is said of one that it may not.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    super::{Color, Share, limits, period},
    Compiler, Path, full,
};
use crate::{
    expression::{Expression, ExpressionFault, Template, nearest},
    ids::Email,
};

impl Compiler<'_> {
    pub(super) fn name(&mut self, path: Path<'_>, name: &str) {
        let length = name.chars().count();
        if name.trim().is_empty() {
            self.fault(path, "the name is empty").hint =
                Some("for example `user:subscription:canceled`".to_owned());
        } else if name.trim() != name || name.chars().any(char::is_control) {
            self.fault(
                path,
                "the name begins or ends with a blank, or holds a control character",
            )
            .hint = Some("campaigns match it letter by letter".to_owned());
        }
        if length > limits::TEXT_CHARS {
            let start = name
                .char_indices()
                .nth(limits::TEXT_CHARS)
                .map_or(name.len(), |(at, _)| at);
            self.fault(
                path,
                format!(
                    "the name has {length} characters; Crisp takes {}",
                    limits::TEXT_CHARS
                ),
            )
            .range = Some(start..name.len());
        }
    }

    pub(super) fn color(&mut self, path: Path<'_>, text: Option<&str>) -> Option<Color> {
        let Some(text) = text else {
            return Some(Color::default());
        };
        let color = Color::parse(text);
        if color.is_none() {
            let names = Color::ALL.map(Color::as_str);
            let hint = nearest(text, names).map_or_else(
                || format!("one of {}", names.join(", ")),
                |name| format!("did you mean `{name}`?"),
            );
            self.fault(path, format!("Crisp knows no colour `{text}`"))
                .hint = Some(hint);
        }
        color
    }

    pub(super) fn data(
        &mut self,
        index: &str,
        source: &BTreeMap<String, String>,
    ) -> Vec<(String, Template)> {
        let ours = limits::OUR_KEYS.len();
        if source.len() + ours > limits::KEYS {
            let message = format!(
                "{} keys; Crisp takes {} and {ours} are ours",
                source.len(),
                limits::KEYS
            );
            self.fault(&["event", index, "data"], message).hint = Some(format!(
                "keep {}: beyond them Crisp drops the whole event",
                limits::KEYS - ours
            ));
        }
        let mut data = Vec::new();
        for (key, text) in source {
            let path = ["event", index, "data", key];
            if limits::OUR_KEYS.contains(&key.as_str()) {
                self.fault(
                    &path,
                    format!("`{key}` is ours: it tells occurrences apart"),
                )
                .on_key = true;
            } else if !limits::is_key(key) {
                self.fault(
                    &path,
                    format!("`{key}` is no key: Crisp takes 1 to 50 letters, digits, `_` and `-`"),
                )
                .on_key = true;
            }
            if let Some(template) = self.template(&path, text) {
                data.push((key.clone(), template));
            }
        }
        data
    }

    pub(super) fn testers(&mut self, source: &[String]) -> Vec<Email> {
        let mut testers = Vec::new();
        for (index, text) in source.iter().enumerate() {
            match Email::parse(text) {
                Ok(email) => testers.push(email),
                Err(error) => {
                    self.fault(&["testers", &index.to_string()], error.to_string())
                        .hint = Some("for example `you@yourcompany.com`".to_owned());
                }
            }
        }
        testers
    }

    pub(in super::super) fn period(
        &mut self,
        path: Path<'_>,
        text: &str,
    ) -> Option<SignedDuration> {
        match period::parse(text) {
            Ok(period) => Some(period),
            Err(message) => {
                let fault = self.fault(path, message);
                fault.range = Some(0..text.len());
                fault.hint = Some("for example `10m`, `24h`, `3d`".to_owned());
                None
            }
        }
    }

    pub(super) fn share(&mut self, path: Path<'_>, text: &str) -> Option<Share> {
        let share = Share::parse(text);
        if share.is_none() {
            let fault = self.fault(path, format!("`{}` is no part of a whole", text.trim()));
            fault.range = Some(0..text.len());
            fault.hint = Some("for example `2%` or `0.5%`, at most `100%`".to_owned());
        }
        share
    }

    pub(super) fn guard(&mut self, path: Path<'_>, text: Option<&str>) -> Option<Expression> {
        let compiled = self.language.expression(text?);
        self.compiled(path, compiled)
    }

    pub(super) fn template(&mut self, path: Path<'_>, text: &str) -> Option<Template> {
        let compiled = self.language.template(text);
        self.compiled(path, compiled)
    }

    fn compiled<T>(&mut self, path: Path<'_>, compiled: Result<T, ExpressionFault>) -> Option<T> {
        compiled
            .map_err(|fault| self.faults.push(fault.at(full(path))))
            .ok()
    }
}
