//! The language at work on one user.

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
fn text_and_placeholders_mix_as_text() {
    for (template, expected) in [
        ("{{ active }}/{{ nothing }}/{{ seats }}", "true//12"),
        ("x {{ nothing }}", "x"),
        (
            "{{ billing.amount | money('EUR') }} {{ billing.state }}",
            "1.01 EUR \\*paid\\*",
        ),
        ("{{ usage.amount | money('EUR') }} {{ usage.state }}", ""),
        ("{{ 'a }} b' }}!", "a }} b!"),
        ("**{{ plan }}**", "**pro_plus**"),
    ] {
        assert_eq!(value(template), DataValue::from(expected), "{template}");
    }
}

#[test]
fn a_name_is_never_markup_and_link_is_the_only_way_to_one() {
    for (template, expected) in [
        ("{{ name }}", "\\[click\\](http\\://evil)"),
        ("Hi {{ name }}", "Hi \\[click\\](http\\://evil)"),
        (
            "{{ link('open', 'https://admin.example/u/' ~ id) }}",
            "[open](https://admin.example/u/7)",
        ),
        (
            "{{ link(name, 'https://x.example') }}",
            "[\\[click\\](http\\://evil)](https://x.example/)",
        ),
        ("{{ link('site', bad_url) }}", "site"),
        ("{{ link('site', nothing) }}", ""),
        (
            "{{ link('a', 'https://x.example') ~ name }}",
            "\\[a\\](https\\://x.example/)\\[click\\](http\\://evil)",
        ),
        (
            "{{ link('a', 'https://x.example') | upper }}",
            "\\[A\\](HTTPS\\://X.EXAMPLE/)",
        ),
    ] {
        assert_eq!(value(template), DataValue::from(expected), "{template}");
    }
    let fault = language()
        .template("[open]({{ bad_url }})")
        .expect_err("a link by hand");
    assert!(fault.hint.expect("a hint").contains("link("));
}

#[test]
fn plain_text_is_whole_or_nothing_and_not_escaped() {
    let plain = |template: &str| {
        let compiled = language().template(template).expect(template);
        scoped(|scope| compiled.plain_text(scope)).expect(template)
    };
    assert_eq!(plain("{{ name }}").as_deref(), Some("[click](http://evil)"));
    assert_eq!(plain("plan-{{ plan }}").as_deref(), Some("plan-pro_plus"));
    assert_eq!(plain("plan-{{ nothing }}"), None);
    assert_eq!(plain("plan-{{ '  ' }}"), None);
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

#[test]
fn days_count_begun_ones_and_dates_count_calendar_days() {
    for (expression, expected) in [
        ("days_until(ends)", 2),
        ("ends | days_until", 2),
        ("days_until(sqlite)", 2),
        ("days_until(day)", 3),
        ("days_until(ended)", -1),
        ("days_since(ended)", 1),
        ("days_until(now)", 0),
    ] {
        assert_eq!(computed(expression), Value::Int(expected), "{expression}");
    }
    assert_eq!(computed("days_until(nothing)"), Value::Null);
    assert!(matches!(
        error("days_until(plan)"),
        EvalErrorKind::Tool {
            tool: "days_until",
            ..
        }
    ));
}

#[test]
fn tools_say_what_they_mean() {
    for (expression, expected) in [
        ("date(ends)", "2026-03-12"),
        ("date(ends, '%d %b %Y')", "12 Mar 2026"),
        ("date(day, '%d.%m.')", "13.03."),
        ("amount | money('EUR')", "49.50 EUR"),
        ("1234.5 | money('jpy')", "1235 JPY"),
        ("5 | money", "5.00"),
        ("exact | money('USD')", "12345678901234567.89 USD"),
        ("slug('Ünï Code & Co.')", "ünï-code-co"),
        ("yes_no(active)", "yes"),
        ("yes_no(nothing)", "no"),
        ("yes_no(nothing, 'ja', 'nein')", "nein"),
        ("price | map('plan')", "pro"),
        ("plan | map('plan')", "pro_plus"),
        ("plan | map('plan', 'other')", "other"),
        ("'abcdef' | truncate(4)", "abc…"),
        ("'abcd' | truncate(4)", "abcd"),
        ("nothing | default('none yet')", "none yet"),
        ("empty | default('none yet')", "none yet"),
        ("plan | replace('_', ' ') | upper", "PRO PLUS"),
        ("text(seats)", "12"),
        ("settings.tags | join('+')", "a+b"),
        ("first(settings.tags) ~ last(settings.tags)", "ab"),
        ("'active: ' ~ active", "active: true"),
    ] {
        assert_eq!(
            computed(expression),
            Value::Text(expected.to_owned()),
            "{expression}"
        );
    }
    assert_eq!(computed("round_day(ends)"), Value::Date(date(2026, 3, 12)));
    assert_eq!(computed("round(2.5)"), Value::Int(3));
    assert_eq!(computed("length(settings.tags)"), Value::Int(2));
}

#[test]
fn a_column_keeps_its_type_through_an_expression() {
    assert_eq!(
        computed("ends"),
        Value::Instant(instant("2026-03-12T06:00:00.5Z"))
    );
    assert_eq!(computed("nothing or day"), Value::Date(date(2026, 3, 13)));
    assert_eq!(computed("amount"), Value::Decimal("49.50".to_owned()));
}

#[test]
fn faults_point_and_hint() {
    for (expression, at, hint) in [
        ("status = 'x'", "=", "write `==`"),
        ("a && b", "&&", "write `and`"),
        ("a || b", "||", "write `or`"),
        ("!a", "!", "write `not`"),
        ("plan | uper", "uper", "did you mean `upper`?"),
        ("day_until(x)", "day_until", "did you mean `days_until`?"),
        ("plan | map('plans')", "'plans'", "did you mean `plan`?"),
        ("plan | map('tenant')", "'tenant'", "define `[maps.tenant]`"),
        ("money()", "money()", "counts `x` as the first"),
        ("plan.upper()", "upper", "write `… | upper`"),
        ("1 < x < 3", "<", "a < b and b < c"),
        ("x is empty", "empty", "is null"),
        ("truncate(x, length=3)", "=", "write `==`"),
        ("{{ x }}", "{", "braces"),
    ] {
        let (message, found, text) = refused(expression);
        assert_eq!(text, at, "{expression}: {message}");
        assert!(
            found.as_deref().is_some_and(|found| found.contains(hint)),
            "{expression}: {found:?}"
        );
    }
    for expression in [
        "", " ", "a b", "(a", "[1", "a ==", "'open", "a if", "and", "a.", "1 2",
    ] {
        refused(expression);
    }
    assert!(language().expression(&"(".repeat(10_000)).is_err());
    assert!(
        language()
            .expression(&("not ".repeat(10_000) + "a"))
            .is_err()
    );
}

#[test]
fn template_faults_point_into_the_template() {
    for (template, at) in [
        ("plan-{{ plan | uper }}", "uper"),
        ("x {{ plan", "{{ plan"),
        ("x }} y", "}}"),
        ("{% if x %}", "{%"),
        ("{# note #}", "{#"),
        ("é{{ a = b }}", "="),
        ("{{ }}", " "),
    ] {
        let fault = language().template(template).expect_err(template);
        assert_eq!(&template[fault.range.expect("a range")], at, "{template}");
    }
}

#[test]
fn a_template_tells_what_it_reads() {
    let template = language()
        .template("plan-{{ plan | map('plan') }} {{ billing.amount if active }} {{ now }} {{ event.stats }} {{ link('x', accounts[0].url) }}")
        .expect("a template");
    assert_eq!(
        template.columns().into_iter().collect::<Vec<_>>(),
        ["active", "billing.amount", "event.stats", "plan"]
    );
    assert_eq!(template.literal_prefix(), "plan-");
    assert!(!template.is_literal());
    assert!(template.makes_links());
}

#[test]
fn an_event_row_is_only_known_where_there_is_one() {
    let user = user();
    let scope = Scope {
        user: &user,
        now: instant(NOW),
        row: None,
    };
    let expression = language().expression("event.stats").expect("compiles");
    assert_eq!(
        expression.value(&scope).expect_err("no row").kind,
        EvalErrorKind::NoEventRow
    );
}

proptest::proptest! {
    /// Whatever is written, it compiles or is a fault inside the text.
    #[test]
    fn no_source_breaks_the_compiler(source in "[a-z{}|().'\"\\\\ é=<~+*,\\[\\]0-9-]{0,40}") {
        for fault in [
            language().template(&source).err(),
            language().expression(&source).err(),
        ].into_iter().flatten() {
            let range = fault.range.clone().expect("a range");
            proptest::prop_assert!(source.get(range).is_some(), "{fault}");
        }
    }

    /// Text that is escaped holds no bracket, star or backtick that Markdown would act on.
    #[test]
    fn escaped_text_makes_no_link(text in "[a-c\\[\\]()!:\\\\*` /w.]{0,24}") {
        let escaped = markdown::escape(&text);
        let characters: Vec<char> = escaped.chars().collect();
        let mut place = 0;
        while place < characters.len() {
            let next = characters.get(place + 1).copied();
            match characters[place] {
                '\\' if next.is_some_and(|next| next.is_ascii_punctuation()) => place += 1,
                ']' => proptest::prop_assert!(!matches!(next, Some('(' | '[' | ':') | None), "{escaped}"),
                '`' => proptest::prop_assert!(false, "{escaped}"),
                ':' => proptest::prop_assert!(!characters[place + 1..].starts_with(&['/', '/']), "{escaped}"),
                _ => {}
            }
            place += 1;
        }
    }
}
