//! From what an operator writes to what Crisp holds.

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

#[test]
fn every_fault_is_told_at_once() {
    let found = faults(
        r#"
longest_value = 20
[data]
"tenant name" = "{{ tenant }}"
Plan = "{{ plan }}"
plan = "{{ plan | uper }}"
context_as_of = "{{ plan }}"
odd = { value = "{{ a", when = "b =" , else = "012345678901234567890" }
row = { value = "x", when = "event.stats" }
[segments]
"{{ plan }}" = "plan"
"p-{{ plan }}" = "plan"
"plan-{{ plan }}" = "plan"
plan-vip = "plan"
Trial = "a"
trial = "b"
unverified = "c"
"unv{{ x }}" = "c"
"" = "d"
"link-{{ link('a', b) }}" = "e"
good = "f ="
"row-{{ event.x }}" = "event.y"
[profile]
nickname = "{{ name"
website = "{{ link('a', b) }}"
"#,
    );
    insta::assert_snapshot!(found.join("\n"), @r"
    context.longest_value: a value takes at least 50 characters
    context.data.context_as_of (key): `context_as_of` is written by crisp-sync itself
    context.data.odd.value@0..4: `{{` has no `}}`
    context.data.odd.when@2..3: unexpected `=`
    context.data.odd.else: a value has at most 20 characters
    context.data.plan (key): `plan` and `Plan` differ only by case
    context.data.plan@10..14: unknown tool `uper`
    context.data.row.when@0..11: `event` is only known to a lifecycle rule that has a query
    context.data.tenant name (key): a data key takes letters, digits, `_` and `-`, not ` `
    context.segments. (key): a segment is empty
    context.segments.good@2..3: unexpected `=`
    context.segments.link-{{ link('a', b) }} (key): a segment is plain text
    context.segments.p-{{ plan }} (key): a segment with a placeholder starts with at least 3 literal characters
    context.segments.row-{{ event.x }}@7..14 (key): `event` is only known to a lifecycle rule that has a query
    context.segments.row-{{ event.x }}@0..7: `event` is only known to a lifecycle rule that has a query
    context.segments.{{ plan }} (key): a segment with a placeholder starts with at least 3 literal characters
    context.segments.plan-vip (key): `plan-vip` falls under `plan-{{ plan }}`
    context.segments.trial (key): `trial` and `Trial` are one segment
    context.segments.unverified (key): `unverified` is written by crisp-sync itself
    context.segments.unv{{ x }} (key): `unv…` would take in `unverified`, which crisp-sync writes itself
    profile.nickname@0..7: `{{` has no `}}`
    profile.website: a profile is plain text
    ");
}

#[test]
fn a_misspelt_key_is_called_unknown() {
    let error = toml::from_str::<DefinitionSource>("[data]\na = { value = \"x\", whenn = \"y\" }")
        .expect_err("a typo");
    assert!(
        error.to_string().contains("unknown field `whenn`"),
        "{error}"
    );
    let error = toml::from_str::<DefinitionSource>("[data]\na = 3").expect_err("a number");
    assert!(error.to_string().contains("a template as text"), "{error}");
}

#[test]
fn the_hash_is_that_of_the_meaning() {
    let hash = |text: &str| compiled(text).hash().to_owned();
    let short = hash("[data]\na = \"{{ x }}\"\nb = \"1\"");
    assert_eq!(
        short,
        hash("[data]\nb = \"1\"\na = { value = \"{{ x }}\", target = \"both\", else = \"\" }")
    );
    assert_ne!(short, hash("[data]\na = \"{{ x }}\"\nb = \"2\""));
    assert_ne!(
        short,
        hash("as_of = false\n[data]\na = \"{{ x }}\"\nb = \"1\"")
    );
    assert_eq!(short.len(), 64);
}

#[test]
fn the_schema_knows_both_forms() {
    let schema = schemars::schema_for!(DefinitionSource)
        .to_value()
        .to_string();
    assert!(schema.contains("anyOf") && schema.contains("else") && schema.contains("target"));
}

#[test]
fn a_definition_tells_what_it_owns_and_reads() {
    let definition = compiled(SOURCE);
    let OwnedNames { session, contact } = definition.owned();
    let keys = |owned: &Owned| owned.keys.iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&session),
        "context_as_of context_state onboarded plan trial_days_left"
    );
    assert_eq!(
        keys(&contact),
        "context_as_of context_state name onboarded plan"
    );
    for (segment, is_ours) in [
        ("plan-pro", true),
        ("Plan-Pro", true),
        ("plan", false),
        ("trial", true),
        ("TRIAL", true),
        ("trials", false),
        ("vip", false),
        ("é", false),
    ] {
        assert_eq!(contact.owns_segment(segment), is_ours, "{segment}");
    }
    assert!(session.owns_segment(UNVERIFIED) && !contact.owns_segment(UNVERIFIED));
    assert_eq!(
        definition.columns().into_iter().collect::<Vec<_>>(),
        [
            "name",
            "onboarded_at",
            "plan",
            "site",
            "status",
            "tenant_name",
            "trial_ends_at"
        ]
    );
}

#[test]
fn nobody_is_empty_everywhere() {
    let definition = compiled(SOURCE);
    let empty = definition.empty_context();
    let owned = definition.owned();
    let before = held(
        json!({"plan": "pro", "trial_days_left": 2, "context_as_of": "2026", "note": {"by": ["agent"]}}),
        &["vip", "plan-pro", "unverified"],
    );
    let patch = diff(&empty.session, &before, &owned.session);
    assert_eq!(
        patch.applied_to(&before),
        held(
            json!({"plan": "", "trial_days_left": "", "context_as_of": "", "note": {"by": ["agent"]}}),
            &["vip"],
        )
    );
    assert_eq!(patch.changes.len(), 5);
    assert!(diff(&empty.session, &Held::default(), &owned.session).is_empty());
}

#[test]
fn missing_null_and_blank_are_one_and_need_no_write() {
    let definition = compiled("[data]\na = \"{{ a }}\"\nb = \"{{ b }}\"");
    let owned = definition.owned().session;
    let desired = layer(&[("a", DataValue::absent()), ("b", "x".into())], &[]);
    for before in [
        json!({"b": "x"}),
        json!({"a": null, "b": "x"}),
        json!({"a": "", "b": "x"}),
    ] {
        assert!(diff(&desired, &held(before, &[]), &owned).is_empty());
    }
    let patch = diff(&desired, &held(json!({"a": null, "other": 1}), &[]), &owned);
    assert_eq!(
        patch.data.map(Json::Object),
        Some(json!({"a": null, "other": 1, "b": "x"}))
    );
}

#[test]
fn forged_segments_go_and_others_keep_their_place() {
    let owned = compiled(SOURCE).owned().session;
    let before = held(
        json!({}),
        &["z", "plan-enterprise", "Plan-pro", "vip", "plan-pro", "a"],
    );
    let patch = diff(
        &layer(&[], &["plan-pro", "trial", "stranger"]),
        &before,
        &owned,
    );
    assert_eq!(
        patch.segments.expect("a change"),
        ["z", "vip", "plan-pro", "a", "trial"]
    );
    assert_eq!(patch.data, None);
    let names: Vec<&str> = patch
        .changes
        .iter()
        .map(|change| change.name.as_str())
        .collect();
    assert_eq!(names, ["plan-enterprise", "Plan-pro", "trial"]);
}

#[test]
fn junk_under_our_key_is_replaced_and_junk_elsewhere_is_kept() {
    let owned = compiled(SOURCE).owned().session;
    let before = held(
        json!({"plan": {"forged": true}, "cart": [1, {"x": null}], "nothing": null}),
        &[],
    );
    let patch = diff(&layer(&[("plan", "pro".into())], &[]), &before, &owned);
    assert_eq!(
        patch.data.map(Json::Object),
        Some(json!({"plan": "pro", "cart": [1, {"x": null}], "nothing": null}))
    );
    assert_eq!(
        patch.changes,
        [Change {
            name: "plan".to_owned(),
            kind: ChangeKind::Data,
            before: Some(json!({"forged": true})),
            after: Some(json!("pro")),
        }]
    );
}

#[test]
fn retired_names_are_cleaned_up_once_they_are_merged_in() {
    let definition = compiled("[data]\nplan = \"{{ plan }}\"");
    let mut owned = definition.owned();
    owned.merge(compiled("[data]\nold = \"x\"\n[segments]\n\"tier-{{ x }}\" = \"x\"").owned());
    let before = held(json!({"old": "x", "plan": "pro"}), &["tier-1", "tie"]);
    let patch = diff(
        &layer(&[("plan", "pro".into())], &[]),
        &before,
        &owned.session,
    );
    assert_eq!(
        patch.applied_to(&before),
        held(json!({"old": "", "plan": "pro"}), &["tie"])
    );
}

#[test]
fn stamps_ride_along_and_never_ask_for_a_write() {
    let definition = compiled("[data]\nplan = \"{{ plan }}\"");
    let owned = definition.owned().session;
    let ada = user(&[("plan", text("pro"))]);
    let mut context = evaluate(&definition, &ada, now()).expect("a context");
    let before = held(json!({"plan": "pro", "context_as_of": "yesterday"}), &[]);
    assert!(diff(&context.session, &before, &owned).is_empty());

    context.stamp("today", "");
    let after = diff(&context.session, &before, &owned).applied_to(&before);
    assert_eq!(after.data["context_as_of"], json!("today"));
    assert!(!after.data.contains_key("context_state"));

    // Who may not see the data sees no stamp either, whatever is stamped later.
    context.session = context.session.without_data();
    context.stamp("today", "stale");
    let after = diff(&context.session, &after, &owned).applied_to(&after);
    assert_eq!(
        Json::Object(after.data),
        json!({"plan": "", "context_as_of": ""})
    );
}

#[test]
fn stamps_that_were_switched_off_are_cleaned_up() {
    let definition = compiled("as_of = false\n[data]\nplan = \"{{ plan }}\"");
    let ada = user(&[("plan", text("pro"))]);
    let mut context = evaluate(&definition, &ada, now()).expect("a context");
    context.stamp("today", "");
    let before = held(json!({"plan": "pro", "context_as_of": "yesterday"}), &[]);
    let mut owned = definition.owned();
    assert!(diff(&context.session, &before, &owned.session).is_empty());
    owned.merge(compiled("").owned());
    assert_eq!(
        diff(&context.session, &before, &owned.session)
            .applied_to(&before)
            .data["context_as_of"],
        json!("")
    );
}

#[test]
fn a_layer_can_be_restricted_and_marked() {
    let full = layer(&[("plan", "pro".into())], &["trial"]);
    let restricted = full.without_data().without_segments().marked(UNVERIFIED);
    assert_eq!(restricted.data["plan"], DataValue::absent());
    assert_eq!(
        restricted.segments.into_iter().collect::<Vec<_>>(),
        [UNVERIFIED]
    );
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-3_i64..3).prop_map(Json::from),
        Just(json!(3.0)),
        "[a-c]{0,2}".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            proptest::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn any_data() -> impl Strategy<Value = DataValue> {
    prop_oneof![
        any::<bool>().prop_map(DataValue::from),
        (-3_i64..3).prop_map(DataValue::from),
        "[a-c]{0,2}".prop_map(DataValue::from),
    ]
}

const KEY: &str = "(k[a-d]|context_as_of)";
const SEGMENT: &str = "(plan-[a-c]|Plan-a|trial|vip|[a-c])";

proptest! {
    #[test]
    fn a_patch_settles_it_and_leaves_the_rest_alone(
        data in proptest::collection::btree_map(KEY, any_data(), 0..5),
        segments in proptest::collection::btree_set(SEGMENT, 0..4),
        before in proptest::collection::btree_map(KEY, any_json(), 0..6),
        held_segments in proptest::collection::vec(SEGMENT, 0..6),
        keys in proptest::collection::btree_set(KEY, 0..5),
    ) {
        let desired = Layer { data, segments };
        let held = Held { data: before.into_iter().collect(), segments: held_segments };
        let owned = Owned {
            keys,
            segments: ["trial".to_owned()].into(),
            segment_prefixes: ["plan-".to_owned()].into(),
        };
        let patch = diff(&desired, &held, &owned);
        let after = patch.applied_to(&held);

        // Writing it leaves nothing to write.
        prop_assert!(diff(&desired, &after, &owned).is_empty());
        prop_assert_eq!(patch.is_empty(), patch.changes.is_empty());
        // What is not ours is as it was, in its order.
        for (key, value) in held.data.iter().filter(|(key, _)| !owned.keys.contains(*key)) {
            prop_assert_eq!(after.data.get(key), Some(value));
        }
        prop_assert!(after.data.keys().all(|key| held.data.contains_key(key) || owned.keys.contains(key)));
        let others = |held: &Held| held.segments.iter().filter(|segment| !owned.owns_segment(segment)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(others(&held), others(&after));
        // What is ours is as it should be.
        for key in &owned.keys {
            if let Some(wanted) = desired.data.get(key) {
                prop_assert!(wanted.is_held_as(after.data.get(key)));
            }
        }
        let ours: BTreeSet<&String> = after.segments.iter().filter(|segment| owned.owns_segment(segment)).collect();
        let wanted: BTreeSet<&String> = desired.segments.iter().filter(|segment| owned.owns_segment(segment)).collect();
        prop_assert_eq!(ours, wanted);
        // No key that was there is missing.
        prop_assert!(held.data.keys().all(|key| after.data.contains_key(key)));
    }
}
