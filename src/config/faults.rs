//! What is wrong with a configuration: every fault at once, each with its place and its next step.
//!
//! A fault in the file is drawn as rustc draws one. The source lines that are shown have their secrets blotted out
//! first (`redact`); no message repeats a value that may be secret.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Where a fault lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Bytes of the configuration file.
    Span(Range<usize>),
    /// The file as a whole: something is not there.
    File,
    /// An environment variable or a command-line flag, by name.
    Named(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, in lower case.
    pub message: String,
    /// The next step, if there is one.
    pub hint: Option<String>,
}

impl Fault {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Whether faults are drawn in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Palette {
    /// Plain text: for a file, a pipe, `NO_COLOR`.
    Plain,
    /// ANSI colours: for a terminal.
    Coloured,
}

/// How grave the faults are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    /// The configuration cannot be used.
    Error,
    /// It can, and is probably not meant.
    Warning,
}

/// Every fault of one configuration.
///
/// `Display` is [`Palette::Plain`]. A command prints `render(Palette::Coloured)` through `anstream`, which takes the
/// colours away where they do not belong.
#[derive(Clone, thiserror::Error)]
pub struct ConfigFaults {
    grade: Grade,
    name: String,
    /// The file's text with its secrets blotted out, byte for byte as long as the original.
    text: String,
    faults: Vec<Fault>,
}

impl ConfigFaults {
    /// `faults` lie in the file `name`, whose text is `redacted`. They are put in the order of the file.
    pub(super) fn new(name: &str, redacted: String, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| match &fault.place {
            Place::Span(span) => (0, span.start),
            Place::File => (1, 0),
            Place::Named(_) => (2, 0),
        });
        Self {
            grade: Grade::Error,
            name: name.to_owned(),
            text: redacted,
            faults,
        }
    }

    /// The same as warnings.
    pub(super) fn into_warnings(self) -> Self {
        Self {
            grade: Grade::Warning,
            ..self
        }
    }

    /// The faults, in the order of the file; then those of the environment.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The file's name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Line and column of a fault, both from 1, columns in characters.
    pub fn position(&self, fault: &Fault) -> Option<(usize, usize)> {
        let Place::Span(span) = &fault.place else {
            return None;
        };
        let before = self.text.get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..)?.chars().count() + 1;
        Some((before.matches('\n').count() + 1, column))
    }

    /// One of the faults alone.
    #[must_use]
    pub fn only(&self, fault: &Fault) -> Self {
        Self {
            faults: vec![fault.clone()],
            ..self.clone()
        }
    }

    /// Where a fault lies, for a line of text: `file:line:column`, the file, or a variable's name.
    pub fn place(&self, fault: &Fault) -> String {
        match (&fault.place, self.position(fault)) {
            (Place::Named(name), _) => name.clone(),
            (_, Some((line, column))) => format!("{}:{line}:{column}", self.name),
            _ => self.name.clone(),
        }
    }

    /// Draws every fault and counts them.
    pub fn render(&self, palette: Palette) -> String {
        let mut drawn = self.draw(palette);
        let (one, many) = match self.grade {
            Grade::Error => ("1 fault", "faults"),
            Grade::Warning => ("1 warning", "warnings"),
        };
        let count = match self.faults.len() {
            1 => one.to_owned(),
            count => format!("{count} {many}"),
        };
        let close = format!("{count} in the configuration `{}`", self.name);
        let close = Group::with_title(self.level().primary_title(close));
        drawn.push_str(&renderer(palette).render(&[close]));
        drawn
    }

    /// Draws every fault, each with an empty line behind it.
    pub fn draw(&self, palette: Palette) -> String {
        let renderer = renderer(palette);
        let mut drawn = String::new();
        for fault in &self.faults {
            drawn.push_str(&renderer.render(&[self.group(fault)]));
            drawn.push_str("\n\n");
        }
        drawn
    }

    fn level(&self) -> Level<'static> {
        match self.grade {
            Grade::Error => Level::ERROR,
            Grade::Warning => Level::WARNING,
        }
    }

    fn group<'a>(&'a self, fault: &'a Fault) -> Group<'a> {
        let title = match &fault.place {
            Place::Named(name) => format!("{name}: {}", fault.message),
            Place::Span(_) | Place::File => fault.message.clone(),
        };
        let group = Group::with_title(self.level().primary_title(title));
        let group = match &fault.place {
            Place::Span(span) => group.element(
                Snippet::source(self.text.as_str())
                    .path(self.name.as_str())
                    .annotation(AnnotationKind::Primary.span(span.clone())),
            ),
            Place::File => group.element(annotate_snippets::Origin::path(self.name.as_str())),
            Place::Named(_) => group,
        };
        match &fault.hint {
            Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
            None => group,
        }
    }
}

fn renderer(palette: Palette) -> Renderer {
    match palette {
        Palette::Plain => Renderer::plain(),
        Palette::Coloured => Renderer::styled(),
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(Palette::Plain))
    }
}

impl fmt::Debug for ConfigFaults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConfigFaults")
            .field("name", &self.name)
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let faults = ConfigFaults::new(
            "f",
            "a = 1\né = x\n".to_owned(),
            vec![Fault::new(Place::Span(11..12), "wrong")],
        );
        assert_eq!(faults.position(&faults.faults()[0]), Some((2, 5)));
    }
}
