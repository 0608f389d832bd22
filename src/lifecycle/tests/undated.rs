//! Changes that nobody dates but by the looks before and after.

use super::{OutboxState::*, *};

const RULES: &str = "[[event]]\nname = \"changed\"\non_change = \"plan\"\nmax_age = \"3d\"";

/// What becomes of a change that was seen at a minute, where the look before was at another, or is not remembered.
fn decided(
    before: Option<i64>,
    armed: i64,
    swept: Option<(i64, i64)>,
    seen: i64,
) -> (OutboxState, &'static str) {
    let rules = rules(RULES);
    let edge = serde_json::json!({
        "value": "free", "count": 0, "of": "plan", "seen_at": before.map(|at| minute(at).to_string()),
    });
    let edges: Edges =
        serde_json::from_value(serde_json::json!({ "changed": edge })).expect("edges");
    let user = user([("plan", text("pro"))]);
    let found = occurrences(&rules, &user, &BTreeMap::new(), &edges, &[], minute(seen));
    let remembered = Remembered {
        swept: swept.map(|(from, to)| Swept {
            from: minute(from),
            to: minute(to),
        }),
        ..Remembered::armed(&rules, armed)
    };
    let now = minute(seen + 30);
    let decisions = decide(&rules, &found, &remembered.memory(), Guards::OPEN, now);
    let [decision] = &decisions[..] else {
        panic!("{decisions:?}");
    };
    (decision.state, decision.reason)
}

#[test]
fn a_change_of_before_it_was_armed_or_of_long_ago_waits_for_a_person() {
    let (due, held) = ((Due, reason::DUE), (Held, reason::CHANGED_UNSEEN));
    for (before, armed, seen, becomes) in [
        (Some(0), 0, 60, due),
        (Some(-1), 0, 60, held),
        (Some(-1), -1, 60, due),
        // A ledger of before looks were remembered.
        (None, 0, 60, held),
        // Nobody looked for as long as it may be told.
        (Some(0), -60, 3 * DAY - 60, due),
        (Some(0), -60, 3 * DAY + 60, held),
    ] {
        let decided = decided(before, armed, None, seen);
        assert_eq!(decided, becomes, "{before:?}, {armed}, {seen}");
    }
}

#[test]
fn the_sweep_answers_for_whom_it_did_not_bring_up() {
    let (due, held) = ((Due, reason::DUE), (Held, reason::CHANGED_UNSEEN));
    let month = 30 * DAY;
    for (swept, becomes) in [
        (None, held),
        (Some((0, month + 5)), due),
        // It was armed after the last look of the sweep.
        (Some((0, month - 5)), held),
        // It did not go as far back.
        (Some((1, month + 5)), held),
    ] {
        let decided = decided(Some(0), month, swept, month + 10);
        assert_eq!(decided, becomes, "{swept:?}");
    }
}
