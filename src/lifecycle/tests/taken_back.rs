//! What the app took back before it was told makes nothing untrue.

use super::{OutboxState::*, *};

const TABLE: &str = r#"
    sender = "sole"
    [[event]]
    name = "canceled"
    at = "canceled_at"
    group = "subscription"
    [[event]]
    name = "ended"
    renamed_from = "over"
    at = "ends_at"
    group = "subscription"
    [[event]]
    name = "changed"
    on_change = "plan"
    group = "subscription"
    [[event]]
    name = "moved"
    at = "move"
    group = "subscription"
    [[event]]
    name = "billed"
    query = "SELECT 1"
    at = "event.at"
    id = "event.id"
    group = "subscription"
    [[event]]
    name = "seen"
    at = "seen_at"
"#;

/// Somebody who canceled at noon, and whose subscription ends then or then.
fn canceled(ends_at: Value) -> User {
    user([
        ("canceled_at", at(0)),
        ("ends_at", ends_at),
        ("seen_at", Value::Null),
        ("plan", text("pro")),
        ("move", text("m-1")),
    ])
}

/// What becomes of the cancellation ten minutes later, beside a row of minute 5: its new state, and what the last look says.
fn beside(user: &User, row: &Known) -> (Option<OutboxState>, Recheck) {
    let rules = rules(TABLE);
    let (rows, edges) = (BTreeMap::new(), Edges::default());
    let own = known("canceled", 0, Due);
    let mut remembered = Remembered::armed(&rules, -100);
    remembered.known.extend([own.clone(), row.clone()]);
    let found = occurrences(&rules, user, &rows, &edges, &[], minute(10));
    let memory = remembered.memory();
    let decided = decide(&rules, &found, &memory, Guards::OPEN, minute(10));
    let state = decided.iter().find(|decision| decision.key == own.key);
    let fresh = Fresh {
        user: Some(user),
        rows: &rows,
        edges: &edges,
    };
    let checked = recheck(&rules, &own, &fresh, &memory, minute(10)).expect("it is evaluated");
    (state.map(|decision| decision.state), checked)
}

fn is_undone(user: &User, row: &Known) -> bool {
    match beside(user, row) {
        (None, Recheck::Send { .. }) => false,
        (Some(Superseded), Recheck::Drop { state, reason }) => {
            assert_eq!((state, reason), (Superseded, "later_event"));
            true
        }
        other => panic!("{row:?}: {other:?}"),
    }
}

#[test]
fn what_was_taken_back_before_it_was_told_undoes_nothing() {
    for state in OutboxState::ALL {
        let row = known("ended", 5, state);
        let gone = is_undone(&canceled(Value::Null), &row);
        assert_eq!(
            gone,
            !state.is_undecided() && state != Superseded,
            "{state}"
        );
        let ahead = is_undone(&canceled(at(20)), &row);
        assert_eq!(ahead, gone, "{state}: put off");
        assert!(is_undone(&canceled(at(5)), &row), "{state}: it is there");
    }
}

#[test]
fn a_row_of_the_former_name_is_found_by_that() {
    let row = known("over", 5, Held);
    assert!(is_undone(&canceled(at(5)), &row));
    assert!(!is_undone(&canceled(Value::Null), &row));
}

#[test]
fn another_event_of_that_moment_is_another() {
    let user = user([
        ("canceled_at", at(0)),
        ("ends_at", Value::Null),
        ("seen_at", at(5)),
        ("plan", text("pro")),
        ("move", text("m-1")),
    ]);
    assert!(!is_undone(&user, &known("ended", 5, Due)));
}

/// A rule that fails tells of nothing, and so it does not tell that something was taken back.
#[test]
fn a_rule_that_fails_takes_nothing_back() {
    assert!(is_undone(
        &canceled(Value::Bool(true)),
        &known("ended", 5, Due)
    ));
}

/// It is found once, when it is made, and not as long as it is true.
#[test]
fn a_change_that_is_found_no_more_was_not_taken_back() {
    for (event, which, is_dated) in [
        ("changed", "edge=1", false),
        ("moved", "id=m-1", false),
        ("billed", "id=7", true),
    ] {
        let row = Known {
            key: format!("{event}//{which}"),
            ..known(event, 5, Due)
        };
        let is_undone = is_undone(&canceled(Value::Null), &row);
        assert_eq!(is_undone, !is_dated, "{event}");
    }
}

/// What was refused, or was proven absent, is not in Crisp: what is told of the same event now may lie before it.
#[test]
fn what_never_arrived_makes_nothing_older_than_sent() {
    for state in OutboxState::ALL {
        let rules = rules(TABLE);
        let mut remembered = Remembered::armed(&rules, -100);
        remembered.known.push(Known {
            attempted_at: Some(minute(6)),
            ..known("canceled", 5, state)
        });
        let found = found_in(&rules, &canceled(Value::Null), 10);
        let memory = remembered.memory();
        let decided = decide(&rules, &found, &memory, Guards::OPEN, minute(10));
        let of_noon = (decided.iter()).find(|decision| decision.occurrence.is_some());
        assert_eq!(
            of_noon.map(|decision| (decision.state, decision.reason)),
            Some(if state.may_be_in_crisp() || state == Expired {
                (Superseded, "older_than_sent")
            } else if state == Baseline {
                (Superseded, "later_event")
            } else {
                (Due, "due")
            }),
            "{state}"
        );
    }
}
