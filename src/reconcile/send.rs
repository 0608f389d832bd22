//! Sending: what is due goes out in the order it happened, at most once.
//!
//! Before each POST the row is read again from the app's database, the timeline is consulted where somebody else may have
//! told Crisp, and `sending` is committed. After it, the answer is committed before anything else happens. An answer that
//! never came leaves the row in `sending`: only the timeline can settle it, and until it does nothing of this person is
//! sent out of order.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    ReconcileError, Reconciler, Run,
    contact::person_ref,
    events::{EventsDone, Outbox, after, known},
    hand::Applied,
};
use crate::{
    crisp::{error::CrispError, model::NewPeopleEvent},
    ids::WebsiteId,
    ledger::{ContactState, OutboxRow, PersonMirror, Write},
    lifecycle::{
        AfterAmbiguous, Ambiguity, Edges, Fresh, OutboxState, Reading, Recheck, recheck,
        settle_ambiguous,
        timeline::{Clearance, Entry, Match, clear, match_timeline, reaches_back_past},
    },
    record::{Record, User},
    telemetry,
    users::{Freshness, Lookup},
};

/// A read of a contact's timeline.
#[derive(Debug)]
struct TimelineRead {
    at: Timestamp,
    cached: bool,
    pages: u32,
    complete: bool,
    entries: Vec<Entry>,
}

/// How many pages of a timeline are read before it counts as incomplete.
const PAGES: u32 = 5;

/// What a row's turn came to.
enum Turn {
    /// The next row may go.
    Next,
    /// Crisp confirmed it.
    Sent,
    /// Nothing later may go before this one.
    Stop(Option<ReconcileError>),
}

/// One person's due rows on their way out.
struct Sending<'a> {
    reconciler: &'a Reconciler,
    run: &'a mut Run,
    website: &'a WebsiteId,
    mirror: &'a mut PersonMirror,
    /// As the app's database has them at this moment.
    user: &'a User,
    event_rows: BTreeMap<String, Vec<Record>>,
    edges: Edges,
    outbox: &'a mut Outbox,
    /// Read once per run, when the first row needs it.
    timeline: Option<TimelineRead>,
}

impl Reconciler {
    /// Works the rows whose turn it is.
    #[expect(
        clippy::too_many_arguments,
        reason = "what `events` has found, handed over whole"
    )]
    pub(super) async fn send_due(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &mut PersonMirror,
        user: &User,
        event_rows: BTreeMap<String, Vec<Record>>,
        edges: Edges,
        outbox: &mut Outbox,
    ) -> Result<EventsDone, ReconcileError> {
        let mut turns: Vec<OutboxRow> = outbox
            .rows
            .values()
            .filter(|row| is_up(row, mirror, run.now))
            .cloned()
            .collect();
        turns.sort_by_key(|row| (row.instant.unwrap_or(row.due_at), row.key.clone()));
        let mut done = EventsDone::default();
        if turns.is_empty() {
            return Ok(done);
        }
        // Uncached: between the decision and now the user may have come back.
        let fresh = match self
            .users
            .by_key(&user.key, Some(&user.email), Freshness::Fresh)
            .await
        {
            Ok(Lookup::Found(fresh)) => fresh,
            Ok(Lookup::NotFound) => {
                for row in turns
                    .into_iter()
                    .filter(|row| row.state != OutboxState::Sending)
                {
                    self.enter(run, outbox, row, OutboxState::Superseded, "user_gone")
                        .await?;
                }
                return Ok(done);
            }
            Err(error) => {
                done.owed = Some(error.into());
                return Ok(done);
            }
        };
        if fresh.email != user.email {
            // The contact that was refreshed belongs to another address: the next run starts over with the new one.
            run.trace.fact("the user's address changed under way");
            done.again_at = Some(run.now);
            return Ok(done);
        }
        let mut sending = Sending {
            reconciler: self,
            run,
            website,
            mirror,
            user: &fresh,
            event_rows,
            edges,
            outbox,
            timeline: None,
        };
        for row in turns {
            match sending.turn(row).await? {
                Turn::Next => {}
                Turn::Sent => done.sent += 1,
                Turn::Stop(owed) => {
                    done.owed = owed;
                    break;
                }
            }
        }
        Ok(done)
    }

    /// Moves a row into a state, commits it, and tells about it.
    async fn enter(
        &self,
        run: &mut Run,
        outbox: &mut Outbox,
        row: OutboxRow,
        state: OutboxState,
        reason: &str,
    ) -> Result<(), ReconcileError> {
        let row = OutboxRow {
            state,
            reason: reason.to_owned(),
            ..row
        };
        self.tell(run, &row);
        self.keep(run, outbox, row).await
    }

    /// Commits a row as it is. One that Crisp has raises the high-water mark in the same transaction.
    async fn keep(
        &self,
        run: &Run,
        outbox: &mut Outbox,
        row: OutboxRow,
    ) -> Result<(), ReconcileError> {
        if row.state.may_be_in_crisp() {
            return self.keep_marked(run, outbox, row).await;
        }
        self.commit(run, outbox, row, Vec::new()).await
    }

    /// Commits a row and raises the high-water mark of its event to it.
    async fn keep_marked(
        &self,
        run: &Run,
        outbox: &mut Outbox,
        row: OutboxRow,
    ) -> Result<(), ReconcileError> {
        let mark = row.instant.map(|instant| Write::HighWater {
            website: row.website.clone(),
            user_key: row.user_key.clone(),
            event: row.event.clone(),
            subject: row.subject.clone(),
            instant,
        });
        self.commit(run, outbox, row, mark.into_iter().collect())
            .await
    }

    async fn commit(
        &self,
        run: &Run,
        outbox: &mut Outbox,
        row: OutboxRow,
        mut writes: Vec<Write>,
    ) -> Result<(), ReconcileError> {
        let row = OutboxRow {
            updated_at: run.now,
            ..row
        };
        writes.push(Write::Outbox(row.clone()));
        outbox.rows.insert(row.key.clone(), row);
        self.checkpoint(run, writes).await
    }
}

impl Sending<'_> {
    async fn turn(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        if row.state == OutboxState::Sending {
            return self.settle_attempt(row).await;
        }
        let event = match self.recheck(&row)? {
            Recheck::Send { text, color, data } => NewPeopleEvent {
                text,
                data,
                color: Some(color.as_str().to_owned()),
            },
            Recheck::Drop { state, reason } => {
                self.enter(row, state, reason).await?;
                return Ok(Turn::Next);
            }
            Recheck::Wait { until, reason } => {
                let row = OutboxRow {
                    due_at: until,
                    ..row
                };
                self.enter(row, OutboxState::Scheduled, reason).await?;
                return Ok(Turn::Next);
            }
        };
        if let Some(reason) = self.without_contact().await? {
            self.enter(row, OutboxState::Parked, reason).await?;
            return Ok(Turn::Next);
        }
        if self
            .reconciler
            .rules
            .needs_timeline(&known(&row), self.outbox.gap)
        {
            match self.clear(&row).await {
                Ok(Clearance::Post) => {}
                Ok(Clearance::Has(state)) => {
                    self.enter(row, state, "found_in_timeline").await?;
                    return Ok(Turn::Next);
                }
                Ok(Clearance::ReadOn | Clearance::Unsure) => {
                    self.enter(row, OutboxState::Unsure, "timeline_too_short")
                        .await?;
                    return Ok(Turn::Next);
                }
                Err(error) => return Ok(Turn::Stop(Some(error))),
            }
        }
        self.post(row, event).await
    }

    fn recheck(&self, row: &OutboxRow) -> Result<Recheck, ReconcileError> {
        let rows = self
            .event_rows
            .get(&row.event)
            .map_or(&[][..], Vec::as_slice);
        let fresh = Fresh {
            user: Some(self.user),
            rows,
            edges: &self.edges,
        };
        let remembered = self.outbox.known();
        let mut known = known(row);
        if known.state == OutboxState::Parked {
            // Its contact is there now: it is as good as due.
            known.state = OutboxState::Due;
        }
        let memory = self.outbox.memory(&remembered);
        Ok(recheck(
            &self.reconciler.rules,
            &known,
            &fresh,
            &memory,
            self.run.now,
        )?)
    }

    /// Makes sure of a contact. Says why there is none, if there is none and none may be made.
    async fn without_contact(&mut self) -> Result<Option<&'static str>, ReconcileError> {
        match self.mirror.contact {
            ContactState::Exists => Ok(None),
            ContactState::Removed => Ok(Some("contact_removed")),
            ContactState::Unknown if !self.reconciler.rules.creates_contacts() => {
                Ok(Some("no_contact"))
            }
            ContactState::Unknown => {
                self.reconciler
                    .create_contact(self.run, self.website, self.mirror, self.user)
                    .await?;
                let write = Write::Person(self.mirror.clone());
                self.reconciler.checkpoint(self.run, vec![write]).await?;
                Ok(None)
            }
        }
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
        let row = OutboxRow {
            state: OutboxState::Due,
            ..row
        };
        // The mark goes up before the request leaves: whatever becomes of it, nothing older may follow.
        self.reconciler
            .keep_marked(self.run, self.outbox, row.clone())
            .await?;
        if !self
            .reconciler
            .ledger
            .begin_send(&claim, &row.key, self.run.now)
            .await?
        {
            return Ok(Turn::Stop(Some(ReconcileError::LeaseLost)));
        }
        let row = OutboxRow {
            state: OutboxState::Sending,
            attempts: row.attempts + 1,
            attempted_at: Some(self.run.now),
            absent_reads: 0,
            first_absent_at: None,
            ..row
        };
        let person = person_ref(self.mirror, self.user);
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
                    sent_at: Some(self.run.now),
                    not_before: None,
                    ..row
                };
                self.enter(row, OutboxState::Sent, "confirmed").await?;
                Ok(Turn::Sent)
            }
            Ok(Applied::Withheld) => Ok(Turn::Stop(None)),
            Err(error) => self.refused(row, error).await,
        }
    }

    async fn refused(&mut self, row: OutboxRow, error: CrispError) -> Result<Turn, ReconcileError> {
        if error.is_ambiguous() {
            self.run.trace.fact(format!(
                "`{}` got no clear answer: the timeline will tell",
                row.event
            ));
            let row = OutboxRow {
                not_before: Some(after(self.run.now, self.reconciler.rules.quiet())),
                reason: "no_answer".to_owned(),
                ..row
            };
            self.reconciler.keep(self.run, self.outbox, row).await?;
            return Ok(Turn::Stop(None));
        }
        // From here on Crisp has said no, or was never reached: the event is not there.
        let row = OutboxRow {
            attempted_at: None,
            ..row
        };
        match error {
            CrispError::PeopleNotFound => {
                self.mirror.contact = ContactState::Unknown;
                self.mirror.pushed_at = None;
                self.enter(row, OutboxState::Parked, "no_contact").await?;
                Ok(Turn::Next)
            }
            CrispError::Invalid { .. } => {
                self.run
                    .trace
                    .fact(format!("Crisp refused `{}`: {error}", row.event));
                self.enter(row, OutboxState::Held, "refused_by_crisp")
                    .await?;
                Ok(Turn::Next)
            }
            error => {
                self.enter(row, OutboxState::Due, "refused_for_now").await?;
                Ok(Turn::Stop(Some(error.into())))
            }
        }
    }

    /// Settles an attempt whose answer never came.
    async fn settle_attempt(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        let quiet = self.reconciler.rules.quiet();
        // Too early to prove absence; presence could be proven now, but the later read costs the same and settles more.
        let too_early = row
            .attempted_at
            .is_some_and(|at| after(at, quiet) > self.run.now);
        if !too_early
            && let Err(error) = self.read_past(row.attempted_at.unwrap_or(row.due_at)).await
        {
            return Ok(Turn::Stop(Some(error)));
        }
        let attempted_at = row.attempted_at.unwrap_or(row.due_at);
        let reading = self.timeline.as_ref().map(|read| Reading {
            at: read.at,
            cached: read.cached,
            found: self.matches(read).iter().any(|found| found.key == row.key),
            reaches_back: reaches_back_past(&read.entries, read.complete, attempted_at),
        });
        match settle_ambiguous(&known(&row), reading.as_ref(), quiet, self.run.now) {
            Ambiguity::Sent => {
                let row = OutboxRow {
                    sent_at: row.attempted_at,
                    ..row
                };
                self.enter(row, OutboxState::Sent, "found_in_timeline")
                    .await?;
                Ok(Turn::Next)
            }
            Ambiguity::ReadAgain {
                at,
                absent_reads,
                first_absent_at,
            } => {
                let row = OutboxRow {
                    not_before: Some(at),
                    absent_reads,
                    first_absent_at,
                    ..row
                };
                self.reconciler.keep(self.run, self.outbox, row).await?;
                Ok(Turn::Stop(None))
            }
            Ambiguity::Absent => {
                let state = match self.reconciler.rules.after_ambiguous() {
                    AfterAmbiguous::Resend => OutboxState::Due,
                    AfterAmbiguous::Hold => OutboxState::Held,
                };
                let row = OutboxRow {
                    attempted_at: None,
                    not_before: Some(self.run.now),
                    ..row
                };
                self.enter(row, state, "proven_absent").await?;
                Ok(Turn::Next)
            }
            Ambiguity::Unsure => {
                self.enter(row, OutboxState::Unsure, "no_proof").await?;
                Ok(Turn::Next)
            }
        }
    }

    /// Whether the timeline lets a row go, reading as far back as it takes to tell.
    async fn clear(&mut self, row: &OutboxRow) -> Result<Clearance, ReconcileError> {
        let sought = self.reconciler.rules.sought(&known(row), self.outbox.gap);
        self.read_past(sought.earliest).await?;
        let read = self.timeline.as_ref().expect("it was read just now");
        Ok(clear(
            &sought,
            &self.matches(read),
            &read.entries,
            read.complete,
        ))
    }

    /// Reads pages until the list reaches back past `instant`, or ends. Pages that were read stay read.
    async fn read_past(&mut self, instant: Timestamp) -> Result<(), ReconcileError> {
        let person = person_ref(self.mirror, self.user);
        let read = self.timeline.get_or_insert_with(|| TimelineRead {
            at: self.run.now,
            cached: false,
            pages: 0,
            complete: false,
            entries: Vec::new(),
        });
        while !read.complete
            && read.pages < PAGES
            && (read.pages == 0 || !reaches_back_past(&read.entries, read.complete, instant))
        {
            let page = read.pages + 1;
            let Some(timeline) = self.run.hand.timeline(self.website, &person, page).await? else {
                break;
            };
            read.pages = page;
            read.cached |= timeline.cached;
            read.complete = timeline.events.len() < FULL_PAGE;
            read.entries
                .extend(timeline.events.into_iter().filter_map(|event| {
                    Some(Entry {
                        text: event.text,
                        data: event.data,
                        timestamp: Timestamp::from_millisecond(event.timestamp?).ok()?,
                    })
                }));
        }
        Ok(())
    }

    /// Every occurrence of the user that the timeline shows. All rows are sought at once, or one entry could answer for two.
    fn matches(&self, read: &TimelineRead) -> Vec<Match> {
        let rules = &self.reconciler.rules;
        let sought: Vec<_> = self
            .outbox
            .known()
            .iter()
            .map(|known| rules.sought(known, self.outbox.gap))
            .collect();
        match_timeline(&sought, &read.entries)
    }

    async fn enter(
        &mut self,
        row: OutboxRow,
        state: OutboxState,
        reason: &str,
    ) -> Result<(), ReconcileError> {
        self.reconciler
            .enter(self.run, self.outbox, row, state, reason)
            .await
    }
}

/// A page with fewer entries is the last one (lists of Crisp's REST API have twenty a page).
const FULL_PAGE: usize = 20;

/// Whether it is a row's turn. A parked one comes back when there is a contact; an attempt without an answer when there is
/// something to read.
fn is_up(row: &OutboxRow, mirror: &PersonMirror, now: Timestamp) -> bool {
    let not_before = row.not_before.is_none_or(|at| at <= now);
    match row.state {
        OutboxState::Due | OutboxState::Scheduled => row.due_at <= now && not_before,
        OutboxState::Sending => not_before,
        OutboxState::Parked => mirror.contact == ContactState::Exists,
        _ => false,
    }
}
