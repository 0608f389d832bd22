//! The one transaction of an erasure, by names that are known.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::ids::{Email, UserKey, WebsiteId};

use super::{
    LedgerError, Pair, Store, begin,
    cells::{Cells, failed, json, list, ms},
    debts::{self, Owing, work_of},
    engine::{Transaction, query},
    erasure::{Code, CodeKind, DebtKind, Erasing},
    receipts,
    remove::{Found, remove},
    tombstones,
    work::Fold,
};

const WHAT: &str = "erase a person";

/// How long after the last lease of a person's work its request may still arrive.
const SETTLES: i64 = 60_000;

impl Store {
    pub(in super::super::super) async fn erase(
        &self,
        erasing: &Erasing,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let at = now;
        let now = ms(now);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let served: Vec<String> = erasing
            .served
            .iter()
            .map(|website| website.as_str().to_owned())
            .collect();
        let only = erasing.website.as_ref().map(WebsiteId::as_str);
        let websites = websites(&mut tx, only, &served).await?;
        let mut person = Person::known(self, erasing);
        person.complete(self, &mut tx, &websites).await?;
        let found = person.found(&mut tx, &websites).await?;
        let codes = person.codes(self);
        let scope = only.unwrap_or_default();
        tombstones::set(&mut tx, &codes, (scope, &erasing.receipt), at, None).await?;
        let final_at = final_at(&mut tx, now).await?;
        let deleted = remove(self, &mut tx, &erasing.receipt, &found, final_at, now).await?;
        let row = receipts::Row {
            receipt: &erasing.receipt,
            website: scope,
            at,
            delete_contact: erasing.delete_contact,
            codes: &codes,
            lifted_at: None,
        };
        receipts::write(&mut tx, &row, &deleted).await?;
        let mut fold = Fold::default();
        for website in &websites {
            let owing = |what| Owing {
                receipt: &erasing.receipt,
                website,
                what,
                final_at,
            };
            for email in &person.emails {
                debts::owe(&mut tx, &owing(DebtKind::Contact), email).await?;
            }
            if final_at.is_some() {
                debts::owe(&mut tx, &owing(DebtKind::Look), "").await?;
            }
            fold.add(&work_of(website, &erasing.receipt, now)?);
        }
        fold.write(&mut tx, self, now).await?;
        tx.commit().await.map_err(failed(WHAT))
    }
}

/// The websites that an erasure is about: the one that was named, or all that anybody knows of.
pub(super) async fn websites(
    tx: &mut Transaction<'_>,
    only: Option<&str>,
    served: &[String],
) -> Result<Vec<String>, LedgerError> {
    if let Some(only) = only {
        return Ok(vec![only.to_owned()]);
    }
    let known = query(
        "SELECT website FROM listening UNION SELECT website FROM persons UNION SELECT website FROM conversations",
    )
    .fetch_texts(tx)
    .await
    .map_err(failed(WHAT))?;
    let all: BTreeSet<String> = known.into_iter().chain(served.iter().cloned()).collect();
    Ok(all.into_iter().collect())
}

/// When nothing that was on its way can arrive any more. `None`: nothing is on its way.
pub(super) async fn final_at(
    tx: &mut Transaction<'_>,
    now: i64,
) -> Result<Option<i64>, LedgerError> {
    let leased = query(
        "SELECT max(lease_until) FROM work WHERE lease_token IS NOT NULL AND kind IN ('person', 'conversation')",
    )
    .fetch_number(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    // Another process may be about to commit what it read a moment ago.
    let shared = tx.is_shared().then_some(now);
    Ok(leased.max(shared).map(|until| until.max(now) + SETTLES))
}

/// Everything by which somebody is known.
struct Person {
    emails: BTreeSet<String>,
    users: BTreeSet<String>,
    macs: BTreeSet<String>,
}

impl Person {
    fn known(store: &Store, erasing: &Erasing) -> Self {
        Self {
            emails: erasing
                .emails
                .iter()
                .map(|email| email.as_str().to_owned())
                .collect(),
            users: erasing
                .users
                .iter()
                .map(|user| user.as_str().to_owned())
                .collect(),
            macs: erasing
                .emails
                .iter()
                .map(|email| store.pseudonyms.email(email).as_str().to_owned())
                .collect(),
        }
    }

    /// Adds the accounts on the addresses, then the addresses of the accounts.
    async fn complete(
        &mut self,
        store: &Store,
        tx: &mut Transaction<'_>,
        websites: &[String],
    ) -> Result<(), LedgerError> {
        let of_addresses = query(
            "SELECT user_key FROM persons WHERE (website, email_mac) IN \
               (SELECT value ->> 0, value ->> 1 FROM json_each($1)) \
             UNION SELECT user_key FROM conversations WHERE user_key IS NOT NULL \
               AND website IN (SELECT value ->> 0 FROM json_each($2)) \
               AND email IN (SELECT value ->> 0 FROM json_each($3))",
        )
        .bind(json(&product(websites, &self.macs)))
        .bind(list(websites))
        .bind(list(&self.emails.iter().collect::<Vec<_>>()))
        .fetch_texts(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
        self.users.extend(of_addresses);
        let accounts = json(&product(websites, &self.users));
        let of_accounts = query(
            "SELECT DISTINCT email FROM conversations WHERE email IS NOT NULL \
               AND (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
        )
        .bind(&accounts)
        .fetch_texts(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
        self.macs.extend(of_accounts.iter().filter_map(|email| {
            let email = Email::parse(email).ok()?;
            Some(store.pseudonyms.email(&email).as_str().to_owned())
        }));
        self.emails.extend(of_accounts);
        let by_code = query(
            "SELECT DISTINCT email_mac FROM persons WHERE email_mac IS NOT NULL \
               AND (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
        )
        .bind(&accounts)
        .fetch_texts(tx)
        .await
        .map_err(failed(WHAT))?;
        self.macs.extend(by_code);
        Ok(())
    }

    /// Under which keys there are rows.
    async fn found(
        &self,
        tx: &mut Transaction<'_>,
        websites: &[String],
    ) -> Result<Found, LedgerError> {
        let mut found = Found {
            users: product(websites, &self.users),
            sessions: BTreeSet::new(),
            macs: self.macs.clone(),
            marks: BTreeSet::new(),
        };
        let rows = query(
            "SELECT website, session FROM conversations WHERE \
               (website, user_key) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1)) \
             UNION SELECT website, session FROM conversations WHERE \
               website IN (SELECT value ->> 0 FROM json_each($2)) AND email IN (SELECT value ->> 0 FROM json_each($3))",
        )
        .bind(json(&found.users))
        .bind(list(websites))
        .bind(list(&self.emails.iter().collect::<Vec<_>>()))
        .fetch_all(tx)
        .await
        .map_err(failed(WHAT))?;
        for row in &rows {
            let cells = Cells::of(row, "a conversation");
            found
                .sessions
                .insert((cells.text("website")?, cells.text("session")?));
        }
        Ok(found)
    }

    fn codes(&self, store: &Store) -> Vec<Code> {
        let emails = self.macs.iter().map(|mac| Code {
            kind: CodeKind::Email.as_str().to_owned(),
            mac: mac.clone(),
        });
        let users = self
            .users
            .iter()
            .filter_map(|user| UserKey::parse(user).ok())
            .map(|user| Code {
                kind: CodeKind::User.as_str().to_owned(),
                mac: store.pseudonyms.erased_user(&user).as_str().to_owned(),
            });
        emails.chain(users).collect()
    }
}

fn product(websites: &[String], keys: &BTreeSet<String>) -> BTreeSet<Pair> {
    websites
        .iter()
        .flat_map(|website| keys.iter().map(|key| (website.clone(), key.clone())))
        .collect()
}
