//! Where each byte of a TOML string was written.
//!
//! The parser gives a string and the bytes it was written with, not how the two correspond. This walks both: escapes,
//! the line end after opening quotes, line-ending backslashes. If it comes to another string than the parser did, it
//! says nothing.

/// For each byte of the decoded string, and for its end, the byte of `raw` it was written at. `None` unless decoding
/// `raw` by the rules below gives exactly `decoded`: a wrong caret is worse than a wide one.
pub(super) fn offsets(raw: &str, decoded: &str) -> Option<Vec<usize>> {
    let (quote, escapes) = match raw.chars().next()? {
        '"' => ('"', true),
        '\'' => ('\'', false),
        // A bare key.
        _ => return (raw == decoded).then(|| (0..=raw.len()).collect()),
    };
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let multi_line = raw.len() >= 6 && raw.starts_with(&triple) && raw.ends_with(&triple);
    let fence = if multi_line { 3 } else { 1 };
    let close = raw.len().checked_sub(fence)?;
    let mut at = fence;
    if multi_line {
        // The line end right after the opening quotes is not part of the string.
        for line_end in ["\r\n", "\n"] {
            if raw.get(at..)?.starts_with(line_end) {
                at += line_end.len();
                break;
            }
        }
    }
    let mut text = String::with_capacity(decoded.len());
    let mut offsets = Vec::with_capacity(decoded.len() + 1);
    while at < close {
        let rest = raw.get(at..close)?;
        let next = rest.chars().next()?;
        let (length, character) = if next == '\\' && escapes {
            escape(rest, multi_line)?
        } else if rest.starts_with("\r\n") && !decoded.get(text.len()..)?.starts_with('\r') {
            // Line ends may have been made one byte.
            (2, Some('\n'))
        } else {
            (next.len_utf8(), Some(next))
        };
        if let Some(character) = character {
            offsets.extend(std::iter::repeat_n(at, character.len_utf8()));
            text.push(character);
        }
        at += length;
    }
    offsets.push(close);
    (text == decoded).then_some(offsets)
}

/// How many bytes the escape at the start of `rest` takes, and what it stands for; a line-ending backslash stands for
/// nothing.
fn escape(rest: &str, multi_line: bool) -> Option<(usize, Option<char>)> {
    let kind = rest.get(1..)?.chars().next()?;
    let hexadecimal = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, Some(char::from_u32(code)?)))
    };
    let simple = |character| Some((2, Some(character)));
    match kind {
        'b' => simple('\u{8}'),
        't' => simple('\t'),
        'n' => simple('\n'),
        'f' => simple('\u{c}'),
        'r' => simple('\r'),
        'e' => simple('\u{1b}'),
        '"' | '\\' => simple(kind),
        'x' => hexadecimal(2),
        'u' => hexadecimal(4),
        'U' => hexadecimal(8),
        _ if multi_line && kind.is_ascii_whitespace() => {
            let after = rest.get(1..)?;
            let blanks = after.len() - after.trim_start_matches([' ', '\t', '\r', '\n']).len();
            Some((1 + blanks, None))
        }
        _ => None,
    }
}
