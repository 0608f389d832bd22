//! An attempt whose answer never came: what Crisp's timeline says of it, and what becomes of the row.
//!
//! Only the timeline of the contact that the request went to can tell. Where that contact is gone, or the person has
//! another address now, nobody will ever know.

use jiff::Timestamp;

use super::{
    ReconcileError,
    outbox::{after, known},
    send::{Sending, Turn},
};
use crate::{
    crisp::error::CrispError,
    ledger::{ContactState, OutboxRow},
    lifecycle::{
        AfterAmbiguous, Ambiguity, OutboxState, Reading, reason, settle_ambiguous,
        timeline::{MatchKind, reaches_back_past},
    },
};

impl Sending<'_> {
    /// Settles it, or says when to read again.
    pub(super) async fn settle_attempt(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        if row.email_mac != self.mirror.email_mac {
            return self.give_up(row, reason::ADDRESS_CHANGED).await;
        }
        if self.mirror.contact == ContactState::Removed {
            return self.give_up(row, reason::CONTACT_REMOVED).await;
        }
        let quiet = self.reconciler.rules.quiet();
        let attempted_at = row.attempted_at.unwrap_or(row.due_at);
        // Too early to prove absence; presence could be proven now, but the later read costs the same and settles more.
        let too_early = after(attempted_at, quiet) > self.run.now;
        if !too_early {
            match self.read_past(&row, attempted_at).await {
                Ok(()) => {}
                Err(CrispError::PeopleNotFound) => {
                    return self.give_up(row, reason::CONTACT_GONE).await;
                }
                Err(error) => return Ok(Turn::Stop(Some(error.into()))),
            }
        }
        let mut found = None;
        let reading = self.timeline.as_ref().map(|read| {
            found = self
                .matches()
                .into_iter()
                .find(|found| found.key == row.key)
                .map(|found| found.kind);
            Reading {
                at: read.at,
                cached: read.cached,
                found: found == Some(MatchKind::OurRef),
                reaches_back: reaches_back_past(&read.entries, read.complete, attempted_at),
            }
        });
        if found == Some(MatchKind::Foreign) {
            // Somebody else told Crisp. Ours may be there, too, or may still come; either way this one is told.
            self.enter(row, OutboxState::AlreadyInCrisp, reason::FOUND_IN_TIMELINE)
                .await?;
            return Ok(Turn::Next);
        }
        let (gaps, now) = (&self.outbox.gaps, self.run.now);
        match settle_ambiguous(&known(&row), reading.as_ref(), quiet, gaps, now) {
            Ambiguity::Sent => {
                let row = OutboxRow {
                    sent_at: row.attempted_at,
                    not_before: None,
                    ..row
                };
                self.enter(row, OutboxState::Sent, reason::FOUND_IN_TIMELINE)
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
            Ambiguity::Absent => self.settle_absent(row, attempted_at).await,
            Ambiguity::Unsure => {
                // A later read reaches back no further; from a cache it might have come later.
                let is_cut = reading.is_some_and(|read| !read.cached && !read.reaches_back);
                let why = if is_cut {
                    reason::TIMELINE_TOO_SHORT
                } else {
                    reason::NO_PROOF
                };
                self.give_up(row, why).await
            }
        }
    }

    /// The timeline lacks it for good, if it is the timeline that it would be on.
    async fn settle_absent(
        &mut self,
        row: OutboxRow,
        attempted_at: Timestamp,
    ) -> Result<Turn, ReconcileError> {
        match self.was_contact(attempted_at).await {
            Ok(true) => {}
            Ok(false) => return self.give_up(row, reason::CONTACT_REPLACED).await,
            Err(CrispError::PeopleNotFound) => {
                return self.give_up(row, reason::CONTACT_GONE).await;
            }
            Err(error) => return Ok(Turn::Stop(Some(error.into()))),
        }
        let state = match self.reconciler.rules.after_ambiguous() {
            AfterAmbiguous::Resend => OutboxState::Due,
            AfterAmbiguous::Hold => OutboxState::Held,
        };
        let row = OutboxRow {
            not_before: Some(self.run.now),
            ..row
        };
        self.enter(row, state, reason::PROVEN_ABSENT).await?;
        // Sent again, it goes before what came after it: in the next run.
        Ok(if state == OutboxState::Due {
            Turn::Stop(None)
        } else {
            Turn::Next
        })
    }

    async fn give_up(&mut self, row: OutboxRow, why: &str) -> Result<Turn, ReconcileError> {
        self.enter(row, OutboxState::Unsure, why).await?;
        Ok(Turn::Next)
    }
}
