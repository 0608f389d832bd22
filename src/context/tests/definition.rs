//! What an operator writes: what is wrong with it, what it means, owns and reads.

use super::*;

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
