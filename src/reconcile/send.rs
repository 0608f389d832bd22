//! Sending: what is due goes out in the order it happened, at most once.
//!
//! Before each POST everything is read again: the ledger, because a command or another person on the same address may
//! have changed it a moment ago; the app's database, because the user may have come back; Crisp's timeline, where
//! somebody may have told Crisp already. Then `sending` is committed, with the high-water mark, and only then the request
//! leaves. After it, the answer is committed before anything else happens. An answer that never came leaves the row in
//! `sending`: only the timeline can settle it ([`super::attempt`]), and until it does nothing of this person is sent out
//! of order.

use jiff::{SignedDuration, Timestamp};

use super::{
    Mode, ReconcileError, Reconciler, Run,
    contact::person_ref,
    events::{EventsDone, Outbox, after, earlier, known},
    hand::Applied,
    timeline::TimelineRead,
};
use crate::{
    crisp::{error::CrispError, model::NewPeopleEvent},
    ids::WebsiteId,
    ledger::{Begun, ContactState, OutboxRow, PersonMirror, SendLimits, Write},
    lifecycle::{
        Edges, Fresh, OutboxState, Recheck, Release, between_reads, reason, recheck,
        timeline::Clearance,
    },
    record::User,
    telemetry,
    users::{Freshness, Lookup},
};

/// How long a contact that is suddenly gone is not made again: the webhook that says who removed it may be on its way.
const CONTACT_GONE: SignedDuration = SignedDuration::from_mins(5);
/// When a rule that failed on a user is tried on them again.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_hours(1);

/// What a row's turn came to.
pub(super) enum Turn {
    /// The next row may go.
    Next,
    /// Crisp confirmed it.
    Sent,
    /// Nothing later may go before this one.
    Stop(Option<ReconcileError>),
}

/// Whether there is a contact to put an event on.
enum Contact {
    /// There is.
    There,
    /// There is none, and none may be made.
    Missing(&'static str),
    /// It is gone, and it is too early to make another.
    Gone,
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
    /// Whether the contact was there before this run, and is not now.
    pub(super) contact_gone: bool,
    pub(super) done: EventsDone,
}

impl Sending<'_> {
    /// Works the rows whose turn it is.
    pub(super) async fn work(mut self) -> Result<EventsDone, ReconcileError> {
        for key in self.outbox.turns(self.mirror, self.creates(), self.run.now) {
            *self.outbox = self
                .reconciler
                .remembered(self.website, self.mirror, self.outbox.gap)
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

    fn creates(&self) -> bool {
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
        if self.brakes(&row).await? {
            return self.hold_braked(row).await;
        }
        match self.contact().await {
            Ok(Contact::There) => {}
            Ok(Contact::Missing(reason)) => {
                self.enter(row, OutboxState::Parked, reason).await?;
                return Ok(Turn::Next);
            }
            Ok(Contact::Gone) => return self.wait(row, CONTACT_GONE, reason::CONTACT_GONE).await,
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
            .needs_timeline(&as_known, self.outbox.gap)
        {
            let rules = &self.reconciler.rules;
            if let Some(from) = rules.proof_from(&as_known, self.outbox.gap)
                && from > self.run.now
            {
                let pause = from.duration_since(self.run.now);
                return self.wait(row, pause, reason::MAY_BE_UNDER_WAY).await;
            }
            match self.clear(&row).await {
                // What a cache lacks may have been told since: by the app a moment ago, or by ourselves.
                Ok((Clearance::Post, true)) => {
                    let pause = between_reads(self.reconciler.rules.quiet());
                    return self.wait(row, pause, reason::TIMELINE_CACHED).await;
                }
                Ok((Clearance::Post, false)) => {}
                Ok((Clearance::Has(state), _)) => {
                    self.enter(row, state, reason::FOUND_IN_TIMELINE).await?;
                    return Ok(Turn::Next);
                }
                Ok((Clearance::ReadOn | Clearance::Unsure, _)) => {
                    self.enter(row, OutboxState::Unsure, reason::TIMELINE_TOO_SHORT)
                        .await?;
                    return Ok(Turn::Next);
                }
                Err(CrispError::PeopleNotFound) => return self.contact_is_gone(row).await,
                Err(error) => return Ok(Turn::Stop(Some(error.into()))),
            }
        }
        self.post(row, event).await
    }

    /// Looks once more at a row and its user. What it comes to is the event to send, or the end of the row's turn.
    async fn checked(
        &mut self,
        row: &OutboxRow,
    ) -> Result<Result<NewPeopleEvent, Turn>, ReconcileError> {
        let users = &self.reconciler.users;
        let look_up = users
            .by_key(&self.user.key, Some(&self.user.email), Freshness::Fresh)
            .await?;
        let fresh = match &look_up {
            Lookup::Found(user) => Some(user.as_ref()),
            Lookup::NotFound => None,
        };
        if fresh.is_some_and(|fresh| fresh.email != self.user.email) {
            // The contact that was refreshed belongs to another address: the next run starts over with the new one.
            self.run.trace.fact("the user's address changed under way");
            self.done.again_at = Some(self.run.now);
            return Ok(Err(Turn::Stop(None)));
        }
        let mut rows = Vec::new();
        if let Some(fresh) = fresh
            && self
                .reconciler
                .rules
                .rule(&row.event)
                .is_some_and(crate::lifecycle::Rule::has_query)
        {
            let since = self.reconciler.since(self.run.now);
            let mut of_rules = users.event_rows(fresh, since).await?;
            rows = self
                .reconciler
                .rules
                .rule(&row.event)
                .and_then(|rule| of_rules.remove(rule.name()))
                .unwrap_or_default();
        }
        match self.recheck(row, fresh, &rows) {
            Ok(Recheck::Send { text, color, data }) => Ok(Ok(NewPeopleEvent {
                text,
                data,
                color: Some(color.as_str().to_owned()),
            })),
            Ok(Recheck::Drop { state, reason }) => {
                if state == OutboxState::Superseded {
                    // What made it untrue may be an event itself, and this run has looked already.
                    self.done.again_at = Some(self.run.now);
                }
                self.enter(row.clone(), state, reason).await?;
                Ok(Err(Turn::Next))
            }
            Ok(Recheck::Wait { until, reason }) => {
                self.schedule(row.clone(), until, reason).await?;
                Ok(Err(Turn::Next))
            }
            // A rule that fails says nothing about this user. The others are not held up by it.
            Err(error) => {
                let until = after(self.run.now, AFTER_FAILURE);
                self.run.trace.fact(format!(
                    "a rule could not be evaluated: {}",
                    ReconcileError::from(error)
                ));
                self.schedule(row.clone(), until, reason::RULE_FAILED)
                    .await?;
                Ok(Err(Turn::Next))
            }
        }
    }

    fn recheck(
        &self,
        row: &OutboxRow,
        user: Option<&User>,
        rows: &[crate::record::Record],
    ) -> Result<Recheck, crate::lifecycle::RuleError> {
        let fresh = Fresh {
            user,
            rows,
            edges: self.edges,
        };
        let remembered = self.outbox.known();
        let mut known = known(row);
        if known.state == OutboxState::Parked {
            // Its contact is there now: it is as good as due.
            known.state = OutboxState::Due;
        }
        let memory = self.outbox.memory(&remembered);
        recheck(
            &self.reconciler.rules,
            &known,
            &fresh,
            &memory,
            self.run.now,
        )
    }

    /// Makes sure of a contact.
    async fn contact(&mut self) -> Result<Contact, ReconcileError> {
        match self.mirror.contact {
            ContactState::Exists => return Ok(Contact::There),
            ContactState::Removed => return Ok(Contact::Missing(reason::CONTACT_REMOVED)),
            ContactState::Unknown if !self.creates() => {
                return Ok(Contact::Missing(reason::NO_CONTACT));
            }
            ContactState::Unknown if self.contact_gone => return Ok(Contact::Gone),
            ContactState::Unknown => {}
        }
        let noted = self
            .reconciler
            .ledger
            .person(self.website, &self.mirror.user_key)
            .await?;
        if noted.is_some_and(|noted| noted.contact == ContactState::Removed) {
            self.mirror.contact = ContactState::Removed;
            return Ok(Contact::Missing(reason::CONTACT_REMOVED));
        }
        // The id of a contact that is not there any more finds nothing.
        self.mirror.people = None;
        let created = self
            .reconciler
            .create_contact(self.run, self.website, self.mirror, self.user)
            .await;
        let write = Write::Person(self.mirror.clone());
        self.reconciler.checkpoint(self.run, vec![write]).await?;
        match created {
            Ok(true) => Ok(Contact::There),
            Ok(false) | Err(ReconcileError::Crisp(CrispError::PeopleNotFound)) => {
                self.mirror.contact = ContactState::Unknown;
                Ok(Contact::Gone)
            }
            Err(error) => Err(error),
        }
    }

    /// Crisp says that there is no such contact, and we thought there was.
    async fn contact_is_gone(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        self.run.trace.fact("the contact is gone");
        self.mirror.contact = ContactState::Unknown;
        self.mirror.people = None;
        self.mirror.pushed_at = None;
        self.contact_gone = true;
        let write = Write::Person(self.mirror.clone());
        self.reconciler.checkpoint(self.run, vec![write]).await?;
        if self.creates() {
            return self.wait(row, CONTACT_GONE, reason::CONTACT_GONE).await;
        }
        self.enter(row, OutboxState::Parked, reason::NO_CONTACT)
            .await?;
        Ok(Turn::Next)
    }

    /// Commits `sending`, posts, commits the answer.
    async fn post(
        &mut self,
        row: OutboxRow,
        event: NewPeopleEvent,
    ) -> Result<Turn, ReconcileError> {
        let Some(claim) = self.run.claim.clone() else {
            return Ok(Turn::Stop(None));
        };
        // Not when the run began: reads may have taken a while, and the lease runs by the clock.
        let now = self.run.clock.now();
        let row = OutboxRow {
            email_mac: self.mirror.email_mac.clone(),
            data: serde_json::to_value(&event.data).unwrap_or_default(),
            color: event.color.clone().unwrap_or_else(|| row.color.clone()),
            ..row
        };
        let rule = self.reconciler.rules.rule(&row.event);
        let (events, brake) = self.reconciler.limits(&row.event);
        let limits = SendLimits {
            events,
            spaced_since: rule.and_then(|rule| Some(earlier(now, rule.min_gap()?))),
            brake,
        };
        let begun = self
            .reconciler
            .ledger
            .begin_send(&claim, &row, &limits, now)
            .await?;
        match begun {
            Begun::Yes => {}
            Begun::TooSoon => {
                self.enter(row, OutboxState::Held, reason::MIN_GAP).await?;
                return Ok(Turn::Next);
            }
            Begun::Braked => return self.hold_braked(row).await,
            Begun::Moved => {
                self.run
                    .trace
                    .fact(format!("`{}` was moved by somebody else", row.event));
                return Ok(Turn::Next);
            }
            // Over, and maybe nobody has taken it up: then this settlement is the one that plans another run.
            Begun::LeaseLost => return Err(ReconcileError::Deadline),
        }
        let before = row.reason.clone();
        let row = OutboxRow {
            state: OutboxState::Sending,
            reason: reason::ON_ITS_WAY.to_owned(),
            attempts: row.attempts + 1,
            attempted_at: Some(now),
            not_before: None,
            absent_reads: 0,
            first_absent_at: None,
            ..row
        };
        let person = person_ref(self.user);
        match self.run.hand.add_event(self.website, &person, &event).await {
            Ok(Applied::Yes) => {
                tracing::info!(
                    event = telemetry::events::PEOPLE_EVENT_SENT,
                    "website.id" = %self.website,
                    "user.ref" = %self.reconciler.ledger.pseudonyms().user(&row.user_key),
                    "people_event.name" = row.event,
                    "people_event.ref" = %row.reference,
                    attempt = row.attempts,
                    "Crisp confirmed a lifecycle event"
                );
                let row = OutboxRow {
                    sent_at: Some(now),
                    ..row
                };
                self.enter(row, OutboxState::Sent, reason::CONFIRMED)
                    .await?;
                Ok(Turn::Sent)
            }
            Ok(Applied::Withheld) => Ok(Turn::Stop(None)),
            Err(error) => self.refused(row, before, error).await,
        }
    }

    /// What follows from a refusal. `before`: the reason for which the row was due.
    async fn refused(
        &mut self,
        row: OutboxRow,
        before: String,
        error: CrispError,
    ) -> Result<Turn, ReconcileError> {
        if error.is_ambiguous() {
            self.run.trace.fact(format!(
                "`{}` got no clear answer: the timeline will tell",
                row.event
            ));
            let attempted_at = row.attempted_at.unwrap_or(self.run.now);
            let row = OutboxRow {
                not_before: Some(after(attempted_at, self.reconciler.rules.quiet())),
                reason: reason::NO_ANSWER.to_owned(),
                ..row
            };
            self.reconciler.keep(self.run, self.outbox, row).await?;
            return Ok(Turn::Stop(None));
        }
        // From here on Crisp has said no, or was never reached: the event is not there.
        let row = OutboxRow {
            reason: before,
            ..row
        };
        match error {
            CrispError::PeopleNotFound => self.contact_is_gone(row).await,
            error @ CrispError::Invalid { .. } => self.hold_refused(row, &error).await,
            error => {
                self.enter(row, OutboxState::Due, reason::REFUSED_FOR_NOW)
                    .await?;
                Ok(Turn::Stop(Some(error.into())))
            }
        }
    }

    /// Crisp does not take it as it is, and the same would be refused again. The others go on.
    async fn hold_refused(
        &mut self,
        row: OutboxRow,
        error: &CrispError,
    ) -> Result<Turn, ReconcileError> {
        self.run
            .trace
            .fact(format!("Crisp refused `{}`: {error}", row.event));
        self.enter(row, OutboxState::Held, reason::REFUSED_BY_CRISP)
            .await?;
        Ok(Turn::Next)
    }

    /// Keeps a row due, but not yet; nothing later goes before it.
    async fn wait(
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

    async fn schedule(
        &mut self,
        row: OutboxRow,
        until: Timestamp,
        why: &str,
    ) -> Result<(), ReconcileError> {
        let row = OutboxRow {
            due_at: until,
            ..row
        };
        self.enter(row, OutboxState::Scheduled, why).await
    }

    /// Moves a row into a state, commits it, and tells about it.
    pub(super) async fn enter(
        &mut self,
        row: OutboxRow,
        state: OutboxState,
        why: &str,
    ) -> Result<(), ReconcileError> {
        // What a person decided stands until the row leaves, whatever keeps it back for a while.
        let is_released = state == OutboxState::Due && Release::of(&row.reason) != Release::No;
        let why = if is_released { &row.reason } else { why };
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
    /// Commits a row as it is. One that Crisp has, or may have, raises the high-water mark in the same transaction.
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
        if let Some(instant) = row.instant.filter(|_| row.state.may_be_in_crisp()) {
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

    /// `plan`: the calls that sending would make now.
    pub(super) async fn send_on_paper(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &PersonMirror,
        user: &User,
        (rows, edges): (
            &std::collections::BTreeMap<String, Vec<crate::record::Record>>,
            &Edges,
        ),
        outbox: &Outbox,
    ) -> Result<(), ReconcileError> {
        let remembered = outbox.known();
        let creates = self.rules.creates_contacts();
        let mut is_read = false;
        for key in outbox.turns(mirror, creates, run.now) {
            let Some(row) = outbox.rows.get(&key) else {
                continue;
            };
            let as_known = known(row);
            let fresh = Fresh {
                user: Some(user),
                rows: rows.get(&row.event).map_or(&[][..], Vec::as_slice),
                edges,
            };
            let memory = outbox.memory(&remembered);
            let Ok(Recheck::Send { text, color, data }) =
                recheck(&self.rules, &as_known, &fresh, &memory, run.now)
            else {
                continue;
            };
            if mirror.contact == ContactState::Removed {
                continue;
            }
            let person = person_ref(user);
            if run.hand.mode() == Mode::Plan
                && !is_read
                && self.rules.needs_timeline(&as_known, outbox.gap)
            {
                is_read = true;
                run.hand.timeline(website, &person, 1).await?;
            }
            let event = NewPeopleEvent {
                text,
                data,
                color: Some(color.as_str().to_owned()),
            };
            run.hand.add_event(website, &person, &event).await?;
        }
        Ok(())
    }
}
