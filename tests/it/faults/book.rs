//! Holds `docs/failure-modes.md` against the tests and the tables: every fault that is told there is shown, and the other way
//! round.

use std::{collections::BTreeSet, fs};

use crisp_sync::telemetry::{events, reference};

use crate::source::{files, top};

/// The cells of every row of the page's tables.
fn rows(page: &str) -> Vec<Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| fault "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

fn codes(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The file of a test, by its path without `::`.
fn source_of(test: &str) -> Option<String> {
    let (module, _) = test.rsplit_once("::")?;
    let path = module.replace("::", "/");
    [
        format!("tests/it/{path}.rs"),
        format!("tests/it/{path}/mod.rs"),
    ]
    .into_iter()
    .find_map(|path| fs::read_to_string(top().join(path)).ok())
}

/// The tests in a file: the functions right behind the attribute.
fn tests_in(source: &str) -> Vec<&str> {
    source
        .split("#[tokio::test]\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("fn ")?.1.split('(').next())
        .collect()
}

fn page() -> String {
    fs::read_to_string(top().join("docs/failure-modes.md")).expect("the page")
}

#[test]
fn every_failure_mode_names_a_test_that_there_is() {
    let page = page();
    let rows = rows(&page);
    assert!(rows.len() > 40, "{} rows", rows.len());
    for row in rows {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let mut tests = codes(row[4]).peekable();
        assert!(tests.peek().is_some(), "no test: {row:?}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or_default();
            let source = source_of(test).unwrap_or_default();
            assert!(source.contains(&format!("fn {name}(")), "no test `{test}`");
        }
    }
}

#[test]
fn every_fault_that_is_tested_is_told() {
    let page = page();
    let told: BTreeSet<&str> = rows(&page)
        .into_iter()
        .filter_map(|row| row.last().copied())
        .flat_map(codes)
        .collect();
    let mut untold = Vec::new();
    let of_the_sweep = files("tests/it/sweep").into_iter();
    let of_the_sweep = of_the_sweep.filter(|file| file.path.ends_with("/faults.rs"));
    for file in files("tests/it/faults").into_iter().chain(of_the_sweep) {
        let module = file
            .path
            .trim_start_matches("tests/it/")
            .trim_end_matches(".rs");
        let module = module.replace('/', "::");
        for test in tests_in(&file.text) {
            let test = format!("{module}::{test}");
            if !told.contains(test.as_str()) {
                untold.push(test);
            }
        }
    }
    assert!(
        untold.is_empty(),
        "not in docs/failure-modes.md: {untold:#?}"
    );
}

#[test]
fn what_one_sees_of_a_failure_exists() {
    let page = page();
    let reference = reference();
    for row in rows(&page) {
        for seen in codes(row[2]) {
            let name = seen.split('{').next().unwrap_or_default();
            let is_dotted = name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
            if name.starts_with("crisp_sync_") {
                assert!(
                    reference.contains(&format!("`{name}`")),
                    "no metric `{name}`"
                );
            } else if is_dotted && name.contains('.') {
                let is_event = events::ALL.iter().any(|event| event.name == name);
                assert!(is_event, "no log line `{name}`: {row:?}");
            }
        }
    }
}

#[test]
fn a_breach_is_caught() {
    let page = "| fault | a |\n|---|---|\n| x `y` | b | `c.d` | e | `f::g`, `h::i` |\n";
    let rows = rows(page);
    assert_eq!(rows, [["x `y`", "b", "`c.d`", "e", "`f::g`, `h::i`"]]);
    assert_eq!(codes(rows[0][4]).collect::<Vec<_>>(), ["f::g", "h::i"]);
    let source = ["#[tokio", "::test]\nasync fn a() {}\nfn b() {}\n"].concat();
    assert_eq!(tests_in(&source), ["a"]);
    assert!(source_of("faults::book::x").is_some() && source_of("nothing::x").is_none());
}
