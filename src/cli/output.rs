//! How answers and errors look.
#![expect(clippy::print_stdout, reason = "what a command found is its data")]

use crate::{
    config::{ConfigFaults, Palette},
    server::command::{Answer, Table},
};

use super::Ended;

/// Prints an answer: for a script as JSON, for a person as lines and a table. What a failure says goes to standard error.
pub(super) fn answer(answer: &Answer, json: bool) -> Ended {
    if json {
        println!("{:#}", answer.json);
    } else {
        for line in &answer.lines {
            if answer.ok {
                println!("{line}");
            } else {
                error(&anyhow::Error::msg(line.clone()));
            }
        }
        if let Some(table) = &answer.table {
            println!("{}", render(table));
        }
    }
    if answer.ok { Ended::Well } else { Ended::Badly }
}

/// Prints one line of data.
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// Prints faults of the configuration as data, drawn in their file.
pub(super) fn drawn(faults: &ConfigFaults) {
    anstream::println!("{}", faults.draw(Palette::Coloured).trim_end());
}

/// A table as text, without frames: it can be cut and sorted.
pub(super) fn render(table: &Table) -> String {
    let mut rendered = comfy_table::Table::new();
    rendered.load_style(comfy_table::presets::NOTHING);
    rendered.set_header(&table.headings);
    for row in &table.rows {
        rendered.add_row(row);
    }
    rendered
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Prints an error with what caused it, to standard error. Hints that the error carries come last. The faults of a
/// configuration are drawn, and say themselves that they are errors.
pub(super) fn error(error: &anyhow::Error) {
    if let Some(faults) = error.downcast_ref::<ConfigFaults>() {
        anstream::eprintln!("{}", faults.render(Palette::Coloured));
        return;
    }
    let mut hints = Vec::new();
    let mut lines = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let mut text_lines = text
            .lines()
            .filter(|line| match line.strip_prefix("hint: ") {
                Some(_) => {
                    hints.push((*line).to_owned());
                    false
                }
                None => true,
            });
        let said: String = text_lines.by_ref().collect::<Vec<_>>().join("\n");
        if !said.is_empty() && !lines.contains(&said) {
            lines.push(said);
        }
    }
    let style = anstyle::Style::new()
        .bold()
        .fg_color(Some(anstyle::AnsiColor::Red.into()));
    let mut told = lines.into_iter();
    anstream::eprintln!("{style}error{style:#}: {}", told.next().unwrap_or_default());
    for cause in told {
        anstream::eprintln!("  caused by: {cause}");
    }
    for hint in hints {
        anstream::eprintln!("{hint}");
    }
}
