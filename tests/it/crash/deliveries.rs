//! Whether the ledger has every webhook that it acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use crisp_sync::sandbox::HookState;

use super::{play::Play, stage::Stage};
use crate::soak::{Books, audit::IGNORED};

/// Every webhook that was acknowledged is in the ledger, but what a restored copy cannot have.
pub(super) async fn deliveries<S: Stage>(
    play: &Play<'_, S>,
    books: &mut Books,
    faults: &mut Vec<String>,
) -> usize {
    let kept = books.deliveries().await;
    let mut acknowledged: BTreeMap<(String, String), i64> = BTreeMap::new();
    let addresses: Vec<&String> = (play.weather.erasures.iter())
        .flat_map(|one| &play.app.people[one.who].addresses)
        .collect();
    play.stage.sandbox().look(|state| {
        let is_theirs = |address: &Option<String>| {
            (address.as_ref()).is_some_and(|address| addresses.contains(&address))
        };
        let sessions = (state.conversations().iter())
            .filter(|one| is_theirs(&one.email))
            .map(|one| one.session_id.clone());
        let people = (state.contacts().iter())
            .filter(|one| is_theirs(&one.email))
            .map(|one| one.people_id.clone());
        let erased: BTreeSet<String> = sessions.chain(people).collect();
        for hook in state.hooks() {
            let about = hook.session.clone().or_else(|| hook.people.clone());
            let is_forgotten = play.weather.rollbacks.iter().any(|one| {
                let (from, to) = one.hooks;
                (from + 1..=to).contains(&hook.number)
            });
            // What is known of somebody goes with them.
            let is_erased = about.as_ref().is_some_and(|about| erased.contains(about));
            if hook.state == HookState::Accepted
                && !is_erased
                && !IGNORED.contains(&hook.event.as_str())
                && !is_forgotten
            {
                let key = (hook.event.clone(), about.unwrap_or_default());
                *acknowledged.entry(key).or_default() += 1;
            }
        }
    });
    for (what, count) in &acknowledged {
        if kept.get(what).is_none_or(|kept| kept < count) {
            faults.push(format!("acknowledged and lost: {what:?}"));
        }
    }
    let total: i64 = acknowledged.values().sum();
    usize::try_from(total).unwrap_or_default()
}
