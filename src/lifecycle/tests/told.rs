//! What is told of the rules before anything happens: forecasts, and the rules in words.

use super::*;

#[test]
fn of_two_at_once_the_second_is_held_and_one_that_is_known_is_not_new() {
    let rules = rules(
        r#"
        sender = "sole"
        [[event]]
        name = "invoice"
        query = "SELECT …"
        at = "event.at"
        subject = "{{ event.of }}"
        "#,
    );
    let rows = [("a", 0), ("b", 5), ("c", 10), ("d", -2 * DAY)]
        .map(|(of, minutes)| record([("of", text(of)), ("at", at(minutes))]));
    let rows = BTreeMap::from([("invoice".to_owned(), rows.to_vec())]);
    let user = user([]);
    let edges = Edges::default();
    let found = occurrences(&rules, &user, &rows, &edges, &[], minute(20));
    let mut remembered = Remembered::armed(&rules, -DAY);
    remembered.known.push(Known {
        key: found.occurrences[2].key(),
        subject: "c".to_owned(),
        ..known("invoice", 10, OutboxState::Parked)
    });
    let told: Vec<_> = forecast(
        &rules,
        &found,
        &remembered.memory(),
        Guards::OPEN,
        minute(20),
    )
    .into_iter()
    .map(|told| (told.happened_at, told.state, told.reason, told.is_new))
    .collect();
    assert_eq!(
        told,
        [
            (minute(-2 * DAY), "baseline", "before_armed", false),
            (minute(0), "due", "due", true),
            (minute(5), "held", "min_gap", true),
            (minute(10), "parked", "in_outbox", false),
        ]
    );
}

#[test]
fn a_rule_is_told_in_words() {
    let rules = rules(
        r#"
        require = "opt_in"
        exclude = "staff"
        grace = "90s"
        [[event]]
        name = "canceled"
        at = "canceled_at"
        when = "not back"
        group = "subscription"
        max_age = "25h"
        [[event]]
        name = "started"
        on_change = "plan"
        min_gap = "0s"
        [[event]]
        name = "import"
        query = "SELECT …"
        at = "event.at"
        id = "event.id"
        "#,
    );
    let words: Vec<String> = rules
        .iter()
        .map(|rule| rules.words(rule).join("; "))
        .collect();
    assert_eq!(
        words[0],
        "at `canceled_at`; only once `not back` is true; \
         not if a later event of the group `subscription` has happened by then; \
         only to people of whom `opt_in` is true; never to people of whom `staff` is true; \
         90 seconds after it happened, and only if the app has not told Crisp by then; \
         at most one to an address within 1 day; never when it is older than 25 hours"
    );
    assert!(
        words[1].starts_with("when `plan` changes; the first value"),
        "{words:?}"
    );
    assert!(
        words[2].starts_with(
            "once for each row of the rule's query, at `event.at`, told apart by `event.id`;"
        ),
        "{words:?}"
    );
}

#[test]
fn a_tester_is_an_address() {
    let table = "testers = [\"Ada@Example.org\", \"nobody\"]";
    let faults = Rules::compile(&source(table), &Language::default()).expect_err("no address");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].path, ["lifecycle", "testers", "1"]);
    let rules = rules("testers = [\"Ada@Example.org\"]");
    assert_eq!(
        rules.testers(),
        [Email::parse("ada@example.org").expect("an address")]
    );
}
