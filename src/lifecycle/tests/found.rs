//! What a look at a user finds.

use super::*;
use crate::data::DataValue;

#[test]
fn an_instant_is_an_occurrence_and_null_is_none() {
    let rules = rules("[[event]]\nname = \"a\"\nat = \"x\"");
    for (value, key) in [
        (at(0), Some("a//at=2026-01-02T12:00:00Z")),
        (
            text("2026-01-02 12:00:00.9"),
            Some("a//at=2026-01-02T12:00:00Z"),
        ),
        (text("2026-01-02"), Some("a//at=2026-01-02T00:00:00Z")),
        (Value::Null, None),
        (text(""), None),
    ] {
        let keys: Vec<String> = found_in(&rules, &user([("x", value.clone())]), 5)
            .occurrences
            .iter()
            .map(Occurrence::key)
            .collect();
        assert_eq!(keys, Vec::from_iter(key), "{value:?}");
    }
}

#[test]
fn it_is_due_after_the_grace_where_the_app_sends_too() {
    for (sender, due) in [("shared", 10), ("sole", 0)] {
        let rules = rules(&format!(
            "sender = \"{sender}\"\n[[event]]\nname = \"a\"\nat = \"x\""
        ));
        let found = found_in(&rules, &user([("x", at(0))]), 5).occurrences;
        assert_eq!(found[0].due, minute(due), "{sender}");
    }
}

#[test]
fn data_leaves_out_what_is_null_and_cuts_what_is_long() {
    let rules = rules(
        r#"
        [[event]]
        name = "a"
        at = "x"
        data = { plan = "{{ plan }}", none = "{{ none }}", long = "{{ long }}", seats = "{{ seats }}" }
        "#,
    );
    let user = user([
        ("x", at(0)),
        ("plan", text("pro")),
        ("none", Value::Null),
        ("long", text(&"x".repeat(300))),
        ("seats", Value::Int(3)),
    ]);
    let data = found_in(&rules, &user, 0).occurrences.remove(0).data;
    assert_eq!(data.keys().collect::<Vec<_>>(), ["long", "plan", "seats"]);
    assert_eq!(data["seats"], DataValue::from(3));
    assert_eq!(
        data["long"],
        DataValue::from(format!("{}…", "x".repeat(119)))
    );
}

#[test]
fn each_row_of_a_query_is_an_occurrence() {
    let rules = rules(
        r#"
        [[event]]
        name = "import:completed"
        query = "SELECT id, finished_at FROM imports"
        at = "event.finished_at"
        id = "event.id"
        subject = "{{ tenant }}"
        when = "event.rows > 0"
        data = { rows = "{{ event.rows }}" }
        "#,
    );
    let row = |id, at_minute, rows| {
        record([
            ("id", Value::Int(id)),
            ("finished_at", at(at_minute)),
            ("rows", Value::Int(rows)),
        ])
    };
    let rows = BTreeMap::from([(
        "import:completed".to_owned(),
        vec![row(7, 0, 3), row(8, 0, 0)],
    )]);
    let found = occurrences(
        &rules,
        &user([("tenant", text("acme"))]),
        &rows,
        &Edges::default(),
        &[],
        minute(1),
    );
    let seen: Vec<_> = found
        .occurrences
        .iter()
        .map(|occurrence| (occurrence.key(), occurrence.holds))
        .collect();
    assert_eq!(
        seen,
        [
            ("import:completed/acme/id=7".to_owned(), true),
            ("import:completed/acme/id=8".to_owned(), false)
        ]
    );
}

#[test]
fn an_id_without_an_instant_is_seen_when_it_changes() {
    let rules = rules("[[event]]\nname = \"a\"\nat = \"subscription\"");
    let mut edges = Edges::default();
    // (minute, id, keys)
    for (now, id, keys) in [
        (0, text("sub_1"), vec![]),
        (1, text("sub_1"), vec![]),
        (2, text("sub_2"), vec!["a//id=sub_2"]),
        (3, Value::Null, vec![]),
        (4, Value::Int(3), vec!["a//id=3"]),
    ] {
        let found = occurrences(
            &rules,
            &user([("subscription", id)]),
            &BTreeMap::new(),
            &edges,
            &[],
            minute(now),
        );
        let seen: Vec<String> = found.occurrences.iter().map(Occurrence::key).collect();
        assert_eq!(seen, keys, "minute {now}");
        for occurrence in found.occurrences {
            assert_eq!(occurrence.happened_at(), minute(now));
        }
        edges = found.edges;
    }
}

#[test]
fn a_change_is_one_occurrence_per_subject() {
    let rules = rules("[[event]]\nname = \"a\"\non_change = \"plan\"\nsubject = \"{{ tenant }}\"");
    let mut edges = Edges::default();
    for (now, tenant, plan, keys) in [
        (0, "acme", "free", vec![]),
        // Another tenant's plan is not a change of plan.
        (1, "bolt", "pro", vec![]),
        (2, "acme", "pro", vec!["a/acme/edge=1"]),
        (3, "bolt", "pro", vec![]),
    ] {
        let user = user([("tenant", text(tenant)), ("plan", text(plan))]);
        let found = occurrences(&rules, &user, &BTreeMap::new(), &edges, &[], minute(now));
        let seen: Vec<String> = found.occurrences.iter().map(Occurrence::key).collect();
        assert_eq!(seen, keys, "minute {now}");
        edges = found.edges;
    }
}

#[test]
fn a_renamed_rule_remembers_and_a_removed_one_does_not() {
    let look = |rules: &Rules, plan, edges: &Edges| {
        occurrences(
            rules,
            &user([("plan", text(plan))]),
            &BTreeMap::new(),
            edges,
            &[],
            minute(0),
        )
    };
    let before = look(
        &rules("[[event]]\nname = \"a\"\non_change = \"plan\""),
        "free",
        &Edges::default(),
    );
    let renamed = rules("[[event]]\nname = \"b\"\nrenamed_from = \"a\"\non_change = \"plan\"");
    let found = look(&renamed, "pro", &before.edges);
    assert_eq!(found.occurrences[0].key(), "b//edge=1");
    let removed = look(&rules(""), "pro", &found.edges);
    assert!(removed.edges.is_empty());
}

#[test]
fn a_rule_that_fails_holds_nobody_up() {
    let rules = rules(
        r#"
        [[event]]
        name = "list"
        at = "flag"
        [[event]]
        name = "column"
        at = "missing"
        [[event]]
        name = "blank"
        at = "x"
        id = "none"
        [[event]]
        name = "fine"
        at = "x"
        "#,
    );
    let user = user([
        ("x", at(0)),
        ("none", Value::Null),
        ("flag", Value::Bool(true)),
    ]);
    let found = occurrences(
        &rules,
        &user,
        &BTreeMap::new(),
        &Edges::default(),
        &[],
        minute(0),
    );
    assert_eq!(found.occurrences.len(), 1);
    let failed: Vec<_> = found.failures.iter().filter_map(RuleError::event).collect();
    assert_eq!(failed, ["list", "column", "blank"]);
    for failure in &found.failures {
        assert!(!failure.to_string().contains("ada@"), "{failure}");
    }
}

#[test]
fn a_failing_rule_keeps_what_it_remembers() {
    let rules = rules("[[event]]\nname = \"a\"\non_change = \"plan\"");
    let look = |user: &User, edges: &Edges| {
        occurrences(&rules, user, &BTreeMap::new(), edges, &[], minute(0))
    };
    let first = look(&user([("plan", text("free"))]), &Edges::default());
    let failed = look(&user([]), &first.edges);
    assert_eq!(failed.failures.len(), 1);
    assert_eq!(failed.edges, first.edges);
}

#[test]
fn guards_are_evaluated_together() {
    let rules = rules(
        "require = \"opt_in\"\nexclude = \"ends_with(email, '@acme.com')\"\nafter = \"confirmed\"",
    );
    for (opt_in, email, confirmed, guards) in [
        (true, "ada@acme.org", at(3), (true, false, Some(minute(3)))),
        (
            false,
            "ada@acme.com",
            Value::Bool(true),
            (false, true, None),
        ),
        (
            true,
            "ada@acme.org",
            Value::Null,
            (true, false, Some(Timestamp::MAX)),
        ),
    ] {
        let user = user([
            ("opt_in", Value::Bool(opt_in)),
            ("email", text(email)),
            ("confirmed", confirmed),
        ]);
        let found = rules.guards(&user, minute(0)).expect("guards");
        assert_eq!((found.consent, found.excluded, found.not_before), guards);
    }
}
