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
            sole.sought(&row, Some(gap)).earliest,
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
        assert_eq!(rules.sought(&row(event, "at=…", 0), None).texts, texts);
    }
}
