//! Templates and expressions: what compiles has a value or a reason, faults point inside the text, and nothing from the
//! database acts as Markdown.

use std::collections::BTreeMap;

use crisp_sync::{
    data::DataValue,
    expression::{Expression, Language, Scope, Template, markdown},
    ids::{Email, UserKey},
    record::{Record, User, Value},
};
use jiff::Timestamp;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The first line is a template and an expression; the second and the third are what the database holds. More lines belong
/// to the third.
pub(crate) fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(3, '\n');
    let source = lines.next().unwrap_or_default();
    let first = lines.next().unwrap_or_default();
    let second = lines.next().unwrap_or_default();
    let plan = BTreeMap::from([("price_1NxYz".to_owned(), "pro".to_owned())]);
    let language = Language::new(BTreeMap::from([("plan".to_owned(), plan)]));
    let user = user(first, second);
    let scope = Scope {
        user: &user,
        now: Timestamp::from_second(1_772_442_000).expect("a moment"),
        row: None,
    };

    match language.template(source) {
        Ok(template) => evaluate(&template, &scope),
        Err(fault) => {
            assert!(!fault.message.is_empty());
            if let Some(range) = fault.range {
                assert!(source.get(range.clone()).is_some(), "{range:?}");
            }
        }
    }
    match language.expression(source) {
        Ok(expression) => worth(&expression, &scope),
        Err(fault) => {
            if let Some(range) = fault.range {
                assert!(source.get(range.clone()).is_some(), "{range:?}");
            }
        }
    }

    // What people typed, in every place that a value can have.
    let compiled = |source: &str| language.template(source).expect("a template");
    shows(&compiled("{{ name }}"), &scope, first);
    shows(
        &compiled("{{ name }}{{ city }}"),
        &scope,
        &joined(&[first, second]),
    );
    shows(&compiled("of {{ name }}"), &scope, &format!("of {first}"));
    shows(
        &compiled("{{ name }}, {{ city }}"),
        &scope,
        &format!("{}, {second}", markdown::one_line(first)),
    );
    shows(
        &compiled("{{ name ~ city }}"),
        &scope,
        &joined(&[first, second]),
    );
    links(
        &compiled("{{ link(name, 'https://admin.example/u/' ~ city) }}"),
        &scope,
        first,
    );
}

/// What stands behind two placeholders side by side, or a joined value: either way of treating the blanks between.
fn joined(parts: &[&str]) -> String {
    parts.concat()
}

fn user(name: &str, city: &str) -> User {
    let json = serde(name, city);
    let record: Record = [
        ("name", Value::Text(name.to_owned())),
        ("city", Value::Text(city.to_owned())),
        ("nothing", Value::Null),
        ("flag", Value::Bool(true)),
        (
            "count",
            Value::Int(i64::from(u8::try_from(name.len() % 256).unwrap_or(0)) - 128),
        ),
        ("amount", Value::Decimal("49.50".to_owned())),
        ("profile", Value::Json(json)),
        (
            "at",
            Value::Instant(Timestamp::from_second(1_772_000_000).expect("a moment")),
        ),
        ("day", Value::Date(jiff::civil::date(2026, 2, 28))),
    ]
    .into_iter()
    .collect();
    User {
        key: UserKey::parse("u1").expect("a key"),
        email: Email::parse("ada@northwind.example").expect("an address"),
        accounts: vec![record.clone(), record.clone()],
        more: BTreeMap::from([("billing".to_owned(), record.clone())]),
        record,
    }
}

fn serde(name: &str, city: &str) -> serde_json::Value {
    serde_json::json!({ "name": name, "tags": [city, 1, null], "deep": { "city": city } })
}

fn evaluate(template: &Template, scope: &Scope<'_>) {
    if let Ok(text) = template.text(scope) {
        assert_eq!(text, text.trim());
    }
    if let Ok(Some(DataValue::Text(text))) = template.value_opt(scope) {
        assert!(!text.is_empty(), "absent is no value");
    }
    if let Ok(Some(text)) = template.plain_text(scope) {
        assert!(!text.is_empty());
    }
    if let Err(error) = template.value(scope) {
        assert!(template.source().get(error.range.clone()).is_some());
        let other = |scope: &Scope<'_>| {
            template
                .value(scope)
                .err()
                .map(|error| error.kind.to_string())
        };
        discreet(&error.kind.to_string(), scope, template.source(), other);
    }
    assert!(template.source().starts_with(template.literal_prefix()));
    drop(template.columns());
}

fn worth(expression: &Expression, scope: &Scope<'_>) {
    let value = expression.value(scope);
    let truth = expression.truth(scope);
    assert_eq!(value.is_ok(), truth.is_ok());
    if let Err(error) = value {
        assert!(expression.source().get(error.range.clone()).is_some());
        let other = |scope: &Scope<'_>| {
            expression
                .value(scope)
                .err()
                .map(|error| error.kind.to_string())
        };
        discreet(&error.kind.to_string(), scope, expression.source(), other);
    }
}

/// Errors name types and columns; a value that is long enough not to occur by chance is not repeated. What is said of
/// `other` values as well only happens to read like this one.
fn discreet(
    told: &str,
    scope: &Scope<'_>,
    source: &str,
    other: impl Fn(&Scope<'_>) -> Option<String>,
) {
    for column in ["name", "city"] {
        if let Some(Value::Text(value)) = scope.user.record.value(column) {
            let chance = value.chars().count() < 12 || source.contains(value.as_str());
            if chance || !told.contains(value.as_str()) {
                continue;
            }
            let user = user("n", "c");
            let said = other(&Scope {
                user: &user,
                ..*scope
            });
            assert_eq!(said.as_deref(), Some(told), "an error repeats a value");
        }
    }
}

/// The template's Markdown is one paragraph that reads exactly `written`: nothing in it acts.
fn shows(template: &Template, scope: &Scope<'_>, written: &str) {
    let text = template.text(scope).expect("texts can be printed");
    let shown = rendered(&text).unwrap_or_else(|what| panic!("{text:?} makes {what}"));
    // Side by side, each value is put on one line for itself, so blanks at the seam may differ.
    let letters = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
    assert_eq!(
        letters(&shown),
        letters(&markdown::one_line(written)),
        "{text:?}"
    );
    assert!(!auto_links(&text), "{text:?} holds a bare address");
}

/// The one link goes to where the definition says, whatever its label and path are.
fn links(template: &Template, scope: &Scope<'_>, label: &str) {
    let Ok(text) = template.text(scope) else {
        return;
    };
    if text.is_empty() {
        return;
    }
    let mut targets = Vec::new();
    for event in Parser::new_ext(&text, options()) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => targets.push(dest_url.to_string()),
            Event::Start(Tag::Paragraph)
            | Event::End(TagEnd::Paragraph | TagEnd::Link)
            | Event::Text(_) => {}
            other => panic!("{text:?} of {label:?} makes {other:?}"),
        }
    }
    let [target] = targets.as_slice() else {
        panic!("{text:?} makes {} links", targets.len());
    };
    assert!(
        target.starts_with("https://admin.example/"),
        "{text:?} leads to {target}"
    );
}

fn options() -> Options {
    Options::all()
        - Options::ENABLE_SMART_PUNCTUATION
        - Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        - Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        - Options::ENABLE_DEFINITION_LIST
        - Options::ENABLE_MATH
        - Options::ENABLE_SUPERSCRIPT
        - Options::ENABLE_SUBSCRIPT
        - Options::ENABLE_WIKILINKS
        - Options::ENABLE_TABLES
        - Options::ENABLE_HEADING_ATTRIBUTES
}

/// The text of Markdown that is text alone; else, what it is.
fn rendered(markdown: &str) -> Result<String, String> {
    let mut shown = String::new();
    for event in Parser::new_ext(markdown, options()) {
        match event {
            Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph) => {}
            Event::Text(text) => shown.push_str(&text),
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(shown)
}

/// Whether a renderer that links bare addresses would find one.
fn auto_links(text: &str) -> bool {
    let www = text.to_ascii_lowercase();
    let bare = |(at, _): (usize, &str)| !text[..at].ends_with('\\');
    text.match_indices("://").any(bare)
        || www.match_indices("www.").any(|(at, _)| {
            let before = www[..at].chars().next_back();
            let after = www[at + 4..].chars().next();
            before.is_none_or(|letter| !letter.is_alphanumeric())
                && after.is_some_and(char::is_alphanumeric)
        })
}
