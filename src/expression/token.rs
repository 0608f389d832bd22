//! Cuts an expression into tokens.

use std::ops::Range;

use super::fault::ExpressionFault;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(String),
    Symbol(&'static str),
    End,
}

#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) range: Range<usize>,
}

/// Longer symbols first.
const SYMBOLS: [&str; 22] = [
    "==", "!=", "<=", ">=", "//", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "~", "|", "(",
    ")", "[", "]", ",", ".",
];

/// The tokens of `source[within]`, an [`Token::End`] last.
pub(super) fn tokens(source: &str, within: Range<usize>) -> Result<Vec<Placed>, ExpressionFault> {
    let mut found = Vec::new();
    let mut at = within.start;
    while let Some(first) = source[at..within.end].chars().next() {
        let rest = &source[at..within.end];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = if first.is_alphabetic() || first == '_' {
            let length = span(rest, |letter| letter.is_alphanumeric() || letter == '_');
            (Token::Name(rest[..length].to_owned()), length)
        } else if first.is_ascii_digit() {
            let length = number(rest);
            (Token::Number(rest[..length].to_owned()), length)
        } else if first == '\'' || first == '"' {
            text(rest, first)
                .ok_or_else(|| ExpressionFault::new(at..within.end, "this text has no end"))?
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            return Err(stray(first, at));
        };
        found.push(Placed {
            token,
            range: at..at + length,
        });
        at += length;
    }
    found.push(Placed {
        token: Token::End,
        range: within.end..within.end,
    });
    Ok(found)
}

fn stray(character: char, at: usize) -> ExpressionFault {
    let fault = ExpressionFault::new(
        at..at + character.len_utf8(),
        format!("unexpected `{character}`"),
    );
    match character {
        '=' => fault.hint("write `==` to compare"),
        '!' => fault.hint("write `not`"),
        '{' | '}' => fault.hint("braces belong to templates; an expression stands alone"),
        _ => fault,
    }
}

/// The bytes of `rest` up to the first character that does not `belong`.
fn span(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|letter| !belongs(letter)).unwrap_or(rest.len())
}

fn number(rest: &str) -> usize {
    let whole = span(rest, |digit| digit.is_ascii_digit());
    match rest[whole..].strip_prefix('.') {
        Some(fraction) if fraction.starts_with(|digit: char| digit.is_ascii_digit()) => {
            whole + 1 + span(fraction, |digit| digit.is_ascii_digit())
        }
        _ => whole,
    }
}

/// A quoted text and the bytes it takes; a backslash takes the next character as it is.
fn text(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                other => value.push(other),
            },
            _ if character == quote => return Some((Token::Text(value), at + 1)),
            _ => value.push(character),
        }
    }
    None
}
