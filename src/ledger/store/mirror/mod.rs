//! The mirror's tables: what is written to them, and [`reads`].

mod reads;

pub(super) use reads::conversation_row;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    context::{Layer, STAMPS},
    ids::{Email, PeopleId, SessionId, UserKey, WebsiteId},
    pseudonym::EmailMac,
};

use super::{
    super::{
        echo::Corrections,
        mirror::{ContactState, ConversationMirror, OwnedKind, OwnedName, PersonMirror, Side},
    },
    LedgerError,
    cells::{Cells, failed, json, ms},
    engine::{Through, Transaction, query},
    pauses,
};

/// Says that Crisp must be read before anything is concluded.
pub(super) async fn dirty(
    tx: &mut Transaction<'_>,
    website: &str,
    session: &str,
) -> Result<(), LedgerError> {
    query("UPDATE conversations SET dirty = 1 WHERE website = $1 AND session = $2")
        .bind(website)
        .bind(session)
        .execute(tx)
        .await
        .map_err(failed("mark the mirror"))?;
    Ok(())
}

/// Says that the contact's values are to be asserted at the next refresh, whatever was accepted before.
pub(super) async fn assert_contact(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    user_key: &UserKey,
) -> Result<(), LedgerError> {
    query("UPDATE persons SET assert_at = 0 WHERE website = $1 AND user_key = $2")
        .bind(website.as_str())
        .bind(user_key.as_str())
        .execute(tx)
        .await
        .map_err(failed("mark a contact"))?;
    Ok(())
}

/// Whether two layers want the same. Their age does not count: it changes with every write.
fn is_same(mut before: Layer, after: &Layer) -> bool {
    let mut after = after.clone();
    for stamp in STAMPS {
        before.data.remove(stamp);
        after.data.remove(stamp);
    }
    before == after
}

/// Writes what an attempt learned. `dirtied` tells that the mirror became dirty since it was claimed.
pub(super) async fn write_conversation(
    tx: &mut Transaction<'_>,
    mirror: &ConversationMirror,
    dirtied: bool,
) -> Result<(), LedgerError> {
    const WHAT: &str = "write the mirror";
    let before = query(
        "SELECT session_layer, crisp_form, corrections FROM conversations WHERE website = $1 AND session = $2",
    )
    .bind(mirror.website.as_str())
    .bind(mirror.session.as_str())
    .fetch_optional(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    let (mut form, mut corrections) = (None, Corrections::default());
    if let Some(before) = &before {
        let cells = Cells::of(before, "a conversation");
        // Crisp's form belongs to one layer; another layer may well stick.
        if is_same(cells.json::<Layer>("session_layer")?, &mirror.session_layer) {
            form = cells.json_if::<Layer>("crisp_form")?;
            corrections = cells.json_if("corrections")?.unwrap_or_default();
            corrections.made();
        }
    }
    query(
        "INSERT INTO conversations (website, session, email, user_key, people, trust, channel, session_layer, \
           crisp_form, corrections, written_for, dirty, email_since, read_at, refreshed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (website, session) DO UPDATE SET \
           email = excluded.email, user_key = excluded.user_key, people = excluded.people, trust = excluded.trust, \
           channel = excluded.channel, session_layer = excluded.session_layer, crisp_form = excluded.crisp_form, \
           corrections = excluded.corrections, written_for = excluded.written_for, dirty = excluded.dirty, \
           email_since = excluded.email_since, read_at = excluded.read_at, refreshed_at = excluded.refreshed_at",
    )
    .bind(mirror.website.as_str())
    .bind(mirror.session.as_str())
    .bind(mirror.email.as_ref().map(Email::as_str))
    .bind(mirror.user_key.as_ref().map(UserKey::as_str))
    .bind(mirror.people.as_ref().map(PeopleId::as_str))
    .bind(mirror.trust.as_deref())
    .bind(mirror.channel.as_deref())
    .bind(json(&mirror.session_layer))
    .bind(form.as_ref().map(json))
    .bind((corrections != Corrections::default()).then(|| json(&corrections)))
    .bind(mirror.written_for.as_ref().map(EmailMac::as_str))
    .bind(i64::from(mirror.dirty || dirtied))
    .bind(mirror.email_since.map(ms))
    .bind(mirror.read_at.map(ms))
    .bind(mirror.refreshed_at.map(ms))
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}

/// Forgets a conversation. `work` tells whether its work row goes as well; a lease on it is lost then.
pub(super) async fn forget_conversation(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    session: &SessionId,
    work: bool,
) -> Result<(), LedgerError> {
    const WHAT: &str = "forget a conversation";
    if work {
        pauses::forget_probe(tx, website, session).await?;
    }
    let mut statements = vec![
        "DELETE FROM conversations WHERE website = $1 AND session = $2",
        "DELETE FROM held WHERE website = $1 AND session = $2",
        "DELETE FROM traces WHERE kind = 'conversation' AND website = $1 AND key = $2",
        // What an erasure wanted cleared is gone.
        "DELETE FROM erasure_debts WHERE website = $1 AND what = 'conversation' AND subject = $2",
    ];
    if work {
        statements
            .push("DELETE FROM work WHERE kind = 'conversation' AND website = $1 AND key = $2");
    }
    for statement in statements {
        query(statement)
            .bind(website.as_str())
            .bind(session.as_str())
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
    }
    Ok(())
}

/// Writes what an attempt learned. `dirtied` tells that a webhook spoke about the contact since the row was claimed: its
/// word is newer than what the attempt read, unless that found another address, which has another contact.
pub(super) async fn write_person(
    tx: &mut Transaction<'_>,
    mirror: &PersonMirror,
    dirtied: bool,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO persons (website, user_key, email_mac, people, contact, contact_layer, profile_done, pushed_at, \
           assert_at, edges, former) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12) \
         ON CONFLICT (website, user_key) DO UPDATE SET \
           email_mac = excluded.email_mac, \
           people = CASE WHEN $11 = 1 AND coalesce(persons.email_mac = excluded.email_mac, TRUE) \
             THEN persons.people ELSE excluded.people END, \
           contact = CASE WHEN $11 = 1 AND coalesce(persons.email_mac = excluded.email_mac, TRUE) \
             THEN persons.contact ELSE excluded.contact END, \
           contact_layer = excluded.contact_layer, profile_done = excluded.profile_done, \
           pushed_at = excluded.pushed_at, assert_at = excluded.assert_at, edges = excluded.edges, \
           former = excluded.former",
    )
    .bind(mirror.website.as_str())
    .bind(mirror.user_key.as_str())
    .bind(mirror.email_mac.as_ref().map(EmailMac::as_str))
    .bind(mirror.people.as_ref().map(PeopleId::as_str))
    .bind(mirror.contact.as_str())
    .bind(json(&mirror.contact_layer))
    .bind(i64::from(mirror.profile_done))
    .bind(mirror.pushed_at.map(ms))
    .bind(mirror.assert_at.map(ms))
    .bind(json(&mirror.edges))
    .bind(i64::from(dirtied))
    .bind((!mirror.former.is_empty()).then(|| json(&mirror.former)))
    .execute(tx)
    .await
    .map_err(failed("write a person"))?;
    Ok(())
}

/// Notes what a webhook says about a contact, and returns whose it is. A removed contact never comes back: that it was
/// created is old news, sent again or out of order.
pub(super) async fn contact(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    people: &PeopleId,
    email: Option<&EmailMac>,
    state: ContactState,
) -> Result<Vec<String>, LedgerError> {
    // A removal names the contact that is gone: somebody whose contact is another one keeps it.
    query(
        "UPDATE persons SET contact = $4, people = $2, \
           assert_at = CASE WHEN people IS DISTINCT FROM $2 THEN 0 ELSE assert_at END, \
           contact_layer = CASE WHEN $4 = 'removed' THEN '{\"data\":{},\"segments\":[]}' ELSE contact_layer END \
         WHERE website = $1 AND user_key IN ( \
           SELECT user_key FROM persons WHERE website = $1 AND people = $2 \
           UNION SELECT user_key FROM persons WHERE website = $1 AND email_mac = $3 \
             AND (people IS NULL OR $4 = 'exists')) \
           AND NOT ($4 = 'exists' AND contact = 'removed' AND people = $2) \
         RETURNING user_key",
    )
    .bind(website.as_str())
    .bind(people.as_str())
    .bind(email.map(EmailMac::as_str))
    .bind(state.as_str())
    .fetch_texts(tx)
    .await
    .map_err(failed("note a contact"))
}

/// The people known by an address or a contact.
pub(super) async fn find_persons(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    email: Option<&EmailMac>,
    people: Option<&PeopleId>,
) -> Result<Vec<String>, LedgerError> {
    query(
        // Two look-ups by index: `OR` would read every person of the website.
        "SELECT user_key FROM persons WHERE website = $1 AND email_mac = $2 \
         UNION SELECT user_key FROM persons WHERE website = $1 AND people = $3",
    )
    .bind(website.as_str())
    .bind(email.map(EmailMac::as_str))
    .bind(people.map(PeopleId::as_str))
    .fetch_texts(tx)
    .await
    .map_err(failed("look for a person"))
}

pub(super) async fn own(tx: &mut Transaction<'_>, names: &[OwnedName]) -> Result<(), LedgerError> {
    for name in names {
        query(
            "INSERT INTO owned_names (side, kind, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(name.side.as_str())
        .bind(name.kind.as_str())
        .bind(&name.name)
        .execute(&mut *tx)
        .await
        .map_err(failed("note what is ours"))?;
    }
    Ok(())
}

pub(super) async fn owned_names(
    from: impl Into<Through<'_>>,
) -> Result<BTreeSet<OwnedName>, LedgerError> {
    query("SELECT side, kind, name FROM owned_names")
        .fetch_all(from)
        .await
        .map_err(failed("read what is ours"))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, "an owned name");
            Ok(OwnedName {
                side: cells.parsed("side", Side::parse)?,
                kind: cells.parsed("kind", OwnedKind::parse)?,
                name: cells.text("name")?,
            })
        })
        .collect()
}

pub(super) async fn see_verified(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    at: Timestamp,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO verified_seen (website, at) VALUES ($1, $2) \
         ON CONFLICT (website) DO UPDATE SET at = max(verified_seen.at, excluded.at)",
    )
    .bind(website.as_str())
    .bind(ms(at))
    .execute(tx)
    .await
    .map_err(failed("note a verified conversation"))?;
    Ok(())
}

pub(super) async fn person_count(
    from: impl Into<Through<'_>>,
    website: &WebsiteId,
) -> Result<u64, LedgerError> {
    let count = query("SELECT count(*) FROM persons WHERE website = $1")
        .bind(website.as_str())
        .fetch_number(from)
        .await
        .map_err(failed("count the people"))?;
    Ok(count
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(0))
}
