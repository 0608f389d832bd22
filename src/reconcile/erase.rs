//! What an erasure owes on one website, but for its conversations, whose own refresh clears them: the contact, and another
//! look through the ledger.
//!
//! Only what is ours is cleared. What agents and others wrote on the contact stays, unless the contact itself is to go.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::{Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, hand::Applied};
use crate::{
    context::{Held, Layer, diff},
    crisp::{client::PersonRef, error::CrispError, model::ProfilePatch},
    data::DataValue,
    ids::{Email, PeopleId, WebsiteId},
    ledger::{Debt, DebtKind, Receipt},
};

impl Reconciler {
    /// Pays what can be paid now.
    pub async fn erase(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        receipt: &str,
    ) -> Result<Reconciled, ReconcileError> {
        let mut reconciled = Reconciled::nothing(Outcome::Unchanged);
        let Some(known) = self.ledger.receipt(receipt).await? else {
            run.trace.fact("nobody knows this receipt");
            return Ok(reconciled);
        };
        if known.lifted_at.is_some() {
            run.trace.fact("lifted: nothing is owed");
            return Ok(reconciled);
        }
        let is_due = |debt: &Debt| {
            debt.what == DebtKind::Look && debt.final_at.is_none_or(|at| at <= run.now)
        };
        if self
            .ledger
            .debts(receipt, website)
            .await?
            .iter()
            .any(is_due)
        {
            self.ledger.look_for_erased(receipt, run.now).await?;
        }
        // Looked for once more: what was found just now is among them. Addresses first: they lead to the ids.
        let mut debts = self.ledger.debts(receipt, website).await?;
        debts.sort_by_key(|debt| !debt.subject.contains('@'));
        let mut cleared = BTreeSet::new();
        for debt in debts {
            let is_final = debt.final_at.is_none_or(|at| at <= run.now);
            match debt.what {
                DebtKind::Conversation => continue,
                DebtKind::Look => {}
                DebtKind::Contact => {
                    match self.clear_contact(run, &known, &debt, &mut cleared).await? {
                        Applied::Yes => reconciled.outcome = Outcome::Erased,
                        Applied::Withheld => {
                            reconciled.outcome = Outcome::WouldPatch;
                            continue;
                        }
                    }
                }
            }
            if is_final {
                self.ledger.paid(&debt).await?;
            } else {
                reconciled.again_at = [reconciled.again_at, debt.final_at]
                    .into_iter()
                    .flatten()
                    .min();
            }
        }
        if reconciled.again_at.is_some() {
            run.trace
                .fact("what was on its way may still arrive: it is looked at once more");
        }
        Ok(reconciled)
    }

    /// Clears one contact of what is ours.
    async fn clear_contact(
        &self,
        run: &mut Run,
        receipt: &Receipt,
        debt: &Debt,
        cleared: &mut BTreeSet<PeopleId>,
    ) -> Result<Applied, ReconcileError> {
        match self.clear(run, receipt, debt, cleared).await {
            Err(ReconcileError::Crisp(CrispError::PeopleNotFound)) => {
                run.trace.fact("Crisp has no such contact");
                Ok(Applied::Yes)
            }
            cleared => cleared,
        }
    }

    async fn clear(
        &self,
        run: &mut Run,
        receipt: &Receipt,
        debt: &Debt,
        cleared: &mut BTreeSet<PeopleId>,
    ) -> Result<Applied, ReconcileError> {
        let website = &debt.website;
        let person = match Email::parse(&debt.subject) {
            Ok(email) => PersonRef::Email(email),
            Err(_) => match PeopleId::parse(&debt.subject) {
                // By its address already.
                Ok(people) if cleared.contains(&people) => return Ok(Applied::Yes),
                Ok(people) => PersonRef::Id(people),
                Err(_) => return Ok(Applied::Yes),
            },
        };
        let Some(profile) = run.hand.profile(website, &person).await? else {
            return Ok(Applied::Withheld);
        };
        cleared.extend(profile.people_id.clone());
        // An id may lead to a contact at an address that they left, or that has another address by now, and so to somebody else.
        let mut is_at_theirs = true;
        if let (PersonRef::Id(_), Some(email)) = (&person, &profile.email) {
            let mac = self.ledger.pseudonyms().email(email);
            let is_theirs = |code: &crate::ledger::erasure::Code| code.mac == mac.as_str();
            is_at_theirs = receipt.tombstones.iter().any(is_theirs);
            let other = if is_at_theirs {
                None
            } else {
                self.ledger.person_by_email(website, &mac).await?
            };
            // What stands on a contact that was never written for somebody else is still the erased person's.
            if other.is_some_and(|other| other.pushed_at.is_some()) {
                run.trace
                    .fact("the contact is somebody else's by now: it is left alone");
                return Ok(Applied::Yes);
            }
        }
        if !is_at_theirs {
            run.trace
                .fact("the contact has an address that is not on the receipt: it stays");
        } else if receipt.delete_contact {
            run.trace.fact("the contact is deleted");
            return Ok(run.hand.remove_profile(website, &person).await?);
        }
        let owned = self.owned().await?.contact;
        let held = Held {
            data: Map::new(),
            segments: profile.segments,
        };
        let patch = ProfilePatch {
            segments: diff(&Layer::default(), &held, &owned).segments,
            ..ProfilePatch::default()
        };
        let held = run.hand.people_data(website, &person).await?;
        let is_left = |key: &&String| {
            held.get(*key)
                .is_some_and(|value| !value.is_null() && value != &DataValue::absent().to_json())
        };
        let data: Map<String, Json> = (owned.keys.iter().filter(is_left))
            .map(|key| (key.clone(), DataValue::absent().to_json()))
            .collect();
        run.trace.fact(format!(
            "{} keys and {} of ours on the contact",
            data.len(),
            if patch.is_empty() {
                "no segment"
            } else {
                "segments"
            }
        ));
        let mut applied = Applied::Yes;
        if !data.is_empty() {
            applied = run.hand.update_people_data(website, &person, &data).await?;
        }
        if !patch.is_empty() {
            applied = run.hand.update_profile(website, &person, &patch).await?;
        }
        // In another mode nothing of ours can be there, or is taken away once it is live.
        if run.hand.mode() != Mode::Live && (!data.is_empty() || !patch.is_empty()) {
            applied = Applied::Withheld;
        }
        Ok(applied)
    }
}
