//! The rules in words, for those who write campaigns and do not read the definition.

use jiff::{SignedDuration, Timestamp};

use super::{Color, Rule, RuleError, Rules, Sender, due::Look, rule::Moment};
use crate::{
    data::DataMap,
    expression::{Expression, Scope, Template},
    record::{Record, User},
};

impl Rules {
    /// When an event of this rule goes out, one sentence each.
    pub fn words(&self, rule: &Rule) -> Vec<String> {
        let mut words = vec![rule.moment_in_words()];
        if let Some(when) = &rule.when {
            words.push(format!("only once `{}` is true", when.source()));
        }
        if let Some(group) = &rule.group {
            words.push(format!(
                "not if a later event of the group `{group}` has happened by then"
            ));
        }
        if !rule.delay.is_zero() {
            words.push(format!("not before {} have passed", span(rule.delay)));
        }
        for gate in [&self.gate, &rule.gate] {
            for (guard, said) in [
                (&gate.require, "only to people of whom `{}` is true"),
                (&gate.exclude, "never to people of whom `{}` is true"),
                (&gate.after, "to nobody before `{}`"),
            ] {
                if let Some(guard) = guard {
                    words.push(said.replace("{}", guard.source()));
                }
            }
        }
        if self.sender == Sender::Shared {
            words.push(format!(
                "{} after it happened, and only if the app has not told Crisp by then",
                span(self.grace)
            ));
        }
        if let Some(gap) = rule.min_gap.filter(|gap| !gap.is_zero()) {
            words.push(format!("at most one to an address within {}", span(gap)));
        }
        words.push(format!(
            "never when it is older than {}",
            span(rule.max_age)
        ));
        words
    }

    /// The data that an event of this rule would carry for a user, without our own two keys; of a rule with a query, for the
    /// last of `rows`. `None` where there is no such row.
    pub fn example(
        &self,
        rule: &Rule,
        user: &User,
        rows: &[Record],
        now: Timestamp,
    ) -> Result<Option<DataMap>, RuleError> {
        let row = rows.last();
        if rule.has_query && row.is_none() {
            return Ok(None);
        }
        let look = Look {
            rules: self,
            rule,
            scope: Scope {
                user,
                now,
                row: row.filter(|_| rule.has_query),
            },
        };
        look.data().map(Some)
    }
}

impl Rule {
    /// Its colour.
    pub const fn color(&self) -> Color {
        self.color
    }

    /// The keys of its data, with the templates as they are written.
    pub fn data_sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data
            .iter()
            .map(|(key, template)| (key.as_str(), Template::source(template)))
    }

    fn moment_in_words(&self) -> String {
        match &self.moment {
            Moment::OnChange { value, first: None } => format!(
                "when `{}` changes; the first value that is seen is no change",
                value.source()
            ),
            Moment::OnChange {
                value,
                first: Some(first),
            } => format!(
                "when `{}` changes; the first value that is seen counts from `{}`",
                value.source(),
                first.source()
            ),
            Moment::At { at, id } if self.has_query => {
                let apart = id.as_ref().map(Expression::source);
                let apart = apart.map_or_else(String::new, |id| format!(", told apart by `{id}`"));
                format!(
                    "once for each row of the rule's query, at `{}`{apart}",
                    at.source()
                )
            }
            Moment::At { at, id: None } => format!("at `{}`", at.source()),
            Moment::At { at, id: Some(id) } => format!(
                "at `{}`, once for each value of `{}`",
                at.source(),
                id.source()
            ),
        }
    }
}

/// A length of time as people say it.
pub fn span(period: SignedDuration) -> String {
    let seconds = period.as_secs();
    let (number, unit) = match seconds {
        _ if seconds > 0 && seconds % 86_400 == 0 => (seconds / 86_400, "day"),
        _ if seconds > 0 && seconds % 3_600 == 0 => (seconds / 3_600, "hour"),
        _ if seconds > 0 && seconds % 60 == 0 => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_said_in_their_largest_whole_unit() {
        for (seconds, said) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (90, "90 seconds"),
            (600, "10 minutes"),
            (86_400, "1 day"),
            (90_000, "25 hours"),
            (259_200, "3 days"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), said);
        }
    }
}
