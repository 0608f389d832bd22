//! Which later events of a group make an earlier one untrue: who came back is not told goodbye.

use jiff::Timestamp;

use super::{Known, Occurrence, OutboxState, Rule, Rules};

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
    /// Gathers what has happened by `now`. What is scheduled for the future has not; what proved untrue has not either.
    pub(super) fn new(
        rules: &Rules,
        known: &[Known],
        occurrences: &[Occurrence],
        now: Timestamp,
    ) -> Self {
        let known = known
            .iter()
            .filter(|known| known.state != OutboxState::Superseded)
            .map(|known| (&known.event, &known.subject, known.happened_at()));
        let found = occurrences
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
