//! A person whom the app does not know any more: what becomes of the events that were on their way.
//!
//! One answer proves little: a replica that lags behind, or was made anew, knows fewer people than there are. So what waits
//! is only set aside when a second look, a while later, finds nobody either.

use jiff::{SignedDuration, Timestamp};

use super::{
    Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run,
    outbox::{after, is_released, over_at, second_look},
};
use crate::{
    ids::WebsiteId,
    ledger::{OutboxRow, PersonMirror},
    lifecycle::{LOOK_AGAIN, OutboxState, reason},
};

/// How long the first look counts. Whoever was there in between is missed anew.
pub(super) const MARK_LAPSES: SignedDuration = SignedDuration::from_hours(1);

/// What becomes of a row whose user is gone.
enum Fate {
    /// Nothing that is not over.
    Over,
    /// It stays as it is, and is looked at again then.
    Stays(Timestamp),
    /// It takes this state, for this reason, and is looked at again then.
    Moves(OutboxState, &'static str, Option<Timestamp>),
}

impl Reconciler {
    /// Settles the outbox of somebody who is gone.
    pub(super) async fn person_gone(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        mirror: &PersonMirror,
    ) -> Result<Reconciled, ReconcileError> {
        let mut reconciled = Reconciled::nothing(Outcome::NoUser);
        let mut outbox = self.remembered(website, mirror, Vec::new()).await?;
        if run.hand.mode() != Mode::Live {
            // Of what was noted while it was live nobody else would remind us once it is live again.
            let waits = outbox.rows.values().any(|row| row.state.is_undecided());
            reconciled.again_at = waits.then(|| after(run.now, LOOK_AGAIN));
            return Ok(reconciled);
        }
        let rows: Vec<OutboxRow> = outbox.rows.values().cloned().collect();
        for row in rows {
            let (state, why, until) = match self.fate(&row, run.now) {
                Fate::Over => continue,
                Fate::Stays(until) => {
                    reconciled.again_at = reconciled.again_at.into_iter().chain([until]).min();
                    continue;
                }
                Fate::Moves(state, why, until) => (state, why, until),
            };
            reconciled.again_at = [reconciled.again_at, until].into_iter().flatten().min();
            // What a person let go bears that word, and its wait tells that it was missed.
            let keeps_word = state == row.state && is_released(&row);
            let row = OutboxRow {
                state,
                reason: if keeps_word {
                    row.reason
                } else {
                    why.to_owned()
                },
                not_before: until,
                ..row
            };
            self.tell(run, &row);
            self.keep(run, &mut outbox, row).await?;
        }
        Ok(reconciled)
    }

    fn fate(&self, row: &OutboxRow, now: Timestamp) -> Fate {
        match row.state {
            OutboxState::Scheduled | OutboxState::Due | OutboxState::Parked => {
                match second_look(row, self.rules.look_twice(), now) {
                    Some(at) if at > now => Fate::Stays(at),
                    Some(_) => Fate::Moves(OutboxState::Superseded, reason::USER_GONE, None),
                    None => Fate::Moves(
                        row.state,
                        reason::USER_MISSING,
                        Some(after(now, self.rules.look_twice())),
                    ),
                }
            }
            // Nothing sends it as it stands, and whoever is back by then is asked again.
            OutboxState::NoConsent | OutboxState::Excluded | OutboxState::Held => {
                let over_at = over_at(row, &self.rules, now);
                let is_asked_again = row.state != OutboxState::Held;
                if over_at > now && is_asked_again {
                    Fate::Stays(over_at.min(after(now, LOOK_AGAIN)))
                } else if over_at > now {
                    Fate::Stays(over_at)
                } else if self.rules.rule(&row.event).is_some() {
                    Fate::Moves(OutboxState::Expired, reason::MAX_AGE, None)
                } else {
                    Fate::Moves(OutboxState::Superseded, reason::RULE_REMOVED, None)
                }
            }
            OutboxState::Sending => {
                let attempted_at = row.attempted_at.unwrap_or(row.due_at);
                let quiet_at = after(attempted_at, self.rules.quiet());
                if quiet_at > now {
                    Fate::Stays(quiet_at)
                } else {
                    // Its answer never came. The contact is nobody's now, so nobody will find out.
                    Fate::Moves(OutboxState::Unsure, reason::USER_GONE, None)
                }
            }
            _ => Fate::Over,
        }
    }
}
