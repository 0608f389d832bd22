//! What an operator's command needs: one row at once, and everything known of an address.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::ids::{Email, SessionId, UserKey, WebsiteId};

use super::{
    super::{
        mirror::OwnedName,
        work::{Claim, WorkKind},
    },
    LedgerError, Store, begin,
    cells::{Cells, failed, ms, span},
    claim::{claim, reap},
    engine::query,
    mirror,
};

impl Store {
    /// Claims one row whenever it would be due. `None`: it is leased, dead, or has nothing to do.
    pub(in super::super) async fn claim_key(
        &self,
        (kind, website, key): (WorkKind, &WebsiteId, &str),
        lease: Duration,
        now: Timestamp,
    ) -> Result<Option<Claim>, LedgerError> {
        const WHAT: &str = "claim a row";
        let now = ms(now);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        reap(&mut tx, &self.settings, now).await?;
        let row = query(
            "UPDATE work SET lease_token = $4, lease_until = $5, claimed_gen = want_gen, claimed_dirt = dirt, probe = 0 \
             WHERE kind = $1 AND website = $2 AND key = $3 AND state = 'ready' AND want_gen > done_gen \
               AND lease_token IS NULL \
             RETURNING kind, website, key, claimed_gen, lease_token, attempts, crashes, trigger, priority, \
               first_triggered_at, lease_until, probe, due_at",
        )
        .bind(kind.as_str())
        .bind(website.as_str())
        .bind(key)
        .bind(Uuid::new_v4().simple().to_string())
        .bind(now + span(lease.min(self.settings.longest_lease)))
        .fetch_optional(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        let claimed = row.as_ref().map(claim).transpose()?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(claimed)
    }

    /// The conversations that were last seen under an address, newest first.
    pub(in super::super) async fn conversations_of(
        &self,
        website: &WebsiteId,
        email: &Email,
    ) -> Result<Vec<SessionId>, LedgerError> {
        const WHAT: &str = "the conversations of an address";
        let rows = query(
            "SELECT session FROM conversations WHERE website = $1 AND email = $2 ORDER BY refreshed_at DESC NULLS LAST, session",
        )
        .bind(website.as_str())
        .bind(email.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(failed("read the conversations of an address"))?;
        rows.iter()
            .map(|row| Cells::of(row, WHAT).parsed("session", |text| SessionId::parse(text).ok()))
            .collect()
    }

    /// The address under which a person was last seen in a conversation.
    pub(in super::super) async fn last_email_of(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Option<Email>, LedgerError> {
        query(
            "SELECT email FROM conversations WHERE website = $1 AND user_key = $2 AND email IS NOT NULL \
             ORDER BY refreshed_at DESC NULLS LAST LIMIT 1",
        )
        .bind(website.as_str())
        .bind(user_key.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(failed("read the address of a person"))?
        .map(|row| {
            Cells::of(&row, "a conversation").parsed("email", |text| Email::parse(text).ok())
        })
        .transpose()
    }

    /// Remembers names that are ours, outside of any attempt.
    pub(in super::super) async fn own(&self, names: &[OwnedName]) -> Result<(), LedgerError> {
        const WHAT: &str = "remember owned names";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        mirror::own(&mut tx, names).await?;
        tx.commit().await.map_err(failed(WHAT))
    }
}
