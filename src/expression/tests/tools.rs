//! Tools: days, filters and functions.

use super::*;

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
