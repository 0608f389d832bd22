//! Which later events of a group make an earlier one untrue: who came back is not told goodbye.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Found, Known, OutboxState, Rule, Rules};

/// Everything of a group that has happened to one user, sent or not.
pub(super) struct LaterEvents(Vec<Happened>);

struct Happened {
    group: String,
    subject: String,
    event: String,
    rank: usize,
    at: Timestamp,
}

impl LaterEvents {
    /// Gathers what has happened by `now`. What is scheduled for the future has not; what proved untrue has not either, nor
    /// what was taken back before it was told.
    pub(super) fn new(rules: &Rules, known: &[Known], found: &Found, now: Timestamp) -> Self {
        let found_keys: BTreeSet<String> = found
            .occurrences
            .iter()
            .filter_map(|one| Some((one, rules.rule(&one.event)?)))
            .filter(|(_, rule)| rule.group().is_some())
            .flat_map(|(one, rule)| rule.names().map(|name| one.key_as(name)))
            .collect();
        let is_taken_back = |known: &Known| is_taken_back(rules, known, found, &found_keys);
        let known = known
            .iter()
            .filter(|known| known.state != OutboxState::Superseded && !is_taken_back(known))
            .map(|known| (&known.event, &known.subject, known.happened_at()));
        let found = found
            .occurrences
            .iter()
            .filter(|occurrence| occurrence.holds)
            .map(|occurrence| {
                (
                    &occurrence.event,
                    &occurrence.subject,
                    occurrence.happened_at(),
                )
            });
        Self(
            known
                .chain(found)
                .filter(|(_, _, at)| *at <= now)
                .filter_map(|(event, subject, at)| {
                    let rule = rules.rule(event)?;
                    Some(Happened {
                        group: rule.group()?.to_owned(),
                        subject: subject.clone(),
                        event: rule.name().to_owned(),
                        rank: rule.rank,
                        at,
                    })
                })
                .collect(),
        )
    }

    /// Whether one of them makes an occurrence of `rule` untrue: the same group and subject, and later. Of two at one instant
    /// the one whose rule stands later in the file is the later one: somebody who cancels at once and is gone is gone.
    /// Where ids tell occurrences apart, a second one does not undo the first.
    pub(super) fn supersede(&self, rule: &Rule, subject: &str, happened_at: Timestamp) -> bool {
        let Some(group) = rule.group() else {
            return false;
        };
        self.0.iter().any(|happened| {
            happened.group == group
                && happened.subject == subject
                && (happened.at, happened.rank) > (happened_at, rule.rank)
                && !(rule.has_id() && happened.event == rule.name())
        })
    }
}

/// Whether a row that never left has an instant that the app's database has no more. Where the rule failed nobody knows.
fn is_taken_back(
    rules: &Rules,
    known: &Known,
    found: &Found,
    found_keys: &BTreeSet<String>,
) -> bool {
    let Some(rule) = rules.rule(&known.event) else {
        return false;
    };
    let has_failed = || {
        let mut failures = found.failures.iter();
        failures.any(|failure| failure.event() == Some(rule.name()))
    };
    known.state.is_undecided()
        && rule.is_dated(&known.key)
        && !has_failed()
        && !found_keys.contains(&known.key)
}
