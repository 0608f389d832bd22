//! Erasures: a person who is to be forgotten, and is not to come back.
//!
//! What the ledger holds of them goes in one transaction, and a tombstone stays: codes of their addresses and user keys,
//! which no look-up, contact or event passes from then on. What Crisp holds of ours is a debt, paid by the worker. A
//! receipt tells all of it without naming anybody, so that it may be kept, and replayed on a copy of the ledger from
//! before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{Email, UserKey, WebsiteId},
    pseudonym::{EmailMac, UserMac},
};

use super::{Ledger, LedgerError, again::again, work::words};

/// Whom to erase, and where.
#[derive(Debug, Clone)]
pub struct Erasing {
    /// The receipt's id, chosen by the caller.
    pub receipt: String,
    /// Only on this website; everywhere without.
    pub website: Option<WebsiteId>,
    /// The websites that are served: those that the ledger knows besides are looked at, too.
    pub served: Vec<WebsiteId>,
    /// Addresses that are known to be theirs.
    pub emails: BTreeSet<Email>,
    /// User keys that are known to be theirs.
    pub users: BTreeSet<UserKey>,
    /// Whether the contact goes with everything that others put on it.
    pub delete_contact: bool,
}

/// What became of the wish to lift somebody's tombstones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Lifted {
    /// The person is back.
    Back {
        /// The receipts that were ended; without one there was nothing to lift.
        receipts: Vec<String>,
        /// Receipts of others, which still stop an address that is on those, too.
        stopped_by: Vec<String>,
    },
    /// None: people with different accounts were erased while they had the address.
    NobodyOfSeveral,
}

/// Whether somebody was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstoned {
    /// No.
    No,
    /// They were, and came back: what happened before is not told of again.
    Lifted {
        /// When they came back.
        at: Timestamp,
    },
    /// They are.
    Yes,
}

words! {
    /// What the code of a tombstone stands for.
    CodeKind {
        /// An address.
        Email = "email",
        /// A user key.
        User = "user",
    }
}

/// A code that stops everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Code {
    /// `email` or `user`.
    pub kind: String,
    /// The code.
    pub mac: String,
}

/// What an erasure came to, and what it still owes. It names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id.
    pub receipt: String,
    /// The ledger whose secret made the codes, and its copies.
    pub ledger: String,
    /// The one website; `None` for every website.
    pub website_id: Option<String>,
    /// When.
    pub erased_at: Timestamp,
    /// Since when the person may be looked up again.
    #[serde(default)]
    pub lifted_at: Option<Timestamp>,
    /// What stops look-ups, contacts and events.
    pub tombstones: Vec<Code>,
    /// How many rows went, by what they were.
    pub deleted: BTreeMap<String, u64>,
    /// Whether the contact is deleted in Crisp, and not only what we wrote on it.
    pub delete_contact: bool,
    /// What is still to be done.
    #[serde(default)]
    pub owed: Vec<Owed>,
}

/// Something that an erasure still has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Where.
    pub website_id: String,
    /// `conversation`, `contact`, or `look`: the ledger is looked through once more.
    pub what: String,
    /// Which conversation.
    pub session_id: Option<String>,
    /// When it is done for good: what was on its way may still arrive until then.
    pub not_before: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

words! {
    /// What kind of thing is owed.
    DebtKind {
        /// Our values on a conversation. Its own work pays it.
        Conversation = "conversation",
        /// Our values on a contact, or the contact.
        Contact = "contact",
        /// Another look through the ledger.
        Look = "look",
    }
}

/// One debt, for whoever pays it.
#[derive(Clone, PartialEq, Eq)]
pub struct Debt {
    /// Of which erasure.
    pub receipt: String,
    /// Where.
    pub website: WebsiteId,
    /// What.
    pub what: DebtKind,
    /// A session, an address or the id of a contact.
    pub subject: String,
    /// It may be settled from then on; until then it is paid and paid again.
    pub final_at: Option<Timestamp>,
}

impl Ledger {
    /// Erases a person: their rows, with a tombstone in their place, in one transaction.
    pub async fn erase(&self, erasing: &Erasing, now: Timestamp) -> Result<(), LedgerError> {
        again!(self.shared.store.erase(erasing, now))?;
        self.after_erasing(&erasing.receipt).await
    }

    /// Sets the tombstones of a receipt, as after a restore from before it, and has the ledger looked through. `false`:
    /// it is known already, and nothing changed.
    pub async fn replay(
        &self,
        receipt: &Receipt,
        served: &[WebsiteId],
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let is_new = again!(self.shared.store.replay(receipt, served, now))?;
        if is_new && receipt.lifted_at.is_none() {
            self.look_for_erased(&receipt.receipt, now).await?;
        }
        Ok(is_new)
    }

    /// Looks through the ledger for whoever a receipt erased, by their codes, and deletes what is found.
    pub async fn look_for_erased(&self, receipt: &str, now: Timestamp) -> Result<(), LedgerError> {
        again!(self.shared.store.look_for_erased(receipt, now))?;
        self.after_erasing(receipt).await
    }

    /// What is too much for one transaction, and the pages in which all of it stood until now.
    async fn after_erasing(&self, receipt: &str) -> Result<(), LedgerError> {
        self.shared.store.forget_deliveries(receipt).await?;
        self.shared.store.truncate_log().await?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Whether somebody was erased.
    pub async fn tombstoned(
        &self,
        website: &WebsiteId,
        user: Option<&UserKey>,
        email: Option<&Email>,
    ) -> Result<Tombstoned, LedgerError> {
        let email = email.map(|email| self.shared.pseudonyms.email(email));
        self.tombstoned_by(website, user, email.as_ref()).await
    }

    /// The same, by the code of an address.
    pub async fn tombstoned_by(
        &self,
        website: &WebsiteId,
        user: Option<&UserKey>,
        email: Option<&EmailMac>,
    ) -> Result<Tombstoned, LedgerError> {
        let user: Option<UserMac> = user.map(|user| self.shared.pseudonyms.erased_user(user));
        let store = &self.shared.store;
        store.tombstoned(website, user.as_ref(), email).await
    }

    /// How many erasures from before this instant owe something.
    pub async fn erasures_owed(&self, before: Timestamp) -> Result<u64, LedgerError> {
        self.shared.store.erasures_owed(before).await
    }

    /// The receipts, newest first.
    pub async fn receipts(&self) -> Result<Vec<Receipt>, LedgerError> {
        self.shared.store.receipts(None).await
    }

    /// One receipt.
    pub async fn receipt(&self, receipt: &str) -> Result<Option<Receipt>, LedgerError> {
        Ok(self.shared.store.receipts(Some(receipt)).await?.pop())
    }

    /// What an erasure owes on one website.
    pub async fn debts(
        &self,
        receipt: &str,
        website: &WebsiteId,
    ) -> Result<Vec<Debt>, LedgerError> {
        self.shared.store.debts(receipt, website).await
    }

    /// A debt is paid.
    pub async fn paid(&self, debt: &Debt) -> Result<(), LedgerError> {
        again!(self.shared.store.paid(debt))?;
        if debt.what == DebtKind::Contact {
            // It may have been an address.
            self.shared.store.truncate_log().await?;
        }
        Ok(())
    }

    /// Enqueues the work of every debt: rows that a restore or a refusal took away are there again.
    pub async fn take_up_debts(&self, now: Timestamp) -> Result<(), LedgerError> {
        again!(self.shared.store.take_up_debts(now))?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Lifts the tombstones of somebody who is back, with all that their erasures set.
    pub async fn lift(
        &self,
        user: Option<&UserKey>,
        email: Option<&Email>,
        now: Timestamp,
    ) -> Result<Lifted, LedgerError> {
        let codes = &self.shared.pseudonyms;
        let user = user.map(|user| codes.erased_user(user));
        let email = email.map(|email| codes.email(email));
        again!(self.shared.store.lift(user.as_ref(), email.as_ref(), now))
    }
}
