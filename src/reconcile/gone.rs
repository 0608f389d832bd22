//! A person whom the app does not know any more: what becomes of the events that were on their way.
//!
//! One answer proves little: a replica that lags behind, or was made anew, knows fewer people than there are. So what waits
//! is only set aside when a second look, a while later, finds nobody either.

use jiff::SignedDuration;

use super::{Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, outbox::after};
use crate::{
    ids::WebsiteId,
    ledger::{OutboxRow, PersonMirror},
    lifecycle::{OutboxState, reason},
};

/// How much later the second look is.
const LOOK_TWICE: SignedDuration = SignedDuration::from_mins(10);
/// How long the first look counts. Whoever was there in between is missed anew.
const MARK_LAPSES: SignedDuration = SignedDuration::from_hours(1);

impl Reconciler {
    /// Settles the outbox of somebody who is gone.
    pub(super) async fn person_gone(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &PersonMirror,
    ) -> Result<Reconciled, ReconcileError> {
        let mut reconciled = Reconciled::nothing(Outcome::NoUser);
        if run.hand.mode() != Mode::Live {
            return Ok(reconciled);
        }
        let mut outbox = self.remembered(website, mirror, Vec::new()).await?;
        let rows: Vec<OutboxRow> = outbox.rows.values().cloned().collect();
        for row in rows {
            let is_known_missing = row.reason == reason::USER_MISSING
                && row
                    .not_before
                    .is_some_and(|at| run.now < after(at, MARK_LAPSES));
            let is_over = row.not_before.is_none_or(|at| at <= run.now);
            let quiet_at = after(row.attempted_at.unwrap_or(row.due_at), self.rules.quiet());
            let (state, until) = match row.state {
                OutboxState::Scheduled | OutboxState::Due | OutboxState::Parked => {
                    match (is_known_missing, is_over) {
                        (true, true) => (OutboxState::Superseded, None),
                        (true, false) => (row.state, row.not_before),
                        (false, _) => (row.state, Some(after(run.now, LOOK_TWICE))),
                    }
                }
                // Its answer never came. The contact is nobody's now, so nobody will find out.
                OutboxState::Sending if quiet_at <= run.now => (OutboxState::Unsure, None),
                OutboxState::Sending => (row.state, Some(quiet_at)),
                _ => continue,
            };
            reconciled.again_at = [reconciled.again_at, until].into_iter().flatten().min();
            let why = match (state == row.state, state) {
                (false, _) => reason::USER_GONE,
                (true, OutboxState::Sending) => continue,
                (true, _) if is_known_missing => continue,
                (true, _) => reason::USER_MISSING,
            };
            let row = OutboxRow {
                state,
                reason: why.to_owned(),
                not_before: until,
                ..row
            };
            self.tell(run, &row);
            self.keep(run, &mut outbox, row).await?;
        }
        Ok(reconciled)
    }
}
