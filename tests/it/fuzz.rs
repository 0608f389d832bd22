//! Replays what fuzzing found worth keeping: every input of `fixtures/fuzz/` through its target.

use std::{fs, panic};

use crate::source::top;

#[path = "../fuzz/targets/mod.rs"]
mod targets;

type Target = fn(&[u8]);

/// Every target, by the name of its folder in `fixtures/fuzz/`.
const TARGETS: [(&str, Target); 5] = [
    ("signature", targets::signature),
    ("envelope", targets::envelope),
    ("query", targets::query),
    ("template", targets::template),
    ("config", targets::config),
];

/// The inputs of a target, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = top().join("fixtures/fuzz").join(target);
    let mut inputs: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.expect("a folder entry").path();
            let name = path.strip_prefix(top()).expect("below the top");
            let input = fs::read(&path).expect("readable");
            (name.display().to_string(), input)
        })
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_input_worth_keeping_still_passes() {
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 10, "{target}: {} inputs", inputs.len());
        for (name, input) in inputs {
            if panic::catch_unwind(|| run(&input)).is_err() {
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The targets can fail: a broken promise is a panic.
#[test]
fn a_target_sees_what_it_is_there_for() {
    for (target, _) in TARGETS {
        assert!(
            top().join(format!("tests/fuzz/bin/{target}.rs")).exists(),
            "{target} has a fuzzer"
        );
    }
    let folders = fs::read_dir(top().join("fixtures/fuzz")).expect("the corpus");
    assert_eq!(folders.count(), TARGETS.len(), "a folder for each");
}
