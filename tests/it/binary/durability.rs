//! Promise 1: a delivery that was acknowledged survives `kill -9`, and its work gets done.

use std::{collections::BTreeSet, thread};

use super::site::{Site, set_email};

/// So many times the process is killed, over one ledger.
const KILLS: usize = 25;
/// Deliveries that arrive at the same moment; the first that is acknowledged pulls the trigger.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let site = Site::new().await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..KILLS {
        let mut serving = site.serve().await;
        let sessions: Vec<String> = (0..AT_ONCE).map(|_| site.chat("ada@example.org")).collect();
        let (acked, answers) = std::sync::mpsc::channel();
        let known_before = acknowledged.len();
        thread::scope(|scope| {
            let serving_now = &serving;
            let senders: Vec<_> = sessions
                .iter()
                .map(|session| {
                    let acked = acked.clone();
                    scope.spawn(move || {
                        let status = serving_now.post(&set_email(session, "ada@example.org"));
                        let was_acknowledged = status.is_ok_and(|status| status == 200);
                        // Who waits for the first may have got it and gone.
                        drop(acked.send(was_acknowledged.then(|| session.clone())));
                    })
                })
                .collect();
            drop(acked);
            let first = answers.iter().flatten().next();
            serving_now.signal("KILL");
            acknowledged.extend(first);
            acknowledged.extend(answers.iter().flatten());
            for sender in senders {
                sender.join().expect("a sender");
            }
        });
        serving.kill();
        assert!(
            acknowledged.len() > known_before,
            "nothing was acknowledged: {}",
            serving.log()
        );
        // What the dead process left is worked by the next one, so that no row dies of too many crashes.
        let serving = site.serve().await;
        for session in &acknowledged {
            site.wait_refreshed(session).await;
        }
        drop(serving);
    }
    let listed = site
        .run(&["deliveries", "list", "--json", "--limit", "1000"])
        .ended(0)
        .json();
    let listed: BTreeSet<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|delivery| delivery["session"].as_str())
        .collect();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|session| !listed.contains(session.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
