//! How far each website was listened to: when Crisp was last heard, up to when its conversations are known to have been
//! looked at, and how far a look has come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::ids::{SessionId, WebsiteId};

use super::{
    ConversationMirror, Enqueue, Ledger, LedgerError, Trigger, Urgency, WorkKind, again::again,
};

/// The key of a website's gap row: there is one for each website.
const GAP: &str = "conversations";

/// A look through a website's conversations that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Scan {
    /// What changed before this instant was looked at earlier.
    pub from: Timestamp,
    /// When it began: up to then everything has been looked at once it ends.
    pub to: Timestamp,
    /// The next page of Crisp's list.
    pub page: u32,
}

/// How far a website was listened to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listening {
    /// The website.
    pub website: WebsiteId,
    /// Since when the ledger knows of it.
    pub since: Timestamp,
    /// When it last sent a genuine webhook, asked for or not.
    pub heard_at: Option<Timestamp>,
    /// What changed up to this instant was looked at.
    pub checked_to: Option<Timestamp>,
    /// The look that is under way.
    pub scan: Option<Scan>,
    /// The newest visitor in its lists, since the last webhook, of whom no webhook told.
    pub unheard_at: Option<Timestamp>,
    /// Since when it has been silent though its conversations go on. The next webhook ends it.
    pub silent_since: Option<Timestamp>,
}

/// What a look has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listened {
    /// The website.
    pub website: WebsiteId,
    /// What changed up to this instant was looked at. `None` leaves it.
    pub checked_to: Option<Timestamp>,
    /// The look that is under way, or `None` at its end.
    pub scan: Option<Scan>,
    /// The newest visitor of whom no webhook told, if there is one.
    pub unheard_at: Option<Timestamp>,
    /// Since when the website has been silent, if it was found to be. `None` leaves it.
    pub silent_since: Option<Timestamp>,
    /// When it was found.
    pub at: Timestamp,
}

/// Webhooks that were heard and not written down yet: only the last of each website counts, and writing each would cost a
/// commit.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<BTreeMap<WebsiteId, Timestamp>>);

impl Heard {
    fn held(&self) -> MutexGuard<'_, BTreeMap<WebsiteId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, website: &WebsiteId, at: Timestamp) {
        let mut held = self.held();
        if let Some(last) = held.get_mut(website) {
            *last = at.max(*last);
        } else {
            held.insert(website.clone(), at);
        }
    }

    fn last(&self, website: &WebsiteId) -> Option<Timestamp> {
        self.held().get(website).copied()
    }

    fn take(&self) -> BTreeMap<WebsiteId, Timestamp> {
        std::mem::take(&mut self.held())
    }
}

impl Ledger {
    /// Notes that a website sent a genuine webhook. It costs nothing here: the next heartbeat writes it down.
    pub fn hear(&self, website: &WebsiteId, now: Timestamp) {
        self.shared.heard.note(website, now);
    }

    /// Writes down what was heard. A website that was never heard before gets its gap row.
    pub(super) async fn write_heard(&self, now: Timestamp) -> Result<(), LedgerError> {
        const FIRST_LOOK: Duration = Duration::from_hours(1);
        let heard = self.shared.heard.take();
        if heard.is_empty() {
            return Ok(());
        }
        match again!(self.shared.store.hear(&heard, now)) {
            Ok(new) if new.is_empty() => Ok(()),
            Ok(new) => {
                let at = now.checked_add(FIRST_LOOK).unwrap_or(Timestamp::MAX);
                let rows = new.iter().map(|website| gap(website, at)).collect();
                self.enqueue(rows, now).await
            }
            Err(error) => {
                for (website, at) in heard {
                    self.shared.heard.note(&website, at);
                }
                Err(error)
            }
        }
    }

    /// Writes down what was heard while the ledger closes. Nothing hangs on it: at worst the next start takes the last minute
    /// for one in which nobody was heard.
    pub(super) async fn last_words(&self) {
        let heard = self.shared.heard.take();
        if let Some(last) = heard.values().max() {
            drop(self.shared.store.hear(&heard, *last).await);
        }
    }

    /// How far every website was listened to.
    pub async fn listening(&self) -> Result<Vec<Listening>, LedgerError> {
        let mut all = self.shared.store.listening(None).await?;
        for one in &mut all {
            self.as_heard(one);
        }
        Ok(all)
    }

    /// How far one website was listened to.
    pub async fn listening_to(
        &self,
        website: &WebsiteId,
    ) -> Result<Option<Listening>, LedgerError> {
        let mut found = self.shared.store.listening(Some(website)).await?;
        Ok(found.pop().map(|mut one| {
            self.as_heard(&mut one);
            one
        }))
    }

    /// With what this process heard and did not write down yet.
    fn as_heard(&self, one: &mut Listening) {
        if let Some(at) = self.shared.heard.last(&one.website) {
            one.heard_at = one.heard_at.max(Some(at));
            one.unheard_at = None;
            one.silent_since = None;
        }
    }

    /// What is known of these conversations of a website, in no order.
    pub async fn mirrors(
        &self,
        website: &WebsiteId,
        sessions: &[SessionId],
    ) -> Result<Vec<ConversationMirror>, LedgerError> {
        self.shared.store.mirrors(website, sessions).await
    }

    /// Has these websites, and every other that was ever heard, looked through for what changed while nobody listened.
    pub async fn look_for_gaps(
        &self,
        websites: &[WebsiteId],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let known = self.shared.store.listening(None).await?;
        let known = known.into_iter().map(|one| one.website);
        let wanted: BTreeSet<_> = known.chain(websites.iter().cloned()).collect();
        let rows = wanted.iter().map(|website| gap(website, now)).collect();
        // What is looked for twice costs a call; what is never looked for is lost.
        self.enqueue(rows, now).await?;
        self.shared.store.note_looking().await
    }

    /// The same at a start, of those websites that need it: all of them, if nobody listened for longer than a start takes;
    /// else those that were not looked at since the last gap, or never. What was said within seconds Crisp says again, and
    /// the look that is due within the hour finds the rest.
    pub async fn look_for_gaps_at_a_start(
        &self,
        websites: &[WebsiteId],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let store = &self.shared.store;
        if store.is_unheard().await? {
            return self.look_for_gaps(websites, now).await;
        }
        let last_gap = store.last_gap().await?;
        let is_looked_at = |one: &Listening| {
            one.checked_to
                .is_some_and(|to| last_gap.is_none_or(|gap| gap.to <= to))
        };
        let known = store.listening(None).await?;
        let (done, open): (Vec<_>, Vec<_>) = known.into_iter().partition(is_looked_at);
        let done: BTreeSet<_> = done.into_iter().map(|one| one.website).collect();
        let wanted = open.into_iter().map(|one| one.website);
        let wanted: BTreeSet<_> = wanted
            .chain(websites.iter().cloned())
            .filter(|website| !done.contains(website))
            .collect();
        let rows: Vec<_> = wanted.iter().map(|website| gap(website, now)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        self.enqueue(rows, now).await
    }
}

fn gap(website: &WebsiteId, run_at: Timestamp) -> Enqueue {
    Enqueue {
        kind: WorkKind::Gap,
        website: website.clone(),
        key: GAP.to_owned(),
        trigger: Trigger::FollowUp,
        run_at,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    }
}
