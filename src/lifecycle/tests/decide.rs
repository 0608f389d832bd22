//! What becomes of what was found.

use super::{OutboxState::*, *};

const TABLE: &str = r#"
    [[event]]
    name = "signup"
    at = "created_at"
    [[event]]
    name = "started"
    at = "started_at"
    group = "subscription"
    [[event]]
    name = "canceled"
    at = "canceled_at"
    group = "subscription"
    when = "not back"
    [[event]]
    name = "import"
    at = "imported_at"
    id = "import_id"
"#;

/// A user to whom these things happened at these minutes.
fn happened(events: &[(&str, i64)]) -> User {
    let mut user = user([
        ("created_at", Value::Null),
        ("started_at", Value::Null),
        ("canceled_at", Value::Null),
        ("imported_at", Value::Null),
        ("import_id", Value::Int(7)),
        ("back", Value::Bool(false)),
    ]);
    for (column, minutes) in events {
        user.record.insert(*column, at(*minutes));
    }
    user
}

fn decided(
    user: &User,
    remembered: &Remembered,
    guards: Guards,
    now: i64,
) -> Vec<(String, OutboxState, &'static str)> {
    let rules = rules(TABLE);
    let found = found_in(&rules, user, now);
    decide(&rules, &found, &remembered.memory(), guards, minute(now))
        .into_iter()
        .map(|decision| {
            let event = decision.key.split('/').next().expect("an event").to_owned();
            (event, decision.state, decision.reason)
        })
        .collect()
}

fn one(
    event: &str,
    state: OutboxState,
    reason: &'static str,
) -> Vec<(String, OutboxState, &'static str)> {
    vec![(event.to_owned(), state, reason)]
}

#[test]
fn a_new_occurrence_takes_the_state_of_its_time() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    // (happened at, now, state)
    for (at, now, expected) in [
        (0, 0, one("signup", Scheduled, "not_due")),
        (0, 9, one("signup", Scheduled, "not_due")),
        (0, 10, one("signup", Due, "due")),
        // Old and missed: due at once.
        (0, 2 * DAY, one("signup", Due, "due")),
        (0, 3 * DAY, one("signup", Due, "due")),
        (0, 3 * DAY + 1, one("signup", Expired, "max_age")),
        // The future waits.
        (30 * DAY, 0, one("signup", Scheduled, "not_due")),
        // Before the rule was armed, to the minute.
        (-101, 0, vec![]),
        (-100, 0, one("signup", Due, "due")),
    ] {
        let found = decided(&happened(&[("created_at", at)]), &armed, Guards::OPEN, now);
        assert_eq!(found, expected, "happened at {at}, now {now}");
    }
}

#[test]
fn a_rule_that_is_not_armed_observes() {
    let user = happened(&[("created_at", 0)]);
    assert_eq!(decided(&user, &Remembered::default(), Guards::OPEN, 20), []);
}

#[test]
fn what_does_not_hold_yet_makes_no_row() {
    let mut user = happened(&[("canceled_at", 0)]);
    user.record.insert("back", Value::Bool(true));
    let armed = Remembered::armed(&rules(TABLE), -100);
    assert_eq!(decided(&user, &armed, Guards::OPEN, 20), []);
    user.record.insert("back", Value::Bool(false));
    assert_eq!(
        decided(&user, &armed, Guards::OPEN, 25),
        one("canceled", Due, "due")
    );
}

#[test]
fn guards_give_a_state_of_their_own_and_only_when_due() {
    let user = happened(&[("created_at", 0)]);
    let armed = Remembered::armed(&rules(TABLE), -100);
    let closed = Guards {
        consent: false,
        ..Guards::OPEN
    };
    let excluded = Guards {
        excluded: true,
        ..closed.clone()
    };
    let later = Guards {
        not_before: Some(minute(50)),
        ..Guards::OPEN
    };
    let unknown = Guards {
        not_before: Some(Timestamp::MAX),
        ..Guards::OPEN
    };
    for (guards, now, expected) in [
        (closed.clone(), 5, one("signup", Scheduled, "not_due")),
        (closed, 20, one("signup", NoConsent, "require")),
        (excluded, 20, one("signup", Excluded, "exclude")),
        (later.clone(), 20, one("signup", Scheduled, "after")),
        (later, 50, one("signup", Due, "due")),
        (unknown, 20, one("signup", Scheduled, "after")),
    ] {
        assert_eq!(
            decided(&user, &armed, guards.clone(), now),
            expected,
            "{guards:?} at {now}"
        );
    }
}

#[test]
fn a_later_event_of_the_group_undoes_an_earlier_one() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    let states = |canceled, started, now| {
        decided(
            &happened(&[("canceled_at", canceled), ("started_at", started)]),
            &armed,
            Guards::OPEN,
            now,
        )
        .into_iter()
        .map(|(event, state, _)| (event, state))
        .collect::<BTreeMap<_, _>>()
    };
    // Gone, and back: no goodbye.
    assert_eq!(
        states(0, 5, 20),
        BTreeMap::from([
            ("canceled".to_owned(), Superseded),
            ("started".to_owned(), Due)
        ])
    );
    // Started, and gone: no welcome.
    assert_eq!(
        states(5, 0, 20),
        BTreeMap::from([
            ("canceled".to_owned(), Due),
            ("started".to_owned(), Superseded)
        ])
    );
    // A start in the future has not happened.
    assert_eq!(
        states(0, 500, 20),
        BTreeMap::from([
            ("canceled".to_owned(), Due),
            ("started".to_owned(), Scheduled)
        ])
    );
}

#[test]
fn a_later_event_undoes_rows_that_wait_and_no_others() {
    for state in OutboxState::ALL {
        let armed = Remembered::armed(&rules(TABLE), -100).row("canceled", 0, state);
        let found = decided(&happened(&[("started_at", 5)]), &armed, Guards::OPEN, 8);
        let canceled = found.iter().find(|(event, ..)| event == "canceled");
        assert_eq!(
            canceled.map(|(_, state, reason)| (*state, *reason)),
            state.is_undecided().then_some((Superseded, "later_event")),
            "{state}"
        );
    }
}

#[test]
fn an_event_that_does_not_hold_undoes_nothing() {
    let armed = Remembered::armed(&rules(TABLE), -100);
    let mut user = happened(&[("canceled_at", 5), ("started_at", 0)]);
    user.record.insert("back", Value::Bool(true));
    assert_eq!(
        decided(&user, &armed, Guards::OPEN, 20),
        one("started", Due, "due")
    );
}

#[test]
fn what_is_older_than_the_high_water_mark_is_over() {
    let user = happened(&[("created_at", 0), ("imported_at", 0)]);
    // (mark of both, state of the instant, state of the id)
    for (mark, signup, import) in [
        (-1, Due, Due),
        // The instant is the one that raised the mark, its row was pruned; another id may share its second.
        (0, Superseded, Due),
        (1, Superseded, Superseded),
    ] {
        let mut armed = Remembered::armed(&rules(TABLE), -100);
        for event in ["signup", "import"] {
            armed
                .high_water
                .insert((event.to_owned(), String::new()), minute(mark));
        }
        let found: BTreeMap<_, _> = decided(&user, &armed, Guards::OPEN, 20)
            .into_iter()
            .map(|(event, state, _)| (event, state))
            .collect();
        assert_eq!(
            found,
            BTreeMap::from([("signup".to_owned(), signup), ("import".to_owned(), import)]),
            "mark at {mark}"
        );
    }
}

#[test]
fn two_to_one_address_within_the_gap_need_a_person() {
    let user = happened(&[("created_at", 0), ("imported_at", 0)]);
    for (last, signup) in [(-DAY + 20, Due), (-DAY + 21, Held), (19, Held)] {
        let mut armed = Remembered::armed(&rules(TABLE), -100);
        for event in ["signup", "import"] {
            armed.last_to_address.insert(event.to_owned(), minute(last));
        }
        let found: BTreeMap<_, _> = decided(&user, &armed, Guards::OPEN, 20)
            .into_iter()
            .map(|(event, state, _)| (event, state))
            .collect();
        assert_eq!(
            found,
            BTreeMap::from([("signup".to_owned(), signup), ("import".to_owned(), Due)]),
            "last at {last}"
        );
    }
}

#[test]
fn a_known_row_moves_only_where_time_and_guards_lead() {
    let no_consent = Guards {
        consent: false,
        ..Guards::OPEN
    };
    let nothing = Vec::new();
    // The row happened at minute 0 and is due at minute 10.
    for (state, guards, now, expected) in [
        (Scheduled, Guards::OPEN, 9, nothing.clone()),
        (Scheduled, Guards::OPEN, 10, one("signup", Due, "due")),
        (Scheduled, no_consent.clone(), 10, one("signup", Due, "due")),
        (Due, Guards::OPEN, 10, nothing.clone()),
        (NoConsent, no_consent.clone(), 20, nothing.clone()),
        (
            NoConsent,
            Guards::OPEN,
            20,
            one("signup", Due, "guards_passed"),
        ),
        (
            Excluded,
            Guards::OPEN,
            20,
            one("signup", Due, "guards_passed"),
        ),
        (Held, Guards::OPEN, 20, nothing.clone()),
        (Parked, Guards::OPEN, 20, nothing.clone()),
        (
            Held,
            Guards::OPEN,
            3 * DAY + 1,
            one("signup", Expired, "max_age"),
        ),
        (
            Parked,
            Guards::OPEN,
            3 * DAY + 1,
            one("signup", Expired, "parked_too_long"),
        ),
        (
            Scheduled,
            Guards::OPEN,
            3 * DAY + 1,
            one("signup", Expired, "max_age"),
        ),
        (Sending, Guards::OPEN, 3 * DAY + 1, nothing.clone()),
        (Unsure, Guards::OPEN, 20, nothing.clone()),
        (Sent, Guards::OPEN, 20, nothing.clone()),
        (Superseded, Guards::OPEN, 20, nothing.clone()),
        (AlreadyInCrisp, Guards::OPEN, 20, nothing.clone()),
        (Expired, Guards::OPEN, 20, nothing.clone()),
    ] {
        let armed = Remembered::armed(&rules(TABLE), -100).row("signup", 0, state);
        // Whether the row is found again makes no difference.
        for user in [happened(&[("created_at", 0)]), happened(&[])] {
            assert_eq!(
                decided(&user, &armed, guards.clone(), now),
                expected,
                "{state} at {now}"
            );
        }
    }
}

#[test]
fn every_move_is_a_legal_one() {
    for state in OutboxState::ALL {
        for now in [0, 10, 20, 4 * DAY] {
            let armed = Remembered::armed(&rules(TABLE), -100).row("canceled", 0, state);
            for (_, next, _) in decided(&happened(&[("canceled_at", 0)]), &armed, Guards::OPEN, now)
            {
                assert!(state.may_become(next), "{state} → {next}");
            }
        }
    }
}

#[test]
fn a_renamed_rule_inherits_arming_rows_and_marks() {
    let renamed =
        rules("[[event]]\nname = \"user:signup\"\nrenamed_from = \"signup\"\nat = \"created_at\"");
    let user = happened(&[("created_at", 0)]);
    let found = found_in(&renamed, &user, 20);
    let armed = Remembered::armed(&rules(TABLE), -100);
    let decided = |remembered: &Remembered| {
        decide(
            &renamed,
            &found,
            &remembered.memory(),
            Guards::OPEN,
            minute(20),
        )
        .into_iter()
        .map(|decision| (decision.key, decision.state))
        .collect::<Vec<_>>()
    };
    assert_eq!(
        decided(&armed),
        [("user:signup//at=2026-01-02T12:00:00Z".to_owned(), Due)]
    );
    assert_eq!(decided(&armed.clone().row("signup", 0, Sent)), []);
    let mut marked = armed;
    marked
        .high_water
        .insert(("signup".to_owned(), String::new()), minute(0));
    assert_eq!(decided(&marked)[0].1, Superseded);
}

#[test]
fn what_makes_no_row_has_a_reason_too() {
    let rules = rules(TABLE);
    let mut user = happened(&[
        ("created_at", 0),
        ("started_at", 0),
        ("canceled_at", -200),
        ("imported_at", 0),
    ]);
    user.record.insert("back", Value::Bool(true));
    let mut remembered = Remembered::armed(&rules, -100).row("started", 0, Parked);
    remembered.watermarks.remove("signup");
    let found = found_in(&rules, &user, 20);
    assert_eq!(
        judge(
            &rules,
            &found,
            &remembered.memory(),
            Guards::OPEN,
            minute(20)
        ),
        [
            Judgement::NotArmed,
            Judgement::Known(Parked),
            Judgement::Baseline,
            Judgement::New {
                state: Due,
                due_at: minute(10),
                reason: "due"
            },
        ]
    );
}
