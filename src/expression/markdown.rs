//! Keeps text from the database from acting as Markdown.
//!
//! Crisp shows data values to agents as rich text, and the visitor chooses their own name. So a value may not become a
//! link, an image, emphasis, code, a heading or a list. What Markdown would not act on stays as it is, so that
//! `ada.l@example.org`, `pro_plus`, `v1.2`, `5 * 3` and `a < b` read as they were written and filters in campaigns match
//! them:
//!
//! - `_` is escaped at the edge of a word, `*` unless blanks surround it, `` ` `` and `~` always;
//! - `]` is escaped where `(`, `[`, `:` or the end follows, `[` with it, which leaves no link of any kind; `[` before `^`;
//! - `<` is escaped where a tag or an address could start, `&` where an entity could;
//! - `://` and `www.` are broken, because renderers make links of bare addresses: `https\://…` still reads `https://…`;
//! - at the start, what would open a heading, a list or a quotation is escaped;
//! - line breaks, control and direction-changing characters become one blank.

use std::{borrow::Cow, collections::BTreeSet};

use url::Url;

/// A part of a text that is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Markdown that the definition writes; it stands as it is.
    Markdown(Cow<'a, str>),
    /// Text from the database; it may not act.
    Text(Cow<'a, str>),
}

/// The text as Markdown that shows exactly that text, on one line.
pub fn escape(text: &str) -> String {
    compose(&[Piece::Text(Cow::Borrowed(text))])
}

/// The pieces as one Markdown text, without blanks at its ends. Each text is put on one line. What a character would do is
/// decided by what stands around it in the whole: two values side by side make no link either.
pub fn compose(pieces: &[Piece<'_>]) -> String {
    write(pieces, false)
}

/// Inside a link's label, every bracket acts.
fn write(pieces: &[Piece<'_>], in_label: bool) -> String {
    let mut characters = Vec::new();
    let mut may_act = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Markdown(markdown) => characters.extend(markdown.chars()),
            Piece::Text(text) => characters.extend(one_line(text).chars()),
        }
        may_act.resize(characters.len(), matches!(piece, Piece::Markdown(_)));
    }
    let blocks = block_marks(&characters);
    // After the last of these no `[` opens a link: looked for once, since a name may be a million brackets.
    let last_close = (0..characters.len()).rev().find(|place| {
        characters[*place] == ']'
            && characters
                .get(place + 1)
                .is_none_or(|next| matches!(next, '(' | '[' | ':'))
    });
    let mut escaped = String::with_capacity(characters.len() + 8);
    for (place, &character) in characters.iter().enumerate() {
        let acts = || match character {
            '[' | ']' if in_label => true,
            // A footnote wants no definition to be one in some renderers.
            '[' if characters.get(place + 1) == Some(&'^') => true,
            '[' => last_close.is_some_and(|close| close > place),
            _ => acts(&characters[..place], character, &characters[place + 1..]),
        };
        if !may_act[place] && (blocks.contains(&place) || acts()) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped.trim().to_owned()
}

/// The text on one line: runs of blanks, breaks and characters that cannot be seen become one blank; none at the ends.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|character: char| character.is_whitespace() || is_unseen(character)) {
        if !word.is_empty() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    line
}

/// A Markdown link, or the bare label if the address is not a plain `http` or `https` one. Nothing is made of an address
/// that hides its host behind a user name.
pub fn link(label: &str, address: &str) -> Option<String> {
    let url = Url::parse(address.trim()).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    if !is_plain {
        return None;
    }
    let label = one_line(label);
    let label = if label.is_empty() {
        url.host_str().unwrap_or_default().to_owned()
    } else {
        label
    };
    let label = write(&[Piece::Text(label.into())], true);
    let mut target = String::new();
    for character in url.as_str().chars() {
        match character {
            '(' => target.push_str("%28"),
            ')' => target.push_str("%29"),
            '\\' => target.push_str("%5C"),
            other => target.push(other),
        }
    }
    Some(format!("[{label}]({target})"))
}

/// Controls, zero-width characters and those that turn the direction of what follows.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn acts(written: &[char], character: char, rest: &[char]) -> bool {
    let before = written.last().copied();
    let next = rest.first().copied();
    match character {
        '`' | '~' => true,
        '*' => !(before.is_some_and(char::is_whitespace) && next.is_some_and(char::is_whitespace)),
        '_' => {
            !(before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric))
        }
        '\\' => next.is_none_or(|next| next.is_ascii_punctuation()),
        ']' => next.is_none_or(|next| matches!(next, '(' | '[' | ':')),
        '<' => {
            next.is_none_or(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'))
                || begins_address(rest)
        }
        '&' => is_entity(rest),
        ':' => rest.starts_with(&['/', '/']),
        '.' => is_www(written, rest),
        _ => false,
    }
}

/// Whether an e-mail address may begin here: its part before the `@`, with all that may stand in it.
fn begins_address(rest: &[char]) -> bool {
    let is_local = |character: &char| {
        character.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(*character)
    };
    let length = rest
        .iter()
        .take_while(|character| is_local(character))
        .count();
    length > 0 && rest.get(length) == Some(&'@')
}

fn is_entity(rest: &[char]) -> bool {
    let end = rest.iter().take(33).position(|character| *character == ';');
    end.is_some_and(|end| {
        end > 0
            && rest[..end]
                .iter()
                .all(|character| character.is_ascii_alphanumeric() || *character == '#')
    })
}

/// Whether this dot is the one of a `www.` that starts a word.
fn is_www(written: &[char], rest: &[char]) -> bool {
    let starts_word = |place: usize| {
        place
            .checked_sub(1)
            .is_none_or(|before| !written[before].is_alphanumeric())
    };
    written.len() >= 3
        && written[written.len() - 3..]
            .iter()
            .all(|letter| letter.eq_ignore_ascii_case(&'w'))
        && starts_word(written.len() - 3)
        && rest.first().is_some_and(|next| next.is_alphanumeric())
}

/// The places of the characters that would open a heading, a list or a quotation: at most one on each line.
fn block_marks(characters: &[char]) -> BTreeSet<usize> {
    let mut marks = BTreeSet::new();
    let mut start = 0;
    for line in characters.split(|character| matches!(character, '\n' | '\r')) {
        let blanks = line.iter().take_while(|mark| mark.is_whitespace()).count();
        let end = line.iter().rposition(|mark| !mark.is_whitespace());
        let text = end.map_or(&[][..], |end| &line[blanks..=end]);
        marks.extend(block_mark(text).map(|mark| start + blanks + mark));
        start += line.len() + 1;
    }
    marks
}

/// The place in a line without blanks at its ends.
fn block_mark(characters: &[char]) -> Option<usize> {
    let followed_by_blank = |place: usize| characters.get(place).is_none_or(|next| *next == ' ');
    match characters {
        ['>', ..] => Some(0),
        ['-' | '+', ..] if followed_by_blank(1) => Some(0),
        // A rule may have blanks in it, the line under a heading may not.
        ['-', ..]
            if characters
                .iter()
                .all(|mark| *mark == '-' || mark.is_whitespace()) =>
        {
            Some(0)
        }
        ['=', ..] if characters.iter().all(|mark| *mark == '=') => Some(0),
        ['#', ..] => {
            let marks = characters.iter().take_while(|mark| **mark == '#').count();
            followed_by_blank(marks).then_some(0)
        }
        _ => {
            let digits = characters
                .iter()
                .take_while(|digit| digit.is_ascii_digit())
                .count();
            let is_item = (1..=9).contains(&digits)
                && matches!(characters.get(digits), Some('.' | ')'))
                && followed_by_blank(digits + 1);
            is_item.then_some(digits)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays_as_it_was_written() {
        for text in [
            "",
            "Ada Lovelace",
            "ada.l+crisp@example.org",
            "ada_l@example.org",
            "pro_plus",
            "price_1NxYz",
            "pro-monthly",
            "v1.2",
            "5 * 3",
            "a < b & c > d",
            "I <3 you",
            "50% off!",
            "C# team #1",
            "Müller (Zürich)",
            "Acme [legacy] Ltd.",
            "2026-01-31",
            "10:30",
            "now.com wwwx.com",
            "C:\\Users",
            "-5",
            "3.5",
            "O'Neill; Söhne",
        ] {
            assert_eq!(escape(text), text);
        }
    }

    #[test]
    fn what_markdown_would_act_on_is_escaped() {
        for (text, escaped) in [
            ("[click](http://evil)", "\\[click\\](http\\://evil)"),
            ("![x](http://evil)", "!\\[x\\](http\\://evil)"),
            ("[x]", "\\[x\\]"),
            ("see [^1] there", "see \\[^1] there"),
            ("*bold*", "\\*bold\\*"),
            ("**bold**", "\\*\\*bold\\*\\*"),
            ("_it_", "\\_it\\_"),
            ("__init__", "\\_\\_init\\_\\_"),
            ("~~no~~", "\\~\\~no\\~\\~"),
            ("`code`", "\\`code\\`"),
            ("<b>x</b>", "\\<b>x\\</b>"),
            ("<https://evil>", "\\<https\\://evil>"),
            ("<$a@evil>", "\\<$a@evil>"),
            ("<3@evil>", "\\<3@evil>"),
            ("&lt;b&gt;", "\\&lt;b\\&gt;"),
            ("# head", "\\# head"),
            ("- item", "\\- item"),
            ("1. item", "1\\. item"),
            ("> quote", "\\> quote"),
            ("---", "\\---"),
            ("-- -", "\\-- -"),
            ("www.evil.com", "www\\.evil.com"),
            ("\\[x](y)", "\\\\\\[x\\](y)"),
            ("a\\", "a\\\\"),
            ("two\nlines\u{202e}x\0", "two lines x"),
        ] {
            assert_eq!(escape(text), escaped, "{text:?}");
        }
    }

    /// Each of them alone is harmless.
    #[test]
    fn texts_side_by_side_do_not_act_together() {
        let text = |text: &'static str| Piece::Text(text.into());
        let markdown = |text: &'static str| Piece::Markdown(text.into());
        for (pieces, composed) in [
            (vec![text("http:"), text("//evil")], "http\\://evil"),
            (vec![text("www"), text(".evil.com")], "www\\.evil.com"),
            (vec![text("1"), text(". one")], "1\\. one"),
            (vec![text("-"), markdown(" "), text("x")], "\\- x"),
            (vec![text("[x]"), text("(y)")], "\\[x\\](y)"),
            (vec![markdown("of\n"), text("# x")], "of\n\\# x"),
            (vec![markdown("  "), text("+ x")], "\\+ x"),
            (
                vec![markdown("**"), text("a*b"), markdown("**")],
                "**a\\*b**",
            ),
            (vec![markdown("- "), text("a")], "- a"),
            (vec![text("5"), markdown(" * "), text("3")], "5 * 3"),
        ] {
            assert_eq!(compose(&pieces), composed, "{pieces:?}");
        }
    }

    #[test]
    fn a_million_brackets_take_no_longer_than_a_million_letters() {
        let brackets = "[".repeat(1_000_000);
        assert_eq!(escape(&brackets), brackets);
        assert_eq!(escape(&format!("{brackets}]")).len(), 2_000_002);
    }

    #[test]
    fn a_link_goes_where_it_says_and_nowhere_else() {
        assert_eq!(
            link("open", "https://admin.example/u/7").as_deref(),
            Some("[open](https://admin.example/u/7)")
        );
        assert_eq!(
            link("a](http://evil) [b", "https://x.example/a_(b)").as_deref(),
            Some("[a\\](http\\://evil) \\[b](https://x.example/a_%28b%29)")
        );
        assert_eq!(
            link("", "https://x.example").as_deref(),
            Some("[x.example](https://x.example/)")
        );
        assert_eq!(
            link("a\\]b", "https://x.example").as_deref(),
            Some("[a\\\\\\]b](https://x.example/)"),
            "a backslash before a bracket does not free it"
        );
        for address in [
            "javascript:alert(1)",
            "data:text/html,x",
            "/relative",
            "https://bank.example@evil.example/",
            "",
        ] {
            assert_eq!(link("open", address), None, "{address}");
        }
    }
}
