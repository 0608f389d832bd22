//! `require`, `exclude` and `after`: who gets events at all, and who gets one of them.

use jiff::Timestamp;

use super::{RuleError, Verdict, moment};
use crate::{
    expression::{Expression, Scope},
    record::User,
};

/// `require`, `exclude` and `after`: of all rules, or of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    pub(super) require: Option<Expression>,
    pub(super) exclude: Option<Expression>,
    pub(super) after: Option<Expression>,
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.expressions().next().is_none()
    }

    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        [&self.require, &self.exclude, &self.after]
            .into_iter()
            .flatten()
    }

    /// Evaluates it; `event` is the rule whose gate it is.
    pub(super) fn verdict(
        &self,
        event: Option<&str>,
        user: &User,
        now: Timestamp,
    ) -> Result<Verdict, RuleError> {
        let scope = Scope {
            user,
            now,
            row: None,
        };
        let failed = |part| move |source| RuleError::guard(event, part, source);
        let truth = |expression: &Option<Expression>, otherwise: bool, part| {
            expression.as_ref().map_or(Ok(otherwise), |expression| {
                expression.truth(&scope).map_err(failed(part))
            })
        };
        let not_before = match &self.after {
            None => None,
            Some(after) => {
                let value = after.value(&scope).map_err(failed("after"))?;
                match moment::instant(&value) {
                    Some(instant) => Some(instant),
                    None if after.truth(&scope).map_err(failed("after"))? => None,
                    None => Some(Timestamp::MAX),
                }
            }
        };
        Ok(Verdict {
            consent: truth(&self.require, true, "require")?,
            excluded: truth(&self.exclude, false, "exclude")?,
            not_before,
        })
    }
}
