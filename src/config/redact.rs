//! Blots secrets out of the lines that a fault shows.
//!
//! The blotted text is byte for byte as long as the original, so every place stays where it was. It looks at text, not
//! at meaning, because a file that does not even parse may hold a password too: the password of any URL, and the value
//! of any key that sounds like a secret. `context`, `lifecycle` and their kin are spared: `tokens_left` is no secret.

use std::ops::Range;

/// Sections whose keys are the user's own words.
const SPARED: &[&str] = &["context", "lifecycle", "maps", "profile", "triggers", "log"];

/// Words that tell of a secret wherever they stand in a key.
const TELLING: &[&str] = &["secret", "password", "passwd", "token", "credential"];

/// `text` with its secrets replaced by asterisks.
pub(super) fn redact(text: &str) -> String {
    let mut hidden: Vec<Range<usize>> = url_passwords(text);
    hidden.extend(query_passwords(text));
    hidden.extend(telling_values(text));
    let mut bytes = text.as_bytes().to_vec();
    for range in hidden {
        for byte in &mut bytes[range] {
            *byte = b'*';
        }
    }
    // Ranges begin and end at ASCII characters, so what is left is still text.
    String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// The password of each `scheme://user:password@host`.
fn url_passwords(text: &str) -> Vec<Range<usize>> {
    text.match_indices("://")
        .filter_map(|(at, mark)| {
            let start = at + mark.len();
            let rest = text.get(start..)?;
            let end = rest.find(|character: char| {
                character.is_whitespace() || matches!(character, '"' | '\'')
            });
            let address = rest.get(..end.unwrap_or(rest.len()))?;
            // A password may hold an unescaped `@` or `/` by mistake: take the longest reading.
            let user = address.rfind('@').map(|at| &address[..at])?;
            let colon = user.find(':')?;
            Some(start + colon + 1..start + user.len())
        })
        .collect()
}

/// The password of each `…?password=…`, as some drivers take it.
fn query_passwords(text: &str) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    ["password=", "passwd="]
        .iter()
        .flat_map(|mark| lower.match_indices(mark).map(|(at, mark)| at + mark.len()))
        .map(|start| {
            let rest = &lower[start..];
            let end = rest.find(|character: char| {
                character.is_whitespace() || matches!(character, '"' | '\'' | '&')
            });
            start..start + end.unwrap_or(rest.len())
        })
        .collect()
}

/// What stands right of `=` for a key that sounds like a secret, up to the next section or key.
fn telling_values(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut section = "";
    let mut telling = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        if trimmed.starts_with('[') && !telling_array(telling, trimmed) {
            section = trimmed
                .trim_start_matches('[')
                .split([']', '#'])
                .next()
                .unwrap_or_default()
                .trim();
            telling = false;
            continue;
        }
        if trimmed.starts_with('#') {
            continue;
        }
        let mut value_start = start;
        if let Some((key, _)) = line.split_once('=')
            && key
                .trim()
                .chars()
                .all(|character| character.is_alphanumeric() || "._-\"' ".contains(character))
        {
            telling = is_telling(section, key);
            value_start = start + key.len() + 1;
        }
        if telling {
            ranges.extend(words(text, value_start..at));
        }
    }
    ranges
}

/// Whether a line that opens a bracket goes on with a telling array of arrays; a header never does.
fn telling_array(telling: bool, line: &str) -> bool {
    telling && !line.trim_end().ends_with(']')
}

fn is_telling(section: &str, key: &str) -> bool {
    let key = key.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let full = if section.is_empty() {
        key.clone()
    } else {
        format!("{section}.{key}")
    };
    let first = full.split('.').next().unwrap_or_default();
    let last = full.rsplit('.').next().unwrap_or_default();
    if SPARED.contains(&first) || last.ends_with("_file") || last.ends_with("_files") {
        return false;
    }
    // In `users`, a key is a column and `query_by_key` a query.
    let is_key = first != "users"
        && (last == "key" || last == "keys" || last.ends_with("_key") || last.ends_with("_keys"));
    let is_channel = full == "alerts.url";
    is_key || is_channel || TELLING.iter().any(|word| full.contains(word))
}

/// The parts of a range that are not blank, quote or bracket: what is left shows that *something* is written there.
fn words(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let Some(part) = text.get(range.clone()) else {
        return Vec::new();
    };
    let mut words = Vec::new();
    let mut start = None;
    for (offset, character) in part.char_indices() {
        let outside = character.is_whitespace() || "\"'[]{},".contains(character);
        match (outside, start) {
            (false, None) => start = Some(range.start + offset),
            (true, Some(begin)) => {
                words.push(begin..range.start + offset);
                start = None;
            }
            _ => {}
        }
    }
    words.extend(start.map(|begin| begin..range.end));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blotted_out_byte_for_byte() {
        for (text, expected) in [
            (
                "url = \"postgres://app:hunter2@db/app\"",
                "url = \"postgres://app:*******@db/app\"",
            ),
            (
                "url = \"postgres://app:p@ss/w@db\"",
                "url = \"postgres://app:******@db\"",
            ),
            (
                "url = 'mysql://db/app?password=hunter2&x=1'",
                "url = 'mysql://db/app?password=*******&x=1'",
            ),
            ("[crisp]\ntoken_key = \"abc", "[crisp]\ntoken_key = \"***"),
            (
                "[alerts]\nurl = \"https://hooks.example/T0/x\"\n",
                "[alerts]\nurl = \"**************************\"\n",
            ),
            ("[crisp]\nkey = 'é1'\n", "[crisp]\nkey = '***'\n"),
            (
                "signing_secrets = [\n  \"one\",\n  \"two\",\n]\nmode = \"live\"\n",
                "signing_secrets = [\n  \"***\",\n  \"***\",\n]\nmode = \"live\"\n",
            ),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for text in [
            "[crisp]\ntoken_key_file = \"/run/key\"\n",
            "[users]\nkey = \"id\"\nquery_by_key = \"SELECT 1\"\n",
            "[context.data]\ntokens_left = \"{{ tokens }}\"\n",
            "url = \"postgres://db/app\"\n",
            "[[lifecycle.event]]\nname = \"secret:told\"\n",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
