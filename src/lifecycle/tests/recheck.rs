//! The last look before an event leaves.

use super::{OutboxState::*, *};
use crate::data::{DataMap, DataValue};

const TABLE: &str = r#"
    require = "opt_in"
    exclude = "staff"
    after = "confirmed"
    [[event]]
    name = "canceled"
    at = "canceled_at"
    when = "not back"
    group = "subscription"
    color = "orange"
    data = { plan = "{{ plan }}" }
    [[event]]
    name = "started"
    on_change = "plan"
    group = "subscription"
"#;

fn canceled() -> User {
    user([
        ("canceled_at", at(0)),
        ("back", Value::Bool(false)),
        ("plan", text("pro")),
        ("opt_in", Value::Bool(true)),
        ("staff", Value::Bool(false)),
        ("confirmed", at(-500)),
    ])
}

fn with(column: &str, value: Value) -> User {
    let mut user = canceled();
    user.record.insert(column, value);
    user
}

/// Edges after a first look at the user.
fn edges(user: &User) -> Edges {
    occurrences(
        &rules(TABLE),
        user,
        &BTreeMap::new(),
        &Edges::default(),
        &[],
        minute(-50),
    )
    .edges
}

fn checked(user: Option<&User>, known: &Known, remembered: &Remembered, now: i64) -> Recheck {
    let edges = edges(&canceled());
    let fresh = Fresh {
        user,
        rows: &BTreeMap::new(),
        edges: &edges,
    };
    recheck(
        &rules(TABLE),
        known,
        &fresh,
        &remembered.memory(),
        minute(now),
    )
    .expect("it is evaluated")
}

fn dropped(state: OutboxState, reason: &'static str) -> Recheck {
    Recheck::Drop { state, reason }
}

fn wait(until: i64, reason: &'static str) -> Recheck {
    Recheck::Wait {
        until: minute(until),
        reason,
    }
}

#[test]
fn what_still_holds_leaves_with_the_data_of_now() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    let found = checked(Some(&canceled()), &known("canceled", 0, Due), &armed, 20);
    assert_eq!(
        found,
        Recheck::Send {
            text: "canceled".to_owned(),
            color: Color::Orange,
            data: DataMap::from([
                ("plan".to_owned(), DataValue::from("pro")),
                ("ref".to_owned(), DataValue::from("ref-canceled-0")),
                (
                    "occurred_at".to_owned(),
                    DataValue::from("2026-01-02T12:00:00Z")
                ),
            ]),
        }
    );
}

#[test]
fn whatever_changed_stops_it() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    let due = known("canceled", 0, Due);
    for (user, now, expected) in [
        (None, 20, dropped(Superseded, "user_gone")),
        (
            Some(with("canceled_at", Value::Null)),
            20,
            dropped(Superseded, "no_longer_true"),
        ),
        // Canceled again: another occurrence.
        (
            Some(with("canceled_at", at(15))),
            20,
            dropped(Superseded, "later_event"),
        ),
        // A plan that changed since the last look is a start that no row knows yet.
        (
            Some(with("plan", text("team"))),
            20,
            dropped(Superseded, "later_event"),
        ),
        (Some(with("back", Value::Bool(true))), 20, wait(80, "when")),
        // Not past the end of its time.
        (
            Some(with("back", Value::Bool(true))),
            3 * DAY - 1,
            Recheck::Wait {
                until: minute(3 * DAY) + jiff::SignedDuration::from_secs(1),
                reason: "when",
            },
        ),
        (
            Some(with("staff", Value::Bool(true))),
            20,
            dropped(Excluded, "exclude"),
        ),
        (
            Some(with("opt_in", Value::Bool(false))),
            20,
            dropped(NoConsent, "require"),
        ),
        (Some(with("confirmed", Value::Null)), 20, wait(80, "after")),
        (Some(with("confirmed", at(30))), 20, wait(30, "after")),
        (Some(canceled()), 5, wait(10, "not_due")),
        (Some(canceled()), 3 * DAY + 1, dropped(Expired, "max_age")),
    ] {
        assert_eq!(checked(user.as_ref(), &due, &armed, now), expected);
    }
}

#[test]
fn what_is_remembered_stops_it() {
    let due = known("canceled", 0, Due);
    let armed = || Remembered::armed(&rules(TABLE), -100);
    let disarmed = Remembered::default();
    let mut rearmed = armed();
    rearmed.watermarks.insert("canceled".to_owned(), minute(1));
    let mut newer = armed();
    newer
        .high_water
        .insert(("canceled".to_owned(), String::new()), minute(1));
    let mut own = armed();
    own.high_water
        .insert(("canceled".to_owned(), String::new()), minute(0));
    let mut recent = armed();
    recent
        .last_to_address
        .insert("canceled".to_owned(), minute(-100));
    let mut sent = armed().row("canceled", -100, Sent);
    sent.known[0].sent_at = Some(minute(-90));
    let mut itself = armed();
    itself.known.push(Known {
        attempted_at: Some(minute(2)),
        ..due.clone()
    });
    for (remembered, expected) in [
        (disarmed, Some(dropped(Held, "not_armed"))),
        (rearmed, Some(dropped(Baseline, "before_armed"))),
        (newer, Some(dropped(Superseded, "older_than_sent"))),
        (own, None),
        (recent, Some(dropped(Held, "min_gap"))),
        (sent, Some(dropped(Held, "min_gap"))),
        (itself, None),
        (
            armed().row("started", 3, Sent),
            Some(dropped(Superseded, "later_event")),
        ),
    ] {
        let found = checked(Some(&canceled()), &due, &remembered, 20);
        match expected {
            Some(expected) => assert_eq!(found, expected),
            None => assert!(matches!(found, Recheck::Send { .. }), "{found:?}"),
        }
    }
}

#[test]
fn only_what_is_due_may_leave() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    for state in OutboxState::ALL {
        let found = checked(Some(&canceled()), &known("canceled", 0, state), &armed, 20);
        match state {
            Due | Scheduled => assert!(matches!(found, Recheck::Send { .. }), "{state}"),
            _ => assert_eq!(found, dropped(state, "already_decided")),
        }
    }
}

#[test]
fn a_rule_that_is_gone_sends_nothing() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    let found = checked(Some(&canceled()), &known("churned", 0, Due), &armed, 20);
    assert_eq!(found, dropped(Superseded, "rule_removed"));
}

#[test]
fn a_change_stands_while_its_value_does() {
    let rules = rules("[[event]]\nname = \"started\"\non_change = \"plan\"");
    let armed = Remembered::armed(&rules, -100);
    let look = |plan, edges: &Edges, now| {
        occurrences(
            &rules,
            &user([("plan", text(plan))]),
            &BTreeMap::new(),
            edges,
            &[],
            minute(now),
        )
    };
    let first = look("free", &Edges::default(), 0).edges;
    let changed = look("pro", &first, 5);
    let due = Known {
        key: changed.occurrences[0].key(),
        ..known("started", 5, Due)
    };
    let again = look("team", &changed.edges, 8).edges;
    for (plan, edges, expected) in [
        ("pro", &changed.edges, None),
        ("free", &changed.edges, Some("no_longer_true")),
        ("team", &changed.edges, Some("no_longer_true")),
        // The value of a later change is that change's.
        ("team", &again, Some("no_longer_true")),
    ] {
        let user = user([("plan", text(plan))]);
        let fresh = Fresh {
            user: Some(&user),
            rows: &BTreeMap::new(),
            edges,
        };
        let found = recheck(&rules, &due, &fresh, &armed.memory(), minute(20)).expect("evaluated");
        match expected {
            Some(reason) => assert_eq!(found, dropped(Superseded, reason), "{plan}"),
            None => assert!(matches!(found, Recheck::Send { .. }), "{found:?}"),
        }
    }
}

#[test]
fn a_row_of_a_query_has_to_be_there_still() {
    let rules = rules(
        "[[event]]\nname = \"import\"\nquery = \"SELECT 1\"\nat = \"event.at\"\nid = \"event.id\"",
    );
    let armed = Remembered::armed(&rules, -100);
    let due = Known {
        key: "import//id=7".to_owned(),
        ..known("import", 0, Due)
    };
    let user = user([]);
    let edges = Edges::default();
    let row = |id| record([("at", at(0)), ("id", Value::Int(id))]);
    for (rows, is_sent) in [
        (vec![row(6), row(7)], true),
        (vec![row(6)], false),
        (vec![], false),
    ] {
        let fresh = Fresh {
            user: Some(&user),
            rows: &BTreeMap::from([("import".to_owned(), rows)]),
            edges: &edges,
        };
        let found = recheck(&rules, &due, &fresh, &armed.memory(), minute(20)).expect("evaluated");
        assert_eq!(matches!(found, Recheck::Send { .. }), is_sent, "{found:?}");
    }
}

#[test]
fn what_another_query_of_the_group_has_told_since_counts() {
    let rules = rules(
        r#"
        [[event]]
        name = "import"
        query = "SELECT 1"
        at = "event.at"
        id = "event.id"
        group = "import"
        [[event]]
        name = "failed"
        query = "SELECT 1"
        at = "event.failed_at"
        id = "event.id"
        group = "import"
        "#,
    );
    let armed = Remembered::armed(&rules, -100);
    let due = Known {
        key: "import//id=7".to_owned(),
        ..known("import", 0, Due)
    };
    let (user, edges) = (user([]), Edges::default());
    for (failed_at, is_sent) in [(Value::Null, true), (at(15), false), (at(25), true)] {
        let row = record([
            ("at", at(0)),
            ("id", Value::Int(7)),
            ("failed_at", failed_at),
        ]);
        let rows = ["import", "failed"].map(|event| (event.to_owned(), vec![row.clone()]));
        let fresh = Fresh {
            user: Some(&user),
            rows: &BTreeMap::from(rows),
            edges: &edges,
        };
        assert!(rules.needs_rows("import"));
        let found = recheck(&rules, &due, &fresh, &armed.memory(), minute(20)).expect("evaluated");
        assert_eq!(matches!(found, Recheck::Send { .. }), is_sent, "{found:?}");
    }
}

#[test]
fn an_error_is_not_a_yes() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    let broken = user([("canceled_at", at(0))]);
    let edges = Edges::default();
    let fresh = Fresh {
        user: Some(&broken),
        rows: &BTreeMap::new(),
        edges: &edges,
    };
    let due = known("canceled", 0, Due);
    assert!(recheck(&rules(TABLE), &due, &fresh, &armed.memory(), minute(20)).is_err());
}
