//! Whether the ledger has every webhook that it acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use crisp_sync::sandbox::HookState;
use jiff::Timestamp;

use super::{play::Play, stage::Stage};
use crate::soak::{Books, audit::IGNORED};

/// Every webhook that was acknowledged is in the ledger, but what a restored copy cannot have.
pub(super) async fn deliveries<S: Stage>(
    play: &Play<'_, S>,
    books: &mut Books,
    faults: &mut Vec<String>,
) -> usize {
    let kept = books.deliveries().await;
    let mut acknowledged: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
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
                // One that met nobody is sent again, and may be taken after the copy was made.
                let is_taken_since = hook.attempts.iter().any(|attempt| {
                    let at = Timestamp::from_millisecond(attempt.at).expect("an instant");
                    one.copied_at < at && at <= one.at
                });
                (from + 1..=to).contains(&hook.number) || hook.attempts.len() > 1 && is_taken_since
            });
            // What is known of somebody goes with them.
            let is_erased = about.as_ref().is_some_and(|about| erased.contains(about));
            if hook.state == HookState::Accepted
                && !is_erased
                && !IGNORED.contains(&hook.event.as_str())
                && !is_forgotten
            {
                let key = (hook.event.clone(), about.unwrap_or_default());
                acknowledged.entry(key).or_default().push(hook.number);
            }
        }
    });
    for (what, numbers) in &acknowledged {
        let kept = kept.get(what).copied().unwrap_or(0);
        if usize::try_from(kept).is_ok_and(|kept| kept < numbers.len()) {
            faults.push(format!(
                "acknowledged and lost: {what:?}, of the webhooks {numbers:?} there are {kept}"
            ));
        }
    }
    acknowledged.values().map(Vec::len).sum()
}
