//! A TOML text with the place of everything in it.
//!
//! It answers two questions for a path such as `["context", "data", "plan"]`: which bytes of the text is that, and which
//! bytes are the *n*th to *m*th byte of the string that stands there. Basic, literal and multi-line strings are mapped
//! through their escapes; where a mapping cannot be trusted, the whole value is named.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeArray, DeString, DeTable, DeValue},
};

use super::{
    faults::{Fault, Place},
    offsets::offsets,
};

/// A parsed text. What was refused has been taken out of it.
#[derive(Debug, Clone)]
pub(super) struct Document<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// One node: the key it stands under, if it stands under one, and its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'d, 'a> {
    pub(super) key: Option<&'d Spanned<DeString<'a>>>,
    pub(super) value: &'d Spanned<DeValue<'a>>,
}

impl<'a> Document<'a> {
    /// Parses, or says where the text stops being TOML.
    pub(super) fn parse(text: &'a str) -> Result<Self, Fault> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self { text, root }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                // A duplicate key names the key: all other messages are about TOML's own grammar.
                let said = format!("this is not TOML: {}", error.message());
                let hint = if error.message().contains("duplicate key") {
                    "a key stands once in its table: take one of the two away"
                } else {
                    "text and lengths of time stand in quotes, as in `mode = \"live\"`; `crisp-sync init` prints a whole file to compare with"
                };
                Err(Fault::new(Place::Span(span), said).hint(hint))
            }
        }
    }

    pub(super) fn root(&self) -> Spanned<DeTable<'a>> {
        self.root.clone()
    }

    /// The node at `path`, if it is there. A step into an array is its index.
    pub(super) fn node(&self, path: &[String]) -> Option<Node<'_, 'a>> {
        let (first, rest) = path.split_first()?;
        let (key, value) = self.root.get_ref().get_key_value(first.as_str())?;
        let mut node = Node {
            key: Some(key),
            value,
        };
        for step in rest {
            node = match node.value.get_ref() {
                DeValue::Table(table) => {
                    let (key, value) = table.get_key_value(step.as_str())?;
                    Node {
                        key: Some(key),
                        value,
                    }
                }
                DeValue::Array(array) => Node {
                    key: node.key,
                    value: array.get(step.parse::<usize>().ok()?)?,
                },
                _ => return None,
            };
        }
        Some(node)
    }

    /// Takes the value at `path` out. Says whether there was one.
    pub(super) fn remove(&mut self, path: &[String]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let Some((first, parents)) = parents.split_first() else {
            return self.root.get_mut().remove(last.as_str()).is_some();
        };
        let Some(mut value) = self.root.get_mut().get_mut(first.as_str()) else {
            return false;
        };
        for step in parents {
            let inner = match value.get_mut() {
                DeValue::Table(table) => table.get_mut(step.as_str()),
                DeValue::Array(array) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| array.get_mut(index)),
                _ => None,
            };
            match inner {
                Some(inner) => value = inner,
                None => return false,
            }
        }
        match value.get_mut() {
            DeValue::Table(table) => table.remove(last.as_str()).is_some(),
            DeValue::Array(array) => match last.parse::<usize>() {
                Ok(index) if index < array.len() => {
                    let mut left = DeArray::new();
                    for (_, kept) in array.iter().enumerate().filter(|(at, _)| *at != index) {
                        left.push(kept.clone());
                    }
                    *array = left;
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// The place of the value at `path`; of the nearest thing around it when it is not there.
    pub(super) fn place(&self, path: &[String]) -> Place {
        match self.around(path) {
            Some((_, node)) => Place::Span(node.value.span()),
            None => Place::File,
        }
    }

    /// The place of the key at `path`.
    pub(super) fn key_place(&self, path: &[String]) -> Place {
        match self.around(path) {
            Some((_, Node { key: Some(key), .. })) => Place::Span(key.span()),
            Some((_, Node { value, .. })) => Place::Span(value.span()),
            None => Place::File,
        }
    }

    /// The place of bytes `range` of the string at `path`: of the key with `on_key`, else of the value. A definition may
    /// be written short (`plan = "…"`) or long (`plan = { value = "…" }`); both are found.
    pub(super) fn string_place(
        &self,
        path: &[String],
        on_key: bool,
        range: Option<&Range<usize>>,
    ) -> Place {
        if on_key {
            return match (self.node(path).and_then(|node| node.key), range) {
                (Some(key), Some(range)) => {
                    Place::Span(self.inside(key.span(), key.get_ref(), range))
                }
                _ => self.key_place(path),
            };
        }
        let Some((_, mut node)) = self.around(path) else {
            return Place::File;
        };
        if let DeValue::Table(table) = node.value.get_ref()
            && range.is_some()
            && let Some(value) = table.get("value")
        {
            node.value = value;
        }
        match (node.value.get_ref(), range) {
            (DeValue::String(string), Some(range)) => {
                Place::Span(self.inside(node.value.span(), string, range))
            }
            _ => Place::Span(node.value.span()),
        }
    }

    /// The path with an event's name replaced by its index: queries are known by the event they are for, and its own
    /// section is where they stand.
    pub(super) fn indexed(&self, path: Vec<String>) -> Vec<String> {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["lifecycle", "event", name, ..] if name.parse::<usize>().is_err() => {
                let events = self.node(path.get(..2).unwrap_or_default());
                let index = events
                    .and_then(|node| node.value.get_ref().as_array())
                    .and_then(|events| {
                        events.iter().position(|event| {
                            let named = event.get_ref().get("name");
                            named.and_then(|named| named.get_ref().as_str()) == Some(name)
                        })
                    });
                match (index, path.get(3..)) {
                    (Some(index), Some(rest)) => {
                        let mut indexed = path.get(..2).unwrap_or_default().to_vec();
                        indexed.push(index.to_string());
                        indexed.extend_from_slice(rest);
                        indexed
                    }
                    _ => path,
                }
            }
            _ => path,
        }
    }

    /// The node at `path` or, if there is none, at the longest beginning of it.
    fn around(&self, path: &[String]) -> Option<(usize, Node<'_, 'a>)> {
        (1..=path.len())
            .rev()
            .find_map(|length| Some((length, self.node(path.get(..length)?)?)))
    }

    /// Bytes `range` of the decoded `string` that is written at `span`.
    fn inside(&self, span: Range<usize>, string: &str, range: &Range<usize>) -> Range<usize> {
        let Some(raw) = self.text.get(span.clone()) else {
            return span;
        };
        let Some(offsets) = offsets(raw, string) else {
            return span;
        };
        let (Some(start), Some(end)) = (offsets.get(range.start), offsets.get(range.end)) else {
            return span;
        };
        // An empty range still deserves a caret.
        let end = if end > start {
            *end
        } else {
            raw.get(*start..)
                .and_then(|rest| rest.chars().next())
                .map_or(*start, |next| start + next.len_utf8())
        };
        span.start + start..span.start + end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    /// The bytes of the text that `needle`, taken from the decoded string at `a`, is written with.
    fn written<'t>(text: &'t str, needle: &str) -> &'t str {
        let document = Document::parse(text).expect("TOML");
        let node = document.node(&path(&["a"])).expect("a value");
        let string = node.value.get_ref().as_str().expect("a string").to_owned();
        let start = string.find(needle).expect("the needle");
        let range = start..start + needle.len();
        match document.string_place(&path(&["a"]), false, Some(&range)) {
            Place::Span(span) => &text[span],
            place => panic!("{place:?}"),
        }
    }

    #[test]
    fn a_range_is_found_in_every_kind_of_string() {
        for (text, needle, expected) in [
            ("a = \"x {{ y }} z\"", "y", "y"),
            ("a = 'x {{ \\y }} z'", "\\y", "\\y"),
            ("a = \"\\u00e9\\t{{ \\\"q\\\" }}\"", "\"q\"", "\\\"q\\\""),
            ("a = \"\\u00e9x\"", "é", "\\u00e9"),
            (
                "a = \"\"\"\n  first\n  {{ second }}\"\"\"",
                "second",
                "second",
            ),
            ("a = \"\"\"\\\n   joined \\\n   up\"\"\"", "up", "up"),
            ("a = '''\nline \\n {{ z }}'''", "z", "z"),
            ("a = \"\"\"\r\nwin\r\nend\"\"\"", "end", "end"),
        ] {
            assert_eq!(written(text, needle), expected, "{text}");
        }
    }

    #[test]
    fn a_range_in_a_quoted_key_is_found() {
        let text = "[s]\n\"plan-{{ plan }}\" = \"plan\"\n";
        let document = Document::parse(text).expect("TOML");
        let Place::Span(span) =
            document.string_place(&path(&["s", "plan-{{ plan }}"]), true, Some(&(8..12)))
        else {
            panic!("a span");
        };
        assert_eq!(&text[span], "plan");
    }

    #[test]
    fn the_short_and_the_long_form_of_a_field_are_both_found() {
        for text in [
            "a = \"{{ x }}\"",
            "a = { when = \"y\", value = \"{{ x }}\" }",
        ] {
            let document = Document::parse(text).expect("TOML");
            for steps in [&["a"][..], &["a", "value"]] {
                let Place::Span(span) = document.string_place(&path(steps), false, Some(&(3..4)))
                else {
                    panic!("a span");
                };
                assert_eq!(&text[span], "x");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_placed_at_what_is_around_it() {
        let text = "[users]\nkey = 1\n";
        let document = Document::parse(text).expect("TOML");
        let Place::Span(span) = document.place(&path(&["users", "query"])) else {
            panic!("a span");
        };
        assert_eq!(&text[span], "[users]");
        assert_eq!(document.place(&path(&["crisp", "tier"])), Place::File);
    }

    #[test]
    fn a_value_is_taken_out_of_tables_and_arrays() {
        let mut document =
            Document::parse("x = [1, 2]\n[[l.e]]\na = 1\n[[l.e]]\nb = 2\n").expect("TOML");
        assert!(document.remove(&path(&["x", "0"])));
        assert!(document.remove(&path(&["l", "e", "1", "b"])));
        assert!(!document.remove(&path(&["l", "e", "1", "b"])));
        assert!(document.node(&path(&["x", "0"])).is_some());
        assert!(document.node(&path(&["x", "1"])).is_none());
    }
}
