//! The floors of the house: who may use whom, read from every path in `src/` and held against one table.
//!
//! A file uses rooms on floors below and its own room: never up, never sideways. The exceptions are named in [`may_use`],
//! and the table below is the one that `src/lib.rs` shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Word, files, top, words};

/// The rooms by floor, as `src/lib.rs` shows them. `sandbox` stands beside the house.
const FLOORS: [(u8, &[&str]); 7] = [
    (6, &["main", "cli"]),
    (5, &["app", "config"]),
    (4, &["server", "worker", "alerts"]),
    (3, &["reconcile"]),
    (2, &["crisp", "ledger", "users"]),
    (1, &["context", "lifecycle", "identity"]),
    (
        0,
        &[
            "ids",
            "data",
            "record",
            "expression",
            "pseudonym",
            "clock",
            "breaker",
            "telemetry",
        ],
    ),
];
const BESIDE: &str = "sandbox";

/// A path that leaves its room: `crate::crisp::model` used in `src/server/webhooks.rs`.
#[derive(Debug, PartialEq, Eq)]
struct Use {
    from: String,
    path: Vec<String>,
    line: usize,
}

fn floor(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(_, rooms)| rooms.contains(&room))
        .map(|(floor, _)| *floor)
}

/// Why `from` may not use `path`; `Ok` if it may.
fn may_use(from: &str, path: &[String]) -> Result<(), String> {
    let Some(to) = path.first() else {
        return Err("a path that ends at the crate names no room".to_owned());
    };
    if from == to {
        return Ok(());
    }
    if to == BESIDE {
        return if from == "cli" {
            Ok(())
        } else {
            Err("only `cli` starts the sandbox".to_owned())
        };
    }
    let Some(above) = floor(to) else {
        return Err(format!("`{to}` is on no floor"));
    };
    if from == BESIDE {
        let second = path.get(1).map(String::as_str);
        return match to.as_str() {
            "crisp" if matches!(second, Some("signature" | "model")) => Ok(()),
            _ if above == 0 => Ok(()),
            _ => {
                Err("the sandbox uses `crisp::signature`, `crisp::model` and the ground".to_owned())
            }
        };
    }
    let Some(own) = floor(from) else {
        return Err(format!("`{from}` is on no floor"));
    };
    if own > above || (from, to.as_str()) == ("app", "config") || (own, above) == (0, 0) {
        return Ok(());
    }
    Err(if own == above {
        format!("both are on floor {own}")
    } else {
        format!("floor {own} does not know floor {above}")
    })
}

/// The module a file is: `src/server/webhooks.rs` is `server`, `webhooks`.
fn module_of(file: &str) -> Vec<String> {
    file.trim_start_matches("src/")
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod" && *part != "lib")
        .map(str::to_owned)
        .collect()
}

/// Every path in `source` that starts at the crate, groups unfolded, `super` followed to where it leads.
fn uses(file: &str, source: &str) -> Vec<Use> {
    let module = module_of(file);
    let from = module.first().cloned().unwrap_or_default();
    let words = words(source);
    let mut uses = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let follows_path = at > 0 && words[at - 1].text == "::";
        if follows_path || !["crate", "super"].contains(&word.text.as_str()) {
            continue;
        }
        let (start, after) = if word.text == "crate" {
            (Vec::new(), at + 1)
        } else {
            let mut here = [module.clone(), word.inside.clone()].concat();
            here.pop();
            let mut after = at + 1;
            while text(&words, after) == "::" && text(&words, after + 1) == "super" {
                here.pop();
                after += 2;
            }
            (here, after)
        };
        if text(&words, after) != "::" {
            continue;
        }
        let mut paths = Vec::new();
        unfold(&words, after + 1, &start, &mut paths);
        uses.extend(paths.into_iter().map(|path| Use {
            from: from.clone(),
            path,
            line: word.line,
        }));
    }
    uses
}

fn text(words: &[Word], at: usize) -> &str {
    words.get(at).map_or("", |word| word.text.as_str())
}

/// Reads the rest of a path at `at` into `paths`, and says where it ends.
fn unfold(words: &[Word], mut at: usize, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match text(words, at) {
            "{" => {
                at += 1;
                while !["}", ""].contains(&text(words, at)) {
                    at = unfold(words, at, &path, paths);
                    while !["}", ",", ""].contains(&text(words, at)) {
                        at += 1; // `as name`
                    }
                    if text(words, at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "self" | "*" => {
                paths.push(path);
                return at + 1;
            }
            name => path.push(name.to_owned()),
        }
        at += 1;
        if text(words, at) != "::" || text(words, at + 1) == "<" {
            paths.push(path);
            return at;
        }
        at += 1;
    }
}

fn breaches(file: &str, source: &str) -> Vec<String> {
    if file == "src/lib.rs" {
        return Vec::new();
    }
    uses(file, source)
        .iter()
        .filter_map(|used| {
            let why = may_use(&used.from, &used.path).err()?;
            Some(format!(
                "{file}:{}: crate::{}: {why}",
                used.line,
                used.path.join("::")
            ))
        })
        .collect()
}

#[test]
fn imports_only_go_down() {
    let breaches: Vec<String> = files("src")
        .iter()
        .flat_map(|file| breaches(&file.path, &file.text))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_ground_has_no_circles() {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files("src") {
        for used in uses(&file.path, &file.text) {
            if let Some(to) = used.path.first()
                && (floor(&used.from), floor(to)) == (Some(0), Some(0))
                && used.from != *to
            {
                below.entry(used.from).or_default().insert(to.clone());
            }
        }
    }
    for room in below.keys() {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = below[room].iter().collect();
        while let Some(next) = open.pop() {
            assert_ne!(next, room, "`{room}` uses itself by way of others");
            if seen.insert(next) {
                open.extend(below.get(next).into_iter().flatten());
            }
        }
    }
}

#[test]
fn the_architecture_document_shows_these_floors() {
    let document = std::fs::read_to_string(top().join("src/lib.rs")).expect("lib.rs");
    let mut shown: Vec<(Option<u8>, Vec<String>)> = Vec::new();
    for line in document.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["//!", floor, rooms, _, ""] = cells[..]
            && !floor.is_empty()
            && !floor.starts_with("--")
            && floor != "floor"
        {
            let number = floor
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok());
            let rooms = rooms
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|room| room.trim_end_matches(".rs").to_owned())
                .collect();
            shown.push((number, rooms));
        }
    }
    let mut enforced: Vec<(Option<u8>, Vec<String>)> = FLOORS
        .iter()
        .map(|(floor, rooms)| {
            (
                Some(*floor),
                rooms.iter().map(|room| (*room).to_owned()).collect(),
            )
        })
        .collect();
    enforced.push((None, vec![BESIDE.to_owned()]));
    assert_eq!(shown, enforced);

    let rooms: BTreeSet<&str> = enforced
        .iter()
        .flat_map(|(_, rooms)| rooms.iter().map(String::as_str))
        .filter(|room| *room != "main")
        .collect();
    let declared: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(
        declared, rooms,
        "every module of the crate is a room, and the other way round"
    );
}

#[test]
fn a_breach_is_caught() {
    for (file, source) in [
        ("src/context/diff.rs", "use crate::lifecycle::Rules;"),
        (
            "src/context/diff.rs",
            "use crate::{data::DataMap, lifecycle::Rules};",
        ),
        (
            "src/context/diff.rs",
            "fn f() -> crate::crisp::client::Client { todo() }",
        ),
        ("src/identity.rs", "use crate::context::Layer;"),
        ("src/crisp/client.rs", "use crate::ledger::Ledger;"),
        ("src/crisp/client.rs", "use super::super::ledger::Ledger;"),
        ("src/crisp/mod.rs", "use super::{ledger, ids};"),
        (
            "src/crisp/mod.rs",
            "mod tests { use super::super::worker; }",
        ),
        (
            "src/crisp/client.rs",
            "#[cfg(test)] mod tests { use crate::sandbox::Sandbox; }",
        ),
        ("src/users/query.rs", "pub(in crate::config) fn f() {}"),
        (
            "src/ledger/mod.rs",
            "use crate::{telemetry::{self, Metrics}, config::{Config, file::{self as f, ConfigFile}}};",
        ),
        (
            "src/reconcile/person.rs",
            "let step = crate::worker::step::<u8>();",
        ),
        ("src/server/mod.rs", "use crate::worker::Worker;"),
        ("src/worker/mod.rs", "use crate::config as settings;"),
        ("src/config/mod.rs", "use crate::app::App;"),
        ("src/app.rs", "use crate::cli::Cli;"),
        ("src/app.rs", "use crate::sandbox::Sandbox;"),
        ("src/sandbox/rest.rs", "use crate::crisp::client::Client;"),
        ("src/sandbox/rest.rs", "use crate::crisp::{model, Client};"),
        ("src/sandbox/rest.rs", "use crate::lifecycle::Rules;"),
        ("src/record.rs", "use crate::context::Layer;"),
        (
            "src/data.rs",
            "macro_rules! m { () => { $crate::users::f() } }",
        ),
        ("src/cli/status.rs", "use crate::helpers::table;"),
        ("src/cli/status.rs", "use crate::*;"),
    ] {
        assert!(!breaches(file, source).is_empty(), "{file}: {source}");
    }
}

#[test]
fn a_breach_is_named() {
    let source = "\nuse crate::{\n    ids,\n    ledger::{self, Ledger as Store},\n};";
    assert_eq!(
        breaches("src/users/cache.rs", source),
        [
            "src/users/cache.rs:2: crate::ledger: both are on floor 2",
            "src/users/cache.rs:2: crate::ledger::Ledger: both are on floor 2",
        ]
    );
}

#[test]
fn what_is_allowed_is_no_breach() {
    for (file, source) in [
        (
            "src/context/diff.rs",
            "use crate::{data::DataMap, expression::Language};",
        ),
        (
            "src/context/diff.rs",
            "use super::{limits, lifecycle}; // a file of this folder may have any name",
        ),
        (
            "src/context/mod.rs",
            "mod tests { use super::*; use super::limits::lifecycle; }",
        ),
        (
            "src/context/mod.rs",
            "mod tests { mod worker { use super::super::worker; } }",
        ),
        (
            "src/ledger/outbox.rs",
            "use crate::{context::Layer, lifecycle::OutboxState}; pub(crate) fn f() {}",
        ),
        ("src/app.rs", "use crate::config::Config;"),
        (
            "src/cli/demo/mod.rs",
            "use crate::{app::App, sandbox::Sandbox};",
        ),
        (
            "src/sandbox/rest.rs",
            "use crate::{crisp::{model::{self, Person}, signature}, ids::WebsiteId, clock::Clock};",
        ),
        (
            "src/record.rs",
            "//! `crate::worker`\nuse crate::ids::UserKey;",
        ),
        (
            "src/telemetry/mod.rs",
            "const NAME: &str = \"crate::server\";",
        ),
        ("src/main.rs", "use crisp_sync::cli;"),
    ] {
        assert_eq!(
            breaches(file, source),
            Vec::<String>::new(),
            "{file}: {source}"
        );
    }
}
