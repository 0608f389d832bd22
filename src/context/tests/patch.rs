//! From what should be there and what is there to what is written.

use super::*;

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
