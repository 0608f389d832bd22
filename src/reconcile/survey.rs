//! One person among many: what would become of their events, and what a refresh would call, with nothing written.
//!
//! It goes the way of a refresh up to the decision, and may be told to take other watermarks than those in force: so an
//! operator sees what arming or a backfill would let out before anything is let out.

use std::{borrow::Cow, collections::BTreeMap, error::Error, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{Mode, ReconcileError, Reconciler, Run, RunTrace, hand::Hand};
use crate::{
    clock::Clock,
    ids::{Email, UserKey, WebsiteId},
    ledger::{PersonMirror, Tombstoned},
    lifecycle::{Edges, Forecast, Release, Rules, forecast, occurrences},
    record::User,
    users::{Freshness, Lookup},
};

/// Whom to look at.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    /// The person with this key.
    Key(&'a UserKey),
    /// The person with this address.
    Email(&'a Email),
}

/// Watermarks to take in place of those in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// For rules that are not armed.
    pub unarmed: BTreeMap<String, Timestamp>,
    /// For rules that are armed later than this.
    pub earlier: BTreeMap<String, Timestamp>,
}

/// What was found about one person on one website.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// The key in the app's database; `None` when the app does not know the person.
    pub user: Option<UserKey>,
    /// What becomes of each occurrence.
    pub events: Vec<Forecast>,
    /// The calls of a refresh, each as a method and what it is about; without a word of whom.
    pub calls: Vec<String>,
    /// Rules that said nothing, and why; or why nothing is told at all.
    pub failures: Vec<String>,
}

impl Surveyed {
    const NOTHING: Self = Self {
        user: None,
        events: Vec::new(),
        calls: Vec::new(),
        failures: Vec::new(),
    };

    /// Nothing is told of somebody but why.
    pub fn failed(error: &ReconcileError) -> Self {
        let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
        let why: Vec<String> = causes.map(ToString::to_string).collect();
        Self {
            failures: vec![why.join(": ")],
            ..Self::NOTHING
        }
    }
}

impl Reconciler {
    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Looks at one person. `with_calls` asks for the calls of a refresh too.
    pub async fn survey(
        &self,
        website: &WebsiteId,
        whom: Whom<'_>,
        watermarks: &Watermarks,
        with_calls: bool,
        now: Timestamp,
    ) -> Result<Surveyed, ReconcileError> {
        let mut surveyed = Surveyed::NOTHING;
        let found = match whom {
            Whom::Key(key) => self.user(website, key, Freshness::Cached).await?,
            Whom::Email(email) => self.users.by_email(email, Freshness::Cached).await?,
        };
        let Lookup::Found(user) = found else {
            return Ok(surveyed);
        };
        let asked = self
            .ledger
            .tombstoned(website, Some(&user.key), Some(&user.email));
        if asked.await? == Tombstoned::Yes {
            return Ok(surveyed);
        }
        surveyed.user = Some(user.key.clone());
        let mirror = self
            .ledger
            .person(website, &user.key)
            .await?
            .unwrap_or_else(|| PersonMirror::unknown(website.clone(), user.key.clone()));
        self.forecast(&mut surveyed, website, &mirror, &user, watermarks, now)
            .await?;
        if with_calls {
            surveyed.calls = self.calls_of(website, mirror, &user, now).await?;
        }
        Ok(surveyed)
    }

    async fn forecast(
        &self,
        surveyed: &mut Surveyed,
        website: &WebsiteId,
        mirror: &PersonMirror,
        user: &Arc<User>,
        watermarks: &Watermarks,
        now: Timestamp,
    ) -> Result<(), ReconcileError> {
        if self.rules.is_empty() {
            return Ok(());
        }
        let rows = self.users.event_rows(user, self.since(now)).await?;
        let edges: Edges = serde_json::from_value(mirror.edges.clone()).unwrap_or_default();
        let gaps = self.ledger.gaps().await?;
        let found = occurrences(&self.rules, user, &rows, &edges, &gaps, now);
        surveyed.failures = found.failures.iter().map(ToString::to_string).collect();
        let guards = match self.rules.guards(user, now) {
            Ok(guards) => guards,
            Err(error) => {
                surveyed.failures.push(error.to_string());
                return Ok(());
            }
        };
        let mirror = self.with_address(mirror, user);
        let mut outbox = self.remembered(website, &mirror, gaps).await?;
        self.swept(&mut outbox, &found, now).await?;
        for rule in self.rules.iter() {
            let armed = rule
                .names()
                .find_map(|name| outbox.watermarks.get(name))
                .copied();
            let taken = match armed {
                None => watermarks.unarmed.get(rule.name()).copied(),
                Some(armed) => watermarks
                    .earlier
                    .get(rule.name())
                    .map(|earlier| armed.min(*earlier)),
            };
            if let Some(taken) = taken {
                outbox.watermarks.insert(rule.name().to_owned(), taken);
            }
        }
        let known = outbox.known();
        let memory = outbox.memory(&known);
        surveyed.events = forecast(&self.rules, &found, &memory, guards, now);
        Ok(())
    }

    /// What was sent to the address that the person has now counts, also if the ledger has not seen them there.
    fn with_address<'a>(&self, mirror: &'a PersonMirror, user: &User) -> Cow<'a, PersonMirror> {
        let email_mac = Some(self.ledger.pseudonyms().email(&user.email));
        if mirror.email_mac == email_mac {
            return Cow::Borrowed(mirror);
        }
        Cow::Owned(PersonMirror {
            email_mac,
            ..mirror.clone()
        })
    }

    /// The calls that the refresh of a person would make.
    async fn calls_of(
        &self,
        website: &WebsiteId,
        mirror: PersonMirror,
        user: &User,
        now: Timestamp,
    ) -> Result<Vec<String>, ReconcileError> {
        let mut run = Run {
            claim: None,
            now,
            clock: Clock::standing_at(now),
            hand: Hand::new(self.crisp.clone(), Mode::Plan),
            trace: RunTrace::default(),
            user: None,
            trust: None,
        };
        self.person_found(&mut run, website, mirror, user).await?;
        Ok(run
            .hand
            .into_planned()
            .iter()
            .map(|call| format!("{} {}", call.method, what_of(&call.path)))
            .collect())
    }

    /// How many of each event the brake lets go on a website now, from none to `most`.
    pub async fn room(
        &self,
        website: &WebsiteId,
        event: &str,
        most: u64,
        now: Timestamp,
    ) -> Result<u64, ReconcileError> {
        let since = now
            .checked_sub(crate::lifecycle::BRAKE_WINDOW)
            .unwrap_or(Timestamp::MIN);
        let (events, brake) = self.limits(event);
        let count = self.ledger.send_count(website, &events, since).await?;
        let people = self.ledger.person_count(website).await?;
        if brake.holds(count.sent, count.latched, people, Release::No) {
            return Ok(0);
        }
        Ok(brake.cap(people).saturating_sub(count.sent).min(most))
    }

    /// The earliest instant to which the watermark of a rule may go: beyond it everything would be too old.
    pub fn earliest_watermark(&self, event: &str, now: Timestamp) -> Timestamp {
        let age = self
            .rules
            .rule(event)
            .map_or(SignedDuration::ZERO, crate::lifecycle::Rule::window);
        now.checked_sub(age).unwrap_or(Timestamp::MIN)
    }
}

/// What a path is about: `people/profile` of `/website/<id>/people/profile/<whom>`.
fn what_of(path: &str) -> String {
    let mut parts = path.split('/').skip(3);
    let (group, kind) = (parts.next(), parts.next());
    [group, kind]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::what_of;

    #[test]
    fn a_call_is_told_without_whom() {
        for (path, what) in [
            (
                "/website/w/people/profile/ada@example.org",
                "people/profile",
            ),
            ("/website/w/people/profile", "people/profile"),
            (
                "/website/w/people/events/ada@example.org/list/1",
                "people/events",
            ),
        ] {
            assert_eq!(what_of(path), what);
        }
    }
}
