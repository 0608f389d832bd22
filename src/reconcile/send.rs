//! Sending: what is due goes out in the order it happened, at most once.
//!
//! Before each POST everything is read again: the ledger, because a command or another person on the same address may
//! have changed it a moment ago; the app's database, because the user may have come back; Crisp's timeline, where
//! somebody may have told Crisp already. Then `sending` is committed, and only then the request leaves. After it, the
//! answer is committed before anything else happens. An answer that never came leaves the row in `sending`: only the
//! timeline can settle it ([`super::attempt`]), and until it does nothing of this person is sent out of order.

use jiff::{SignedDuration, Timestamp};

use super::{
    ReconcileError, Reconciler, Run,
    event_contact::{Contact, ContactNow},
    events::EventsDone,
    outbox::{Outbox, after, is_released, is_vouched, known},
    timeline::{Cleared, TimelineRead},
};
use crate::{
    crisp::error::CrispError,
    ids::{PeopleId, WebsiteId},
    ledger::{OutboxRow, PersonMirror, Write},
    lifecycle::{Edges, Known, OutboxState, between_cached_reads, reason},
    record::User,
};

/// What a row's turn came to.
pub(super) enum Turn {
    /// The next row may go.
    Next,
    /// Crisp confirmed it.
    Sent,
    /// Nothing later may go before this one.
    Stop(Option<ReconcileError>),
}

/// One person's due rows on their way out.
pub(super) struct Sending<'a> {
    pub(super) reconciler: &'a Reconciler,
    pub(super) run: &'a mut Run,
    pub(super) website: &'a WebsiteId,
    pub(super) mirror: &'a mut PersonMirror,
    /// As the run found them; what is sent is read again.
    pub(super) user: &'a User,
    pub(super) edges: &'a Edges,
    pub(super) outbox: &'a mut Outbox,
    /// Read once per run, when the first row needs it.
    pub(super) timeline: Option<TimelineRead>,
    /// Those of the contacts that the person had at other addresses.
    pub(super) former_timelines: Vec<TimelineRead>,
    /// Those of them that Crisp has no more.
    pub(super) former_gone: Vec<PeopleId>,
    /// The contact as Crisp tells of it; asked once per run, when a row needs it.
    pub(super) contact_now: Option<ContactNow>,
    /// Whether the contact was there before this run, and is not now.
    pub(super) contact_gone: bool,
    pub(super) done: EventsDone,
}

impl Sending<'_> {
    /// Works the rows whose turn it is.
    pub(super) async fn work(mut self) -> Result<EventsDone, ReconcileError> {
        for key in self.outbox.turns(self.mirror, self.creates(), self.run.now) {
            let gaps = std::mem::take(&mut self.outbox.gaps);
            *self.outbox = self
                .reconciler
                .remembered(self.website, self.mirror, gaps)
                .await?;
            let Some(row) = self.outbox.rows.get(&key).cloned() else {
                continue;
            };
            match self.turn(row).await? {
                Turn::Next => {}
                Turn::Sent => self.done.sent += 1,
                Turn::Stop(owed) => {
                    self.done.owed = owed;
                    break;
                }
            }
        }
        Ok(self.done)
    }

    pub(super) fn creates(&self) -> bool {
        self.reconciler.rules.creates_contacts()
    }

    async fn turn(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        if Outbox::is_barrier(&row, self.run.now) {
            return Ok(Turn::Stop(None));
        }
        if row.state == OutboxState::Sending {
            return self.settle_attempt(row).await;
        }
        if !Outbox::is_up(&row, self.mirror, self.creates(), self.run.now) {
            return Ok(Turn::Next);
        }
        let event = match self.checked(&row).await {
            Ok(Ok(event)) => event,
            Ok(Err(turn)) => return Ok(turn),
            // The contact is refreshed already, and must be remembered; the events are owed.
            Err(ReconcileError::Users(error)) => return Ok(Turn::Stop(Some(error.into()))),
            Err(error) => return Err(error),
        };
        let braking = self.braking(&row).await?;
        if braking.holds {
            return self.hold_braked(row, &braking).await;
        }
        let row = self.due(row).await?;
        if self.was_forgotten_without_contact(&row) {
            self.enter(row, OutboxState::Unsure, reason::CONTACT_NEWER)
                .await?;
            return Ok(Turn::Next);
        }
        match self.contact().await {
            Ok(Contact::There) => {}
            Ok(Contact::Missing(reason)) => {
                self.enter(row, OutboxState::Parked, reason).await?;
                return Ok(Turn::Next);
            }
            Ok(Contact::Gone) => return self.wait_for_contact(row).await,
            Err(ReconcileError::Crisp(error @ CrispError::Invalid { .. })) => {
                return self.hold_refused(row, &error).await;
            }
            Err(ReconcileError::Crisp(error)) => return Ok(Turn::Stop(Some(error.into()))),
            Err(error) => return Err(error),
        }
        let as_known = known(&row);
        if self
            .reconciler
            .rules
            .needs_timeline(&as_known, &self.outbox.gaps)
        {
            if let Some(from) = self.proof_from(&row, &as_known)
                && from > self.run.now
            {
                let pause = from.duration_since(self.run.now);
                return self.wait(row, pause, reason::MAY_BE_UNDER_WAY).await;
            }
            let cleared = match self.clear(&row).await {
                Ok(Cleared::Unsure(_)) if is_vouched(&row) => Ok(Cleared::Post),
                Ok(Cleared::Post) if !is_vouched(&row) => self.same_contact(&row).await,
                cleared => cleared,
            };
            match cleared {
                Ok(Cleared::Post) => {}
                Ok(Cleared::Later) => {
                    let quiet = self.reconciler.rules.quiet();
                    let pause = between_cached_reads(quiet, row.due_at, self.run.now);
                    return self.wait(row, pause, reason::TIMELINE_CACHED).await;
                }
                Ok(Cleared::Has(state)) => {
                    self.enter(row, state, reason::FOUND_IN_TIMELINE).await?;
                    return Ok(Turn::Next);
                }
                Ok(Cleared::Unsure(why)) => {
                    self.enter(row, OutboxState::Unsure, why).await?;
                    return Ok(Turn::Next);
                }
                Err(CrispError::PeopleNotFound) => return self.contact_is_gone(row).await,
                Err(error) => return Ok(Turn::Stop(Some(error.into()))),
            }
        }
        self.post(row, event).await
    }

    /// From when on a timeline that lacks a row proves something. Of what is let go without proof a request may be under way
    /// that nobody waits for any more.
    fn proof_from(&self, row: &OutboxRow, as_known: &Known) -> Option<Timestamp> {
        let (rules, gaps) = (&self.reconciler.rules, &self.outbox.gaps);
        let under_way_until = is_vouched(row).then(|| rules.under_way_until(as_known, gaps));
        rules
            .proof_from(as_known, gaps)
            .max(under_way_until.flatten())
    }

    /// Keeps a row due, but not yet; nothing later goes before it.
    pub(super) async fn wait(
        &mut self,
        row: OutboxRow,
        wait: SignedDuration,
        why: &str,
    ) -> Result<Turn, ReconcileError> {
        let row = OutboxRow {
            not_before: Some(after(self.run.now, wait)),
            ..row
        };
        self.enter(row, OutboxState::Due, why).await?;
        Ok(Turn::Stop(None))
    }

    pub(super) async fn schedule(
        &mut self,
        row: OutboxRow,
        until: Timestamp,
        why: &str,
    ) -> Result<(), ReconcileError> {
        let row = OutboxRow {
            due_at: until,
            not_before: None,
            ..row
        };
        self.enter(row, OutboxState::Scheduled, why).await
    }

    /// A row that may leave is `due`, and seen: what came straight from waiting is written down as such.
    async fn due(&mut self, row: OutboxRow) -> Result<OutboxRow, ReconcileError> {
        let is_missed = [reason::NOT_SEEN, reason::USER_MISSING].contains(&row.reason.as_str());
        if row.state == OutboxState::Due && !is_missed {
            return Ok(row);
        }
        let key = row.key.clone();
        let due = OutboxRow {
            not_before: None,
            ..row.clone()
        };
        self.enter(due, OutboxState::Due, reason::DUE).await?;
        Ok(self.outbox.rows.get(&key).cloned().unwrap_or(row))
    }

    /// Moves a row into a state, commits it, and tells about it.
    pub(super) async fn enter(
        &mut self,
        row: OutboxRow,
        state: OutboxState,
        why: &str,
    ) -> Result<(), ReconcileError> {
        // What a person decided stands until the row leaves, whatever keeps it back for a while.
        let waits = matches!(state, OutboxState::Due | OutboxState::Scheduled);
        let why = if waits && is_released(&row) {
            &row.reason
        } else {
            why
        };
        let row = OutboxRow {
            state,
            reason: why.to_owned(),
            ..row
        };
        self.reconciler.tell(self.run, &row);
        self.reconciler.keep(self.run, self.outbox, row).await
    }
}

impl Reconciler {
    /// Commits a row as it is. One that Crisp has raises the high-water mark in the same transaction; for one that it may have
    /// the row itself stands.
    pub(super) async fn keep(
        &self,
        run: &Run,
        outbox: &mut Outbox,
        row: OutboxRow,
    ) -> Result<(), ReconcileError> {
        let row = OutboxRow {
            updated_at: run.now,
            ..row
        };
        let mut writes = Vec::new();
        let is_there = matches!(row.state, OutboxState::Sent | OutboxState::AlreadyInCrisp);
        if let Some(instant) = row.instant.filter(|_| is_there) {
            writes.push(Write::HighWater {
                website: row.website.clone(),
                user_key: row.user_key.clone(),
                event: row.event.clone(),
                subject: row.subject.clone(),
                instant,
            });
        }
        writes.push(Write::Outbox(row.clone()));
        outbox.rows.insert(row.key.clone(), row);
        self.checkpoint(run, writes).await
    }
}
