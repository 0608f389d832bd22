//! The audit after a soak: by the sandbox's own books, against the app, the definition and the ledger.

use std::collections::{BTreeMap, BTreeSet};

use crisp_sync::sandbox::{Author, HookState};

use super::{
    books::Books,
    crowd::{Crowd, address, key},
};
use crate::{binary::site::Site, world::text};

/// What every kind of webhook that the sandbox sends asks for something, but these.
pub(crate) const IGNORED: [&str; 1] = ["people:profile:updated"];

/// Everything, when everything has drained.
pub(crate) async fn whole(site: &Site, crowd: &Crowd, books: &mut Books) {
    contexts(site, crowd);
    events(site, crowd, books).await;
    deliveries(site, books).await;
    // What a fault made Crisp apply late is no doing of ours; that it is set right is seen above.
    let violations = site.sandbox.look(|state| {
        let calls = state.calls();
        let was_late = |number: u64| {
            calls
                .since(number - 1)
                .first()
                .is_some_and(|call| call.faulted)
        };
        let all = calls.violations().iter().cloned();
        all.filter(|one| one.call > one.after || !was_late(one.call))
            .collect::<Vec<_>>()
    });
    assert!(violations.is_empty(), "{violations:#?}");
    let unexpected = site.sandbox.unexpected();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// Conversations that were looked at in the end show what the definition says.
fn contexts(site: &Site, crowd: &Crowd) {
    let people: BTreeMap<String, usize> = (0..crowd.plans.len())
        .map(|person| (address(person), person))
        .collect();
    let mut wrong = Vec::new();
    for session in crowd.recent() {
        let conversation = site
            .sandbox
            .look(|state| state.conversation(&session).cloned())
            .expect("it is there");
        let email = conversation.email.clone().unwrap_or_default();
        let plan = people.get(&email).map(|person| crowd.plans[*person]);
        let data = plan
            .filter(|_| conversation.is_verified)
            .unwrap_or_default();
        let there = text(conversation.labels.data.get("plan"));
        let segments: BTreeSet<&str> = conversation
            .labels
            .segments
            .iter()
            .map(String::as_str)
            .filter(|segment| segment.starts_with("plan-"))
            .collect();
        let wanted = plan.map(|plan| format!("plan-{plan}"));
        if there != data || segments != wanted.iter().map(String::as_str).collect() {
            wrong.push(format!(
                "{session}: `{there}` {segments:?}, not `{data}` {wanted:?}"
            ));
        }
        if let Some(plan) = plan {
            let contact = site.sandbox.look(|state| state.contact(&email).cloned());
            let there = contact.map(|contact| text(contact.labels.data.get("plan")));
            if there.as_deref() != Some(plan) {
                wrong.push(format!("{email}: the contact says {there:?}, not `{plan}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Nobody was told twice, and everybody who left was told, but who waits for the second look at a timeline.
async fn events(site: &Site, crowd: &Crowd, books: &mut Books) {
    let mut told: BTreeMap<(String, String, String), u32> = BTreeMap::new();
    site.sandbox.look(|state| {
        for contact in state.contacts() {
            let ours =
                |event: &&crisp_sync::sandbox::TimelineEvent| event.author == Author::Service;
            for event in contact.events.iter().filter(ours) {
                let at = text(event.data.get("occurred_at"));
                let email = contact.email.clone().unwrap_or_default();
                *told.entry((email, event.text.clone(), at)).or_default() += 1;
            }
        }
    });
    let twice: Vec<_> = told.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "told twice: {twice:#?}");
    let told: BTreeSet<&str> = told.keys().map(|(email, _, _)| email.as_str()).collect();
    let waiting = books.waiting_for_a_look().await;
    let mut lost = Vec::new();
    for person in crowd.canceled.keys() {
        if !waiting.contains(&key(*person)) && !told.contains(address(*person).as_str()) {
            lost.push((address(*person), books.events_of(&key(*person)).await));
        }
    }
    assert!(lost.is_empty(), "never told: {lost:#?}");
    eprintln!(
        "audit: {} told once, {} wait for another look",
        told.len(),
        waiting.len()
    );
}

/// Every webhook that was acknowledged is in the ledger.
async fn deliveries(site: &Site, books: &mut Books) {
    let kept = books.deliveries().await;
    let mut acknowledged: BTreeMap<(String, String), i64> = BTreeMap::new();
    site.sandbox.look(|state| {
        for hook in state.hooks() {
            let about = hook.session.clone().or_else(|| hook.people.clone());
            let key = (hook.event.clone(), about.unwrap_or_default());
            if hook.state == HookState::Accepted && !IGNORED.contains(&hook.event.as_str()) {
                *acknowledged.entry(key).or_default() += 1;
            }
        }
    });
    let total: i64 = acknowledged.values().sum();
    eprintln!("audit: {total} webhooks acknowledged");
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|(key, count)| kept.get(*key).is_none_or(|kept| kept < *count))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:#?}");
}
