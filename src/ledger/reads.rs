//! What the ledger knows, for whoever asks. Reads never wait for a writer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::Date};

use crate::{
    ids::{Email, SessionId, UserKey, WebsiteId},
    lifecycle,
    pseudonym::{EmailMac, OccurrenceRef},
};

use super::{
    Arming, ConversationMirror, DayQuota, DeliveryFilter, DeliveryId, DeliveryRow, Gap, Health,
    Latch, Ledger, LedgerError, OutboxFilter, OutboxRow, OutboxTotal, OwnedName, Pause,
    PersonMirror, SendCount, TraceRow, WorkKind, WorkRow,
};

impl Ledger {
    /// What is known of a conversation.
    pub async fn conversation(
        &self,
        website: &WebsiteId,
        session: &SessionId,
    ) -> Result<Option<ConversationMirror>, LedgerError> {
        self.shared.store.conversation(website, session).await
    }

    /// The conversations that were last seen under an address, newest first.
    pub async fn conversations_of(
        &self,
        website: &WebsiteId,
        email: &Email,
    ) -> Result<Vec<SessionId>, LedgerError> {
        self.shared.store.conversations_of(website, email).await
    }

    /// What is known of a person.
    pub async fn person(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Option<PersonMirror>, LedgerError> {
        self.shared.store.person(website, user_key).await
    }

    /// The person with this address; of several, the one pushed last.
    pub async fn person_by_email(
        &self,
        website: &WebsiteId,
        email: &EmailMac,
    ) -> Result<Option<PersonMirror>, LedgerError> {
        self.shared.store.person_by_email(website, email).await
    }

    /// The address under which a person was last seen in a conversation.
    pub async fn last_email_of(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Option<Email>, LedgerError> {
        self.shared.store.last_email_of(website, user_key).await
    }

    /// How many people are known on a website.
    pub async fn person_count(&self, website: &WebsiteId) -> Result<u64, LedgerError> {
        self.shared.store.person_count(website).await
    }

    /// Everything the outbox has on one person.
    pub async fn outbox(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        self.shared.store.outbox(website, user_key).await
    }

    /// Occurrences of everybody, the newest first.
    pub async fn outbox_list(&self, filter: &OutboxFilter) -> Result<Vec<OutboxRow>, LedgerError> {
        self.shared.store.outbox_list(filter).await
    }

    /// Those of them that come behind the one with a `ref`; `None` where there is no such one any more.
    pub async fn outbox_list_behind(
        &self,
        filter: &OutboxFilter,
        behind: &OccurrenceRef,
    ) -> Result<Option<Vec<OutboxRow>>, LedgerError> {
        self.shared.store.outbox_list_behind(filter, behind).await
    }

    /// How many occurrences a filter finds, by website, event, state and reason; its limit does not count.
    pub async fn outbox_totals(
        &self,
        filter: &OutboxFilter,
    ) -> Result<Vec<OutboxTotal>, LedgerError> {
        self.shared.store.outbox_totals(filter).await
    }

    /// The keys of people known on a website behind `after`, in the order of their keys.
    pub async fn people(
        &self,
        website: &WebsiteId,
        after: Option<&UserKey>,
        limit: u32,
    ) -> Result<Vec<UserKey>, LedgerError> {
        self.shared.store.people(website, after, limit).await
    }

    /// Per event and subject, the latest instant that was decided for a person.
    pub async fn high_water(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<BTreeMap<(String, String), Timestamp>, LedgerError> {
        self.shared.store.high_water(website, user_key).await
    }

    /// Per event, when the last request for one left for an address, whatever became of it short of a refusal.
    pub async fn last_sent_to(
        &self,
        website: &WebsiteId,
        email: &EmailMac,
    ) -> Result<BTreeMap<String, Timestamp>, LedgerError> {
        self.shared.store.last_sent_to(website, email).await
    }

    /// What the brake looks at, for one event, under all its names, on one website.
    pub async fn send_count(
        &self,
        website: &WebsiteId,
        events: &[String],
        since: Timestamp,
    ) -> Result<SendCount, LedgerError> {
        self.shared.store.send_count(website, events, since).await
    }

    /// Every event that the brake holds until a person decides.
    pub async fn latches(&self) -> Result<Vec<Latch>, LedgerError> {
        self.shared.store.latches().await
    }

    /// The rules that are armed on a website.
    pub async fn armings(&self, website: &WebsiteId) -> Result<Vec<Arming>, LedgerError> {
        self.shared.store.armings(website).await
    }

    /// Every name that is or was ours.
    pub async fn owned_names(&self) -> Result<BTreeSet<OwnedName>, LedgerError> {
        self.shared.store.owned_names().await
    }

    /// Deliveries, the newest first.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, LedgerError> {
        self.shared.store.deliveries(filter).await
    }

    /// One delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, LedgerError> {
        self.shared.store.delivery(id).await
    }

    /// One work row.
    pub async fn work(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Option<WorkRow>, LedgerError> {
        self.shared.store.work(kind, website, key).await
    }

    /// Dead letters, the latest first.
    pub async fn dead(&self, limit: u32) -> Result<Vec<WorkRow>, LedgerError> {
        self.shared.store.dead(limit).await
    }

    /// What is paused.
    pub async fn pauses(&self) -> Result<Vec<Pause>, LedgerError> {
        self.shared.store.pauses().await
    }

    /// When a verified conversation was last seen on a website.
    pub async fn verified_seen(
        &self,
        website: &WebsiteId,
    ) -> Result<Option<Timestamp>, LedgerError> {
        self.shared.store.verified_seen(website).await
    }

    /// What the attempts at a row decided, the latest first.
    pub async fn traces(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Vec<TraceRow>, LedgerError> {
        self.shared.store.traces(kind, website, key).await
    }

    /// The state of the whole.
    pub async fn health(&self, now: Timestamp) -> Result<Health, LedgerError> {
        let mut health = self.shared.store.health(now).await?;
        health.quarantined = self.shared.writer.quarantined();
        Ok(health)
    }

    /// The day by which a call at this instant is counted: Crisp's day, as far as it is known.
    pub fn quota_day(&self, at: Timestamp) -> Date {
        self.shared.store.quota_day(at)
    }

    /// Calls by purpose on one day, as [`Ledger::quota_day`] tells it.
    pub async fn quota(&self, day: Date) -> Result<Vec<DayQuota>, LedgerError> {
        self.shared.store.quota(day).await
    }

    /// Until when every occurrence needs a complete timeline before it is sent: nobody listened for a while, or the
    /// file is a copy.
    pub async fn cautious_until(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.shared.store.cautious_until().await
    }

    /// Since when the ledger lies where nobody has armed it: it is a copy, or was moved, and tells Crisp nothing until
    /// somebody says that it belongs here ([`Ledger::settle_in`]).
    pub async fn displaced_since(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.shared.store.displaced_since().await
    }

    /// The last time of which the ledger may know less than happened.
    pub async fn last_gap(&self) -> Result<Option<Gap>, LedgerError> {
        self.shared.store.last_gap().await
    }

    /// All the times of which the ledger may know less than happened, the last one last.
    pub async fn gaps(&self) -> Result<Vec<lifecycle::Gap>, LedgerError> {
        self.shared.store.gaps().await
    }

    /// When there will be something to claim if nothing else happens: a row falls due, a lease runs out, a probe may go.
    /// It may be in the past.
    pub async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, LedgerError> {
        self.shared.store.next_due(now).await
    }
}
