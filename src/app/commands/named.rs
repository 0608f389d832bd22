//! Names that an operator typed, held against what there is: a mistyped one is not "nothing to do".

use super::super::Service;
use crate::{
    ids::WebsiteId,
    ledger::OutboxFilter,
    lifecycle::{OutboxState, reason},
};

impl Service {
    /// Refuses a name that nothing has: it was mistyped, and "0 released" would read as if nothing waited.
    pub(super) async fn ensure_named(&self, filter: &OutboxFilter) -> anyhow::Result<()> {
        let has_rule =
            |event: &String| (self.rules.iter()).any(|rule| rule.names().any(|name| name == event));
        if let Some(event) = filter.event.as_ref().filter(|event| !has_rule(event)) {
            let bears = |filter: &mut OutboxFilter| filter.event = Some(event.clone());
            anyhow::ensure!(
                self.has_rows(bears).await?,
                "no lifecycle event `{event}` is configured, and nothing in the outbox bears the name\nhint: `crisp-sync events list --held` shows what waits; {}",
                self.configured()
            );
        }
        if let Some(reference) = &filter.reference {
            let bears = |filter: &mut OutboxFilter| filter.reference = Some(reference.clone());
            anyhow::ensure!(
                self.has_rows(bears).await?,
                "nothing in the outbox has the ref `{}`\nhint: `crisp-sync events list --held` shows what waits, each with its ref",
                reference.as_str()
            );
        }
        let is_served =
            |website: &WebsiteId| self.websites.is_empty() || self.websites.contains(website);
        if let Some(website) = filter.website.as_ref().filter(|one| !is_served(one)) {
            let bears = |filter: &mut OutboxFilter| filter.website = Some(website.clone());
            anyhow::ensure!(
                self.has_rows(bears).await?,
                "website `{website}` is not served, and nothing in the outbox is of it\nhint: `crisp.websites` names those that are"
            );
        }
        Ok(())
    }

    async fn has_rows(&self, choose: impl FnOnce(&mut OutboxFilter)) -> anyhow::Result<bool> {
        let mut filter = OutboxFilter::default();
        choose(&mut filter);
        Ok(!self.ledger.outbox_totals(&filter).await?.is_empty())
    }

    /// Why nothing was moved, though all that was named is there.
    pub(super) async fn nothing_moved(
        &self,
        filter: &OutboxFilter,
        said: &str,
        movable: &[OutboxState],
    ) -> anyhow::Result<String> {
        let states: Vec<&str> = movable.iter().map(|state| state.as_str()).collect();
        let states = match states.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => states.concat(),
        };
        let stands = match &filter.reference {
            Some(_) => self.ledger.outbox_totals(filter).await?,
            None => Vec::new(),
        };
        Ok(match stands.first() {
            Some(stands)
                if stands.state == OutboxState::Unsure && stands.reason != reason::DROPPED =>
            {
                format!(
                    "0 {said}: it is `unsure`, and only `--state unsure` beside `--ref` decides that"
                )
            }
            Some(stands) => format!(
                "0 {said}: it is `{}` ({}), and what can be {said} is {states}",
                stands.state, stands.reason
            ),
            None => format!("0 {said}: nothing that matches is {states}"),
        })
    }
}
