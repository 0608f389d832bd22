//! Turns the table as written into rules, and collects everything that is wrong with it on the way. What a single value may be
//! stands in [`value`].

mod value;

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{Brake, LifecycleSource, Rule, RuleSource, Rules, gate::Gate, rule::Moment};
use crate::expression::{DefinitionFault, Language};

/// How old an occurrence may be where a rule does not say.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(72);

pub(super) struct Compiler<'a> {
    language: &'a Language,
    faults: Vec<DefinitionFault>,
}

/// A place below `[lifecycle]`.
pub(super) type Path<'a> = &'a [&'a str];

impl<'a> Compiler<'a> {
    pub(super) fn new(language: &'a Language) -> Self {
        Self {
            language,
            faults: Vec::new(),
        }
    }

    pub(super) fn rules(mut self, source: &LifecycleSource) -> Result<Rules, Vec<DefinitionFault>> {
        let gate = Gate {
            require: self.guard(&["require"], source.require.as_deref()),
            exclude: self.guard(&["exclude"], source.exclude.as_deref()),
            after: self.guard(&["after"], source.after.as_deref()),
        };
        let share = self.share(&["brake", "share"], &source.brake.share);
        let brake = Brake {
            per_hour: source.brake.per_hour,
            share: share.unwrap_or(Brake::default().share),
        };
        let grace = self.period(&["grace"], &source.grace);
        let quiet = self.period(&["quiet"], &source.quiet);
        let min_gap = self.period(&["min_gap"], &source.min_gap);
        let match_within = self.period(&["match_within"], &source.match_within);
        let sweep = self.sweep(&source.sweep);
        self.names(&source.event);
        let testers = self.testers(&source.testers);
        let rules: Vec<Option<Rule>> = source
            .event
            .iter()
            .enumerate()
            .map(|(index, rule)| self.rule(index, rule, min_gap, brake))
            .collect();
        let rules: Option<Vec<Rule>> = rules.into_iter().collect();
        match (grace, quiet, match_within, sweep, rules) {
            (Some(grace), Some(quiet), Some(match_within), Some(sweep), Some(rules))
                if self.faults.is_empty() =>
            {
                Ok(Rules {
                    sender: source.sender,
                    gate,
                    grace,
                    quiet,
                    match_within,
                    after_ambiguous: source.after_ambiguous,
                    create_contacts: source.create_contacts,
                    testers,
                    sweep,
                    list: rules,
                    answers_kept_for: SignedDuration::ZERO,
                })
            }
            _ => Err(self.faults),
        }
    }

    fn rule(
        &mut self,
        rank: usize,
        source: &RuleSource,
        min_gap: Option<SignedDuration>,
        brake: Brake,
    ) -> Option<Rule> {
        let index = &*rank.to_string();
        self.name(&["event", index, "name"], &source.name);
        let moment = self.moment(index, source);
        let when = self.guard(&["event", index, "when"], source.when.as_deref());
        let color = self.color(&["event", index, "color"], source.color.as_deref());
        let data = self.data(index, &source.data);
        let max_age = match &source.max_age {
            None => Some(MAX_AGE),
            Some(text) => self.max_age(index, text),
        };
        let delay = match &source.delay {
            None => Some(SignedDuration::ZERO),
            Some(text) => self.period(&["event", index, "delay"], text),
        };
        let gate = Gate {
            require: self.guard(&["event", index, "require"], source.require.as_deref()),
            exclude: self.guard(&["event", index, "exclude"], source.exclude.as_deref()),
            after: self.guard(&["event", index, "after"], source.after.as_deref()),
        };
        let share = match &source.brake.share {
            None => Some(brake.share),
            Some(text) => self.share(&["event", index, "brake", "share"], text),
        };
        let brake = Brake {
            per_hour: source.brake.per_hour.unwrap_or(brake.per_hour),
            share: share?,
        };
        let min_gap = match &source.min_gap {
            None if source.id.is_some() => None,
            None => min_gap,
            Some(text) => self.period(&["event", index, "min_gap"], text),
        };
        let subject = source
            .subject
            .as_deref()
            .and_then(|text| self.template(&["event", index, "subject"], text));
        for (part, text) in [("query", &source.query), ("group", &source.group)] {
            if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
                self.fault(&["event", index, part], format!("`{part}` is empty"))
                    .hint = Some("leave the line out".to_owned());
            }
        }
        Some(Rule {
            rank,
            name: source.name.clone(),
            former: source.renamed_from.clone(),
            moment: moment?,
            has_query: source.query.is_some(),
            when,
            group: source.group.clone(),
            color: color?,
            data,
            max_age: max_age?,
            delay: delay?,
            gate,
            brake,
            min_gap,
            subject,
        })
    }

    /// How old an occurrence may be when it is sent; none is sent the instant it happens.
    fn max_age(&mut self, index: &str, text: &str) -> Option<SignedDuration> {
        let path = ["event", index, "max_age"];
        let age = self.period(&path, text)?;
        if age.is_zero() {
            let message = format!(
                "`{}` leaves no time: every event expires unsent",
                text.trim()
            );
            self.fault(&path, message).hint =
                Some("how old it may be when it is sent, such as `3d`".to_owned());
            return None;
        }
        Some(age)
    }

    fn moment(&mut self, index: &str, source: &RuleSource) -> Option<Moment> {
        let at = self.guard(&["event", index, "at"], source.at.as_deref());
        let on_change = self.guard(&["event", index, "on_change"], source.on_change.as_deref());
        let id = self.guard(&["event", index, "id"], source.id.as_deref());
        let first = self.guard(&["event", index, "first"], source.first.as_deref());
        match (&source.at, &source.on_change) {
            (None, None) => {
                self.fault(&["event", index], "the rule has neither `at` nor `on_change`")
                    .hint = Some(
                    "`at = \"canceled_at\"` for a column that says when, `on_change = \"plan\"` for a value that changes"
                        .to_owned(),
                );
                return None;
            }
            (Some(_), Some(_)) => {
                let fault = self.fault(
                    &["event", index, "on_change"],
                    "the rule has `at` and `on_change`",
                );
                fault.on_key = true;
                fault.hint = Some(
                    "leave one out: `at` tells when it happened, `on_change` is for a value that has no time of its own"
                        .to_owned(),
                );
                return None;
            }
            (Some(_), None) => {
                if source.first.is_some() {
                    let fault =
                        self.fault(&["event", index, "first"], "`first` goes with `on_change`");
                    fault.on_key = true;
                    fault.hint = Some("`at` dates the first one, too".to_owned());
                }
            }
            (None, Some(_)) => {
                for (part, text) in [("query", &source.query), ("id", &source.id)] {
                    if text.is_some() {
                        let fault = self.fault(
                            &["event", index, part],
                            format!("`{part}` does not go with `on_change`"),
                        );
                        fault.on_key = true;
                        fault.hint = Some(
                            "a change is seen in the user's own row; use `at` for rows of a query"
                                .to_owned(),
                        );
                    }
                }
            }
        }
        match (at, on_change) {
            (Some(at), _) => Some(Moment::At { at, id }),
            (None, Some(value)) => Some(Moment::OnChange { value, first }),
            (None, None) => None,
        }
    }

    /// What has to be true of all names together.
    fn names(&mut self, rules: &[RuleSource]) {
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, rule) in rules.iter().enumerate() {
            if let Some(first) = taken.get(rule.name.as_str()) {
                let message = format!(
                    "event number {} has the name `{}` too",
                    first + 1,
                    rule.name
                );
                self.fault(&["event", &index.to_string(), "name"], message)
                    .hint =
                    Some("one rule can have several subjects: use `subject` or `query`".to_owned());
            } else {
                taken.insert(&rule.name, index);
            }
        }
        let mut former: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let Some(name) = rule.renamed_from.as_deref() else {
                continue;
            };
            let index_text = index.to_string();
            let path = ["event", index_text.as_str(), "renamed_from"];
            if taken.contains_key(name) {
                self.fault(&path, format!("`{name}` is still the name of a rule"))
                    .hint = Some("a rule inherits from a name that is gone".to_owned());
            } else if former.insert(name, index).is_some() {
                self.fault(&path, format!("two rules were renamed from `{name}`"));
            }
        }
    }

    pub(super) fn fault(
        &mut self,
        path: Path<'_>,
        message: impl Into<String>,
    ) -> &mut DefinitionFault {
        self.faults.push(DefinitionFault::new(full(path), message));
        self.faults.last_mut().expect("it was pushed just now")
    }
}

fn full(path: Path<'_>) -> Vec<String> {
    std::iter::once("lifecycle")
        .chain(path.iter().copied())
        .map(str::to_owned)
        .collect()
}
