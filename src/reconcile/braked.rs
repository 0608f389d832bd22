//! The brake, before an event leaves: whether it is one too many, and how that is said.

use super::{
    ReconcileError, Reconciler,
    events::earlier,
    send::{Sending, Turn},
};
use crate::{
    ledger::OutboxRow,
    lifecycle::{BRAKE_WINDOW, Brake, OutboxState, Release, reason},
    telemetry,
};

impl Reconciler {
    /// The names of an event, and its brake.
    pub(super) fn limits(&self, event: &str) -> (Vec<String>, Brake) {
        match self.rules.rule(event) {
            Some(rule) => (rule.names().map(str::to_owned).collect(), rule.brake()),
            None => (vec![event.to_owned()], Brake::default()),
        }
    }
}

impl Sending<'_> {
    /// Whether a row is one too many.
    pub(super) async fn brakes(&self, row: &OutboxRow) -> Result<bool, ReconcileError> {
        let ledger = &self.reconciler.ledger;
        let since = earlier(self.run.now, BRAKE_WINDOW);
        let (events, brake) = self.reconciler.limits(&row.event);
        let count = ledger.send_count(self.website, &events, since).await?;
        let people = ledger.person_count(self.website).await?;
        Ok(brake.holds(count.sent, count.latched, people, Release::of(&row.reason)))
    }

    /// Holds a row that is one too many. The first one latches the brake, and that is said loudly.
    pub(super) async fn hold_braked(&mut self, row: OutboxRow) -> Result<Turn, ReconcileError> {
        let ledger = &self.reconciler.ledger;
        let (events, brake) = self.reconciler.limits(&row.event);
        let since = earlier(self.run.now, BRAKE_WINDOW);
        let count = ledger.send_count(self.website, &events, since).await?;
        if !count.latched {
            let people = ledger.person_count(self.website).await?;
            tracing::error!(
                event = telemetry::events::PEOPLE_EVENT_BRAKED,
                "website.id" = %self.website,
                "people_event.name" = row.event,
                sent = count.sent,
                limit = brake.cap(people),
                hint = format!(
                    "look at them with `crisp-sync events list --held`; then `crisp-sync events release --event '{0}'` lets them go, or `crisp-sync events drop --event '{0}'` gives them up",
                    row.event
                ),
                "the brake holds a lifecycle event, and every further one of it, until a person decides"
            );
        }
        self.enter(row, OutboxState::Held, reason::BRAKE).await?;
        Ok(Turn::Next)
    }
}
