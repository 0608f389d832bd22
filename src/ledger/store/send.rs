//! The moment before a request leaves, and what a removed contact does to a request that is under way.

use jiff::Timestamp;

use crate::{
    ids::{PeopleId, WebsiteId},
    lifecycle::{BRAKE_WINDOW, OutboxState, Release, reason},
    pseudonym::EmailMac,
};

use super::{
    super::{
        mirror::ContactState,
        outbox::{Begun, OutboxRow, SendLimits},
        work::{Claim, WorkKind},
    },
    LedgerError, Store, begin, brake,
    cells::{failed, json, list, ms},
    engine::{Connection, Transaction, query, query_for},
    erasure, home, mirror,
    turn::turn,
};

const WHAT: &str = "note that an event is on its way";

impl Store {
    pub(in super::super) async fn begin_send(
        &self,
        claim: &Claim,
        row: &OutboxRow,
        limits: &SendLimits,
        now: Timestamp,
    ) -> Result<Begun, LedgerError> {
        let mut writer = self.writer().await?;
        // A standby that was promoted a moment ago may lack the commit before the very same request. Outside of the
        // transaction, which a server that does not tell would end.
        let timeline = match &mut *writer {
            Connection::Sqlite(_) => None,
            Connection::Postgres(connection) => {
                connection.timeline().await.map_err(failed(WHAT))?
            }
        };
        let mut tx = begin(&mut writer, WHAT).await?;
        if home::note_timeline(&mut tx, timeline, ms(now)).await? {
            tx.commit().await.map_err(failed(WHAT))?;
            // The next run knows that it has to be careful; this one was begun without.
            return Ok(Begun::LeaseLost);
        }
        let erased = self.pseudonyms.erased_user(&row.user_key);
        let begun = if !leases(&mut tx, claim, row, now).await?
            || erasure::stops(&mut tx, &row.website, Some(&erased), row.email_mac.as_ref()).await?
        {
            Begun::LeaseLost
        } else if is_too_soon(&mut tx, row, limits).await? {
            Begun::TooSoon
        } else if is_braked(&mut tx, row, limits, now).await? {
            Begun::Braked
        } else if !move_to_sending(&mut tx, row, now).await? {
            Begun::Moved
        } else {
            Begun::Yes
        };
        if begun == Begun::Yes {
            tx.commit().await.map_err(failed(WHAT))?;
        } else {
            tx.rollback().await.map_err(failed(WHAT))?;
        }
        Ok(begun)
    }
}

/// Whether the claim is this person's and its lease is not over: whoever takes it over reads the outbox.
async fn leases(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    row: &OutboxRow,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    if claim.kind != WorkKind::Person
        || claim.website != row.website
        || claim.key != row.user_key.as_str()
    {
        return Ok(false);
    }
    let held: Option<i64> = query_for(
        "SELECT 1 FROM work WHERE kind = $1 AND website = $2 AND key = $3 AND lease_token = $4 AND lease_until > $5",
        "SELECT 1 FROM work WHERE kind = $1 AND website = $2 AND key = $3 AND lease_token = $4 AND lease_until > $5 \
         FOR UPDATE",
    )
    .bind(claim.kind.as_str())
    .bind(claim.website.as_str())
    .bind(&claim.key)
    .bind(&claim.token)
    .bind(ms(now))
    .fetch_number(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(held.is_some())
}

/// Asked in the transaction that commits `sending`: two accounts on one address are worked at the same time.
async fn is_too_soon(
    tx: &mut Transaction<'_>,
    row: &OutboxRow,
    limits: &SendLimits,
) -> Result<bool, LedgerError> {
    let Some(since) = limits.spaced_since else {
        return Ok(false);
    };
    // There may be no row yet that two processes could lock: whoever comes second looks after the first has committed.
    let address = row.email_mac.as_ref().map_or("", EmailMac::as_str);
    turn(tx, &["address", row.website.as_str(), address]).await?;
    let other: Option<i64> = query(
        "SELECT 1 FROM outbox WHERE website = $1 AND email_mac = $2 AND state IN ('sending', 'sent', 'unsure') \
           AND event IN (SELECT value ->> 0 FROM json_each($3)) AND NOT (user_key = $4 AND key = $5) \
           AND max(coalesce(attempted_at, sent_at), coalesce(sent_at, attempted_at)) > $6 LIMIT 1",
    )
    .bind(row.website.as_str())
    .bind(row.email_mac.as_ref().map(EmailMac::as_str))
    .bind(list(&limits.events))
    .bind(row.user_key.as_str())
    .bind(&row.key)
    .bind(ms(since))
    .fetch_number(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(other.is_some())
}

/// Asked here once more, because many people are worked at the same time, and each of them would be the last that may go.
async fn is_braked(
    tx: &mut Transaction<'_>,
    row: &OutboxRow,
    limits: &SendLimits,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    turn(tx, &["brake", row.website.as_str(), &row.event]).await?;
    let since = now.checked_sub(BRAKE_WINDOW).unwrap_or(Timestamp::MIN);
    let mut events = limits.events.clone();
    if !events.contains(&row.event) {
        events.push(row.event.clone());
    }
    let count = brake::send_count(&mut *tx, &row.website, &events, since).await?;
    let people = mirror::person_count(tx, &row.website).await?;
    Ok(limits
        .brake
        .holds(count.sent, count.latched, people, Release::of(&row.reason)))
}

/// From `due` alone, whatever the caller saw: what a person decided meanwhile stands.
async fn move_to_sending(
    tx: &mut Transaction<'_>,
    row: &OutboxRow,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    if row.state != OutboxState::Due {
        return Ok(false);
    }
    let done = query(
        "UPDATE outbox SET state = 'sending', reason = $8, attempts = attempts + 1, attempted_at = $4, \
           updated_at = $4, not_before = NULL, absent_reads = 0, first_absent_at = NULL, email_mac = $5, data = $6, \
           color = $7 \
         WHERE website = $1 AND user_key = $2 AND key = $3 AND state = 'due'",
    )
    .bind(row.website.as_str())
    .bind(row.user_key.as_str())
    .bind(&row.key)
    .bind(ms(now))
    .bind(row.email_mac.as_ref().map(EmailMac::as_str))
    .bind(json(&row.data))
    .bind(&row.color)
    .bind(reason::ON_ITS_WAY)
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(done > 0)
}

/// A contact is gone, or another one took its place: its timeline can prove nothing any more. Whoever waits for an answer
/// will still hear it; if none comes, nobody will ever know. To be called before the contact is noted.
pub(super) async fn lose_timelines(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    people: &PeopleId,
    email: Option<&EmailMac>,
    state: ContactState,
    now: i64,
) -> Result<(), LedgerError> {
    query(
        "UPDATE outbox SET state = 'unsure', updated_at = $5, reason = $6 \
         WHERE website = $1 AND state = 'sending' AND user_key IN ( \
           SELECT user_key FROM persons WHERE website = $1 AND people = $2 AND $4 = 'removed' \
           UNION SELECT user_key FROM persons WHERE website = $1 AND email_mac = $3 \
             AND CASE $4 WHEN 'removed' THEN people IS NULL \
                 ELSE people IS NOT NULL AND people <> $2 END)",
    )
    .bind(website.as_str())
    .bind(people.as_str())
    .bind(email.map(EmailMac::as_str))
    .bind(state.as_str())
    .bind(now)
    .bind(if state == ContactState::Removed {
        reason::CONTACT_REMOVED
    } else {
        reason::CONTACT_REPLACED
    })
    .execute(tx)
    .await
    .map_err(failed("note a contact"))?;
    Ok(())
}
