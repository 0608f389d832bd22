//! What is wrong with a definition, and where.
//!
//! A fault points at bytes inside the string that was written; whoever knows the file turns that into a line and a caret.

use std::ops::Range;

/// Why a template or an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionFault {
    /// The bytes of the source at fault; `None` when it is the whole.
    pub range: Option<Range<usize>>,
    /// What is wrong, lower case.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ExpressionFault {
    pub(super) fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            range: Some(range),
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same fault at a place in the definition.
    pub fn at<S: Into<String>>(self, path: impl IntoIterator<Item = S>) -> DefinitionFault {
        DefinitionFault {
            path: path.into_iter().map(Into::into).collect(),
            on_key: false,
            range: self.range,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// One thing that is wrong with a definition file. They are all reported at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.join("."))]
pub struct DefinitionFault {
    /// Where in the file: `["context", "data", "plan", "when"]`. An array's element goes by its index.
    pub path: Vec<String>,
    /// Whether the key at the end of the path is at fault, and not its value.
    pub on_key: bool,
    /// The bytes at fault inside the string there.
    pub range: Option<Range<usize>>,
    /// What is wrong, lower case.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl DefinitionFault {
    /// A fault of the value at `path`.
    pub fn new<S: Into<String>>(
        path: impl IntoIterator<Item = S>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into_iter().map(Into::into).collect(),
            on_key: false,
            range: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Says that the key is at fault.
    #[must_use]
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }

    /// Says which bytes of the string are at fault.
    #[must_use]
    pub fn within(mut self, range: Range<usize>) -> Self {
        self.range = Some(range);
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The candidate that `word` was probably meant to be: at most a third of its letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, with one row of memory.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let names = ["days_until", "days_since", "date"];
        assert_eq!(nearest("days_untill", names), Some("days_until"));
        assert_eq!(nearest("Date", names), Some("date"));
        assert_eq!(nearest("uppercase", names), None);
    }
}
