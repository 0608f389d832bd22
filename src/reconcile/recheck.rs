//! The last look before an event leaves: the user is read again, by key and past every cache.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    ReconcileError,
    outbox::{after, known, was_missed, why_over},
    send::{Sending, Turn},
};
use crate::{
    crisp::model::NewPeopleEvent,
    ledger::OutboxRow,
    lifecycle::{Fresh, OutboxState, Recheck, RuleError, reason, recheck},
    record::{Record, User},
    users::{Freshness, Lookup},
};

/// When a rule that failed on a user is tried on them again.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_hours(1);

impl Sending<'_> {
    /// Looks once more at a row and its user. What it comes to is the event to send, or the end of the row's turn.
    pub(super) async fn checked(
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
        let rows = match fresh {
            Some(fresh) if self.reconciler.rules.needs_rows(&row.event) => {
                let since = self.reconciler.since(self.run.now);
                users.event_rows(fresh, since).await?
            }
            _ => BTreeMap::new(),
        };
        let look_twice = self.reconciler.rules.look_twice();
        match self.recheck(row, fresh, &rows) {
            Ok(Recheck::Send { text, color, data }) => Ok(Ok(NewPeopleEvent {
                text,
                data,
                color: Some(color.as_str().to_owned()),
            })),
            // One answer proves little; what is dropped for it never comes back.
            Ok(Recheck::Drop {
                reason: reason::USER_GONE,
                ..
            }) if !was_missed(row, look_twice, self.run.now) => {
                let turn = self.wait(row.clone(), look_twice, reason::USER_MISSING);
                Ok(Err(turn.await?))
            }
            Ok(Recheck::Drop {
                reason: reason::NO_LONGER_TRUE,
                ..
            }) if !was_missed(row, look_twice, self.run.now) => {
                let turn = self.wait(row.clone(), look_twice, reason::NOT_SEEN);
                Ok(Err(turn.await?))
            }
            Ok(Recheck::Drop { state, reason }) => {
                if state == OutboxState::Superseded {
                    // What made it untrue may be an event itself, and this run has looked already.
                    self.done.again_at = Some(self.run.now);
                }
                let why = why_over(row, state, reason);
                self.enter(row.clone(), state, why).await?;
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
        rows: &BTreeMap<String, Vec<Record>>,
    ) -> Result<Recheck, RuleError> {
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
}
