//! When the timeline has to be read, how far back, and whose entry is whose.

use serde_json::json;

use super::*;
use crate::lifecycle::timeline::{Clearance, Entry, clear, match_timeline};

const TABLE: &str = r#"
    match_within = "10m"
    [[event]]
    name = "dated"
    at = "x"
    [[event]]
    name = "changed"
    on_change = "plan"
    [[event]]
    name = "left"
    on_change = "ends_at"
    delay = "1h"
    [[event]]
    name = "identified"
    at = "event.x"
    id = "event.id"
    query = "SELECT 1"
"#;

fn row(event: &str, which: &str, at: i64) -> Known {
    Known {
        key: format!("{event}//{which}"),
        ..known(event, at, OutboxState::Due)
    }
}

#[test]
fn the_timeline_is_read_where_somebody_may_have_been_faster() {
    let gap = Gap {
        from: minute(-5 * DAY),
        until: minute(0),
    };
    let numbered_before = gap.until.as_second();
    // (row, with the gap, without; earliest minute searched with the gap)
    for (row, after_gap, without, earliest) in [
        (row("dated", "at=…", 0), true, false, -10),
        (row("dated", "at=…", 1), false, false, -9),
        (row("identified", "id=7", 1), false, false, -9),
        (row("changed", "edge=3", 1), true, false, -5 * DAY),
        (
            row("changed", &format!("edge={numbered_before}"), 1),
            true,
            false,
            -5 * DAY,
        ),
        (
            row("changed", &format!("edge={}", numbered_before + 1), 1),
            false,
            false,
            -3 * DAY - 9,
        ),
        // An id without an instant cannot be told from one that was forgotten.
        (row("dated", "id=sub_1", 1), true, false, -5 * DAY),
        (
            Known {
                attempted_at: Some(minute(2)),
                ..row("dated", "at=…", 1)
            },
            true,
            true,
            -9,
        ),
    ] {
        let sole = rules(&format!("sender = \"sole\"\n{TABLE}"));
        assert_eq!(sole.needs_timeline(&row, &[gap]), after_gap, "{}", row.key);
        assert_eq!(sole.needs_timeline(&row, &[]), without, "{}", row.key);
        assert!(rules(TABLE).needs_timeline(&row, &[]), "{}", row.key);
        assert_eq!(
            sole.sought(&row, &Edges::default(), &[gap]).earliest,
            minute(earliest),
            "{}",
            row.key
        );
    }
}

#[test]
fn both_names_of_a_rule_are_searched() {
    let rules = rules("[[event]]\nname = \"new\"\nrenamed_from = \"old\"\nat = \"x\"");
    for (event, texts) in [
        ("new", vec!["new", "old"]),
        ("old", vec!["old", "new"]),
        ("gone", vec!["gone"]),
    ] {
        assert_eq!(
            rules
                .sought(&row(event, "at=…", 0), &Edges::default(), &[])
                .texts,
            texts
        );
    }
}

#[test]
fn a_change_is_sought_since_the_last_look_that_did_not_show_it() {
    let edge = |count: u64, unchanged_at: i64| -> Edges {
        let unchanged_at = minute(unchanged_at).to_string();
        let edge = json!({
            "value": "pro", "count": count, "of": "plan", "unchanged_at": unchanged_at,
        });
        serde_json::from_value(json!({ "changed": edge })).expect("edges")
    };
    let table = rules(TABLE);
    for (edges, earliest) in [
        // The look may have shown what was true half an hour before: a replica, a transaction that commits late.
        (edge(3, -60), -100),
        // Nobody looked for longer than `max_age`, and the app told it when it happened.
        (edge(3, -5 * DAY), -5 * DAY - 40),
        // The clock was set back meanwhile: when it was looked at is not known.
        (edge(3, 60), -3 * DAY - 10),
        // What is remembered is about another change.
        (edge(4, -60), -3 * DAY - 10),
        (Edges::default(), -3 * DAY - 10),
    ] {
        let sought = table.sought(&row("changed", "edge=3", 0), &edges, &[]);
        assert_eq!(sought.earliest, minute(earliest), "{edges:?}");
    }
}

/// A contact of today proves nothing about a change of the gap; of a change since then there was nothing to forget.
#[test]
fn a_change_that_a_look_after_the_gap_did_not_show_was_not_forgotten_in_it() {
    let gap = Gap {
        from: minute(-60),
        until: minute(0),
    };
    let table = rules(TABLE);
    for (unchanged_at, forgotten) in [(-5, true), (29, true), (30, false), (90, false)] {
        let edge = json!({
            "value": "pro", "count": 3, "of": "plan", "unchanged_at": minute(unchanged_at).to_string(),
        });
        let edges = serde_json::from_value(json!({ "changed": edge })).expect("edges");
        let row = row("changed", "edge=3", 100);
        let since = table.forgotten_since(&row, &edges, &[gap]);
        assert_eq!(since, forgotten.then_some(gap.from), "{unchanged_at}");
        let left = table.may_be_forgotten_at(&row, &edges, &[gap], minute(100));
        assert_eq!(left, forgotten, "{unchanged_at}");
    }
}

/// A look whose answer was kept for a while says what was true when it was kept.
#[test]
fn a_change_is_sought_since_the_last_answer_that_did_not_show_it() {
    let edge = serde_json::json!({
        "value": "pro", "count": 3, "of": "plan", "unchanged_at": minute(-60).to_string(),
    });
    let edges = serde_json::from_value(serde_json::json!({ "changed": edge })).expect("edges");
    let change = row("changed", "edge=3", 0);
    for (kept, earliest) in [(0, -100), (30, -130), (30 * DAY, -30 * DAY - 100)] {
        let kept = std::time::Duration::from_secs(u64::try_from(kept * 60).expect("a length"));
        let table = rules(TABLE).with_answers_kept_for(kept);
        let sought = table.sought(&change, &edges, &[]);
        assert_eq!(sought.earliest, minute(earliest), "{kept:?}");
        // What a column dates is dated by it.
        let dated = table.sought(&row("dated", "at=…", 0), &edges, &[]);
        assert_eq!(dated.earliest, minute(-10));
    }
}

#[test]
fn a_delayed_change_is_sought_where_the_app_told_it_at_once() {
    let edge = json!({
        "value": "soon", "count": 3, "of": "ends_at", "unchanged_at": minute(-12).to_string(),
    });
    let edges = serde_json::from_value(json!({ "left": edge })).expect("edges");
    let table = rules(TABLE);
    let change = row("left", "edge=3", 0);
    for (edges, earliest) in [(edges, -52), (Edges::default(), -3 * DAY - 10)] {
        let sought = table.sought(&change, &edges, &[]);
        assert_eq!(
            (sought.earliest, sought.latest),
            (minute(earliest), minute(HOUR + 10))
        );
    }
}

#[test]
fn how_late_the_database_may_be_is_the_overlap_of_the_sweep() {
    let edge = json!({
        "value": "pro", "count": 3, "of": "plan", "unchanged_at": minute(-60).to_string(),
    });
    let edges = serde_json::from_value(json!({ "changed": edge })).expect("edges");
    for (overlap, earliest) in [("0s", -70), ("2h", -190)] {
        let table = rules(&format!("{TABLE}\n[sweep]\noverlap = \"{overlap}\""));
        let sought = table.sought(&row("changed", "edge=3", 0), &edges, &[]);
        assert_eq!(sought.earliest, minute(earliest), "{overlap}");
    }
}

/// What the app tells ten days before we would, and after.
const WIN_BACK: &str = r#"
    match_within = "10m"
    [[event]]
    name = "win_back"
    at = "canceled_at"
    delay = "10d"
"#;

#[test]
fn a_delayed_event_is_sought_since_it_happened_where_the_app_tells_it_too() {
    for (sender, earliest) in [("shared", -10), ("sole", 10 * DAY - 10)] {
        let table = rules(&format!("sender = \"{sender}\"\n{WIN_BACK}"));
        let sought = table.sought(&row("win_back", "at=…", 0), &Edges::default(), &[]);
        assert_eq!(
            (sought.earliest, sought.latest),
            (minute(earliest), minute(10 * DAY + 10)),
            "{sender}"
        );
    }
}

/// The instants of the win-backs that were told, of those of somebody who left at these minutes.
fn told(left_at: &[i64], entries: &[(i64, serde_json::Value)]) -> Vec<i64> {
    told_of(OutboxState::Due, left_at, entries)
}

/// The same of rows in a state.
fn told_of(state: OutboxState, left_at: &[i64], entries: &[(i64, serde_json::Value)]) -> Vec<i64> {
    let table = rules(WIN_BACK);
    let sought: Vec<_> = left_at
        .iter()
        .map(|at| {
            let row = Known {
                state,
                ..row("win_back", &at.to_string(), *at)
            };
            table.sought(&row, &Edges::default(), &[])
        })
        .collect();
    let entries: Vec<_> = entries
        .iter()
        .map(|(at, data)| Entry {
            text: "win_back".to_owned(),
            data: data.as_object().expect("flat data").clone(),
            timestamp: minute(*at),
        })
        .collect();
    match_timeline(&sought, &entries)
        .into_iter()
        .map(|found| found.key.rsplit('/').next().expect("a key").parse())
        .collect::<Result<_, _>>()
        .expect("minutes")
}

#[test]
fn of_two_that_wait_an_entry_is_of_the_one_that_has_just_happened() {
    const TWO: [i64; 2] = [0, 8 * DAY];
    let none = || json!({});
    for (at, owner) in [
        (0, 0),
        // It came to nothing, and the app told of the second one alone.
        (8 * DAY, 8 * DAY),
        // The app waits as long as we do.
        (10 * DAY, 0),
        (18 * DAY, 8 * DAY),
        // It waits less.
        (2 * DAY, 0),
        (11 * DAY, 8 * DAY),
    ] {
        assert_eq!(told(&TWO, &[(at, none())]), [owner], "{at}");
    }
    assert!(told(&TWO, &[(-11, none())]).is_empty());
    // Neither has left.
    assert_eq!(told(&TWO, &[(18 * DAY + 11, none())]), [0]);
    for others in [[0, 8 * DAY], [8 * DAY, 9 * DAY], [10 * DAY, 18 * DAY]] {
        assert_eq!(
            told(&TWO, &others.map(|at| (at, none()))),
            TWO,
            "{others:?}"
        );
    }
}

/// An app that waits for seven days tells of the first just when the second happens: where there is an entry for each, each
/// has one.
#[test]
fn as_many_as_possible_that_wait_find_an_entry() {
    let entries = [7 * DAY, 14 * DAY].map(|at| (at, json!({})));
    assert_eq!(told(&[0, 7 * DAY], &entries), [0, 7 * DAY]);
    // What says which one it means stays where it is.
    let second = (
        14 * DAY,
        json!({"occurred_at": minute(7 * DAY).to_string()}),
    );
    assert_eq!(
        told_of(
            OutboxState::Expired,
            &[0, 7 * DAY],
            &[second, (15 * DAY, json!({}))]
        ),
        [7 * DAY]
    );
}

#[test]
fn what_the_app_says_of_an_older_one_is_not_taken_for_the_one_that_waits() {
    for (at, occurred_at, is_told) in [
        (2 * DAY, -5 * DAY, false),
        (10 * DAY, -5 * DAY, false),
        // Its own moment, or its clock of another time zone.
        (2 * DAY, 2 * DAY, true),
        (2 * DAY, -12 * HOUR, true),
        // At once, it is a sloppy clock.
        (5, -5 * DAY, true),
    ] {
        let data = json!({"occurred_at": minute(occurred_at).to_string()});
        let found = told(&[0], &[(at, data)]);
        assert_eq!(found.len(), usize::from(is_told), "{at} {occurred_at}");
    }
}

/// By state, until when an entry of the app's may be of a row that was decided about an hour after it happened.
#[test]
fn what_waits_is_told_by_whoever_tells_meanwhile() {
    use OutboxState::{AlreadyInCrisp, Expired, Sending, Superseded, Unsure};
    for sender in ["shared", "sole"] {
        let table = rules(&format!("sender = \"{sender}\"\n{TABLE}"));
        for state in OutboxState::ALL {
            let row = Known {
                updated_at: minute(HOUR),
                ..known("dated", 0, state)
            };
            let sought = table.sought(&row, &Edges::default(), &[]);
            let until = match state {
                _ if sender == "sole" => minute(0),
                AlreadyInCrisp | Expired | Superseded => minute(HOUR + 2),
                Sending | Unsure => Timestamp::MAX,
                state if state.is_undecided() => Timestamp::MAX,
                _ => minute(0),
            };
            assert_eq!(sought.awaited_until, until, "{sender} {state}");
        }
    }
}

/// Two happened at minutes 0 and 100, and somebody told of one: which, nobody can say, where neither had just happened.
#[test]
fn of_two_that_waited_one_was_told_and_the_other_one_perhaps() {
    let table = rules(TABLE);
    let (has, post) = (Clearance::Has(OutboxState::AlreadyInCrisp), Clearance::Post);
    // (when somebody told, what becomes of the first, and of the second)
    for (at, first, second) in [
        (&[5][..], has, post),
        (&[105], post, has),
        (&[60], has, post),
        (&[200], has, Clearance::Contested),
        (&[200, 300], has, has),
        (&[105, 300], has, has),
    ] {
        let sought = [0, 100].map(|at| {
            let row = known("dated", at, OutboxState::NoConsent);
            table.sought(&row, &Edges::default(), &[])
        });
        let entries: Vec<Entry> = (at.iter())
            .map(|at| Entry {
                text: "dated".to_owned(),
                data: serde_json::Map::new(),
                timestamp: minute(*at),
            })
            .collect();
        let matches = match_timeline(&sought, &entries);
        let found = [0, 1].map(|one| clear(&sought[one], &matches, &entries, true, false));
        assert_eq!(found, [first, second], "told at {at:?}");
    }
}

/// The same, where the first waits no more: what was told while it did may have been told of it.
#[test]
fn of_one_that_still_waits_nothing_was_told_for_sure_while_another_one_waited() {
    use OutboxState::{Baseline, Expired, Sent, Superseded, Unsure};
    let table = rules(TABLE);
    let (has, contested) = (
        Clearance::Has(OutboxState::AlreadyInCrisp),
        Clearance::Contested,
    );
    // (what became of the first at minute 250, when somebody told, what becomes of the second)
    for (first, at, second) in [
        (Expired, 200, contested),
        (Superseded, 200, contested),
        (Unsure, 200, contested),
        (Expired, 300, has),
        (Superseded, 300, has),
        // A person may still let it go: it waits.
        (Unsure, 300, contested),
        (Sent, 200, has),
        (Baseline, 200, has),
        // As it happens, somebody tells of what has just happened.
        (Unsure, 105, has),
    ] {
        let first = Known {
            updated_at: minute(250),
            ..known("dated", 0, first)
        };
        let second_row = known("dated", 100, OutboxState::NoConsent);
        let sought = [&first, &second_row].map(|row| table.sought(row, &Edges::default(), &[]));
        let entries = [Entry {
            text: "dated".to_owned(),
            data: serde_json::Map::new(),
            timestamp: minute(at),
        }];
        let matches = match_timeline(&sought, &entries);
        let found = clear(&sought[1], &matches, &entries, true, false);
        assert_eq!(found, second, "{} told at {at}", first.state);
    }
}

#[test]
fn the_app_has_its_whole_grace_to_tell() {
    for (grace, latest) in [("5m", 10), ("30m", 30)] {
        let table = rules(&format!("grace = \"{grace}\"\n{TABLE}"));
        let sought = table.sought(&row("dated", "at=…", 0), &Edges::default(), &[]);
        assert_eq!(
            (sought.earliest, sought.latest),
            (minute(-10), minute(latest)),
            "{grace}"
        );
    }
}

/// Whoever tells as it happens tells of what has just happened, however long the grace of what happened before.
#[test]
fn what_is_told_as_it_happens_is_of_what_has_just_happened() {
    let table = rules(&format!("grace = \"30m\"\n{TABLE}"));
    let row_of = |at: i64| row("dated", &format!("at={at}"), at);
    let sought = [0, 20].map(|at| table.sought(&row_of(at), &Edges::default(), &[]));
    for (told, owners) in [
        (vec![20], vec!["dated//at=20"]),
        // Each of them late: then both are told.
        (vec![20, 45], vec!["dated//at=0", "dated//at=20"]),
    ] {
        let entries: Vec<Entry> = told
            .iter()
            .map(|at| Entry {
                text: "dated".to_owned(),
                data: serde_json::Map::new(),
                timestamp: minute(*at),
            })
            .collect();
        let found = match_timeline(&sought, &entries);
        let mut keys: Vec<&str> = found.iter().map(|found| found.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, owners, "told at {told:?}");
    }
}
