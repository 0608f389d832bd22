//! The rules of the house that no lint knows.

use std::fs;

use crate::source::{SourceFile, Word, files, top, words};

/// What may stand at the top, besides files whose name begins with a dot, and `target`, which is never committed.
const TOP: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "tests",
    "fixtures",
    "benches",
    "Dockerfile",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs",
    "deploy",
    "target",
];

/// The one file that reads the environment.
const ENVIRONMENT: &str = "src/config/environment.rs";

fn all() -> Vec<SourceFile> {
    ["src", "tests", "benches"]
        .into_iter()
        .flat_map(files)
        .collect()
}

fn is_written(words: &[Word], pattern: &[&str]) -> bool {
    words.len() >= pattern.len()
        && pattern
            .iter()
            .zip(words)
            .all(|(text, word)| word.text == *text)
}

/// Uses of `cfg(test)` that are not the attribute of a `mod tests`.
fn test_forks(source: &str) -> Vec<usize> {
    let words = words(source);
    (0..words.len())
        .filter(|&at| ["cfg", "cfg_attr"].contains(&words[at].text.as_str()))
        .filter(|&at| {
            let condition = words[at + 1..]
                .iter()
                .skip_while(|word| word.text == "!")
                .take_while(|word| word.text != "]" && word.text != "{" && word.text != ";");
            condition.into_iter().any(|word| word.text == "test")
        })
        .filter(|&at| {
            !is_written(
                &words[at..],
                &["cfg", "(", "test", ")", "]", "mod", "tests"],
            )
        })
        .map(|at| words[at].line)
        .collect()
}

/// Waits by the clock, anywhere in `tests/` and in the test modules of `src/`. A function named `wait_…` may pause between
/// two looks at what it waits for.
fn sleeps(file: &SourceFile) -> Vec<usize> {
    let everywhere = !file.path.starts_with("src/")
        || file.path.ends_with("/tests.rs")
        || file.path.contains("/tests/");
    words(&file.text)
        .iter()
        .filter(|word| ["sleep", "sleep_until", "park_timeout"].contains(&word.text.as_str()))
        .filter(|word| everywhere || word.inside.iter().any(|module| module == "tests"))
        .filter(|word| {
            let function = word.function.as_deref().unwrap_or_default();
            !function.starts_with("wait_")
        })
        .map(|word| word.line)
        .collect()
}

/// Reads of the process environment.
fn environment_reads(source: &str) -> Vec<usize> {
    let words = words(source);
    (0..words.len())
        .filter(|&at| is_written(&words[at..], &["env", "::"]))
        .filter(|&at| {
            words.get(at + 2).is_some_and(|word| {
                ["var", "vars", "var_os", "vars_os", "{", "*"].contains(&word.text.as_str())
            })
        })
        .map(|at| words[at].line)
        .collect()
}

#[track_caller]
fn assert_none(faults: impl Iterator<Item = (String, Vec<usize>)>, rule: &str) {
    let faults: Vec<String> = faults
        .flat_map(|(path, lines)| lines.into_iter().map(move |line| format!("{path}:{line}")))
        .collect();
    assert!(faults.is_empty(), "{rule}\n{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = all()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "));
    assert_none(
        silent.map(|file| (file.path, vec![1])),
        "a file begins with `//! ` and its role",
    );
}

#[test]
fn production_code_never_asks_whether_it_is_under_test() {
    assert_none(
        files("src")
            .into_iter()
            .map(|file| (file.path, test_forks(&file.text))),
        "`cfg(test)` is for `mod tests` alone",
    );
}

#[test]
fn tests_wait_for_conditions_not_for_time() {
    assert_none(
        all().into_iter().map(|file| {
            let lines = sleeps(&file);
            (file.path, lines)
        }),
        "a test waits for a condition with a named timeout",
    );
}

#[test]
fn the_environment_is_read_in_one_place() {
    assert_none(
        files("src")
            .into_iter()
            .filter(|file| file.path != ENVIRONMENT)
            .map(|file| (file.path, environment_reads(&file.text))),
        "only `config::environment` reads the environment",
    );
}

#[test]
fn the_top_holds_what_it_may() {
    let strays: Vec<String> = fs::read_dir(top())
        .expect("the top")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| !name.starts_with('.'))
        .filter(|name| !TOP.contains(&name.as_str()))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn a_breach_is_caught() {
    for source in [
        "#[cfg(test)] fn f() {}",
        "#[cfg(not(test))] fn f() {}",
        "#[cfg(test)] mod helpers {}",
        "#[cfg_attr(test, derive(Debug))] struct S;",
        "if cfg!(test) { 1 } else { 2 }",
        "#[cfg(any(test, unix))] mod tests {}",
    ] {
        assert_eq!(test_forks(source), [1], "{source}");
    }
    assert!(test_forks("#[cfg(test)]\nmod tests { }\n#[cfg(unix)] fn test() {}").is_empty());

    let file = |path: &str, text: &str| SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let pause = "mod tests { async fn f() { tokio::time::sleep(PAUSE).await } }";
    assert_eq!(sleeps(&file("src/worker/mod.rs", pause)), [1]);
    assert_eq!(
        sleeps(&file("tests/it/story.rs", "use std::thread::sleep;")),
        [1]
    );
    assert_eq!(
        sleeps(&file("src/worker/tests.rs", "fn f() { sleep(PAUSE) }")),
        [1]
    );
    let poll =
        "fn wait_for() { while !ready() { sleep(PAUSE); } } fn f<T>() -> [u8; 2] { sleep(PAUSE) }";
    assert_eq!(sleeps(&file("tests/it/server.rs", poll)).len(), 1);
    assert!(
        sleeps(&file(
            "src/worker/mod.rs",
            "tokio::time::sleep(PAUSE).await"
        ))
        .is_empty()
    );

    for source in [
        "std::env::var(\"A\")",
        "use std::env::{self, args};",
        "env::vars_os()",
    ] {
        assert_eq!(environment_reads(source), [1], "{source}");
    }
    assert!(environment_reads("std::env::args_os(); env!(\"A\")").is_empty());
}
