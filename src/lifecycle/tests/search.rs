//! When the timeline has to be read, and how far back.

use super::*;

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
        assert_eq!(
            sole.needs_timeline(&row, Some(gap)),
            after_gap,
            "{}",
            row.key
        );
        assert_eq!(sole.needs_timeline(&row, None), without, "{}", row.key);
        assert!(rules(TABLE).needs_timeline(&row, None), "{}", row.key);
        assert_eq!(
            sole.sought(&row, &Edges::default(), Some(gap)).earliest,
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
                .sought(&row(event, "at=…", 0), &Edges::default(), None)
                .texts,
            texts
        );
    }
}

#[test]
fn a_change_is_sought_since_the_last_look_that_did_not_show_it() {
    let edge = |count: u64, unchanged_at: i64| -> Edges {
        let unchanged_at = minute(unchanged_at).to_string();
        let edge = serde_json::json!({
            "value": "pro", "count": count, "of": "plan", "unchanged_at": unchanged_at,
        });
        serde_json::from_value(serde_json::json!({ "changed": edge })).expect("edges")
    };
    let table = rules(TABLE);
    for (edges, earliest) in [
        (edge(3, -60), -70),
        (edge(3, -5 * DAY), -3 * DAY - 10),
        // The clock was set back meanwhile.
        (edge(3, 60), -10),
        // What is remembered is about another change.
        (edge(4, -60), -3 * DAY - 10),
        (Edges::default(), -3 * DAY - 10),
    ] {
        let sought = table.sought(&row("changed", "edge=3", 0), &edges, None);
        assert_eq!(sought.earliest, minute(earliest), "{edges:?}");
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
    for (kept, earliest) in [(0, -70), (30, -100), (30 * DAY, -3 * DAY - 10)] {
        let kept = std::time::Duration::from_secs(u64::try_from(kept * 60).expect("a length"));
        let table = rules(TABLE).with_answers_kept_for(kept);
        let sought = table.sought(&change, &edges, None);
        assert_eq!(sought.earliest, minute(earliest), "{kept:?}");
        // What a column dates is dated by it.
        let dated = table.sought(&row("dated", "at=…", 0), &edges, None);
        assert_eq!(dated.earliest, minute(-10));
    }
}

#[test]
fn a_delayed_change_is_sought_where_the_app_told_it_at_once() {
    let edge = serde_json::json!({
        "value": "soon", "count": 3, "of": "ends_at", "unchanged_at": minute(-12).to_string(),
    });
    let edges = serde_json::from_value(serde_json::json!({ "left": edge })).expect("edges");
    let table = rules(TABLE);
    let change = row("left", "edge=3", 0);
    for (edges, earliest) in [(edges, -22), (Edges::default(), -3 * DAY - 10)] {
        let sought = table.sought(&change, &edges, None);
        assert_eq!(
            (sought.earliest, sought.latest),
            (minute(earliest), minute(HOUR + 10))
        );
    }
}
