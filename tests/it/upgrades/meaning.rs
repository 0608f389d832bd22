//! What a ledger says, through its own doors, of the rows in `fixtures/ledger/`.

use std::collections::BTreeMap;

use crisp_sync::{
    clock::millis,
    ids::{Email, SessionId, UserKey, WebsiteId},
    ledger::{
        ConversationMirror, DeliveryFilter, Lane, Ledger, OutboxFilter, OutboxRow, PersonMirror,
        Tombstoned, WorkKind, WorkRow,
    },
    pseudonym::EmailMac,
};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

/// When the fixtures were written.
pub(crate) const WRITTEN: i64 = 1_763_700_000_000;
pub(crate) const WEBSITE: &str = "42286ab3-b29a-4fde-8538-da0ae501d825";
/// It is paused.
const OTHER: &str = "8c842203-7ed8-4e29-a608-7cf78a7d2fcc";
pub(crate) const SESSION: &str = "session_0e4c04ed-8a4b-4d8a-9c5e-6a1d1f6e0a01";
const DEAD: &str = "session_0e4c04ed-8a4b-4d8a-9c5e-6a1d1f6e0a02";
/// Somebody was at work on it.
pub(crate) const LEASED: &str = "session_0e4c04ed-8a4b-4d8a-9c5e-6a1d1f6e0a03";

pub(crate) fn website(text: &str) -> WebsiteId {
    WebsiteId::parse(text).expect("an id")
}

pub(crate) fn session(text: &str) -> SessionId {
    SessionId::parse(text).expect("an id")
}

pub(crate) fn user(text: &str) -> UserKey {
    UserKey::parse(text).expect("a key")
}

fn email(text: &str) -> Email {
    Email::parse(text).expect("an address")
}

/// What is known, by the table it comes from. A row counts once; a table that nobody asks for is not in it.
pub(crate) async fn told(ledger: &Ledger) -> BTreeMap<&'static str, Vec<Json>> {
    let filter = DeliveryFilter {
        limit: 1000,
        ..DeliveryFilter::default()
    };
    let mut told = BTreeMap::new();
    let deliveries = ledger.deliveries(&filter).await.expect("a read");
    told.insert(
        "deliveries",
        deliveries.iter().map(|row| json!(row)).collect(),
    );
    told.insert("work", work_rows(ledger).await);
    told.insert("traces", traces(ledger).await);
    told.insert("conversations", conversations(ledger).await);
    told.insert("persons", persons(ledger).await);
    told.insert("outbox", outbox(ledger).await);
    told.insert("high_water", high_water(ledger).await);
    told.insert("armings", armings(ledger).await);
    let names = ledger.owned_names().await.expect("a read");
    let names = names
        .iter()
        .map(|name| json!([name.side, name.kind, name.name]));
    told.insert("owned_names", names.collect());
    let mut verified = Vec::new();
    for id in [WEBSITE, OTHER] {
        let at = ledger.verified_seen(&website(id)).await.expect("a read");
        verified.extend(at.map(|at| json!([id, at])));
    }
    told.insert("verified_seen", verified);
    let pauses = ledger.pauses().await.expect("a read");
    told.insert("pauses", pauses.iter().map(|pause| json!(pause)).collect());
    let mut quota = Vec::new();
    for day in ["2025-11-20", "2025-11-21"] {
        let day = day.parse().expect("a day");
        let calls = ledger.quota(day).await.expect("a read");
        quota.extend(calls.iter().map(|calls| json!(calls)));
    }
    told.insert("quota", quota);
    told
}

async fn work_rows(ledger: &Ledger) -> Vec<Json> {
    let mut rows = Vec::new();
    for (kind, id, key) in [
        (WorkKind::Conversation, WEBSITE, SESSION),
        (WorkKind::Conversation, WEBSITE, DEAD),
        (WorkKind::Conversation, WEBSITE, LEASED),
        (WorkKind::Person, WEBSITE, "42"),
        (WorkKind::Person, WEBSITE, "7"),
        (WorkKind::Person, OTHER, "42"),
    ] {
        let row = ledger.work(kind, &website(id), key).await.expect("a read");
        rows.extend(row.as_ref().map(work));
    }
    let dead = ledger.dead(10).await.expect("a read");
    let dead: Vec<&str> = dead.iter().map(|row| row.key.as_str()).collect();
    assert_eq!(dead, [DEAD]);
    rows
}

async fn traces(ledger: &Ledger) -> Vec<Json> {
    let mut rows = Vec::new();
    for (kind, key) in [(WorkKind::Conversation, SESSION), (WorkKind::Person, "42")] {
        let traces = ledger.traces(kind, &website(WEBSITE), key).await;
        rows.extend(traces.expect("a read").iter().map(|row| {
            json!([
                row.at,
                row.trigger,
                row.attempt,
                row.trace.outcome,
                row.trace.detail
            ])
        }));
    }
    rows
}

async fn conversations(ledger: &Ledger) -> Vec<Json> {
    let mut rows = Vec::new();
    for key in [SESSION, DEAD, LEASED] {
        let row = ledger.conversation(&website(WEBSITE), &session(key)).await;
        rows.extend(row.expect("a read").as_ref().map(conversation));
    }
    let (website, ada) = (website(WEBSITE), email("ada@example.org"));
    let of = ledger.conversations_of(&website, &ada).await;
    assert_eq!(of.expect("a read"), [session(SESSION)]);
    let last = ledger.last_email_of(&website, &user("42")).await;
    assert_eq!(last.expect("a read"), Some(ada));
    rows
}

async fn persons(ledger: &Ledger) -> Vec<Json> {
    let mut rows = Vec::new();
    for (id, key) in [(WEBSITE, "42"), (WEBSITE, "7"), (OTHER, "42")] {
        let row = ledger.person(&website(id), &user(key)).await;
        rows.extend(row.expect("a read").as_ref().map(person));
    }
    // The secret is the same, or the codes of addresses mean nobody.
    let ada = ledger.pseudonyms().email(&email("ada@example.org"));
    let found = ledger.person_by_email(&website(WEBSITE), &ada).await;
    assert_eq!(found.expect("a read").expect("Ada").user_key, user("42"));
    rows
}

async fn outbox(ledger: &Ledger) -> Vec<Json> {
    let mut rows = Vec::new();
    for key in ["42", "7"] {
        let of = ledger.outbox(&website(WEBSITE), &user(key)).await;
        rows.extend(of.expect("a read").iter().map(occurrence));
    }
    let listed = ledger.outbox_list(&OutboxFilter::default()).await;
    assert_eq!(listed.expect("a read").len(), rows.len());
    let ada = ledger.pseudonyms().email(&email("ada@example.org"));
    let sent = ledger.last_sent_to(&website(WEBSITE), &ada).await;
    assert_eq!(
        sent.expect("a read").get("user:subscription:canceled"),
        Some(&millis(WRITTEN - 17 * 3_600_000 + 701_000))
    );
    rows
}

async fn high_water(ledger: &Ledger) -> Vec<Json> {
    let marks = ledger.high_water(&website(WEBSITE), &user("42")).await;
    let marks = marks.expect("a read");
    marks.iter().map(|mark| json!(mark)).collect()
}

async fn armings(ledger: &Ledger) -> Vec<Json> {
    let mut rows = Vec::new();
    for id in [WEBSITE, OTHER] {
        let armed = ledger.armings(&website(id)).await.expect("a read");
        rows.extend(
            armed
                .iter()
                .map(|one| json!([one.website, one.rule, one.watermark, one.armed_at])),
        );
    }
    rows
}

fn work(row: &WorkRow) -> Json {
    let WorkRow {
        kind,
        website,
        key,
        want_generation,
        done_generation,
        run_at,
        not_before,
        attempts,
        crashes,
        lease_until,
        state,
        trigger,
        priority,
        first_triggered_at,
        done_at,
        unsettled,
        dead_at,
        last_error,
    } = row;
    json!({
        "kind": kind, "website": website, "key": key, "want": want_generation, "done": done_generation,
        "run_at": run_at, "not_before": not_before, "attempts": attempts, "crashes": crashes,
        "lease_until": lease_until, "state": state, "trigger": trigger, "priority": priority,
        "first_triggered_at": first_triggered_at, "done_at": done_at, "unsettled": unsettled, "dead_at": dead_at,
        "last_error": last_error,
    })
}

fn conversation(row: &ConversationMirror) -> Json {
    let ConversationMirror {
        website,
        session,
        email,
        user_key,
        people,
        trust,
        channel,
        session_layer,
        crisp_form,
        written_for,
        dirty,
        email_since,
        read_at,
        refreshed_at,
    } = row;
    json!({
        "website": website, "session": session, "email": email.as_ref().map(Email::as_str),
        "user_key": user_key.as_ref().map(UserKey::as_str), "people": people, "trust": trust, "channel": channel,
        "session_layer": session_layer, "crisp_form": crisp_form, "written_for": written_for, "dirty": dirty,
        "email_since": email_since, "read_at": read_at, "refreshed_at": refreshed_at,
    })
}

fn person(row: &PersonMirror) -> Json {
    let PersonMirror {
        website,
        user_key,
        email_mac,
        people,
        contact,
        contact_layer,
        profile_done,
        pushed_at,
        assert_at,
        edges,
        // Not in every schema.
        former: _,
    } = row;
    json!({
        "website": website, "user_key": user_key.as_str(), "email_mac": email_mac, "people": people,
        "contact": contact, "contact_layer": contact_layer, "profile_done": profile_done, "pushed_at": pushed_at,
        "assert_at": assert_at, "edges": edges,
    })
}

fn occurrence(row: &OutboxRow) -> Json {
    let OutboxRow {
        website,
        user_key,
        key,
        event,
        subject,
        instant,
        state,
        reference,
        due_at,
        not_before,
        attempts,
        attempted_at,
        sent_at,
        absent_reads,
        first_absent_at,
        reason,
        email_mac,
        data,
        color,
        created_at,
        updated_at,
    } = row;
    json!({
        "website": website, "user_key": user_key.as_str(), "key": key, "event": event, "subject": subject,
        "instant": instant, "state": state, "reference": reference, "due_at": due_at, "not_before": not_before,
        "attempts": attempts, "attempted_at": attempted_at, "sent_at": sent_at, "absent_reads": absent_reads,
        "first_absent_at": first_absent_at, "reason": reason, "email_mac": email_mac, "data": data, "color": color,
        "created_at": created_at, "updated_at": updated_at,
    })
}

/// Instants of the fixtures.
pub(crate) fn at(milliseconds: i64) -> Timestamp {
    millis(WRITTEN + milliseconds)
}

/// The contacts that Ada had at other addresses.
pub(crate) async fn assert_former_contacts_are_known(ledger: &Ledger) {
    let key = UserKey::parse("42").expect("a key");
    let ada = ledger.person(&website(WEBSITE), &key).await;
    let former = ada.expect("a read").expect("Ada").former;
    let told: Vec<_> = (former.iter())
        .map(|one| {
            let people = one.people.as_ref().map(ToString::to_string);
            (people, one.until.to_string())
        })
        .collect();
    let known = "4a8e3a6e-7f0b-4a5d-9a51-0c2c6f4f0009".to_owned();
    assert_eq!(
        told,
        [
            (Some(known), "2025-11-20T08:00:00Z".to_owned()),
            (None, "2025-11-21T04:00:00Z".to_owned())
        ]
    );
}

/// How far each website was listened to, and what a person was told.
pub(crate) async fn assert_watch_goes_on(ledger: &Ledger) {
    let listening = ledger.listening().await.expect("a read");
    let [heard, silent] = listening.try_into().expect("two websites");
    assert_eq!(heard.heard_at, Some(at(-30_000)));
    let scan = heard.scan.expect("a look under way");
    assert_eq!(
        (scan.from, scan.to, scan.page),
        (at(-7_500_000), at(-3_600_000), 3)
    );
    assert_eq!(silent.checked_to, Some(at(-3_600_000)));
    assert_eq!(silent.scan, None);
    assert_eq!(silent.unheard_at, Some(at(-10_000_000)));
    assert_eq!(silent.silent_since, Some(at(-70_000_000)));
    let conditions = ledger.conditions().await.expect("a read");
    let conditions: Vec<_> = conditions
        .iter()
        .map(|row| (row.kind.as_str(), row.since, row.seen_at, row.told_at))
        .collect();
    assert_eq!(
        conditions,
        [
            (
                "dead_letters",
                at(-690_000),
                at(-20_000),
                Some(at(-690_000))
            ),
            ("silence", at(-50_000), at(-20_000), None),
        ]
    );
}

/// What schema 5 brought.
pub(super) async fn assert_the_erased_stay_so(ledger: &Ledger) {
    let code = |text: &str| Some(EmailMac::from_stored(text.to_owned()));
    for (id, mac, standing) in [
        (WEBSITE, "0b5e3f7a9c1d2e4f60718293a4b5c6d7", Tombstoned::Yes),
        (OTHER, "0b5e3f7a9c1d2e4f60718293a4b5c6d7", Tombstoned::Yes),
        (
            WEBSITE,
            "55aa55aa55aa55aa55aa55aa55aa55aa",
            Tombstoned::Lifted {
                at: at(-50_000_000),
            },
        ),
        (OTHER, "55aa55aa55aa55aa55aa55aa55aa55aa", Tombstoned::No),
    ] {
        let (id, mac) = (website(id), code(mac));
        let asked = ledger.tombstoned_by(&id, None, mac.as_ref());
        assert_eq!(asked.await.expect("a read"), standing, "{id}");
    }
    let [erased, back] = ledger
        .receipts()
        .await
        .expect("a read")
        .try_into()
        .expect("two receipts");
    assert_eq!(erased.deleted["occurrences"], 2);
    assert!(erased.delete_contact && erased.website_id.is_none());
    let owed: Vec<_> = erased.owed.iter().map(|owed| owed.what.as_str()).collect();
    assert_eq!(owed, ["contact", "conversation"]);
    assert_eq!(erased.owed[0].not_before, Some(at(-20_000)));
    assert_eq!(back.website_id.as_deref(), Some(WEBSITE));
    assert_eq!(back.lifted_at, Some(at(-50_000_000)));
}

/// What schema 6 brought: a sweep that was killed between two pages goes on with the next one, and knows what it has read.
pub(crate) async fn assert_sweeps_go_on(ledger: &Ledger) {
    let sweeps = ledger.sweeps().await.expect("a read");
    let [changes, rescan] = sweeps.try_into().expect("two");
    assert_eq!(changes.lane, Lane::Changes);
    assert_eq!(changes.covered_to, Some(at(-2_400_000)));
    assert_eq!((changes.last.rows, changes.last.known), (12, 9));
    let look = changes.look.expect("a look under way");
    assert_eq!((look.since, look.until), (at(-4_200_000), at(-2_100_000)));
    assert_eq!((look.counts.pages, look.counts.enqueued), (2, 640));
    let after = ("2025-11-21 04:01:30".to_owned(), "\"42".to_owned());
    assert_eq!(look.after, Some(after));
    assert_eq!((rescan.lane, rescan.look), (Lane::Rescan, None));
    assert_eq!(rescan.covered_at, Some(at(-79_999_980)));
    let codes = ["0d4c1b7f5e9a3c2d8b6f4a1e0c9d7b52", "another"].map(str::to_owned);
    let known = ledger.known_rows(&codes).await.expect("a read");
    assert_eq!(known, codes[..1]);
}
