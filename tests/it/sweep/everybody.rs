//! `events arm --dry-run` and `plan --all` look at whom the sweep's query finds, too.

use std::collections::BTreeMap;

use crisp_sync::{sandbox::OpenChat, server::survey::Question};

use super::{address, cancels, is_known, people, unarmed};
use crate::lifecycle::kit::everybody::everybody;

#[tokio::test]
async fn a_look_at_everybody_finds_whom_the_ledger_does_not_know() {
    let mut world = unarmed(|_| {}).await;
    people(&mut world, 7).await;
    cancels(&mut world, "p005").await;
    world.open(OpenChat::by(&address(1)).proven()).await;
    world.settle().await;
    assert!(is_known(&world, "p001").await);
    let marker = world.marker();
    // However small the pages: one instant, shared by six of them, lies across all.
    for limit in [1, 2, 100] {
        let (found, _) = everybody(&world, Question::Arm { event: None }, &[], limit).await;
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for person in &found {
            *times
                .entry(person.user.clone().expect("known to the app"))
                .or_default() += 1;
        }
        let expected = (0..7).map(|number| (format!("p{number:03}"), 1));
        assert_eq!(times, expected.collect(), "{limit} at a time");
        let sites = found.iter().flat_map(|person| &person.sites);
        let events: Vec<_> = sites
            .flat_map(|site| &site.events)
            .map(|found| (found.event.as_str(), found.state.as_str()))
            .collect();
        assert_eq!(events, [("user:subscription:canceled", "baseline")]);
    }
    assert_eq!(world.calls_since(marker).len(), 0);
    assert!(!is_known(&world, "p002").await, "nothing was written");
    world.finish().await;
}
