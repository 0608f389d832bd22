//! What an operator's commands do, whoever performs them: the command itself, or the running service for it.

mod arm;
mod cheatsheet;
mod deliveries;
mod desk;
mod erase;
mod ledger;
mod named;
mod outbox;
mod receipt;
mod refresh;
mod status;
mod survey;
mod trial;

use super::Service;
use crate::ledger::DeliveryId;
use crate::server::command::{Answer, Operation};

impl Service {
    /// Performs an operation. A failure is an answer too: it goes to whoever typed the command.
    pub async fn perform(&self, operation: Operation) -> Answer {
        let performed = match operation {
            Operation::Status => self.status().await,
            Operation::Survey(request) => self.survey(request).await,
            Operation::Plan { email } => self.plan(&email).await,
            Operation::ReconcileEmail { email } => self.reconcile_email(&email).await,
            Operation::ReconcileSession { website, session } => {
                self.reconcile_session(website, &session).await
            }
            Operation::EventsArm { event } => self.arm(event.as_deref()).await,
            Operation::EventsBackfill {
                event,
                since,
                confirmed,
            } => self.backfill(&event, since, confirmed).await,
            Operation::EventsCheatsheet { tester } => self.cheatsheet(tester.as_deref()).await,
            Operation::EventsTest {
                event,
                to,
                website,
                shown,
            } => {
                self.test_event(&event, &to, website.as_deref(), shown)
                    .await
            }
            Operation::EventsList(listed) => self.list_events(listed).await,
            Operation::EventsRelease(chosen) => self.release(chosen).await,
            Operation::EventsDrop(chosen) => self.drop_events(chosen).await,
            Operation::DeliveriesList {
                event,
                session,
                limit,
            } => self.list_deliveries(event, session, limit).await,
            Operation::DeliveriesShow { id } => self.show_delivery(DeliveryId(id)).await,
            Operation::DeliveriesRetry { id: Some(id) } => {
                self.retry_delivery(DeliveryId(id)).await
            }
            Operation::DeliveriesRetry { id: None } => self.revive_all().await,
            Operation::Erase { whom } => self.erase_now(whom).await,
            Operation::EraseList => self.list_receipts().await,
            Operation::EraseStatus { receipt } => self.show_receipt(&receipt).await,
            Operation::EraseReplay { from } => self.replay(&from).await,
            Operation::EraseLift { whom } => self.lift(whom).await,
            Operation::LedgerBackup { to } => self.back_up(&to).await,
        };
        performed.unwrap_or_else(|error| Answer::failed(chain(&error)))
    }
}

/// An error with its causes, and behind them what to do: a cause that stood behind a hint would read as a part of it.
fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    let mut hints = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let (own, said): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("hint: "));
        hints.extend(own.into_iter().map(str::to_owned));
        let said = said.join("\n");
        if !told.contains(&said) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&said);
        }
    }
    for hint in hints {
        told.push('\n');
        told.push_str(&hint);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_stands_behind_every_cause() {
        let error = anyhow::anyhow!("the disk is full")
            .context("could not write\nhint: make room")
            .context("could not copy");
        assert_eq!(
            chain(&error),
            "could not copy: could not write: the disk is full\nhint: make room"
        );
    }
}
