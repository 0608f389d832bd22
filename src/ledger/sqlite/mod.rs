//! The SQLite dialect.
#![expect(
    unused_variables,
    clippy::unused_async,
    reason = "the statements follow"
)]
use super::*;
use crate::{ids::*, pseudonym::EmailMac};
use jiff::{Timestamp, civil::Date};
use secrecy::SecretSlice;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};
/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct MigrationFile {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub name: &'static str,
    /// How.
    pub sql: &'static str,
}
/// Every step, in order.
pub const MIGRATIONS: &[MigrationFile] = &[];
#[derive(Debug)]
pub(super) struct Store;
impl Store {
    pub(super) async fn open(
        settings: LedgerSettings,
        now: Timestamp,
    ) -> Result<(Self, SecretSlice<u8>), LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn settle(
        &self,
        claim: &Claim,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Settled, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn checkpoint(
        &self,
        claim: &Claim,
        writes: &[Write],
        now: Timestamp,
    ) -> Result<Settled, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn extend(
        &self,
        claim: &Claim,
        lease: Duration,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn begin_send(
        &self,
        claim: &Claim,
        outbox_key: &str,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn enqueue(
        &self,
        enqueues: &[Enqueue],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn revive(
        &self,
        row: Option<(WorkKind, &WebsiteId, &str)>,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn arm(
        &self,
        website: &WebsiteId,
        rule: &str,
        watermark: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn disarm(
        &self,
        website: &WebsiteId,
        rule: &str,
    ) -> Result<bool, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn release(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn drop_occurrences(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn resume(&self, website: Option<&WebsiteId>) -> Result<bool, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn note_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn adopt_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn heartbeat(&self, now: Timestamp) -> Result<Option<Gap>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn prune(&self, keep: Duration, now: Timestamp) -> Result<u64, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn conversation(
        &self,
        website: &WebsiteId,
        session: &SessionId,
    ) -> Result<Option<ConversationMirror>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn person(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Option<PersonMirror>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn person_by_email(
        &self,
        website: &WebsiteId,
        email: &EmailMac,
    ) -> Result<Option<PersonMirror>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn person_count(&self, website: &WebsiteId) -> Result<u64, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn outbox(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn outbox_list(
        &self,
        filter: &OutboxFilter,
    ) -> Result<Vec<OutboxRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn high_water(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<BTreeMap<(String, String), Timestamp>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn last_sent_to(
        &self,
        website: &WebsiteId,
        email: &EmailMac,
    ) -> Result<BTreeMap<String, Timestamp>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn send_count(
        &self,
        website: &WebsiteId,
        event: &str,
        since: Timestamp,
    ) -> Result<SendCount, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn armings(&self, website: &WebsiteId) -> Result<Vec<Arming>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn owned_names(&self) -> Result<BTreeSet<OwnedName>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Vec<DeliveryRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn delivery(
        &self,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn work(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Option<WorkRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn dead(&self, limit: u32) -> Result<Vec<WorkRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn pauses(&self) -> Result<Vec<Pause>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn verified_seen(
        &self,
        website: &WebsiteId,
    ) -> Result<Option<Timestamp>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn traces(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
    ) -> Result<Vec<TraceRow>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn health(&self, now: Timestamp) -> Result<Health, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn quota(&self, day: Date) -> Result<Vec<DayQuota>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn cautious_until(&self) -> Result<Option<Timestamp>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, LedgerError> {
        Err(LedgerError::Closed)
    }
    pub(super) async fn count_calls(
        &self,
        calls: &[(&'static str, u32)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        Err(LedgerError::Closed)
    }
}
