//! `docs/events.md`, held against the code: every state of the outbox, every way between them, every reason, and the
//! recipes.

use std::{fmt::Write as _, fs};

use crisp_sync::lifecycle::{OutboxState, reason};

use crate::source::{files, top};

const PAGE: &str = "docs/events.md";

fn words(states: impl Iterator<Item = OutboxState>) -> String {
    let words: Vec<String> = states.map(|state| format!("`{state}`")).collect();
    words.join(", ")
}

/// The table of states: what leads in and out by itself, and what a person can do.
fn states() -> String {
    let mut table =
        "| state | it means | comes from | goes to | a person can |\n|---|---|---|---|---|\n"
            .to_owned();
    for state in OutboxState::ALL {
        let others = || OutboxState::ALL.into_iter().filter(|other| *other != state);
        let comes_from = words(others().filter(|other| other.may_become(state)));
        let goes_to = words(others().filter(|other| state.may_become(*other)));
        let mut person = Vec::new();
        if state.is_released() {
            person.push(if state == OutboxState::Unsure {
                "`events release --state unsure`"
            } else {
                "`events release`"
            });
        }
        if state.is_dropped() {
            person.push("`events drop`");
        }
        let goes_to = if goes_to.is_empty() {
            "nowhere: it is over".to_owned()
        } else {
            goes_to
        };
        let (meaning, person) = (state.meaning(), person.join(", "));
        writeln!(
            table,
            "| `{state}` | {meaning} | {comes_from} | {goes_to} | {person} |"
        )
        .expect("a text takes all");
    }
    table
}

fn reasons() -> String {
    let mut table = "| reason | state | it means |\n|---|---|---|\n".to_owned();
    for reason in reason::ALL {
        let states = reason.states.split(", ").map(|state| format!("`{state}`"));
        let states: Vec<String> = states.collect();
        let (word, states, meaning) = (reason.word, states.join(", "), reason.meaning);
        writeln!(table, "| `{word}` | {states} | {meaning} |").expect("a text takes all");
    }
    table
}

fn recipe(name: &str) -> String {
    let path = top().join("fixtures/recipes").join(format!("{name}.toml"));
    let text = fs::read_to_string(path).expect("the recipe");
    format!("```toml\n{text}```\n")
}

/// The page with what is made put where it belongs.
fn made(page: &str) -> String {
    let parts = [
        ("states", states()),
        ("reasons", reasons()),
        ("laravel-cashier", recipe("laravel-cashier")),
        ("rails-pay", recipe("rails-pay")),
    ];
    parts
        .into_iter()
        .fold(page.to_owned(), |page, (name, part)| {
            let (begin, end) = (
                format!("<!-- made: {name} -->\n"),
                format!("<!-- end: {name} -->\n"),
            );
            let (before, rest) = page.split_once(&begin).expect("where the part begins");
            let (_, after) = rest.split_once(&end).expect("where the part ends");
            format!("{before}{begin}\n{part}\n{end}{after}")
        })
}

#[test]
fn the_page_is_what_the_code_says() {
    let path = top().join(PAGE);
    let written = fs::read_to_string(&path).expect("the page");
    let made = made(&written);
    if std::env::vars_os().any(|(name, _)| name == "UPDATE_DOCS") {
        fs::write(&path, &made).expect("a page");
        return;
    }
    assert!(
        written == made,
        "{PAGE} is out of date: run `UPDATE_DOCS=1 cargo test --test it events_page`"
    );
}

/// No row gets a reason that is not in the list: whatever puts one into a state takes the word from there. (Each story of
/// `tests/it/lifecycle` looks at its rows, too, when it ends.)
#[test]
fn no_reason_is_written_beside_the_list() {
    const WAYS: [&str; 6] = [
        "(OutboxState::",
        "self.enter(",
        "self.wait(",
        "self.schedule(",
        "self.give_up(",
        "drop(OutboxState",
    ];
    let mut seen = 0;
    for file in ["src/lifecycle", "src/reconcile"]
        .into_iter()
        .flat_map(files)
    {
        if file.path.contains("/tests/") {
            continue;
        }
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: String = code.split_whitespace().collect();
        for way in WAYS {
            for (at, _) in code.match_indices(way) {
                seen += 1;
                let call = code[at + way.len()..].split(')').next().unwrap_or_default();
                assert!(
                    !call.contains('"'),
                    "{}: `{way}{call})` has a word of its own: take it from `lifecycle::reason`",
                    file.path
                );
            }
        }
        assert!(
            !code.contains("reason:\""),
            "{}: `reason: \"…\"`",
            file.path
        );
    }
    assert!(seen > 30, "{seen} places were looked at");
}
