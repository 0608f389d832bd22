//! Text: what mixes, what is markup, and what is plain.

use super::*;

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
