//! One batch of acceptances: one transaction, one statement per table for what is frequent.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, atomic::Ordering},
};

use jiff::Timestamp;

use crate::{
    ids::{PeopleId, SessionId, WebsiteId},
    pseudonym::EmailMac,
};

use super::{
    super::{
        deliveries::{Acceptance, Effect, PersonBy},
        mirror::ContactState,
        trigger::{Enqueue, Trigger, Urgency},
        work::WorkKind,
    },
    LedgerError, Store, Writers, begin,
    cells::{failed, json, ms},
    engine::{Column, RowsStatement, Transaction, Value, query},
    held::{self, Held},
    mirror, pauses, send,
    work::{Fold, Key, lock, soil},
};

const WHAT: &str = "commit deliveries";

/// The columns of [`receipt`].
const RECEIPT: [Column; 11] = [
    Column::Int,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Text,
    Column::Int,
    Column::Int,
    Column::Int,
    Column::Int,
];

static RECEIPTS: LazyLock<RowsStatement> = LazyLock::new(|| {
    RowsStatement::new(
        "INSERT INTO deliveries (received_at, website, event, session, people, hook, origin, attempt, signed_at, event_at, \
           bytes) {rows}",
        &RECEIPT,
        &[],
    )
});

/// A delivery as the statement takes it.
fn receipt(acceptance: &Acceptance, now: Timestamp) -> [Value<'_>; 11] {
    let delivery = &acceptance.delivery;
    [
        ms(now).into(),
        delivery.website.as_str().into(),
        delivery.event.as_str().into(),
        delivery.session.as_ref().map(SessionId::as_str).into(),
        delivery.people.as_ref().map(PeopleId::as_str).into(),
        delivery.hook.into(),
        delivery.origin.as_deref().into(),
        delivery.attempt.map(i64::from).into(),
        delivery.signed_at.map(ms).into(),
        delivery.event_at.map(ms).into(),
        i64::from(delivery.bytes).into(),
    ]
}

/// What a batch asks for, gathered so that each table is written once.
#[derive(Default)]
struct Gathered {
    fold: Fold,
    /// Conversations whose mirror is dirty: lowered trust first, changed identity second.
    dirty: [Vec<Key>; 2],
    held: Vec<(WebsiteId, SessionId, Held)>,
}

impl Store {
    /// Commits a batch whole or not at all.
    pub(in super::super) async fn accept(
        &self,
        batch: &[(&Acceptance, Timestamp)],
    ) -> Result<(), LedgerError> {
        self.commit(batch).await?;
        if let Writers::Only { folding, .. } = &self.writers {
            folding.count(batch.len());
        }
        Ok(())
    }

    async fn commit(&self, batch: &[(&Acceptance, Timestamp)]) -> Result<(), LedgerError> {
        let now = batch
            .iter()
            .map(|(_, now)| ms(*now))
            .max()
            .unwrap_or_default();
        self.seen_at.fetch_max(now, Ordering::SeqCst);
        let mut receipts = Vec::with_capacity(batch.len() * RECEIPT.len());
        for (acceptance, now) in batch {
            receipts.extend(receipt(acceptance, *now));
        }
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        RECEIPTS
            .execute(&mut tx, receipts, &[])
            .await
            .map_err(failed(WHAT))?;
        let touched = touched(&mut tx, batch).await?;
        lock(&mut tx, &touched.iter().collect::<Vec<_>>()).await?;
        let mut gathered = Gathered::default();
        for (acceptance, _) in batch {
            for effect in &acceptance.effects {
                gather(&mut tx, &mut gathered, effect, now).await?;
            }
        }
        let [lowered, changed] = gathered.dirty;
        for (keys, unsettled) in [(lowered, false), (changed, true)] {
            mark_dirty(&mut tx, &keys, unsettled).await?;
        }
        for (website, session, held) in &gathered.held {
            held::take(&mut tx, &mut gathered.fold, website, session, held, now).await?;
        }
        gathered.fold.write(&mut tx, self, now).await?;
        tx.commit().await.map_err(failed(WHAT))
    }
}

/// The work rows that a batch writes or judges by, where several processes do. All are locked before anything else, in one
/// order: two batches cannot wait for each other, and what a settlement of another process has to judge is either there
/// before it or after.
async fn touched(
    tx: &mut Transaction<'_>,
    batch: &[(&Acceptance, Timestamp)],
) -> Result<BTreeSet<Key>, LedgerError> {
    let mut keys = BTreeSet::new();
    if !tx.is_shared() {
        return Ok(keys);
    }
    for effect in batch.iter().flat_map(|(acceptance, _)| &acceptance.effects) {
        let (website, email, people) = match effect {
            Effect::Enqueue(enqueue) => {
                let website = enqueue.website.as_str().to_owned();
                keys.insert((enqueue.kind.as_str(), website, enqueue.key.clone()));
                continue;
            }
            Effect::IdentityChanged { website, session }
            | Effect::LowerTrust { website, session }
            | Effect::HeldData {
                website, session, ..
            }
            | Effect::HeldSegments {
                website, session, ..
            }
            | Effect::ForgetConversation { website, session } => {
                keys.insert(conversation(website, session));
                continue;
            }
            Effect::EnqueuePerson { website, by, .. } => match by {
                PersonBy::Email(email) => (website, Some(email), None),
                PersonBy::People(people) => (website, None, Some(people)),
            },
            Effect::ContactCreated {
                website,
                people,
                email,
            }
            | Effect::ContactRemoved {
                website,
                people,
                email,
            } => (website, email.as_ref(), Some(people)),
            Effect::Resume { .. } => continue,
        };
        for key in mirror::find_persons(tx, website, email, people).await? {
            let kind = WorkKind::Person.as_str();
            keys.insert((kind, website.as_str().to_owned(), key));
        }
    }
    Ok(keys)
}

async fn gather(
    tx: &mut Transaction<'_>,
    gathered: &mut Gathered,
    effect: &Effect,
    now: i64,
) -> Result<(), LedgerError> {
    match effect {
        Effect::Enqueue(enqueue) => gathered.fold.add(enqueue),
        Effect::EnqueuePerson {
            website,
            by,
            trigger,
            run_at,
        } => {
            let (email, people) = match by {
                PersonBy::Email(email) => (Some(email), None),
                PersonBy::People(people) => (None, Some(people)),
            };
            let keys = mirror::find_persons(tx, website, email, people).await?;
            enqueue_persons(&mut gathered.fold, website, keys, *trigger, *run_at);
        }
        Effect::IdentityChanged { website, session } => {
            gathered.dirty[1].push(conversation(website, session));
        }
        Effect::LowerTrust { website, session } => {
            gathered.dirty[0].push(conversation(website, session));
        }
        Effect::HeldData {
            website,
            session,
            data,
        } => gathered.held.push((
            website.clone(),
            session.clone(),
            Held {
                data: Some(data.clone()),
                segments: None,
            },
        )),
        Effect::HeldSegments {
            website,
            session,
            segments,
        } => gathered.held.push((
            website.clone(),
            session.clone(),
            Held {
                data: None,
                segments: Some(segments.clone()),
            },
        )),
        Effect::ForgetConversation { website, session } => {
            let key = conversation(website, session);
            gathered.fold.remove(&key);
            gathered
                .held
                .retain(|(other, which, _)| (other, which) != (website, session));
            mirror::forget_conversation(tx, website, session, true).await?;
        }
        Effect::ContactCreated {
            website,
            people,
            email,
        } => {
            let keys = note_contact(
                tx,
                website,
                people,
                email.as_ref(),
                ContactState::Exists,
                now,
            )
            .await?;
            let at = crate::clock::millis(now);
            enqueue_persons(
                &mut gathered.fold,
                website,
                keys,
                Trigger::ProfileCreated,
                at,
            );
        }
        Effect::ContactRemoved {
            website,
            people,
            email,
        } => {
            let state = ContactState::Removed;
            note_contact(tx, website, people, email.as_ref(), state, now).await?;
        }
        Effect::Resume { website } => {
            pauses::end(tx, Some(website.as_str())).await?;
        }
    }
    Ok(())
}

pub(super) fn conversation(website: &WebsiteId, session: &SessionId) -> Key {
    (
        WorkKind::Conversation.as_str(),
        website.as_str().to_owned(),
        session.as_str().to_owned(),
    )
}

fn enqueue_persons(
    fold: &mut Fold,
    website: &WebsiteId,
    keys: Vec<String>,
    trigger: Trigger,
    run_at: Timestamp,
) {
    for key in keys {
        fold.add(&Enqueue {
            kind: WorkKind::Person,
            website: website.clone(),
            key,
            trigger,
            run_at,
            urgency: Urgency::Normal {
                fresh_for: std::time::Duration::ZERO,
            },
            debounce: std::time::Duration::ZERO,
        });
    }
}

async fn note_contact(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    people: &PeopleId,
    email: Option<&EmailMac>,
    state: ContactState,
    now: i64,
) -> Result<Vec<String>, LedgerError> {
    send::lose_timelines(tx, website, people, email, state, now).await?;
    let keys = mirror::contact(tx, website, people, email, state).await?;
    let rows: Vec<Key> = keys
        .iter()
        .map(|key| {
            (
                WorkKind::Person.as_str(),
                website.as_str().to_owned(),
                key.clone(),
            )
        })
        .collect();
    soil(tx, &rows, false).await?;
    Ok(keys)
}

pub(super) async fn mark_dirty(
    tx: &mut Transaction<'_>,
    keys: &[Key],
    unsettled: bool,
) -> Result<(), LedgerError> {
    if keys.is_empty() {
        return Ok(());
    }
    soil(tx, keys, unsettled).await?;
    query(
        "UPDATE conversations SET dirty = 1 \
         WHERE (website, session) IN (SELECT value ->> 1, value ->> 2 FROM json_each($1))",
    )
    .bind(json(&keys))
    .execute(tx)
    .await
    .map_err(failed(WHAT))?;
    Ok(())
}
