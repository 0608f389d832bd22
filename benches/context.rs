//! How long one user takes: from the row to the context, and from the context to the patch.

use crisp_sync::{
    context::{Definition, DefinitionSource, Held, OwnedNames, diff, evaluate},
    ids::{Email, UserKey},
    record::{Record, User, Value},
};
use divan::{Bencher, black_box};
use jiff::Timestamp;
use serde_json::json;

fn main() {
    divan::main();
}

const SOURCE: &str = r#"
[maps.plan]
price_1 = "pro"
[data]
plan = "{{ plan | map('plan') }}"
tenant = "{{ tenant_name }}"
trial_days_left = { value = "{{ days_until(trial_ends_at) }}", when = "status == 'trialing'", target = "session" }
invoice = { value = "{{ amount | money('EUR') }} {{ status }}", target = "contact" }
admin = { value = "{{ link('open', 'https://admin.example/u/' ~ id) }}", target = "contact" }
[segments]
"plan-{{ plan | map('plan') }}" = "plan"
"status-{{ status }}" = "status"
trial = "status == 'trialing'"
onboarded = "onboarded_at"
[profile]
nickname = "{{ name }}"
company = "{{ tenant_name }}"
"#;

fn definition() -> Definition {
    let source: DefinitionSource = toml::from_str(SOURCE).expect("the source is TOML");
    Definition::compile(&source).expect("the source compiles")
}

fn user() -> User {
    let text = |text: &str| Value::Text(text.to_owned());
    let instant = || Value::Instant(now());
    let record: Record = [
        ("id", Value::Int(7)),
        ("name", text("Ada Lovelace")),
        ("tenant_name", text("Analytical Engines [London]")),
        ("plan", text("price_1")),
        ("status", text("trialing")),
        ("amount", Value::Decimal("49.50".to_owned())),
        ("trial_ends_at", instant()),
        ("onboarded_at", instant()),
    ]
    .into_iter()
    .collect();
    User {
        key: UserKey::parse("7").expect("a key"),
        email: Email::parse("ada@example.org").expect("an address"),
        accounts: vec![record.clone()],
        record,
        more: std::collections::BTreeMap::new(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

#[divan::bench]
fn evaluate_one_user(bencher: Bencher<'_, '_>) {
    let (definition, user) = (definition(), user());
    bencher.bench(|| evaluate(&definition, black_box(&user), now()).expect("a context"));
}

#[divan::bench]
fn diff_of_nothing(bencher: Bencher<'_, '_>) {
    let definition = definition();
    let context = evaluate(&definition, &user(), now()).expect("a context");
    let OwnedNames { session, .. } = definition.owned();
    let held = diff(&context.session, &Held::default(), &session).applied_to(&Held::default());
    bencher.bench(|| diff(black_box(&context.session), black_box(&held), &session));
}

#[divan::bench]
fn diff_of_everything(bencher: Bencher<'_, '_>) {
    let definition = definition();
    let context = evaluate(&definition, &user(), now()).expect("a context");
    let OwnedNames { session, .. } = definition.owned();
    let held = Held {
        data: json!({"note": "an agent's own", "plan": "free", "cart": [1, 2, 3]})
            .as_object()
            .expect("an object")
            .clone(),
        segments: ["vip", "plan-free", "status-canceled"]
            .map(str::to_owned)
            .to_vec(),
    };
    bencher.bench(|| diff(black_box(&context.session), black_box(&held), &session));
}

#[divan::bench]
fn compile_the_definition(bencher: Bencher<'_, '_>) {
    let source: DefinitionSource = toml::from_str(SOURCE).expect("the source is TOML");
    bencher.bench(|| Definition::compile(black_box(&source)).expect("the source compiles"));
}
