//! What a decision about one user rests on, besides what happened: what the ledger remembers, what the operator asks.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{
    Known, Occurrence, OutboxState, Rule, occurrence::whole_second, period::later, reason,
};

/// How long until a row that waits for something undated is looked at again.
pub const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What the ledger remembers that bears on one user.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a> {
    /// Every row of the user's outbox.
    pub known: &'a [Known],
    /// By event and subject, the latest instant that Crisp has. It outlives the rows.
    pub high_water: &'a BTreeMap<(String, String), Timestamp>,
    /// By event, since when it may be sent. An event that is missing is not armed.
    pub watermarks: &'a BTreeMap<String, Timestamp>,
    /// By event, when the last request for another occurrence of it left for the user's address, whoever the user was.
    pub last_to_address: &'a BTreeMap<String, Timestamp>,
    /// What the sweep answers for.
    pub swept: Option<Swept>,
}

/// What the sweep answers for: whoever was looked at since `from` has not changed before `to`, or it had brought them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// From when on it knows of every change.
    pub from: Timestamp,
    /// Up to when whoever changed was looked at.
    pub to: Timestamp,
}

/// What the operator asks of every user, evaluated for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guards {
    /// `require` holds.
    pub consent: bool,
    /// `exclude` holds.
    pub excluded: bool,
    /// `after`: nothing is sent before; [`Timestamp::MAX`] while it is not known when.
    pub not_before: Option<Timestamp>,
    /// The same of the rules that ask for more, by name.
    pub of_rules: BTreeMap<String, Verdict>,
}

/// What one `require`, `exclude` and `after` say of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// `require` holds.
    pub consent: bool,
    /// `exclude` holds.
    pub excluded: bool,
    /// `after`: nothing is sent before; [`Timestamp::MAX`] while it is not known when.
    pub not_before: Option<Timestamp>,
}

/// A guard that stops an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// The state that it leads to.
    pub(super) state: OutboxState,
    /// When to look again, if it opens by itself.
    pub(super) until: Option<Timestamp>,
    /// Which guard.
    pub(super) reason: &'static str,
}

impl From<Verdict> for Guards {
    fn from(all: Verdict) -> Self {
        Self {
            consent: all.consent,
            excluded: all.excluded,
            not_before: all.not_before,
            of_rules: BTreeMap::new(),
        }
    }
}

impl Guards {
    /// Guards that let everything pass.
    pub const OPEN: Self = Self {
        consent: true,
        excluded: false,
        not_before: None,
        of_rules: BTreeMap::new(),
    };

    /// What stops an occurrence of a rule now, if anything does: the guards of all, and its own.
    pub(super) fn stop(&self, rule: &Rule, now: Timestamp) -> Option<Stop> {
        let all = Verdict {
            consent: self.consent,
            excluded: self.excluded,
            not_before: self.not_before,
        };
        let own = self.of_rules.get(rule.name());
        let words = [
            (Some(&all), reason::EXCLUDE, reason::REQUIRE, reason::AFTER),
            (
                own,
                reason::RULE_EXCLUDE,
                reason::RULE_REQUIRE,
                reason::RULE_AFTER,
            ),
        ];
        let verdicts = || words.iter().filter_map(|word| Some((word.0?, word)));
        let stop = |state, reason| Stop {
            state,
            until: None,
            reason,
        };
        verdicts()
            .find(|(verdict, _)| verdict.excluded)
            .map(|(_, word)| stop(OutboxState::Excluded, word.1))
            .or_else(|| {
                verdicts()
                    .find(|(verdict, _)| !verdict.consent)
                    .map(|(_, word)| stop(OutboxState::NoConsent, word.2))
            })
            .or_else(|| {
                verdicts().find_map(|(verdict, word)| {
                    Some(Stop {
                        until: Some(verdict.closed_until(now)?),
                        ..stop(OutboxState::Scheduled, word.3)
                    })
                })
            })
    }
}

impl Verdict {
    /// When to look again, if nothing may be sent yet.
    fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let not_before = self.not_before.filter(|not_before| *not_before > now)?;
        Some(if not_before == Timestamp::MAX {
            later(now, LOOK_AGAIN)
        } else {
            not_before
        })
    }
}

impl Memory<'_> {
    /// When something happened at the earliest that a look shows. Of what an earlier look has shown already, and waits since, the
    /// sweep tells nothing more.
    pub(super) fn earliest(&self, occurrence: &Occurrence, now: Timestamp) -> Timestamp {
        let (earliest, seen_at) = (occurrence.earliest, occurrence.happened_at());
        match self.swept {
            Some(swept) if swept.from <= earliest && whole_second(now) <= seen_at => {
                earliest.max(swept.to).min(seen_at)
            }
            _ => earliest,
        }
    }

    /// Since when a rule may be sent, under its name or the one it had.
    pub(super) fn watermark(&self, rule: &Rule) -> Option<Timestamp> {
        rule.names()
            .find_map(|name| self.watermarks.get(name))
            .copied()
    }

    /// The latest instant of a rule and subject that Crisp has or may have, under either name. What may be there is asked of
    /// the rows: a request that was refused, or is proven not to be there, makes nothing older than sent.
    pub(super) fn high_water(&self, rule: &Rule, subject: &str) -> Option<Timestamp> {
        let marks = rule.names().filter_map(|name| {
            self.high_water
                .get(&(name.to_owned(), subject.to_owned()))
                .copied()
        });
        // A person may give up what nobody could decide; that does not take it out of Crisp.
        let is_given_up =
            |known: &Known| known.state == OutboxState::Expired && known.attempted_at.is_some();
        let rows = self.known.iter().filter(|known| {
            (known.state.may_be_in_crisp() || is_given_up(known))
                && known.subject == subject
                && rule.names().any(|name| name == known.event)
        });
        marks.chain(rows.map(Known::happened_at)).max()
    }

    /// Whether another occurrence of the rule went out within its `min_gap`.
    pub(super) fn is_too_soon(&self, rule: &Rule, except: Option<&str>, now: Timestamp) -> bool {
        let Some(gap) = rule.min_gap() else {
            return false;
        };
        let to_user = self
            .known
            .iter()
            .filter(|known| {
                Some(known.key.as_str()) != except
                    && matches!(
                        known.state,
                        OutboxState::Sending | OutboxState::Sent | OutboxState::Unsure
                    )
                    && rule.names().any(|name| name == known.event)
            })
            .filter_map(|known| known.attempted_at.max(known.sent_at));
        rule.names()
            .filter_map(|name| self.last_to_address.get(name).copied())
            .chain(to_user)
            .any(|last| now.duration_since(last) < gap)
    }
}
