//! The rules: what `[lifecycle]` means, once all of it makes sense.
//!
//! Whoever holds [`Rules`] need not look at the limits of Crisp, at a missing expression or at a doubled name again.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    AfterAmbiguous, Edges, Gap, Guards, Known, LifecycleSource, OutboxState, Rule, RuleError,
    Sender, Sweep,
    compile::Compiler,
    gate::Gate,
    occurrence::key_part,
    period::later,
    timeline::{CLOCK_MARGIN, Sought},
};
use crate::{
    expression::{DefinitionFault, Expression, Language},
    ids::Email,
    record::User,
};

/// The compiled rules of one definition.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) sender: Sender,
    pub(super) gate: Gate,
    pub(super) grace: SignedDuration,
    pub(super) quiet: SignedDuration,
    pub(super) match_within: SignedDuration,
    pub(super) after_ambiguous: AfterAmbiguous,
    pub(super) create_contacts: bool,
    pub(super) sweep: Sweep,
    pub(super) testers: Vec<Email>,
    pub(super) list: Vec<Rule>,
    /// How old what the app's database said may be when it is looked at.
    pub(super) answers_kept_for: SignedDuration,
}

impl Rules {
    /// Compiles the table, or says everything that is wrong with it.
    pub fn compile(
        source: &LifecycleSource,
        language: &Language,
    ) -> Result<Self, Vec<DefinitionFault>> {
        Compiler::new(language).rules(source)
    }

    /// The same, where an answer of the app's database is reused for so long: a look may show what was true so long before.
    #[must_use]
    pub fn with_answers_kept_for(mut self, found: Duration) -> Self {
        self.answers_kept_for = SignedDuration::try_from(found).unwrap_or(SignedDuration::MAX);
        self
    }

    /// The rules, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.list.iter()
    }

    /// The rule of that name, or the one that had it.
    pub fn rule(&self, event: &str) -> Option<&Rule> {
        self.list
            .iter()
            .find(|rule| rule.name == event)
            .or_else(|| {
                self.list
                    .iter()
                    .find(|rule| rule.former.as_deref() == Some(event))
            })
    }

    /// Whether there is nothing to tell Crisp.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the app tells Crisp too.
    pub const fn sender(&self) -> Sender {
        self.sender
    }

    /// How long a request without an answer may still be applied.
    pub const fn quiet(&self) -> SignedDuration {
        self.quiet
    }

    /// What becomes of an event that was proven absent.
    pub const fn after_ambiguous(&self) -> AfterAmbiguous {
        self.after_ambiguous
    }

    /// Whom events may be tried on.
    pub fn testers(&self) -> &[Email] {
        &self.testers
    }

    /// Whether a missing contact is created.
    pub const fn creates_contacts(&self) -> bool {
        self.create_contacts
    }

    /// How people are found whom no conversation brings up.
    pub const fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// How long after it happened an occurrence may still be sent, for the rule that waits longest: what the daily rescan
    /// has to cover.
    pub fn longest_age(&self) -> SignedDuration {
        self.list.iter().map(Rule::window).max().unwrap_or_default()
    }

    /// The columns that the rules read.
    pub fn columns(&self) -> BTreeSet<String> {
        self.gate
            .expressions()
            .flat_map(Expression::columns)
            .chain(self.list.iter().flat_map(Rule::columns))
            .collect()
    }

    /// Evaluates `require`, `exclude` and `after` for a user, those of single rules too. A rule whose own fail is not
    /// stopped by them here: [`recheck`](super::recheck()) will not let it pass.
    pub fn guards(&self, user: &User, now: Timestamp) -> Result<Guards, RuleError> {
        let all = self.gate.verdict(None, user, now)?;
        let of_rules = self
            .list
            .iter()
            .filter(|rule| !rule.gate.is_open())
            .filter_map(|rule| {
                let verdict = rule.gate.verdict(Some(&rule.name), user, now).ok()?;
                Some((rule.name.clone(), verdict))
            })
            .collect();
        Ok(Guards {
            of_rules,
            ..Guards::from(all)
        })
    }

    /// The guards that bear on one rule. What fails is an error.
    pub(super) fn guards_of(
        &self,
        rule: &Rule,
        user: &User,
        now: Timestamp,
    ) -> Result<Guards, RuleError> {
        let all = self.gate.verdict(None, user, now)?;
        let own = rule.gate.verdict(Some(&rule.name), user, now)?;
        Ok(Guards {
            of_rules: [(rule.name.clone(), own)].into(),
            ..Guards::from(all)
        })
    }

    /// When an occurrence of `rule` that happened at `happened_at` may be sent: after its delay, and after the grace where
    /// the app sends too.
    pub(super) fn due(&self, rule: &Rule, happened_at: Timestamp) -> Timestamp {
        let moment = later(happened_at, rule.delay);
        match self.sender {
            Sender::Shared => later(moment, self.grace),
            Sender::Sole => moment,
        }
    }

    /// Whether it takes the rows of a rule's own query to check an event once more: its own, or those of another rule of its
    /// group, which may tell what happened since.
    pub fn needs_rows(&self, event: &str) -> bool {
        self.rule(event).is_some_and(|rule| {
            rule.has_query
                || (rule.group.is_some()
                    && self
                        .list
                        .iter()
                        .any(|other| other.has_query && other.group == rule.group))
        })
    }

    /// Whether Crisp's timeline has to be read before `known` is sent: the app may have told Crisp, an earlier attempt may
    /// have arrived, or the ledger may have sent it in a gap and forgotten.
    pub fn needs_timeline(&self, known: &Known, gaps: &[Gap]) -> bool {
        self.sender == Sender::Shared
            || known.attempted_at.is_some()
            || self.lies_in(known, gaps).next().is_some()
    }

    /// Until when the value was another, of an occurrence that is a change.
    pub(super) fn unchanged_at(&self, known: &Known, edges: &Edges) -> Option<Timestamp> {
        let rule = self.rule(&known.event)?;
        let which = which(&known.key, rule)?;
        let edge = edges.of(rule, &known.subject).filter(|edge| match which {
            Which::Change(number) => edge.count == number,
            Which::Id(id) => key_part(&edge.value) == id,
        });
        // A look by a clock that ran ahead tells nothing of what was seen since.
        edge?.unchanged_at.filter(|at| *at <= known.happened_at())
    }

    /// Until when an entry at a contact that somebody had until an instant may be of theirs.
    pub fn told_there_until(&self, until: Timestamp) -> Timestamp {
        later(until, CLOCK_MARGIN)
    }

    /// What to look for in the timeline. All rows of the user belong in one search.
    ///
    /// Nobody tells Crisp of a change before it is made: where `edges` remember until when the value was another, older entries
    /// are about something else. But a look shows what a replica had by then, and what was committed: the app may have told
    /// of the change before it, by as much as the sweep's overlap allows for.
    pub fn sought(&self, known: &Known, edges: &Edges, gaps: &[Gap]) -> Sought {
        let rule = self.rule(&known.event);
        let mut texts = vec![known.event.clone()];
        for text in rule.iter().flat_map(|rule| rule.names()) {
            if !texts.iter().any(|known| known == text) {
                texts.push(text.to_owned());
            }
        }
        let mut sought = Sought::near(
            known.key.clone(),
            texts,
            known.reference.clone(),
            known.happened_at(),
            self.match_within,
        );
        if self.sender == Sender::Shared {
            sought = sought.within(self.grace).awaited(awaited_until(known));
        }
        if let Some(rule) = rule {
            sought = sought.delayed(rule.delay);
            if which(&known.key, rule).is_some() {
                let unseen = self.unchanged_at(known, edges).map(|at| {
                    let unseen = known.happened_at().duration_since(at);
                    unseen
                        .max(SignedDuration::ZERO)
                        .saturating_add(self.sight_age())
                });
                sought = sought.since(unseen.unwrap_or(rule.max_age));
            } else if self.sender == Sender::Sole {
                // Only we tell of it, and not before the delay is over.
                sought.earliest = later(sought.earliest, rule.delay);
            }
        }
        if let Some(from) = self.forgotten_entries(known, edges, gaps) {
            sought.earliest = sought.earliest.min(from);
            sought.is_renumbered = rule
                .and_then(|rule| which(&known.key, rule))
                .is_some_and(|which| matches!(which, Which::Change(_)));
        }
        sought
    }

    /// How much older than the look may be what it shows: an answer was kept, a replica lags, a transaction commits late.
    pub(super) fn sight_age(&self) -> SignedDuration {
        self.overlap().saturating_add(self.answers_kept_for)
    }

    /// How much later than a look that misses something the second one is, which counts: a replica lags by no more than the
    /// overlap.
    pub fn look_twice(&self) -> SignedDuration {
        const LONGEST: SignedDuration = SignedDuration::from_mins(10);
        self.overlap().min(LONGEST)
    }

    fn overlap(&self) -> SignedDuration {
        SignedDuration::try_from(self.sweep.overlap).unwrap_or(SignedDuration::MAX)
    }
}

/// Until when an entry of somebody else's may be of a row that waited: for as long as it waits, for a person too, and of one
/// that waits no more until then. Of what left, or never waited, later ones are not: they are of one that waits still, if
/// there is one.
fn awaited_until(known: &Known) -> Timestamp {
    use OutboxState::{AlreadyInCrisp, Expired, Sending, Superseded, Unsure};
    match known.state {
        AlreadyInCrisp | Expired | Superseded => later(known.updated_at, CLOCK_MARGIN),
        Sending | Unsure => Timestamp::MAX,
        state if state.is_undecided() => Timestamp::MAX,
        _ => known.happened_at(),
    }
}

/// What a key tells of an occurrence that is dated by when it was seen.
pub(super) enum Which<'key> {
    /// The number of a change.
    Change(u64),
    /// An id that came without an instant.
    Id(&'key str),
}

impl Rule {
    /// Whether the app's database dates the occurrence of a key, and tells it as long as it is true.
    pub(super) fn is_dated(&self, key: &str) -> bool {
        matches!(self.moment, super::rule::Moment::At { .. }) && which(key, self).is_none()
    }
}

pub(super) fn which<'key>(key: &'key str, rule: &Rule) -> Option<Which<'key>> {
    let last = key.rsplit('/').next()?;
    match last.split_once('=')? {
        ("edge", number) => number.parse().ok().map(Which::Change),
        ("id", id) if !rule.has_id() => Some(Which::Id(id)),
        _ => None,
    }
}
