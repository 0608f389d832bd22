//! Named parameters: from `:email` in the app's own SQL to what each engine binds.
//!
//! The translation is a tokenizer and no parser: it copies strings, quoted names and comments as they stand, replaces
//! `:name`, and counts commands. It promises to touch nothing else and never to panic. Every SQL text of this room that is
//! not a constant becomes executable in [`audited`], and nowhere else.

use std::ops::Range;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// Which rules quote and bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `?1`, `[name]`, `` `name` ``.
    Sqlite,
    /// `$1`, `$tag$…$tag$`, `E'…'`, nested comments, `::casts`, `[1:2]`.
    Postgres,
    /// `?`, backslashes in strings, `#` comments. MariaDB speaks it too.
    MySql,
}

impl Dialect {
    /// The word for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

/// SQL with positional parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// The text for the engine, without a closing semicolon.
    pub sql: String,
    /// The name behind each position; a name occurs twice only where positions cannot be shared (MySQL).
    pub parameters: Vec<String>,
    /// Every mention of a parameter in the source, with its byte range.
    pub mentions: Vec<(String, Range<usize>)>,
    /// The first word, in upper case: `SELECT`, `WITH`, `DELETE`. Empty where there is none.
    pub verb: String,
}

/// What is wrong with the text itself, before any server has seen it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryFault {
    /// Where in the source, in bytes.
    pub range: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<&'static str>,
}

/// The one place where SQL that is not a constant becomes executable. What comes through is the operator's own query
/// from the configuration file, or a text of ours with numbers in it; values always travel as parameters.
pub(super) fn audited(sql: String) -> SqlStr {
    AssertSqlSafe(sql).into_sql_str()
}

/// Translates the named parameters of one query.
pub fn translate(source: &str, dialect: Dialect) -> Result<Translated, QueryFault> {
    let mut scanner = Scanner {
        source,
        bytes: source.as_bytes(),
        at: 0,
        dialect,
        copied: 0,
        brackets: 0,
        end_of_command: None,
        out: Translated {
            sql: String::with_capacity(source.len() + 8),
            parameters: Vec::new(),
            mentions: Vec::new(),
            verb: String::new(),
        },
    };
    scanner.run()?;
    Ok(scanner.out)
}

struct Scanner<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    /// How much of the source is in the output. Always at the edge of an ASCII byte, so slices never split a character.
    copied: usize,
    /// Depth of `[`, for array slices.
    brackets: u32,
    /// Where the semicolon stood that ended the first command.
    end_of_command: Option<usize>,
    out: Translated,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), QueryFault> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte.is_ascii_whitespace() || self.skip_comment()? {
                self.at += usize::from(byte.is_ascii_whitespace());
                continue;
            }
            if byte == b';' {
                self.end_of_command.get_or_insert(self.at);
                self.at += 1;
                continue;
            }
            if self.end_of_command.is_some() {
                return Err(QueryFault {
                    range: self.at..self.source.len(),
                    message: "a query is one command, and here a second one begins".to_owned(),
                    hint: Some("keep the SELECT and remove what follows the semicolon"),
                });
            }
            self.token(byte)?;
        }
        let end = self.end_of_command.unwrap_or(self.source.len());
        // A comment after the semicolon goes with it.
        self.copy_to(end.max(self.copied));
        if self.out.verb.is_empty() {
            return Err(QueryFault {
                range: 0..self.source.len(),
                message: "the query is empty".to_owned(),
                hint: Some("write a SELECT"),
            });
        }
        Ok(())
    }

    fn token(&mut self, byte: u8) -> Result<(), QueryFault> {
        let postgres = self.dialect == Dialect::Postgres;
        let mysql = self.dialect == Dialect::MySql;
        match byte {
            b'\'' => self.quoted(b'\'', mysql),
            b'"' => self.quoted(b'"', mysql),
            b'`' if !postgres => self.quoted(b'`', false),
            b'[' if self.dialect == Dialect::Sqlite => self.quoted(b']', false),
            b'[' => {
                self.brackets += 1;
                self.at += 1;
                Ok(())
            }
            b']' => {
                self.brackets = self.brackets.saturating_sub(1);
                self.at += 1;
                Ok(())
            }
            b'$' if postgres => self.dollar(),
            b'$' | b'@' | b'?' if self.is_foreign_placeholder(byte) => {
                Err(self.foreign_placeholder(1))
            }
            b':' => {
                self.colon();
                Ok(())
            }
            _ if is_word(byte) => self.word(),
            _ => {
                // `(` opens a SELECT in brackets; any other sign first is for the server to refuse.
                if byte != b'(' {
                    self.note_verb();
                }
                self.at += 1;
                Ok(())
            }
        }
    }

    /// A word: a keyword, a name, a number, or the prefix of a PostgreSQL string.
    fn word(&mut self) -> Result<(), QueryFault> {
        let start = self.at;
        // `$` may stand inside a name, never at its head; so `a$b$` is no dollar quote.
        while self
            .bytes
            .get(self.at)
            .is_some_and(|byte| is_word(*byte) || *byte == b'$')
        {
            self.at += 1;
        }
        let word = &self.source[start..self.at];
        if self.out.verb.is_empty() {
            self.out.verb = word.to_ascii_uppercase();
        }
        let escapes = self.dialect == Dialect::Postgres && word.eq_ignore_ascii_case("e");
        if escapes && self.bytes.get(self.at) == Some(&b'\'') {
            return self.quoted(b'\'', true);
        }
        Ok(())
    }

    /// Skips to the end of a quoted text. A doubled quote stands for one; a backslash escapes where the engine says so.
    fn quoted(&mut self, close: u8, backslash: bool) -> Result<(), QueryFault> {
        let start = self.at;
        self.note_verb();
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte == b'\\' && backslash {
                self.at += 2;
            } else if byte == close {
                self.at += 1;
                if close == b']' || self.bytes.get(self.at) != Some(&close) {
                    return Ok(());
                }
                self.at += 1;
            } else {
                self.at += 1;
            }
        }
        Err(self.unterminated(start, "a quoted text"))
    }

    fn dollar(&mut self) -> Result<(), QueryFault> {
        let start = self.at;
        self.note_verb();
        let mut end = start + 1;
        while self.bytes.get(end).is_some_and(|byte| is_word(*byte)) {
            end += 1;
        }
        if self.bytes.get(start + 1).is_some_and(u8::is_ascii_digit) {
            return Err(self.foreign_placeholder(end - start));
        }
        if self.bytes.get(end) != Some(&b'$') {
            self.at += 1;
            return Ok(());
        }
        let tag = &self.source[start..=end];
        match self.source[end + 1..].find(tag) {
            Some(offset) => {
                self.at = end + 1 + offset + tag.len();
                Ok(())
            }
            None => Err(self.unterminated(start, "a dollar-quoted text")),
        }
    }

    fn colon(&mut self) {
        let start = self.at;
        self.note_verb();
        if self.bytes.get(start + 1) == Some(&b':') || self.bytes.get(start + 1) == Some(&b'=') {
            self.at += 2;
            return;
        }
        self.at += 1;
        let named = self
            .bytes
            .get(self.at)
            .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        // `list[first:last]`: a slice with a bound on the left of its colon. `list[:n]` is an index, `ARRAY[:n]` a list.
        let slice = self.brackets > 0
            && self.source[..start]
                .trim_end()
                .bytes()
                .next_back()
                .is_some_and(|byte| is_word(byte) || b"])".contains(&byte));
        if !named || slice {
            return;
        }
        let name_start = self.at;
        while self
            .bytes
            .get(self.at)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            self.at += 1;
        }
        let name = self.source[name_start..self.at].to_owned();
        self.copy_to(start);
        self.copied = self.at;
        let position = self.position(&name);
        self.out.sql.push_str(&position);
        self.out.mentions.push((name, start..self.at));
    }

    fn position(&mut self, name: &str) -> String {
        let shared = self.dialect != Dialect::MySql;
        let mut known = self.out.parameters.iter();
        let index = match known.position(|known| shared && known == name) {
            Some(index) => index,
            None => self.add(name),
        } + 1;
        match self.dialect {
            Dialect::Sqlite => format!("?{index}"),
            Dialect::Postgres => format!("${index}"),
            Dialect::MySql => "?".to_owned(),
        }
    }

    fn add(&mut self, name: &str) -> usize {
        self.out.parameters.push(name.to_owned());
        self.out.parameters.len() - 1
    }

    fn skip_comment(&mut self) -> Result<bool, QueryFault> {
        let rest = &self.bytes[self.at..];
        let dashes = rest.starts_with(b"--")
            && (self.dialect != Dialect::MySql
                || rest
                    .get(2)
                    .is_none_or(|byte| *byte <= b' ' || *byte == 0x7f));
        if dashes || (self.dialect == Dialect::MySql && rest.starts_with(b"#")) {
            let length = rest
                .iter()
                .position(|byte| {
                    // PostgreSQL alone takes a carriage return for the end of a line too.
                    *byte == b'\n' || (*byte == b'\r' && self.dialect == Dialect::Postgres)
                })
                .unwrap_or(rest.len());
            self.at += length;
            return Ok(true);
        }
        if !rest.starts_with(b"/*") {
            return Ok(false);
        }
        let start = self.at;
        let mut depth = 1_u32;
        self.at += 2;
        while depth > 0 {
            let rest = &self.bytes[self.at..];
            if rest.starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
            } else if rest.starts_with(b"/*") && self.dialect == Dialect::Postgres {
                depth += 1;
                self.at += 2;
            } else if rest.is_empty() {
                return Err(self.unterminated(start, "a comment"));
            } else {
                self.at += 1;
            }
        }
        Ok(true)
    }

    /// Whether the sign asks for a value that we would never bind. `?` is an operator on PostgreSQL, `@` a variable on
    /// MySQL.
    fn is_foreign_placeholder(&self, byte: u8) -> bool {
        match byte {
            b'?' => self.dialect != Dialect::Postgres,
            b'$' | b'@' => self.dialect == Dialect::Sqlite,
            _ => false,
        }
    }

    fn foreign_placeholder(&self, length: usize) -> QueryFault {
        QueryFault {
            range: self.at..self.at + length,
            message: "a parameter without a name".to_owned(),
            hint: Some("write parameters as `:email`, `:key`, `:since` or `:<column>`"),
        }
    }

    fn unterminated(&self, start: usize, what: &str) -> QueryFault {
        QueryFault {
            range: start..self.source.len(),
            message: format!("{what} begins here and never ends"),
            hint: None,
        }
    }

    fn note_verb(&mut self) {
        if self.out.verb.is_empty() {
            self.out.verb.push('?');
        }
    }

    fn copy_to(&mut self, end: usize) {
        self.out.sql.push_str(&self.source[self.copied..end]);
        self.copied = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Dialect; 3] = [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql];

    fn sql(source: &str, dialect: Dialect) -> String {
        translate(source, dialect).expect(source).sql
    }

    #[test]
    fn each_engine_gets_its_own_positions() {
        let source = "SELECT 1 WHERE a = :email OR b = :key OR c = :email;";
        assert_eq!(
            sql(source, Dialect::Sqlite),
            "SELECT 1 WHERE a = ?1 OR b = ?2 OR c = ?1"
        );
        assert_eq!(
            sql(source, Dialect::Postgres),
            "SELECT 1 WHERE a = $1 OR b = $2 OR c = $1"
        );
        let mysql = translate(source, Dialect::MySql).expect("a query");
        assert_eq!(mysql.sql, "SELECT 1 WHERE a = ? OR b = ? OR c = ?");
        assert_eq!(mysql.parameters, ["email", "key", "email"]);
        assert_eq!(mysql.mentions[0], ("email".to_owned(), 19..25));
        assert_eq!(mysql.verb, "SELECT");
    }

    #[test]
    fn what_is_no_parameter_stays() {
        for (dialect, source) in [
            (Dialect::Postgres, "SELECT ':a' || '''' || 'it'':b'::text"),
            (Dialect::Postgres, r"SELECT E'it\':s' || 'x\'"),
            (Dialect::Postgres, "SELECT $$ :a $$ || $t$ :b $$ $t$"),
            (Dialect::Postgres, "SELECT a$b$ FROM t -- :a"),
            (Dialect::Postgres, "SELECT /* :a /* :b */ :c */ 1"),
            (
                Dialect::Postgres,
                "SELECT list[1:2], list[a:b], list[f(1):b], x::int",
            ),
            (Dialect::Postgres, "SELECT data ? 'k', data ?| '{a}' FROM t"),
            (Dialect::Postgres, "SELECT \":a\" FROM t"),
            (
                Dialect::MySql,
                r#"SELECT 'it\':a', ":b\":c", `:d`, @x := 1"#,
            ),
            (Dialect::MySql, "SELECT 1 # :a\n -- :b\n"),
            (Dialect::Sqlite, "SELECT [:a], `:b`, \":c\" -- :d"),
        ] {
            let translated = translate(source, dialect).expect(source);
            assert_eq!(translated.sql, source);
            assert!(translated.parameters.is_empty(), "{source}");
        }
        assert_eq!(
            sql("SELECT 5--:a\n", Dialect::MySql),
            "SELECT 5--?\n",
            "two minus signs, not a comment"
        );
        assert_eq!(
            sql("SELECT ARRAY[:a, :b]::text[]", Dialect::Postgres),
            "SELECT ARRAY[$1, $2]::text[]"
        );
    }

    #[test]
    fn faults_point_at_the_place() {
        for (dialect, source, range, message) in [
            (Dialect::Sqlite, "", 0..0, "empty"),
            (Dialect::Sqlite, " -- nothing\n;", 0..13, "empty"),
            (Dialect::Sqlite, "SELECT 1; DELETE FROM t", 10..23, "second"),
            (Dialect::Postgres, "SELECT 'a", 7..9, "never ends"),
            (Dialect::Postgres, "SELECT /* /* */", 7..15, "never ends"),
            (Dialect::Postgres, "SELECT $1", 7..9, "without a name"),
            (Dialect::MySql, "SELECT ?", 7..8, "without a name"),
            (Dialect::Sqlite, "SELECT @a", 7..8, "without a name"),
        ] {
            let fault = translate(source, dialect).expect_err(source);
            assert_eq!(fault.range, range, "{source}");
            assert!(fault.message.contains(message), "{source}: {fault}");
        }
    }

    #[test]
    fn a_line_comment_ends_where_the_engine_ends_it() {
        let source = "SELECT 1 -- it's\r, :email\n";
        let commented = |dialect| sql(source, dialect).contains(":email");
        assert!(commented(Dialect::Sqlite) && commented(Dialect::MySql));
        assert!(!commented(Dialect::Postgres));
    }

    #[test]
    fn a_closing_semicolon_goes_and_a_comment_after_it_too() {
        for dialect in ALL {
            assert_eq!(sql("SELECT 1 ; -- done\n;", dialect), "SELECT 1 ");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(source in "\\PC{0,60}", pick in 0_usize..3) {
            if let Ok(translated) = translate(&source, ALL[pick]) {
                prop_assert!(translated.sql.len() <= source.len() * 2 + 8);
            }
        }

        #[test]
        fn signs_that_matter_do_not_make_it_panic(source in "[:a'\"`$/*#\\-\\[\\]\\\\;é?@E= \n]{0,40}", pick in 0_usize..3) {
            drop(translate(&source, ALL[pick]));
        }

        #[test]
        fn a_string_is_left_alone(inner in "[^'\\\\]{0,30}", pick in 0_usize..3) {
            let source = format!("SELECT '{inner}' AS a WHERE b = :email");
            let translated = translate(&source, ALL[pick]).expect("a query");
            let kept = format!("SELECT '{inner}' AS a WHERE b = ");
            prop_assert!(translated.sql.starts_with(&kept));
            prop_assert_eq!(translated.parameters, ["email"]);
        }
    }
}
