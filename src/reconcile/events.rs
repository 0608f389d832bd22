//! Lifecycle events: find the occurrences that Crisp missed, decide what becomes of each, and write that down.
//!
//! Sending is the next room, [`super::send`]. Between the two stands a commit: what is about to be sent is in the outbox
//! before it is.

use jiff::{SignedDuration, Timestamp};

use super::{
    Mode, ReconcileError, Reconciler, Run,
    outbox::{Outbox, after, is_released, is_vouched, known, why_over},
    send::Sending,
    trace::TracedEvent,
};
use crate::{
    ids::WebsiteId,
    ledger::{FormerContact, OutboxRow, PersonMirror, Settled, Write},
    lifecycle::{Decision, Edges, OutboxState, decide, look_again, occurrences, reason},
    record::User,
    telemetry::{self, metrics::PeopleEventLabels},
};

/// How often a person with events is looked at while none may leave: the ledger is a copy that nobody has armed, or the
/// service observes.
const LOOK_WHETHER_ARMED: SignedDuration = SignedDuration::from_hours(1);

/// What became of a person's events in one run.
#[derive(Debug, Default)]
pub(super) struct EventsDone {
    /// Events that Crisp confirmed.
    pub(super) sent: u32,
    /// When there is something to do again.
    pub(super) again_at: Option<Timestamp>,
    /// What stopped the sending; the rest is still owed.
    pub(super) owed: Option<ReconcileError>,
}

impl EventsDone {
    /// None was looked at: all is owed. The contact is refreshed already, and must be remembered; but not an address that
    /// changed, or the next run would not know that it did.
    fn owing(error: impl Into<ReconcileError>, news: News) -> Result<Self, ReconcileError> {
        let error = error.into();
        if news.moved {
            return Err(error);
        }
        Ok(Self {
            owed: Some(error),
            ..Self::default()
        })
    }
}

/// What is new about a person since the run before.
#[derive(Debug, Clone, Copy)]
pub(super) struct News {
    /// The contact was there before, and is not now.
    pub(super) contact_gone: bool,
    /// They have another address.
    pub(super) moved: bool,
    /// Another contact has the place of the one that was known.
    pub(super) replaced: bool,
}

impl Reconciler {
    /// Decides on the occurrences of a user, and sends what is due.
    pub(super) async fn events(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
        news: News,
    ) -> Result<EventsDone, ReconcileError> {
        if self.rules.is_empty() && !self.owes(website, mirror).await? {
            return Ok(EventsDone::default());
        }
        let event_rows = match self.users.event_rows(user, self.since(run.now)).await {
            Ok(rows) => rows,
            Err(error) => return EventsDone::owing(error, news),
        };
        // A mirror from before edges were kept, or none: the first sight of a value is no change.
        let edges: Edges = serde_json::from_value(mirror.edges.clone()).unwrap_or_default();
        let gaps = self.ledger.gaps().await?;
        let found = occurrences(&self.rules, user, &event_rows, &edges, &gaps, run.now);
        for failure in &found.failures {
            run.trace
                .fact(format!("a rule could not be evaluated: {failure}"));
        }
        let mut outbox = match self.remembered(website, mirror, gaps).await {
            Ok(outbox) => outbox,
            Err(error) => return EventsDone::owing(error, news),
        };
        if outbox.watermarks.is_empty() && !found.occurrences.is_empty() {
            run.trace
                .fact("lifecycle events are not armed: none is recorded");
        }
        let guards = match self.rules.guards(user, run.now) {
            Ok(guards) => guards,
            Err(error) => return EventsDone::owing(error, news),
        };
        let asked_at = (run.claim.as_ref()).map_or(run.now, |claim| claim.first_triggered_at);
        if let Err(error) = self.swept(&mut outbox, &found, asked_at).await {
            return EventsDone::owing(error, news);
        }
        let owed = outbox.next_at(&self.rules, run.now);
        let known = outbox.known();
        let decisions = decide(&self.rules, &found, &outbox.memory(&known), guards, run.now);
        let mut writes = Vec::new();
        for decision in decisions {
            if let Some(row) = self.row(run, website, mirror, user, &outbox, decision) {
                writes.push(self.note(run, &mut outbox, row));
            }
        }
        for row in self.lost_elsewhere(run, mirror, &found.edges, &outbox, news) {
            writes.push(self.note(run, &mut outbox, row));
        }
        if run.hand.mode() != Mode::Live {
            self.send_on_paper(
                run,
                website,
                mirror,
                user,
                (&event_rows, &found.edges),
                &outbox,
            )
            .await?;
            // Of what was noted while it was live nobody else would remind us once it is live again.
            return Ok(EventsDone {
                again_at: owed.map(|at| at.max(after(run.now, LOOK_WHETHER_ARMED))),
                ..EventsDone::default()
            });
        }
        let known = outbox.known();
        let look_again = look_again(&self.rules, &found, &outbox.memory(&known), run.now);
        // With the rows that came of them, and not before: a change that was noted without its event is never told.
        if let Ok(edges) = serde_json::to_value(&found.edges) {
            mirror.edges = edges;
        }
        writes.push(Write::Person(mirror.clone()));
        self.checkpoint(run, writes).await?;
        let now = run.now;
        if let Some(done) = self.displaced(run, &outbox, look_again).await? {
            return Ok(done);
        }
        let sending = Sending {
            reconciler: self,
            run,
            website,
            mirror,
            user,
            edges: &found.edges,
            outbox: &mut outbox,
            timeline: None,
            former_timelines: Vec::new(),
            former_gone: Vec::new(),
            contact_now: None,
            contact_gone: news.contact_gone,
            done: EventsDone::default(),
        };
        // Boxed: the future of a person's run is nested deep already.
        let mut done = Box::pin(sending.work()).await?;
        done.again_at = [done.again_at, outbox.next_at(&self.rules, now), look_again]
            .into_iter()
            .flatten()
            .min();
        Ok(done)
    }

    /// Whether a person's outbox has anything that is not over. Asked where no rule is left that would ask.
    async fn owes(
        &self,
        website: &WebsiteId,
        mirror: &PersonMirror,
    ) -> Result<bool, ReconcileError> {
        let rows = self.ledger.outbox(website, &mirror.user_key).await?;
        let is_open =
            |row: &OutboxRow| row.state.is_undecided() || row.state == OutboxState::Sending;
        Ok(rows.iter().any(is_open))
    }

    /// Tells of a row that is new, or that moved; what is returned writes it down.
    fn note(&self, run: &mut Run, outbox: &mut Outbox, row: OutboxRow) -> Write {
        self.tell(run, &row);
        outbox.rows.insert(row.key.clone(), row.clone());
        Write::Outbox(row)
    }

    /// What may have gone to another contact, whose timeline proves nothing: a request without an answer, where another contact
    /// has the place of the one of then; and what the ledger may have sent and forgotten, there or at an address that the
    /// person had. What kept a row back may have ended in the time that was forgotten, and ends once more: consent that was
    /// given, a contact that was made, a person who let it go.
    fn lost_elsewhere(
        &self,
        run: &Run,
        mirror: &PersonMirror,
        edges: &Edges,
        outbox: &Outbox,
        news: News,
    ) -> Vec<OutboxRow> {
        let why = |row: &OutboxRow| {
            if row.state == OutboxState::Sending {
                return news.replaced.then_some(reason::CONTACT_REPLACED);
            }
            if !row.state.is_undecided() || is_vouched(row) {
                return None;
            }
            let (row, gaps) = (known(row), &outbox.gaps);
            let told_there = |former: &FormerContact| {
                self.rules
                    .may_be_forgotten_at(&row, edges, gaps, former.until)
            };
            if mirror.former.iter().any(told_there) {
                Some(reason::ADDRESS_CHANGED)
            } else if news.replaced && self.rules.forgotten_since(&row, edges, gaps).is_some() {
                Some(reason::CONTACT_NEWER)
            } else {
                None
            }
        };
        let rows = outbox.rows.values();
        rows.filter_map(|row| {
            Some(OutboxRow {
                state: OutboxState::Unsure,
                reason: why(row)?.to_owned(),
                updated_at: run.now,
                ..row.clone()
            })
        })
        .collect()
    }

    /// What becomes of a person's events while the ledger is a copy that nobody has armed; `None` where it is none.
    async fn displaced(
        &self,
        run: &mut Run,
        outbox: &Outbox,
        look_again: Option<Timestamp>,
    ) -> Result<Option<EventsDone>, ReconcileError> {
        if self.ledger.displaced_since().await?.is_none() {
            return Ok(None);
        }
        run.trace.fact(
            "the ledger is a copy, or was moved: nothing is sent before `crisp-sync events arm`",
        );
        let owed = outbox.next_at(&self.rules, run.now);
        let owed = owed.map(|at| at.max(after(run.now, LOOK_WHETHER_ARMED)));
        Ok(Some(EventsDone {
            again_at: [owed, look_again].into_iter().flatten().min(),
            ..EventsDone::default()
        }))
    }

    /// From when on occurrences can still be sent.
    pub(super) fn since(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.rules.longest_age())
            .unwrap_or(Timestamp::MIN)
    }

    /// The row that a decision makes or moves. `None`: a known row that is gone.
    fn row(
        &self,
        run: &Run,
        website: &WebsiteId,
        mirror: &PersonMirror,
        user: &User,
        outbox: &Outbox,
        decision: Decision,
    ) -> Option<OutboxRow> {
        let moved = |row: OutboxRow| OutboxRow {
            state: decision.state,
            due_at: decision.due_at,
            reason: if decision.state == OutboxState::Due && is_released(&row) {
                row.reason.clone()
            } else {
                why_over(&row, decision.state, decision.reason).to_owned()
            },
            updated_at: run.now,
            ..row
        };
        let Some(occurrence) = decision.occurrence else {
            return outbox.rows.get(&decision.key).cloned().map(moved);
        };
        Some(OutboxRow {
            website: website.clone(),
            user_key: user.key.clone(),
            reference: self
                .ledger
                .pseudonyms()
                .occurrence(website, &user.key, &[&decision.key]),
            key: decision.key,
            event: occurrence.event.clone(),
            subject: occurrence.subject.clone(),
            instant: occurrence.instant(),
            state: decision.state,
            due_at: decision.due_at,
            not_before: None,
            attempts: 0,
            attempted_at: None,
            sent_at: None,
            absent_reads: 0,
            first_absent_at: None,
            reason: decision.reason.to_owned(),
            email_mac: mirror.email_mac.clone(),
            data: serde_json::to_value(&occurrence.data).unwrap_or_default(),
            color: occurrence.color.as_str().to_owned(),
            created_at: run.now,
            updated_at: run.now,
        })
    }

    /// Puts a state that a row entered into trace, log and metrics.
    pub(super) fn tell(&self, run: &mut Run, row: &OutboxRow) {
        run.trace.events.push(TracedEvent {
            name: row.event.clone(),
            state: row.state.as_str(),
            reason: row.reason.clone(),
        });
        if run.hand.mode() == Mode::Plan {
            return;
        }
        self.metrics
            .people_events
            .get_or_create(&PeopleEventLabels {
                name: row.event.clone(),
                state: row.state.as_str(),
            })
            .inc();
        tracing::info!(
            event = telemetry::events::PEOPLE_EVENT_DECIDED,
            "website.id" = %row.website,
            "user.ref" = %self.ledger.pseudonyms().user(&row.user_key),
            "people_event.name" = row.event,
            "people_event.ref" = %row.reference,
            state = row.state.as_str(),
            reason = row.reason,
            due_at = %row.due_at,
            "a lifecycle event entered a state"
        );
        if row.reason == reason::CACHED_TOO_LONG {
            self.metrics.people_events_unproven.inc();
            tracing::warn!(
                event = telemetry::events::PEOPLE_EVENT_UNPROVEN,
                "website.id" = %row.website,
                "user.ref" = %self.ledger.pseudonyms().user(&row.user_key),
                "people_event.name" = row.event,
                "people_event.ref" = %row.reference,
                hint = "if Crisp's lists stay cached, ask Crisp's support why; where no app tells Crisp, set `lifecycle.sender = \"sole\"`",
                "a lifecycle event expired, because Crisp's timeline came from a cache all the time"
            );
        }
    }

    /// Commits under the lease, in the middle of a run.
    pub(super) async fn checkpoint(
        &self,
        run: &Run,
        writes: Vec<Write>,
    ) -> Result<(), ReconcileError> {
        let Some(claim) = &run.claim else {
            return Ok(());
        };
        match self.ledger.checkpoint(claim, writes, run.now).await? {
            Settled::Written => Ok(()),
            Settled::LeaseLost => Err(ReconcileError::LeaseLost),
        }
    }
}
