//! How answers and errors look.
#![expect(clippy::print_stdout, reason = "what a command found is its data")]

use crate::{
    config::{ConfigFaults, Palette},
    server::command::{Answer, Table},
};

use super::Ended;

/// In which form an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// For a person: lines and a table.
    Words,
    /// For a script.
    Json,
    /// For a sheet: the table.
    Csv,
}

impl Form {
    pub(super) fn json_if(json: bool) -> Self {
        Self::of(json, false)
    }

    pub(super) fn of(json: bool, csv: bool) -> Self {
        match (json, csv) {
            (true, _) => Self::Json,
            (false, true) => Self::Csv,
            (false, false) => Self::Words,
        }
    }
}

/// Prints an answer. What a failure says goes to standard error.
pub(super) fn answer(answer: &Answer, form: Form) -> Ended {
    if form == Form::Json {
        println!("{:#}", answer.json);
    } else if let (Form::Csv, true, Some(table)) = (form, answer.ok, &answer.table) {
        print!("{}", csv(table));
    } else {
        for line in &answer.lines {
            if answer.ok {
                println!("{line}");
            } else {
                error(&anyhow::Error::msg(line.clone()));
            }
        }
        if let Some(table) = answer.table.as_ref().filter(|table| !table.rows.is_empty()) {
            println!("{}", render(table));
            if let Some(below) = &table.below {
                println!("{below}");
            }
        }
    }
    if answer.ok { Ended::Well } else { Ended::Badly }
}

/// A table as CSV. A sheet takes a cell that begins like a formula for one, and values come from people: such a cell gets
/// an apostrophe, which sheets take for "this is text".
fn csv(table: &Table) -> String {
    let safe = |cell: &String| {
        if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
            format!("'{cell}")
        } else {
            cell.clone()
        }
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(&table.headings).chain(&table.rows) {
        writer
            .write_record(row.iter().map(safe))
            .expect("rows are as long as the headings, and memory takes them");
    }
    let text = writer.into_inner().expect("memory takes it");
    String::from_utf8(text).expect("made of text")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_of_a_sheet_is_a_formula() {
        let table = Table {
            headings: ["event".to_owned(), "example".to_owned()].into(),
            rows: [
                "=HYPERLINK(\"https://evil.example\")",
                "+1",
                "-1",
                "@SUM(A1)",
                "\tx",
                "a, \"b\"\nc",
                "pro",
            ]
            .map(|example| vec!["e".to_owned(), example.to_owned()])
            .into(),
            below: None,
        };
        assert_eq!(
            csv(&table),
            "event,example\n\
             e,\"'=HYPERLINK(\"\"https://evil.example\"\")\"\n\
             e,'+1\n\
             e,'-1\n\
             e,'@SUM(A1)\n\
             e,'\tx\n\
             e,\"a, \"\"b\"\"\nc\"\n\
             e,pro\n"
        );
    }
}
