//! The request itself: `sending` is committed before it leaves, and its answer before anything else happens.

use super::{
    ReconcileError,
    contact::person_ref,
    hand::Applied,
    outbox::{after, earlier},
    send::{Sending, Turn},
};
use crate::{
    crisp::{error::CrispError, model::NewPeopleEvent},
    ledger::{Begun, OutboxRow, SendLimits},
    lifecycle::{OutboxState, reason},
    telemetry,
};

impl Sending<'_> {
    /// Commits `sending`, posts, commits the answer.
    pub(super) async fn post(
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
            // Others have sent it since we counted.
            Begun::Braked => {
                let braking = self.braking(&row).await?;
                return self.hold_braked(row, &braking).await;
            }
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
    pub(super) async fn hold_refused(
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
}
