//! What a rule asks for itself: its delay, its own guards, its brake.

use super::*;

/// A win-back, ten days after somebody left; `back` is what somebody is who returned.
const TABLE: &str = r#"
    sender = "sole"
    require = "opt_in"
    [brake]
    per_hour = 7
    [[event]]
    name = "canceled"
    at = "canceled_at"
    group = "subscription"
    [[event]]
    name = "churned"
    at = "ends_at"
    group = "subscription"
    [[event]]
    name = "win_back"
    at = "canceled_at"
    delay = "10d"
    exclude = "back"
    require = "newsletter"
    after = "quiet_until"
    brake = { per_hour = 500, share = "10%" }
"#;

fn left(changes: &[(&str, Value)]) -> User {
    let mut user = user([
        ("canceled_at", at(0)),
        ("ends_at", Value::Null),
        ("opt_in", Value::Bool(true)),
        ("newsletter", Value::Bool(true)),
        ("back", Value::Bool(false)),
        ("quiet_until", at(-1)),
    ]);
    for (column, value) in changes {
        user.record.insert(*column, value.clone());
    }
    user
}

/// What is decided about the win-back at a minute.
fn win_back(user: &User, armed: i64, now: i64) -> Option<(OutboxState, Timestamp, &'static str)> {
    let rules = rules(TABLE);
    let remembered = Remembered::armed(&rules, armed);
    let guards = rules.guards(user, minute(now)).expect("guards");
    decide(
        &rules,
        &found_in(&rules, user, now),
        &remembered.memory(),
        guards,
        minute(now),
    )
    .into_iter()
    .find(|decision| decision.key.starts_with("win_back"))
    .map(|decision| (decision.state, decision.due_at, decision.reason))
}

/// What the last look before it leaves says, at a minute.
fn checked(user: &User, now: i64) -> Recheck {
    let rules = rules(TABLE);
    let remembered = Remembered::armed(&rules, -1);
    let row = Known {
        due_at: minute(10 * DAY),
        ..known("win_back", 0, OutboxState::Due)
    };
    let fresh = Fresh {
        user: Some(user),
        rows: &BTreeMap::new(),
        edges: &Edges::default(),
    };
    recheck(&rules, &row, &fresh, &remembered.memory(), minute(now)).expect("evaluated")
}

fn dropped(state: OutboxState, reason: &'static str) -> Recheck {
    Recheck::Drop { state, reason }
}

#[test]
fn a_delay_moves_the_moment_and_not_what_happened() {
    let due = minute(10 * DAY);
    let scheduled = Some((OutboxState::Scheduled, due, reason::NOT_DUE));
    assert_eq!(win_back(&left(&[]), -1, 1), scheduled);
    let now_due = Some((OutboxState::Due, due, reason::DUE));
    assert_eq!(win_back(&left(&[]), -1, 10 * DAY), now_due);
    // `max_age` begins when it is due.
    assert_eq!(win_back(&left(&[]), -1, 13 * DAY), now_due);
    let too_old = Some((OutboxState::Expired, due, reason::MAX_AGE));
    assert_eq!(win_back(&left(&[]), -1, 13 * DAY + 1), too_old);
    // Armed five days after they left: that is before the arming, however late the event would come.
    assert_eq!(win_back(&left(&[]), 5 * DAY, 10 * DAY), None);
    assert_eq!(rules(TABLE).longest_age().as_hours(), 13 * 24);
}

#[test]
fn a_longer_delay_makes_no_second_occurrence() {
    let key_of = |table: &str| {
        let rules = rules(table);
        let found = found_in(&rules, &left(&[]), 1);
        found.occurrences.last().map(Occurrence::key)
    };
    assert_eq!(key_of(TABLE), key_of(&TABLE.replace("10d", "20d")));
    // A row that was planned by the shorter one waits for the longer one.
    let rules = rules(&TABLE.replace("10d", "20d"));
    let remembered = Remembered::armed(&rules, -1);
    let row = Known {
        due_at: minute(10 * DAY),
        ..known("win_back", 0, OutboxState::Due)
    };
    let user = left(&[]);
    let fresh = Fresh {
        user: Some(&user),
        rows: &BTreeMap::new(),
        edges: &Edges::default(),
    };
    let now = minute(11 * DAY);
    assert_eq!(
        recheck(&rules, &row, &fresh, &remembered.memory(), now),
        Ok(Recheck::Wait {
            until: minute(20 * DAY),
            reason: reason::NOT_DUE
        })
    );
}

#[test]
fn who_came_back_within_the_delay_gets_nothing() {
    let day_eleven = 11 * DAY;
    assert!(matches!(
        checked(&left(&[]), day_eleven),
        Recheck::Send { .. }
    ));
    for (change, value, says) in [
        (
            "canceled_at",
            Value::Null,
            dropped(OutboxState::Superseded, reason::NO_LONGER_TRUE),
        ),
        (
            "back",
            Value::Bool(true),
            dropped(OutboxState::Excluded, reason::RULE_EXCLUDE),
        ),
        (
            "newsletter",
            Value::Bool(false),
            dropped(OutboxState::NoConsent, reason::RULE_REQUIRE),
        ),
        (
            "opt_in",
            Value::Bool(false),
            dropped(OutboxState::NoConsent, reason::REQUIRE),
        ),
        (
            "quiet_until",
            at(12 * DAY),
            Recheck::Wait {
                until: minute(12 * DAY),
                reason: reason::RULE_AFTER,
            },
        ),
    ] {
        assert_eq!(
            checked(&left(&[(change, value)]), day_eleven),
            says,
            "{change}"
        );
    }
}

#[test]
fn a_rules_own_guards_stop_it_and_no_other() {
    use OutboxState::{Due, Excluded, NoConsent, Scheduled};
    let rules = rules(TABLE);
    for (change, value, state, why) in [
        ("back", Value::Bool(true), Excluded, reason::RULE_EXCLUDE),
        ("newsletter", Value::Null, NoConsent, reason::RULE_REQUIRE),
        ("quiet_until", Value::Null, Scheduled, reason::RULE_AFTER),
        ("opt_in", Value::Null, NoConsent, reason::REQUIRE),
    ] {
        let user = left(&[(change, value), ("canceled_at", at(-10 * DAY))]);
        let guards = rules.guards(&user, minute(0)).expect("guards");
        let remembered = Remembered::armed(&rules, -20 * DAY);
        let of = |guards: &Guards, known: &[Known]| -> Vec<_> {
            let remembered = Remembered {
                known: known.to_vec(),
                ..remembered.clone()
            };
            let found = found_in(&rules, &user, 0);
            let memory = remembered.memory();
            let decided = decide(&rules, &found, &memory, guards.clone(), minute(0));
            let decided = decided.into_iter();
            decided
                .map(|one| (one.key, one.state, one.reason))
                .collect()
        };
        let decided = of(&guards, &[]);
        let win_back = decided.iter().find(|(key, ..)| key.starts_with("win_back"));
        let (key, ..) = win_back.expect("a row");
        assert_eq!(win_back, Some(&(key.clone(), state, why)), "{change}");
        let others = decided.len() - 1;
        assert_eq!(others, 1, "the cancellation has its own state");
        // And it goes when they open.
        if state != Scheduled {
            let row = Known {
                key: key.clone(),
                ..known("win_back", -10 * DAY, state)
            };
            assert_eq!(of(&guards, std::slice::from_ref(&row)).len(), 1, "{change}");
            let opened = of(&Guards::OPEN, &[row]);
            assert!(
                opened.contains(&(key.clone(), Due, reason::GUARDS_PASSED)),
                "{change}: {opened:?}"
            );
        }
    }
}

#[test]
fn a_guard_that_fails_lets_nobody_pass() {
    let rules =
        rules("sender = \"sole\"\n[[event]]\nname = \"a\"\nat = \"x\"\nrequire = \"y > 1\"");
    let user = user([("x", at(0)), ("y", text("two"))]);
    assert!(rules.guards(&user, minute(1)).is_ok(), "the others go on");
    let remembered = Remembered::armed(&rules, -1);
    let fresh = Fresh {
        user: Some(&user),
        rows: &BTreeMap::new(),
        edges: &Edges::default(),
    };
    let row = Known {
        due_at: minute(0),
        ..known("a", 0, OutboxState::Due)
    };
    let error = recheck(&rules, &row, &fresh, &remembered.memory(), minute(1))
        .expect_err("it has no answer");
    assert_eq!(error.event(), Some("a"));
    assert_eq!(
        error.to_string(),
        "could not evaluate `require` of event `a`"
    );
}

/// Somebody who cancels at once has both at the same second.
#[test]
fn at_one_instant_the_rule_that_stands_later_is_the_later_event() {
    let rules = rules(TABLE);
    let user = left(&[("ends_at", at(0))]);
    let remembered = Remembered::armed(&rules, -1);
    let found = found_in(&rules, &user, 1);
    let guards = Guards::OPEN;
    let decided = decide(&rules, &found, &remembered.memory(), guards, minute(1));
    let states: Vec<_> = decided
        .iter()
        .map(|one| (one.key.split('/').next().expect("a name"), one.state))
        .collect();
    assert_eq!(
        states[..2],
        [
            ("canceled", OutboxState::Superseded),
            ("churned", OutboxState::Due)
        ]
    );
}

#[test]
fn a_rule_has_its_own_brake_or_that_of_all() {
    let brakes: Vec<_> = rules(TABLE)
        .iter()
        .map(|rule| [0, 1_000].map(|people| rule.brake().cap(people)))
        .collect();
    assert_eq!(brakes, [[7, 20], [7, 20], [500, 500]]);
    assert_eq!(rules(TABLE).list[2].brake().cap(10_000), 1_000);
}

/// Everybody who was there when it was switched on: no row, whatever their columns say.
#[test]
fn a_hundred_thousand_who_were_there_make_no_row() {
    let rules = rules(TABLE);
    let remembered = Remembered::armed(&rules, 0);
    for number in 1..=100_000_i64 {
        let user = left(&[
            ("canceled_at", at(-number)),
            ("ends_at", at(-number / 2 - 1)),
        ]);
        let found = occurrences(
            &rules,
            &user,
            &BTreeMap::new(),
            &Edges::default(),
            &[],
            minute(number % 20_000),
        );
        assert_eq!(found.occurrences.len(), 3);
        let decided = decide(
            &rules,
            &found,
            &remembered.memory(),
            Guards::OPEN,
            minute(number % 20_000),
        );
        assert_eq!(decided, []);
    }
}

#[test]
fn the_timeline_is_searched_where_a_delayed_event_would_be() {
    let rules = rules(TABLE);
    let sought = rules.sought(
        &known("win_back", 0, OutboxState::Due),
        &Edges::default(),
        &[],
    );
    assert_eq!(
        (sought.earliest, sought.latest),
        (minute(10 * DAY - 10), minute(10 * DAY + 10))
    );
}
