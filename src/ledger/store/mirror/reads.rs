//! What the mirror's tables say.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    ids::{Email, PeopleId, SessionId, UserKey, WebsiteId},
    ledger::mirror::{ContactState, ConversationMirror, OwnedName, PersonMirror},
    pseudonym::EmailMac,
};

use super::{
    super::{
        LedgerError, Store,
        cells::{Cells, failed},
        columns::columns,
        engine::{Query, Row, query},
    },
    owned_names, person_count,
};

impl Store {
    pub(in super::super::super) async fn conversation(
        &self,
        website: &WebsiteId,
        session: &SessionId,
    ) -> Result<Option<ConversationMirror>, LedgerError> {
        let asked = query(concat!(
            "SELECT ",
            columns!(conversations),
            " FROM conversations WHERE website = $1 AND session = $2"
        ));
        let asked = asked.bind(website.as_str()).bind(session.as_str());
        self.one(asked, "read a conversation", conversation_row)
            .await
    }

    pub(in super::super::super) async fn person(
        &self,
        website: &WebsiteId,
        user_key: &UserKey,
    ) -> Result<Option<PersonMirror>, LedgerError> {
        let asked = query(concat!(
            "SELECT ",
            columns!(persons),
            " FROM persons WHERE website = $1 AND user_key = $2"
        ));
        let asked = asked.bind(website.as_str()).bind(user_key.as_str());
        self.one(asked, "read a person", person_row).await
    }

    pub(in super::super::super) async fn person_by_email(
        &self,
        website: &WebsiteId,
        email: &EmailMac,
    ) -> Result<Option<PersonMirror>, LedgerError> {
        let asked = query(concat!(
            "SELECT ",
            columns!(persons),
            " FROM persons WHERE website = $1 AND email_mac = $2 \
             ORDER BY coalesce(pushed_at, 0) DESC, user_key LIMIT 1",
        ));
        let asked = asked.bind(website.as_str()).bind(email.as_str());
        self.one(asked, "read a person", person_row).await
    }

    async fn one<T>(
        &self,
        asked: Query<'_>,
        what: &'static str,
        read: fn(&Row) -> Result<T, LedgerError>,
    ) -> Result<Option<T>, LedgerError> {
        let row = asked.fetch_optional(&self.readers).await;
        row.map_err(failed(what))?.as_ref().map(read).transpose()
    }

    pub(in super::super::super) async fn person_count(
        &self,
        website: &WebsiteId,
    ) -> Result<u64, LedgerError> {
        person_count(&self.readers, website).await
    }

    pub(in super::super::super) async fn people(
        &self,
        website: &WebsiteId,
        after: Option<&UserKey>,
        limit: u32,
    ) -> Result<Vec<UserKey>, LedgerError> {
        // No key is empty, so the first page needs no question of its own, which would leave the index aside.
        query(
            "SELECT user_key FROM persons WHERE website = $1 AND user_key > $2 ORDER BY user_key LIMIT $3",
        )
        .bind(website.as_str())
        .bind(after.map_or("", UserKey::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await
        .map_err(failed("list the people"))?
        .iter()
        .map(|row| {
            Cells::of(row, "a person").parsed("user_key", |text| UserKey::parse(text).ok())
        })
        .collect()
    }

    pub(in super::super::super) async fn owned_names(
        &self,
    ) -> Result<BTreeSet<OwnedName>, LedgerError> {
        owned_names(&self.readers).await
    }

    pub(in super::super::super) async fn verified_seen(
        &self,
        website: &WebsiteId,
    ) -> Result<Option<Timestamp>, LedgerError> {
        let at: Option<i64> = query("SELECT at FROM verified_seen WHERE website = $1")
            .bind(website.as_str())
            .fetch_number(&self.readers)
            .await
            .map_err(failed("read when a verified conversation was seen"))?;
        Ok(at.map(crate::clock::millis))
    }
}

pub(in super::super) fn conversation_row(row: &Row) -> Result<ConversationMirror, LedgerError> {
    let cells = Cells::of(row, "a conversation");
    Ok(ConversationMirror {
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        session: cells.parsed("session", |text| SessionId::parse(text).ok())?,
        email: cells.parsed_if("email", |text| Email::parse(text).ok())?,
        user_key: cells.parsed_if("user_key", |text| UserKey::parse(text).ok())?,
        people: cells.parsed_if("people", |text| PeopleId::parse(text).ok())?,
        trust: cells.text_if("trust")?,
        channel: cells.text_if("channel")?,
        session_layer: cells.json("session_layer")?,
        crisp_form: cells.json_if("crisp_form")?,
        written_for: cells.text_if("written_for")?.map(EmailMac::from_stored),
        dirty: cells.flag("dirty")?,
        email_since: cells.instant_if("email_since")?,
        read_at: cells.instant_if("read_at")?,
        refreshed_at: cells.instant_if("refreshed_at")?,
    })
}

fn person_row(row: &Row) -> Result<PersonMirror, LedgerError> {
    let cells = Cells::of(row, "a person");
    Ok(PersonMirror {
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        user_key: cells.parsed("user_key", |text| UserKey::parse(text).ok())?,
        email_mac: cells.text_if("email_mac")?.map(EmailMac::from_stored),
        people: cells.parsed_if("people", |text| PeopleId::parse(text).ok())?,
        contact: cells.parsed("contact", ContactState::parse)?,
        contact_layer: cells.json("contact_layer")?,
        profile_done: cells.flag("profile_done")?,
        pushed_at: cells.instant_if("pushed_at")?,
        assert_at: cells.instant_if("assert_at")?,
        edges: cells.json("edges")?,
        former: cells.json_if("former")?.unwrap_or_default(),
    })
}
