//! What is wrong with an expression or a template, and what it reads.

use super::*;

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
