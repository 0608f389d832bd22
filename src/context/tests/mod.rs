//! From what an operator writes to what Crisp holds.

mod definition;
mod patch;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    ids::{Email, UserKey},
    record::{User, Value},
};

fn now() -> Timestamp {
    "2026-03-10T12:00:00Z".parse().expect("an instant")
}

fn user(columns: &[(&str, Value)]) -> User {
    let record: crate::record::Record = columns.iter().cloned().collect();
    User {
        key: UserKey::parse("7").expect("a key"),
        email: Email::parse("ada@example.org").expect("an address"),
        accounts: vec![record.clone()],
        record,
        more: std::collections::BTreeMap::new(),
    }
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn trialing() -> User {
    user(&[
        ("name", text("Ada *Lovelace*")),
        ("tenant_name", text("Acme")),
        ("plan", text("price_1")),
        ("status", text("trialing")),
        (
            "trial_ends_at",
            Value::Instant("2026-03-12T06:00:00Z".parse().expect("an instant")),
        ),
        ("onboarded_at", Value::Null),
        ("site", text("javascript:x")),
        ("id", Value::Int(7)),
    ])
}

const SOURCE: &str = r#"
[maps.plan]
price_1 = "pro"
[data]
plan = "{{ plan | map('plan') }}"
name = { value = "{{ name }}", target = "contact" }
trial_days_left = { value = "{{ days_until(trial_ends_at) }}", when = "status == 'trialing'", target = "session", else = "none" }
onboarded = "{{ onboarded_at }}"
[segments]
"plan-{{ plan | map('plan') }}" = "plan"
"status-{{ status }}" = "status"
trial = "status == 'trialing'"
onboarded = "onboarded_at"
[profile]
nickname = "{{ name }}"
company = "{{ tenant_name }}"
website = "{{ site }}"
"#;

fn source(text: &str) -> DefinitionSource {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn compiled(text: &str) -> Definition {
    Definition::compile(&source(text)).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// `path: message / hint`, and `path@bytes` where the fault points into the string.
fn faults(text: &str) -> Vec<String> {
    let source = source(text);
    Definition::compile(&source)
        .expect_err("faults")
        .into_iter()
        .map(|fault| {
            let range = fault
                .range
                .map_or_else(String::new, |range| format!("@{range:?}"));
            let key = if fault.on_key { " (key)" } else { "" };
            format!("{}{range}{key}: {}", fault.path.join("."), fault.message)
        })
        .collect()
}

fn layer(data: &[(&str, DataValue)], segments: &[&str]) -> Layer {
    Layer {
        data: data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        segments: segments.iter().map(|&segment| segment.to_owned()).collect(),
    }
}

fn held(data: Json, segments: &[&str]) -> Held {
    let Json::Object(data) = data else {
        panic!("an object")
    };
    Held {
        data,
        segments: segments.iter().map(|&segment| segment.to_owned()).collect(),
    }
}

#[test]
fn a_user_becomes_a_context() {
    let context = evaluate(&compiled(SOURCE), &trialing(), now()).expect("a context");
    assert_eq!(
        context.session,
        layer(
            &[
                ("plan", "pro".into()),
                ("trial_days_left", 2.into()),
                ("onboarded", "".into()),
            ],
            &["plan-pro", "status-trialing", "trial"],
        )
    );
    assert_eq!(
        context.contact,
        layer(
            &[
                ("plan", "pro".into()),
                ("name", "Ada \\*Lovelace\\*".into()),
                ("onboarded", "".into()),
            ],
            &["plan-pro", "status-trialing", "trial"],
        )
    );
    assert_eq!(
        context.profile,
        Profile {
            nickname: Some("Ada *Lovelace*".to_owned()),
            company: Some("Acme".to_owned()),
            ..Profile::default()
        }
    );
}

#[test]
fn without_the_condition_or_a_value_else_is_written() {
    let definition = compiled(
        r#"
[data]
a = { value = "{{ n }}", when = "n > 3", else = 0 }
b = { value = "{{ n }}", else = false }
[segments]
"size-{{ n }}" = "true"
"#,
    );
    for (n, a, b, segments) in [
        (Value::Int(5), 5.into(), 5.into(), vec!["size-5"]),
        (Value::Int(2), 0.into(), 2.into(), vec!["size-2"]),
        (Value::Null, 0.into(), false.into(), vec![]),
    ] {
        let context = evaluate(&definition, &user(&[("n", n)]), now()).expect("a context");
        assert_eq!(context.session, layer(&[("a", a), ("b", b)], &segments));
    }
}

#[test]
fn a_segment_is_one_line_and_whole() {
    let definition = compiled(
        r#"
longest_value = 50
[segments]
"team {{ team }}" = "true"
"#,
    );
    for (team, segment) in [
        ("  Red\n Hats ", Some("team Red Hats".to_owned())),
        ("*a*", Some("team *a*".to_owned())),
        (" \n", None),
        (&"x".repeat(60), Some(format!("team {}…", "x".repeat(44)))),
    ] {
        let context = evaluate(&definition, &user(&[("team", text(team))]), now()).expect("ok");
        assert_eq!(context.session.segments.into_iter().next(), segment);
    }
}

#[test]
fn a_long_value_is_cut() {
    let definition = compiled("longest_value = 50\n[data]\nx = \"{{ x }}\"");
    let context = evaluate(&definition, &user(&[("x", text(&"y".repeat(99)))]), now()).expect("ok");
    assert_eq!(
        context.session.data["x"],
        DataValue::from(format!("{}…", "y".repeat(49)))
    );
}

#[test]
fn a_failure_names_the_place_and_no_value() {
    let definition = compiled("[data]\nplan = { value = \"{{ plan }}\", when = \"plan > 3\" }");
    let error = evaluate(&definition, &user(&[("plan", text("secret"))]), now())
        .expect_err("text is no number");
    assert_eq!(error.path, "context.data.plan");
    assert_eq!(
        format!("{error}: {}", error.source),
        "could not work out `context.data.plan`: could not evaluate `plan > 3`: `>` does not take text and a number"
    );
}
