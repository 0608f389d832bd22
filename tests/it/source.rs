//! Rust source as words: just enough to read paths and attributes, with comments and strings left out.
//!
//! It is no parser. It promises that a word it yields stands in code, and says on which line and in which inline module.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One word or sign of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// The inline modules (`mod tests { … }`) around it, outermost first.
    pub(crate) inside: Vec<String>,
    /// The innermost function around it.
    pub(crate) function: Option<String>,
}

/// A file of the project, by its path from the top.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The folder that holds `Cargo.toml`.
pub(crate) fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `folder`, by path; none where the folder does not exist.
pub(crate) fn files(folder: &str) -> Vec<SourceFile> {
    let mut found = Vec::new();
    gather(&top().join(folder), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn gather(folder: &Path, found: &mut Vec<SourceFile>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is text");
            let path = path.strip_prefix(top()).expect("below the top");
            found.push(SourceFile {
                path: path.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}

/// The words of `source`. `::` is one word; every other sign stands alone.
pub(crate) fn words(source: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut rest = source;
    let mut line = 1;
    // Inline modules and functions still open, each with the depth of braces outside it.
    let mut modules: Vec<(String, usize)> = Vec::new();
    let mut functions: Vec<(String, usize)> = Vec::new();
    // A function whose name was read and whose body was not.
    let mut announced: Option<String> = None;
    let mut depth = 0;
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest, first);
        let (token, after) = rest.split_at(length);
        rest = after;
        if is_code(token, first) {
            match token {
                "{" => {
                    if let [.., keyword, name] = &words[..]
                        && keyword.text == "mod"
                    {
                        modules.push((name.text.clone(), depth));
                    }
                    functions.extend(announced.take().map(|name| (name, depth)));
                    depth += 1;
                }
                "}" => {
                    depth = depth.saturating_sub(1);
                    modules.retain(|(_, outside)| *outside < depth);
                    functions.retain(|(_, outside)| *outside < depth);
                }
                ";" => announced = None,
                _ if words.last().is_some_and(|word| word.text == "fn") => {
                    announced = Some(token.to_owned());
                }
                _ => {}
            }
            words.push(Word {
                text: token.to_owned(),
                line,
                inside: modules.iter().map(|(name, _)| name.clone()).collect(),
                function: functions.last().map(|(name, _)| name.clone()),
            });
        }
        line += token.matches('\n').count();
    }
    words
}

fn is_code(token: &str, first: char) -> bool {
    let is_comment = token.starts_with("//") || token.starts_with("/*");
    let is_literal = token.len() > 1 && token.ends_with(['"', '\'', '#']);
    !first.is_whitespace() && !is_comment && !is_literal
}

/// How many bytes the token at the start of `rest` takes.
fn token_length(rest: &str, first: char) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if let Some(length) = raw_string_length(rest) {
        return length;
    }
    if let Some(quoted) = rest.strip_prefix("b\"").or(rest.strip_prefix("c\"")) {
        return 2 + quoted_length(quoted, '"');
    }
    match first {
        '"' => 1 + quoted_length(&rest[1..], '"'),
        '\'' => char_length(rest),
        ':' if rest.starts_with("::") => 2,
        _ if first == '_' || first.is_alphanumeric() => rest
            .find(|character: char| character != '_' && !character.is_alphanumeric())
            .unwrap_or(rest.len()),
        _ => first.len_utf8(),
    }
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let marked = rest
        .strip_prefix("br")
        .or_else(|| rest.strip_prefix("cr"))
        .or_else(|| rest.strip_prefix('r'))?;
    let hashes = marked.len() - marked.trim_start_matches('#').len();
    let body = marked[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).map_or(body.len(), |at| at + close.len());
    Some(rest.len() - body.len() + end)
}

/// Bytes up to and with the closing quote.
fn quoted_length(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in body.char_indices() {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == quote {
            return at + 1;
        }
    }
    body.len()
}

/// A character literal, or the `'` of a lifetime.
fn char_length(rest: &str) -> usize {
    let body = &rest[1..];
    let mut characters = body.chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => 1 + quoted_length(body, '\''),
        (Some(character), Some('\'')) => 2 + character.len_utf8(),
        _ => 1,
    }
}

#[test]
fn only_code_is_read() {
    let source = r##"
        //! crate::a
        /* crate::b /* nested */ crate::c */
        let text = "crate::d \" crate::e"; let raw = r#"crate::f " "#; let bytes = b"crate::g";
        fn f<'a>(quote: char) { let one = '"'; let two = '\''; crate::h(); }
        mod tests { mod deeper { crate::i } crate::j }
        crate::k
    "##;
    let words = words(source);
    let after_crate: Vec<(&str, String)> = words
        .windows(3)
        .filter(|window| window[0].text == "crate" && window[1].text == "::")
        .map(|window| (window[2].text.as_str(), window[2].inside.join("::")))
        .collect();
    assert_eq!(
        after_crate,
        [
            ("h", String::new()),
            ("i", "tests::deeper".to_owned()),
            ("j", "tests".to_owned()),
            ("k", String::new()),
        ]
    );
    assert_eq!(words.last().expect("a word").line, 7);
}
