//! The brake, before an event leaves: whether it is one too many, and how that is said.

use super::{
    ReconcileError, Reconciler,
    outbox::earlier,
    send::{Sending, Turn},
};
use crate::{
    ledger::{OutboxRow, SendCount},
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

/// What the brake says of a row.
pub(super) struct Braking {
    /// Whether it is one too many.
    pub(super) holds: bool,
    count: SendCount,
    cap: u64,
}

impl Sending<'_> {
    /// Asks the brake about a row.
    pub(super) async fn braking(&self, row: &OutboxRow) -> Result<Braking, ReconcileError> {
        let ledger = &self.reconciler.ledger;
        let since = earlier(self.run.now, BRAKE_WINDOW);
        let (events, brake) = self.reconciler.limits(&row.event);
        let count = ledger.send_count(self.website, &events, since).await?;
        let people = ledger.person_count(self.website).await?;
        Ok(Braking {
            holds: brake.holds(count.sent, count.latched, people, Release::of(&row.reason)),
            count,
            cap: brake.cap(people),
        })
    }

    /// Holds a row that is one too many. The first one latches the brake, and that is said loudly.
    pub(super) async fn hold_braked(
        &mut self,
        row: OutboxRow,
        braking: &Braking,
    ) -> Result<Turn, ReconcileError> {
        if !braking.count.latched {
            tracing::error!(
                event = telemetry::events::PEOPLE_EVENT_BRAKED,
                "website.id" = %self.website,
                "people_event.name" = row.event,
                sent = braking.count.sent,
                limit = braking.cap,
                hint = format!(
                    "look at them with `crisp-sync events list --held`; then `crisp-sync events release --event '{0}' --yes` lets them go, or `crisp-sync events drop --event '{0}' --yes` gives them up",
                    row.event
                ),
                "the brake holds a lifecycle event, and every further one of it, until a person decides"
            );
        }
        self.enter(row, OutboxState::Held, reason::BRAKE).await?;
        Ok(Turn::Next)
    }
}
