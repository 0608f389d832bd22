//! Every fault of the table, at once and in its place.

use super::*;

/// The faults as `path | bytes at fault or key | message`.
fn faults(table: &str) -> Vec<String> {
    let source = source(table);
    Rules::compile(&source, &Language::default())
        .expect_err(table)
        .into_iter()
        .map(|fault| {
            let place = if fault.on_key {
                "key".to_owned()
            } else {
                fault
                    .range
                    .map_or_else(String::new, |range| format!("{range:?}"))
            };
            format!(
                "{} | {place} | {}",
                fault.path[1..].join("."),
                fault.message
            )
        })
        .collect()
}

#[test]
fn a_fault_says_where_it_is() {
    let rule = |lines: &str| format!("[[event]]\nname = \"a:b\"\n{lines}");
    for (table, expected) in [
        (rule(""), "event.0 |  | the rule has neither `at` nor `on_change`"),
        (
            rule("at = \"x\"\non_change = \"y\""),
            "event.0.on_change | key | the rule has `at` and `on_change`",
        ),
        (
            rule("on_change = \"y\"\nquery = \"SELECT 1\""),
            "event.0.query | key | `query` does not go with `on_change`",
        ),
        (
            rule("at = \"x\"\nfirst = \"y\""),
            "event.0.first | key | `first` goes with `on_change`",
        ),
        (
            rule("on_change = \"y\"\nid = \"y\""),
            "event.0.id | key | `id` does not go with `on_change`",
        ),
        (
            rule("at = \"x\"\nquery = \" \""),
            "event.0.query |  | `query` is empty",
        ),
        (
            rule("at = \"x\"\ncolor = \"gray\""),
            "event.0.color |  | Crisp knows no colour `gray`",
        ),
        (
            rule("at = \"x\"\nbrake = { share = \"200%\" }"),
            "event.0.brake.share | 0..4 | `200%` is no part of a whole",
        ),
        (
            rule("at = \"x\"\ndata = { ref = \"{{ x }}\" }"),
            "event.0.data.ref | key | `ref` is ours: it tells occurrences apart",
        ),
        (
            rule("at = \"x\"\ndata = { \"a b\" = \"{{ x }}\" }"),
            "event.0.data.a b | key | `a b` is no key: Crisp takes 1 to 50 letters, digits, `_` and `-`",
        ),
        (
            rule("at = \"x\"\ndata = { a=\"\", b=\"\", c=\"\", d=\"\", e=\"\", f=\"\", g=\"\", h=\"\", i=\"\" }"),
            "event.0.data |  | 9 keys; Crisp takes 10 and 2 are ours",
        ),
        (
            rule("at = \"x\"\nmax_age = \"1 month\""),
            "event.0.max_age | 0..7 | `1 month` has no fixed length",
        ),
        (
            "[[event]]\nname = \"\"\nat = \"x\"".to_owned(),
            "event.0.name |  | the name is empty",
        ),
        (
            "[[event]]\nname = \" a\"\nat = \"x\"".to_owned(),
            "event.0.name |  | the name begins or ends with a blank, or holds a control character",
        ),
        (
            format!("[[event]]\nname = \"{}\"\nat = \"x\"", "é".repeat(81)),
            "event.0.name | 160..162 | the name has 81 characters; Crisp takes 80",
        ),
        (
            "[[event]]\nname = \"a\"\nat = \"x\"\n[[event]]\nname = \"a\"\nat = \"y\"".to_owned(),
            "event.1.name |  | event number 1 has the name `a` too",
        ),
        (
            "[[event]]\nname = \"a\"\nat = \"x\"\n[[event]]\nname = \"b\"\nat = \"y\"\nrenamed_from = \"a\""
                .to_owned(),
            "event.1.renamed_from |  | `a` is still the name of a rule",
        ),
        ("grace = \"-1m\"".to_owned(), "grace | 0..3 | `-1m` is negative"),
        (
            rule("at = \"x\"\nmax_age = \"0s\""),
            "event.0.max_age |  | `0s` leaves no time: every event expires unsent",
        ),
    ] {
        let found = faults(&table);
        assert_eq!(found.len(), 1, "{table}\n{found:#?}");
        assert!(found[0].starts_with(expected), "{table}\n{found:#?}");
    }
}

#[test]
fn all_faults_come_at_once() {
    let found = faults(
        r#"
        require = "marketing_opt_in ="
        quiet = "soon"
        [[event]]
        name = "a"
        at = "x ==="
        color = "mauve"
        data = { plan = "{{ plan", "ö" = "1" }
        [[event]]
        name = "a"
        when = "(("
        "#,
    );
    let places: Vec<&str> = found
        .iter()
        .map(|fault| fault.split(" | ").next().expect("a path"))
        .collect();
    assert_eq!(
        places,
        [
            "require",
            "quiet",
            "event.1.name",
            "event.0.at",
            "event.0.color",
            "event.0.data.plan",
            "event.0.data.ö",
            "event.1",
            "event.1.when",
        ]
    );
}

#[test]
fn a_fault_in_an_expression_points_into_it() {
    let source = source("[[event]]\nname = \"a\"\nat = \"canceled_at | dat\"");
    let faults = Rules::compile(&source, &Language::default()).expect_err("no such tool");
    let range = faults[0].range.clone().expect("a range");
    assert_eq!(&"canceled_at | dat"[range], "dat");
    assert_eq!(faults[0].path, ["lifecycle", "event", "0", "at"]);
}

#[test]
fn what_is_not_said_has_a_default() {
    let rules = rules(
        r#"
        min_gap = "12h"
        [[event]]
        name = "plain"
        at = "x"
        [[event]]
        name = "with_id"
        at = "x"
        id = "y"
        max_age = "7d"
        [[event]]
        name = "with_both"
        at = "event.x"
        id = "event.y"
        min_gap = "1h"
        query = "SELECT 1"
        "#,
    );
    let said: Vec<_> = rules
        .iter()
        .map(|rule| {
            (
                rule.name(),
                rule.max_age().as_hours(),
                rule.min_gap().map(|gap| gap.as_hours()),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("plain", 72, Some(12)),
            ("with_id", 168, None),
            ("with_both", 72, Some(1))
        ]
    );
    assert_eq!(rules.longest_age().as_hours(), 168);
    assert_eq!(
        rules.columns().into_iter().collect::<Vec<_>>(),
        ["event.x", "event.y", "x", "y"]
    );
}
