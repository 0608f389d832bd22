//! Changes that nobody dates but by the looks before and after.

use super::{OutboxState::*, *};

const RULES: &str =
    "sender = \"sole\"\n[[event]]\nname = \"changed\"\non_change = \"plan\"\nmax_age = \"3d\"";

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
    let decisions = decide(
        &rules,
        &found,
        &remembered.memory(),
        Guards::OPEN,
        minute(seen),
    );
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

/// What a look at a minute makes of the first value, and what is remembered then. The rule is armed at noon.
fn first_look(
    plan: Value,
    since: Value,
    paid: bool,
    edges: &Edges,
    now: i64,
) -> (Vec<(OutboxState, &'static str, String)>, Edges) {
    let rules = rules(
        "[[event]]\nname = \"changed\"\non_change = \"plan\"\nfirst = \"since\"\nwhen = \"paid\"\nmax_age = \"3d\"",
    );
    let user = user([
        ("plan", plan),
        ("since", since),
        ("paid", Value::Bool(paid)),
    ]);
    let found = occurrences(&rules, &user, &BTreeMap::new(), edges, &[], minute(now));
    assert_eq!(found.failures, []);
    let remembered = Remembered::armed(&rules, 0);
    let later = minute(now + 10);
    let decisions = decide(&rules, &found, &remembered.memory(), Guards::OPEN, later);
    let decided = decisions
        .into_iter()
        .map(|decision| (decision.state, decision.reason, decision.key))
        .collect();
    (decided, found.edges)
}

#[test]
fn the_first_value_is_an_event_of_the_instant_that_dates_it() {
    let key = "changed//edge=0".to_owned();
    let none = Edges::default();
    for (plan, since, now, decided) in [
        (
            text("pro"),
            at(5),
            10,
            vec![(Due, reason::DUE, key.clone())],
        ),
        // Of before it was armed, too old, of nothing, and dated by nothing.
        (text("pro"), at(-5), 10, vec![]),
        (
            text("pro"),
            at(5),
            4 * DAY,
            vec![(Expired, reason::MAX_AGE, key)],
        ),
        (Value::Null, at(5), 10, vec![]),
        (text("pro"), Value::Null, 10, vec![]),
    ] {
        let (found, edges) = first_look(plan.clone(), since.clone(), true, &none, now);
        assert_eq!(found, decided, "{plan:?}, {since:?}, {now}");
        let (again, _) = first_look(plan, since, true, &edges, now);
        assert_eq!(again, [], "it is remembered");
    }
}

#[test]
fn the_first_value_waits_for_when() {
    let look = |paid, edges: &Edges, now| first_look(text("pro"), at(5), paid, edges, now);
    let (found, edges) = look(false, &Edges::default(), 10);
    assert!(found.is_empty() && edges.is_empty(), "{found:?}");
    let (found, _) = look(true, &edges, 60);
    assert_eq!(found.len(), 1);
    let (_, edges) = look(false, &edges, 4 * DAY);
    assert!(!edges.is_empty(), "it is too late");
}

#[test]
fn the_sweep_does_not_answer_for_what_an_earlier_look_has_shown() {
    let rules = rules(&format!("{RULES}\nwhen = \"paid\""));
    let edges = serde_json::json!({ "changed": {
        "value": "free", "count": 0, "of": "plan", "seen_at": minute(-60).to_string(),
    }});
    let edges: Edges = serde_json::from_value(edges).expect("edges");
    let look = |paid, edges: &Edges, now| {
        let user = user([("plan", text("pro")), ("paid", Value::Bool(paid))]);
        occurrences(&rules, &user, &BTreeMap::new(), edges, &[], minute(now))
    };
    let waits = look(false, &edges, 5);
    let found = look(true, &waits.edges, 65);
    // Armed at noon; the sweep looked before that, and since.
    let remembered = Remembered {
        swept: Some(Swept {
            from: minute(-DAY),
            to: minute(60),
        }),
        ..Remembered::armed(&rules, 0)
    };
    let decisions = decide(
        &rules,
        &found,
        &remembered.memory(),
        Guards::OPEN,
        minute(65),
    );
    let decided: Vec<_> = decisions
        .iter()
        .map(|one| (one.state, one.reason))
        .collect();
    assert_eq!(decided, [(Held, reason::CHANGED_UNSEEN)]);
}

#[test]
fn the_first_value_of_a_time_that_was_forgotten_waits_for_a_person() {
    let rules = rules(
        "sender = \"sole\"\n[[event]]\nname = \"changed\"\non_change = \"plan\"\nfirst = \"since\"",
    );
    let user = user([("plan", text("pro")), ("since", at(5))]);
    let gap = |until| Gap {
        from: minute(-60),
        until: minute(until),
    };
    for (until, state) in [(4, Due), (60, Held)] {
        let none = Edges::default();
        let found = occurrences(
            &rules,
            &user,
            &BTreeMap::new(),
            &none,
            &[gap(until)],
            minute(70),
        );
        let remembered = Remembered::armed(&rules, 0);
        let decisions = decide(
            &rules,
            &found,
            &remembered.memory(),
            Guards::OPEN,
            minute(70),
        );
        let decided: Vec<_> = decisions.iter().map(|one| one.state).collect();
        assert_eq!(decided, [state], "{until}");
    }
}
