//! Tombstones: asked wherever a person could come back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    clock::millis,
    ids::{UserKey, WebsiteId},
    pseudonym::{EmailMac, Pseudonyms, UserMac},
};

use super::{
    LedgerError, Store, begin,
    cells::{Cells, failed, list, ms},
    engine::{Through, Transaction, query},
    erasure::{Code, CodeKind, Lifted, Tombstoned},
    work::Key,
};

const WHAT: &str = "look for a tombstone";

/// Whether somebody was erased.
pub(super) async fn standing(
    from: impl Into<Through<'_>>,
    website: &WebsiteId,
    user: Option<&UserMac>,
    email: Option<&EmailMac>,
) -> Result<Tombstoned, LedgerError> {
    let rows = query(
        "SELECT lifted_at FROM tombstones WHERE kind = 'user' AND mac = $1 AND website IN ('', $3) \
         UNION ALL SELECT lifted_at FROM tombstones WHERE kind = 'email' AND mac = $2 AND website IN ('', $3)",
    )
    .bind(user.map(UserMac::as_str))
    .bind(email.map(EmailMac::as_str))
    .bind(website.as_str())
    .fetch_all(from)
    .await
    .map_err(failed(WHAT))?;
    let mut standing = None;
    for row in &rows {
        match Cells::of(row, "a tombstone").int_if("lifted_at")? {
            None => return Ok(Tombstoned::Yes),
            Some(at) => standing = standing.max(Some(at)),
        }
    }
    Ok(standing.map_or(Tombstoned::No, |at| Tombstoned::Lifted { at: millis(at) }))
}

/// Whether somebody is erased now.
pub(in super::super) async fn stops(
    from: impl Into<Through<'_>>,
    website: &WebsiteId,
    user: Option<&UserMac>,
    email: Option<&EmailMac>,
) -> Result<bool, LedgerError> {
    Ok(standing(from, website, user, email).await? == Tombstoned::Yes)
}

/// Leaves people who are erased out of what is enqueued. Every row of a person's work comes through here, whoever asks for
/// it: a webhook, a conversation, a sweep, a command.
pub(in super::super) async fn leave_out<T>(
    tx: &mut Transaction<'_>,
    codes: &Pseudonyms,
    rows: &mut BTreeMap<Key, T>,
) -> Result<(), LedgerError> {
    let is_person = |key: &Key| key.0 == super::super::WorkKind::Person.as_str();
    if !rows.keys().any(is_person) {
        return Ok(());
    }
    let any = query("SELECT CAST(1 AS BIGINT) FROM tombstones WHERE kind = 'user' AND lifted_at IS NULL LIMIT 1")
        .fetch_number(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
    if any.is_none() {
        return Ok(());
    }
    let macs: BTreeMap<Key, String> = rows
        .keys()
        .filter(|key| is_person(key))
        .filter_map(|key| Some((key.clone(), mac_of_user(codes, &key.2)?)))
        .collect();
    let asked: Vec<&String> = macs.values().collect();
    let found = query(
        "SELECT website, mac FROM tombstones WHERE kind = 'user' AND lifted_at IS NULL \
           AND mac IN (SELECT value ->> 0 FROM json_each($1))",
    )
    .bind(list(&asked))
    .fetch_all(tx)
    .await
    .map_err(failed(WHAT))?;
    let mut erased = BTreeSet::new();
    for row in &found {
        let cells = Cells::of(row, "a tombstone");
        erased.insert((cells.text("website")?, cells.text("mac")?));
    }
    for (key, mac) in macs {
        let is_erased = [String::new(), key.1.clone()]
            .into_iter()
            .any(|website| erased.contains(&(website, mac.clone())));
        if is_erased {
            rows.remove(&key);
        }
    }
    Ok(())
}

pub(super) fn mac_of_user(codes: &Pseudonyms, key: &str) -> Option<String> {
    let key = UserKey::parse(key).ok()?;
    Some(codes.erased_user(&key).as_str().to_owned())
}

/// Sets tombstones. One that was lifted stands again.
pub(super) async fn set(
    tx: &mut Transaction<'_>,
    codes: &[Code],
    (website, receipt): (&str, &str),
    at: Timestamp,
    lifted_at: Option<Timestamp>,
) -> Result<(), LedgerError> {
    for code in codes {
        query(
            "INSERT INTO tombstones (kind, mac, website, receipt, at, lifted_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (kind, mac, website) DO UPDATE SET receipt = excluded.receipt, at = excluded.at, \
               lifted_at = excluded.lifted_at WHERE excluded.at > tombstones.at",
        )
        .bind(&code.kind)
        .bind(&code.mac)
        .bind(website)
        .bind(receipt)
        .bind(ms(at))
        .bind(lifted_at.map(ms))
        .execute(&mut *tx)
        .await
        .map_err(failed("set a tombstone"))?;
    }
    Ok(())
}

/// The codes of a kind.
pub(super) fn of_kind<'a>(
    codes: impl IntoIterator<Item = &'a Code>,
    kind: CodeKind,
) -> BTreeSet<String> {
    codes
        .into_iter()
        .filter(|code| code.kind == kind.as_str())
        .map(|code| code.mac.clone())
        .collect()
}

/// The receipts of one person: those that name an account of theirs, and those that name nothing but the address. An address
/// is passed on, so that only an account tells whose an erasure was: `None` where there are several.
fn of_one_person(
    receipts: &[(String, BTreeSet<Code>)],
    user: Option<&str>,
    email: Option<&str>,
) -> Option<Vec<String>> {
    let named = |(_, codes): &&(String, BTreeSet<Code>)| {
        email.is_some_and(|email| of_kind(codes, CodeKind::Email).contains(email))
    };
    let accounts = |(_, codes): &(String, BTreeSet<Code>)| of_kind(codes, CodeKind::User);
    let mut theirs: BTreeSet<String> = match user {
        Some(user) => BTreeSet::from([user.to_owned()]),
        None => receipts
            .iter()
            .filter(named)
            .map(accounts)
            .find(|accounts| !accounts.is_empty())
            .unwrap_or_default(),
    };
    // Whoever has two accounts was perhaps erased by each.
    loop {
        let before = theirs.len();
        for accounts in receipts.iter().map(accounts) {
            if !accounts.is_disjoint(&theirs) {
                theirs.extend(accounts);
            }
        }
        if theirs.len() == before {
            break;
        }
    }
    let of_others = |receipt: &(String, BTreeSet<Code>)| {
        let accounts = accounts(receipt);
        !accounts.is_empty() && accounts.is_disjoint(&theirs)
    };
    if user.is_none() && receipts.iter().filter(named).any(of_others) {
        return None;
    }
    let mut found: Vec<String> = receipts
        .iter()
        .filter(|receipt| !of_others(receipt))
        .filter(|receipt| named(receipt) || !accounts(receipt).is_empty())
        .map(|(receipt, _)| receipt.clone())
        .collect();
    found.sort_unstable();
    Some(found)
}

impl Store {
    pub(in super::super::super) async fn tombstoned(
        &self,
        website: &WebsiteId,
        user: Option<&UserMac>,
        email: Option<&EmailMac>,
    ) -> Result<Tombstoned, LedgerError> {
        standing(&self.readers, website, user, email).await
    }

    pub(in super::super::super) async fn lift(
        &self,
        user: Option<&UserMac>,
        email: Option<&EmailMac>,
        now: Timestamp,
    ) -> Result<Lifted, LedgerError> {
        const WHAT: &str = "lift a tombstone";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let standing = query("SELECT receipt, codes FROM erasures WHERE lifted_at IS NULL")
            .fetch_all(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        let standing = standing.iter().map(|row| {
            let cells = Cells::of(row, "a receipt");
            Ok((cells.text("receipt")?, cells.json("codes")?))
        });
        let standing = standing.collect::<Result<Vec<_>, LedgerError>>()?;
        let (user, email) = (user.map(UserMac::as_str), email.map(EmailMac::as_str));
        let Some(receipts) = of_one_person(&standing, user, email) else {
            return Ok(Lifted::NobodyOfSeveral);
        };
        for statement in [
            // Their conversations were written for nobody; also those from an address that no erasure knew, and whose they
            // are only the app can tell.
            "UPDATE conversations SET dirty = 1 WHERE $2 > 0 AND (trust = 'erased' OR written_for IN \
               (SELECT mac FROM tombstones WHERE kind = 'email' AND receipt IN (SELECT value ->> 0 FROM json_each($1))))",
            "UPDATE tombstones SET lifted_at = $2 WHERE lifted_at IS NULL \
               AND receipt IN (SELECT value ->> 0 FROM json_each($1))",
            "UPDATE erasures SET lifted_at = $2 WHERE receipt IN (SELECT value ->> 0 FROM json_each($1))",
            // What would be cleared now is theirs again.
            "DELETE FROM erasure_debts WHERE $2 > 0 AND receipt IN (SELECT value ->> 0 FROM json_each($1))",
        ] {
            query(statement)
                .bind(list(&receipts))
                .bind(ms(now))
                .execute(&mut tx)
                .await
                .map_err(failed(WHAT))?;
        }
        let are_back = |(receipt, _): &&(String, _)| receipts.contains(receipt);
        let codes = standing
            .iter()
            .filter(are_back)
            .flat_map(|(_, codes)| codes);
        let addresses: Vec<String> = of_kind(codes, CodeKind::Email).into_iter().collect();
        let stopped_by = query(
            "SELECT DISTINCT receipt FROM tombstones WHERE kind = 'email' AND lifted_at IS NULL \
               AND mac IN (SELECT value ->> 0 FROM json_each($1)) ORDER BY receipt",
        )
        .bind(list(&addresses))
        .fetch_texts(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(Lifted::Back {
            receipts,
            stopped_by,
        })
    }
}
