//! Placeholder translation: a query keeps every byte but its parameters, and binds each of them once and rightly.

use std::fmt::Write as _;

use crisp_sync::users::{Dialect, QueryFault, Translated, translate};

const DIALECTS: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];

/// The whole input is a query; beside that, it is read as building blocks of which a query with known parameters is made.
pub(crate) fn query(data: &[u8]) {
    let source = String::from_utf8_lossy(data);
    for dialect in DIALECTS {
        match translate(&source, dialect) {
            Ok(translated) => keeps_the_rest(&source, &translated, dialect),
            Err(fault) => points_inside(&source, &fault),
        }
        built(&source, dialect);
    }
}

fn points_inside(source: &str, fault: &QueryFault) {
    assert!(
        source.get(fault.range.clone()).is_some(),
        "{:?} is no part of the query",
        fault.range
    );
    assert!(!fault.message.is_empty());
}

/// Whatever the query was: it is the source with its mentions replaced.
fn keeps_the_rest(source: &str, translated: &Translated, dialect: Dialect) {
    let mut rest = translated.sql.as_str();
    let mut at = 0;
    let mut bound = 0;
    for (name, range) in &translated.mentions {
        assert_eq!(source[range.clone()], format!(":{name}"));
        rest = rest
            .strip_prefix(&source[at..range.start])
            .expect("what stands between parameters is kept");
        at = range.end;
        let index = if dialect == Dialect::MySql {
            bound
        } else {
            let known = translated.parameters.iter().position(|known| known == name);
            known.expect("a mention is bound")
        };
        assert_eq!(translated.parameters[index], *name);
        bound += 1;
        rest = rest
            .strip_prefix(&position(dialect, index))
            .expect("a parameter becomes its position");
    }
    let end = source[at..]
        .strip_prefix(rest)
        .expect("what follows the last parameter is kept");
    assert!(
        end.is_empty() || end.starts_with(';'),
        "only a closing semicolon goes"
    );
    if dialect == Dialect::MySql {
        assert_eq!(translated.parameters.len(), bound);
    }
    for name in &translated.parameters {
        let mut mentions = translated.mentions.iter();
        assert!(mentions.any(|(mention, _)| mention == name));
    }
    assert!(!translated.verb.is_empty());
}

fn position(dialect: Dialect, index: usize) -> String {
    match dialect {
        Dialect::Sqlite => format!("?{}", index + 1),
        Dialect::Postgres => format!("${}", index + 1),
        Dialect::MySql => "?".to_owned(),
    }
}

/// A query of quoted texts, comments and parameters, whose translation is known beforehand. Each line of the input is one
/// piece: its first byte says of which kind, the rest is what stands in it.
fn built(input: &str, dialect: Dialect) {
    let mut source = "SELECT ".to_owned();
    let mut expected = source.clone();
    let mut names: Vec<String> = Vec::new();
    let mut mentions = 0;
    for piece in input.lines().take(40) {
        let mut characters = piece.chars();
        let Some(kind) = characters.next() else {
            continue;
        };
        let inside = characters.as_str();
        if kind == ':' {
            let name: String = inside
                .chars()
                .filter(|character| character.is_ascii_alphanumeric() || *character == '_')
                .collect();
            let name = format!("p{name}");
            let _always_fits = write!(source, " :{name} ");
            let known = names.iter().position(|known| *known == name);
            let index = known
                .filter(|_| dialect != Dialect::MySql)
                .unwrap_or_else(|| {
                    names.push(name.clone());
                    names.len() - 1
                });
            let _always_fits = write!(expected, " {} ", position(dialect, index));
            mentions += 1;
        } else {
            let text = inert(kind, inside, dialect);
            source.push_str(&text);
            expected.push_str(&text);
        }
    }
    let translated = translate(&source, dialect)
        .unwrap_or_else(|fault| panic!("{fault} at {:?} of {source:?}", fault.range));
    assert_eq!(translated.sql, expected, "{}", dialect.name());
    assert_eq!(translated.parameters, names);
    assert_eq!(translated.mentions.len(), mentions);
    assert_eq!(translated.verb, "SELECT");
}

/// A text in which nothing is a parameter, by the engine's own rules.
fn inert(kind: char, inside: &str, dialect: Dialect) -> String {
    let mysql = dialect == Dialect::MySql;
    let postgres = dialect == Dialect::Postgres;
    let doubled = |quote: char| {
        let mut text = inside.replace(quote, &format!("{quote}{quote}"));
        if mysql && quote != '`' {
            text = text.replace('\\', "\\\\");
        }
        format!(" {quote}{text}{quote} ")
    };
    match kind {
        '\'' => doubled('\''),
        '"' => doubled('"'),
        '`' if !postgres => doubled('`'),
        '[' if dialect == Dialect::Sqlite => format!(" [{}] ", inside.replace(']', "")),
        'e' if postgres => {
            let text = inside.replace('\\', "\\\\").replace('\'', "\\'");
            format!(" E'{text}' ")
        }
        '\\' if mysql => {
            let text = inside.replace('\\', "\\\\").replace('\'', "\\'");
            format!(" '{text}' ")
        }
        '$' if postgres => format!(" $t${}$t$ ", inside.replace('$', "")),
        '-' if postgres => format!(" -- {}\n", inside.replace('\r', "")),
        '-' => format!(" -- {inside}\n"),
        '#' if mysql => format!("#{inside}\n"),
        '*' => {
            let text = inside.replace(['/', '*'], "");
            format!("/*{text}*/")
        }
        '/' if postgres => {
            let text = inside.replace(['/', '*'], "");
            format!("/* /*{text}*/ : */")
        }
        'c' if postgres => "::text ".to_owned(),
        'i' if postgres => "a[1:n] ".to_owned(),
        _ => " 1 ".to_owned(),
    }
}
