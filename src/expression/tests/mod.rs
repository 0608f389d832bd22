//! The language at work on one user.

mod faults;
mod text;
mod tools;

use serde_json::json;

use super::*;
use crate::{
    data::DataValue,
    ids::{Email, UserKey},
    record::{Record, User},
};
use jiff::{Timestamp, civil::date};

const NOW: &str = "2026-03-10T12:00:00Z";

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn user() -> User {
    let record: Record = [
        ("id", Value::Int(7)),
        ("email", Value::Text("ada@example.org".to_owned())),
        ("name", Value::Text("[click](http://evil)".to_owned())),
        ("plan", Value::Text("pro_plus".to_owned())),
        ("price", Value::Text("price_1".to_owned())),
        ("nothing", Value::Null),
        ("empty", Value::Text(String::new())),
        ("active", Value::Bool(true)),
        ("flag", Value::Int(1)),
        ("seats", Value::Int(12)),
        ("snowflake", Value::Int(1_234_567_890_123_456_789)),
        ("amount", Value::Decimal("49.50".to_owned())),
        ("exact", Value::Decimal("12345678901234567.89".to_owned())),
        ("ends", Value::Instant(instant("2026-03-12T06:00:00.5Z"))),
        ("ended", Value::Instant(instant("2026-03-09T10:00:00Z"))),
        ("day", Value::Date(date(2026, 3, 13))),
        ("sqlite", Value::Text("2026-03-12 06:00:00".to_owned())),
        (
            "settings",
            Value::Json(json!({"theme": "dark", "n": 3, "none": null, "tags": ["a", "b"]})),
        ),
        ("bad_url", Value::Text("javascript:alert(1)".to_owned())),
    ]
    .into_iter()
    .collect();
    let second: Record = [("plan", Value::Text("free".to_owned()))]
        .into_iter()
        .collect();
    User {
        key: UserKey::parse("7").expect("a key"),
        email: Email::parse("ada@example.org").expect("an address"),
        accounts: vec![record.clone(), second],
        record,
        more: [
            (
                "billing".to_owned(),
                [
                    ("amount", Value::Decimal("1.005".to_owned())),
                    ("state", Value::Text("*paid*".to_owned())),
                ]
                .into_iter()
                .collect(),
            ),
            ("usage".to_owned(), Record::default()),
        ]
        .into(),
    }
}

fn language() -> Language {
    Language::new(
        [(
            "plan".to_owned(),
            [("price_1".to_owned(), "pro".to_owned())].into(),
        )]
        .into(),
    )
}

fn scoped<T>(run: impl FnOnce(&Scope<'_>) -> T) -> T {
    let user = user();
    let row: Record = [("stats", Value::Int(3))].into_iter().collect();
    run(&Scope {
        user: &user,
        now: instant(NOW),
        row: Some(&row),
    })
}

fn value(template: &str) -> DataValue {
    let compiled = language().template(template).expect(template);
    scoped(|scope| compiled.value(scope)).expect(template)
}

fn holds(expression: &str) -> bool {
    let compiled = language().expression(expression).expect(expression);
    scoped(|scope| compiled.truth(scope)).expect(expression)
}

fn computed(expression: &str) -> Value {
    let compiled = language().expression(expression).expect(expression);
    scoped(|scope| compiled.value(scope)).expect(expression)
}

fn refused(expression: &str) -> (String, Option<String>, String) {
    let fault = language().expression(expression).expect_err(expression);
    let range = fault.range.clone().expect("a range");
    (fault.message, fault.hint, expression[range].to_owned())
}

fn error(expression: &str) -> EvalErrorKind {
    let compiled = language().expression(expression).expect(expression);
    scoped(|scope| compiled.value(scope))
        .expect_err(expression)
        .kind
}

#[test]
fn a_lone_placeholder_keeps_its_type() {
    for (template, expected) in [
        ("{{ active }}", DataValue::from(true)),
        ("{{active}}", DataValue::from(true)),
        ("{{ seats }}", DataValue::from(12)),
        (
            "{{ amount }}",
            DataValue::Number(serde_json::Number::from_f64(49.5).expect("finite")),
        ),
        ("{{ amount * 2 }}", DataValue::from(99)),
        ("{{ nothing }}", DataValue::absent()),
        ("{{ empty }}", DataValue::absent()),
        ("{{ usage.amount }}", DataValue::absent()),
        ("{{ plan }}", DataValue::from("pro_plus")),
        ("{{ settings.n }}", DataValue::from(3)),
        ("{{ settings.theme }}", DataValue::from("dark")),
        ("{{ settings['theme'] }}", DataValue::from("dark")),
        ("{{ settings.none }}", DataValue::absent()),
        ("{{ settings.missing }}", DataValue::absent()),
        ("{{ settings.tags[1] }}", DataValue::from("b")),
        ("{{ event.stats }}", DataValue::from(3)),
        ("{{ accounts_count }}", DataValue::from(2)),
        ("{{ ambiguous }}", DataValue::from(true)),
        ("{{ ends }}", DataValue::from("2026-03-12T06:00:00Z")),
        ("{{ day }}", DataValue::from("2026-03-13")),
        ("", DataValue::absent()),
        ("true", DataValue::from("true")),
    ] {
        assert_eq!(value(template), expected, "{template}");
    }
}

#[test]
fn digits_that_a_float_would_lose_stay_text() {
    assert_eq!(
        value("{{ exact }}"),
        DataValue::from("12345678901234567.89")
    );
    assert_eq!(
        value("{{ snowflake }}"),
        DataValue::from("1234567890123456789")
    );
    assert_eq!(value("{{ amount }} EUR"), DataValue::from("49.50 EUR"));
    assert_eq!(value("{{ 0.1 + 0.2 }}"), value("{{ 0.3 }}"));
}

#[test]
fn null_is_absent_and_smaller_than_nothing() {
    for expression in [
        "not nothing",
        "nothing is null",
        "nothing is none",
        "nothing is not defined",
        "active is defined",
        "nothing == none",
        "nothing != 'x'",
        "not (nothing < 3)",
        "not (nothing > 3)",
        "not (days_until(nothing) < 3)",
        "(nothing + 1) is null",
        "(nothing | money('EUR')) is null",
        "not (nothing in ['a'])",
        "not ends_with(nothing, 'x')",
        "not contains(nothing, 'x')",
        "nothing ~ 'x' == 'x'",
        "(1 / 0) is null",
        "not empty",
    ] {
        assert!(holds(expression), "{expression}");
    }
}

#[test]
fn conditions_hold_as_they_read() {
    for expression in [
        "plan == 'pro_plus' and seats >= 12",
        "plan in ['free', 'pro_plus']",
        "plan not in ['free']",
        "'pro' in plan",
        "'a' in settings.tags",
        "ends_with(email, '@example.org')",
        "email | starts_with('ada')",
        "contains(plan, '_')",
        "not (plan == 'free' or seats < 3)",
        "flag == true and flag",
        "amount > 49 and amount < 49.51 and amount == 49.5",
        "ends > now and ended < now",
        "ends > '2026-03-12' and ends < '2026-03-12T07:00:00Z'",
        "day > ends",
        "(seats if active else 0) == 12",
        "(seats if nothing) is null",
        "1 + 2 * 3 == 7 and (1 + 2) * 3 == 9 and -2 + 3 == 1 and 7 // 2 == 3 and 7 % 4 == 3",
        "10 / 4 == 2.5",
        "not not active",
        "(nothing or ends) == ends",
    ] {
        assert!(holds(expression), "{expression}");
    }
}

#[test]
fn types_that_do_not_go_together_are_an_error_without_values() {
    for expression in [
        "plan == 3",
        "plan > 3",
        "seats + plan",
        "ends == 'soon'",
        "settings.tags == 'a'",
        "plan.x",
    ] {
        let kind = error(expression);
        assert!(
            matches!(kind, EvalErrorKind::Mismatch { .. }),
            "{expression}: {kind}"
        );
        assert!(!kind.to_string().contains("pro_plus"), "{kind}");
    }
    assert_eq!(
        error("plann"),
        EvalErrorKind::UnknownColumn {
            column: "plann".to_owned(),
            nearest: Some("plan".to_owned())
        }
    );
    assert!(
        matches!(error("billing.amout"), EvalErrorKind::UnknownColumn { column, .. } if column == "billing.amout")
    );
    assert!(matches!(
        error("plan | money('EUR')"),
        EvalErrorKind::Tool { tool: "money", .. }
    ));
}

#[test]
fn lists_are_no_data_until_they_are_joined() {
    for template in ["{{ settings }}", "{{ settings.tags }}", "x {{ accounts }}"] {
        let compiled = language().template(template).expect(template);
        let error = scoped(|scope| compiled.value(scope)).expect_err(template);
        assert!(matches!(error.kind, EvalErrorKind::Unfit(_)), "{error}");
    }
    assert_eq!(
        value("{{ accounts | pluck('plan') | join(', ') }}"),
        DataValue::from("pro_plus, free")
    );
}
