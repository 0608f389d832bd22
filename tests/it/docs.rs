//! What is written about the program, held against the program: commands, snippets, links, variables, routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory as _;
use crisp_sync::{
    alerts,
    cli::Arguments,
    config::{
        Config, Environment,
        environment::{self, Variable},
    },
    telemetry::events,
};

use crate::source::{files, top};

/// A document, by its path from the top.
struct Document {
    path: String,
    text: String,
}

fn document(path: &str) -> Document {
    let text =
        fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Document {
        path: path.to_owned(),
        text,
    }
}

/// The README, the changelog and every page of `docs`.
fn documents() -> Vec<Document> {
    let pages = fs::read_dir(top().join("docs")).expect("docs");
    let mut paths: Vec<String> = pages
        .map(|page| {
            page.expect("a page")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|ending| ending == "md")
        })
        .map(|name| format!("docs/{name}"))
        .chain(["README.md".to_owned(), "CHANGELOG.md".to_owned()])
        .collect();
    paths.sort();
    paths.iter().map(|path| document(path)).collect()
}

/// The fenced blocks of a language.
fn fences(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside: Option<(bool, String)> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut inside) {
            (Some(named), None) => inside = Some((named == language, String::new())),
            (Some(_), Some(_)) => {
                if let Some((true, body)) = inside.take() {
                    found.push(body);
                }
            }
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// What stands between backticks, outside of fences.
fn codes(text: &str) -> Vec<&str> {
    text.split("```")
        .step_by(2)
        .flat_map(|prose| prose.split('`').skip(1).step_by(2))
        .collect()
}

/// The command lines of ours in a shell script: the words after the program's name.
fn command_lines(script: &str) -> Vec<Vec<String>> {
    script
        .replace("\\\n", " ")
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default())
        .filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("crisp-sync ")
                .or_else(|| line.strip_prefix("cargo run --release -- "))
        })
        .map(|line| {
            line.split_whitespace()
                .take_while(|word| !["|", "&", ">", "&&"].contains(word))
                .map(str::to_owned)
                .collect()
        })
        .collect()
}

/// Why the command line would not take these words.
fn refusal(words: &[String]) -> Option<String> {
    let line = std::iter::once("crisp-sync").chain(words.iter().map(String::as_str));
    Arguments::command()
        .try_get_matches_from(line)
        .err()
        .map(|error| error.to_string())
}

/// `deliveries list` and the like: every command that does something.
fn commands() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for command in Arguments::command().get_subcommands() {
        let mut below = command.get_subcommands().peekable();
        if below.peek().is_none() {
            names.insert(command.get_name().to_owned());
        }
        names.extend(below.map(|below| format!("{} {}", command.get_name(), below.get_name())));
    }
    names
}

/// The rows of the table whose heading begins like that, as their first cells.
fn first_cells<'text>(text: &'text str, heading: &str) -> Vec<&'text str> {
    text.lines()
        .skip_while(|line| !line.starts_with(heading))
        .skip(2)
        .take_while(|line| line.starts_with("| "))
        .map(|line| {
            line.trim_start_matches("| ")
                .split(" |")
                .next()
                .unwrap_or_default()
        })
        .collect()
}

#[test]
fn every_command_line_that_is_shown_is_one() {
    let mut seen = 0;
    for page in documents() {
        for words in fences(&page.text, "sh")
            .iter()
            .flat_map(|script| command_lines(script))
        {
            seen += 1;
            if let Some(why) = refusal(&words) {
                panic!("{}: crisp-sync {}\n{why}", page.path, words.join(" "));
            }
        }
    }
    assert!(seen >= 8, "only {seen} command lines were found");
}

/// Prose leaves out what a command needs, and still names nothing that there is not.
#[test]
fn every_command_that_prose_names_exists() {
    for page in documents() {
        let mut is_fenced = false;
        for line in page.text.lines() {
            is_fenced ^= line.starts_with("```");
            let codes = line.split('`').skip(1).step_by(2);
            let lines = codes.filter(|_| !is_fenced).flat_map(command_lines);
            for words in lines {
                let why = refusal(&words).unwrap_or_default();
                let exists = !why.contains("unexpected argument");
                assert!(exists, "{}: {}\n{why}", page.path, words.join(" "));
            }
        }
    }
}

#[test]
fn the_readme_lists_the_commands_there_are_and_no_other() {
    let readme = document("README.md");
    let listed: BTreeSet<String> = first_cells(&readme.text, "| command |")
        .iter()
        .flat_map(|cell| codes(cell))
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, commands());
}

#[test]
fn every_configuration_that_is_shown_is_taken() {
    let environment = Environment::from_iter([
        ("DATABASE_URL", "postgres://app@db/app"),
        ("CRISP_TOKEN_IDENTIFIER", "identifier"),
        ("CRISP_TOKEN_KEY", "key"),
        ("CRISP_SIGNING_SECRETS", "secret"),
    ]);
    let snippets: Vec<(String, String)> = documents()
        .into_iter()
        .flat_map(|page| {
            fences(&page.text, "toml")
                .into_iter()
                .map(move |text| (page.path.clone(), text))
        })
        .collect();
    assert!(!snippets.is_empty(), "no configuration is shown");
    for (path, text) in snippets {
        if let Err(faults) = Config::from_text("crisp-sync.toml", &text, &environment) {
            panic!("{path}:\n{faults}");
        }
    }
}

/// Every setting by its path in the file, as the page that is made from the schema lists it.
fn settings() -> BTreeSet<String> {
    let mut section = String::new();
    let mut found = BTreeSet::new();
    for line in document("docs/configuration.md").text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.replace(['`', '[', ']'], "");
        } else if let Some(key) = line.strip_prefix("| `") {
            let key = key.split('`').next().unwrap_or_default();
            found.insert(format!("{section}.{key}"));
        }
    }
    found
}

/// What is written like a setting of a section that there is: `users.connections`. Log events and breakers are, too.
fn like_settings<'text>(text: &'text str, settings: &BTreeSet<String>) -> Vec<&'text str> {
    let of = |path: &str| path.split('.').next().unwrap_or_default().to_owned();
    let sections: BTreeSet<String> = settings.iter().map(|setting| of(setting)).collect();
    text.split('`')
        .filter(|word| word.contains('.') && sections.contains(&of(word)))
        .filter(|word| {
            word.chars()
                .all(|sign| sign.is_ascii_lowercase() || "._".contains(sign))
        })
        .collect()
}

/// In pages, in messages and in what is written above the code.
#[test]
fn every_setting_that_is_named_exists() {
    let settings = settings();
    assert!(settings.contains("users.connections"), "{settings:?}");
    let is_known = |name: &str| {
        settings.contains(name)
            // A table of settings, or a key in one: `users.cache`, `users.more.billing`, `context.data.plan`.
            || settings.iter().any(|setting| setting.starts_with(&format!("{name}.")))
            || ["users.more", "context.data"].iter().any(|table| name.starts_with(table))
            || events::ALL.iter().any(|event| event.name == name)
            // A breaker, a call, and fields of the log.
            || ["crisp.writes", "profile.get", "crisp.calls", "users.engine"].contains(&name)
    };
    let pages = documents().into_iter().map(|page| (page.path, page.text));
    let sources = files("src").into_iter().map(|file| (file.path, file.text));
    let unknown: Vec<String> = pages
        .chain(sources)
        .flat_map(|(path, text)| {
            like_settings(&text, &settings)
                .into_iter()
                .filter(|name| !is_known(name))
                .map(|name| format!("{path}: {name}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// The page on performance holds what the script printed; the README repeats some of it.
#[test]
fn the_readme_repeats_the_figures_of_the_last_measurement() {
    let printed = document("docs/performance.md").text;
    let row = |name: &str| -> Vec<String> {
        let line = printed
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name) && !line.contains(':'));
        let line = line.unwrap_or_else(|| panic!("no row of {name}"));
        let numbers = line.trim_start_matches(name).split_whitespace();
        numbers.map(str::to_owned).collect()
    };
    let thousands = |number: &str| match number.len() {
        4.. => format!(
            "{},{}",
            &number[..number.len() - 3],
            &number[number.len() - 3..]
        ),
        _ => number.to_owned(),
    };
    let durable = row("durable");
    let (bare, express) = (row("bare"), row("express"));
    for said in [
        format!(
            "{} a second; p50 {} ms, p99 {} ms",
            thousands(&durable[0]),
            durable[1],
            durable[2]
        ),
        format!(
            "{}; {} a second",
            thousands(&bare[0]),
            thousands(&express[0])
        ),
    ] {
        let readme = document("README.md").text;
        assert!(readme.contains(&said), "the README does not say {said:?}");
    }
}

/// The relative links of a page, without what stands behind `#`.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .map(|link| link.split('#').next().unwrap_or_default())
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let broken: Vec<String> = documents()
        .iter()
        .flat_map(|page| {
            let folder = Path::new(&page.path)
                .parent()
                .map(PathBuf::from)
                .unwrap_or_default();
            links(&page.text)
                .into_iter()
                .filter(|link| !top().join(&folder).join(link).exists())
                .map(|link| format!("{}: {link}", page.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Names of environment variables in a text: words in capitals that begin like ours.
fn variables(text: &str) -> BTreeSet<&str> {
    text.split(|sign: char| !sign.is_ascii_uppercase() && !sign.is_ascii_digit() && sign != '_')
        .filter(|word| word.starts_with("CRISP_") || word.starts_with("DATABASE_URL"))
        .filter(|word| !word.ends_with('_'))
        .collect()
}

#[test]
fn every_environment_variable_that_is_named_is_read() {
    let is_read = |name: &str| {
        environment::ALL.iter().any(
            |Variable {
                 name: known,
                 secret,
                 ..
             }| {
                name == *known || (*secret && name.strip_suffix("_FILE") == Some(known))
            },
        )
    };
    for path in [
        "README.md",
        "docs/sandbox.md",
        "Dockerfile",
        "deploy/compose.yaml",
        "deploy/crisp-sync.service",
    ] {
        let page = document(path);
        let unknown: Vec<_> = variables(&page.text)
            .into_iter()
            .filter(|name| !is_read(name))
            .collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
}

/// Method and path of every route that a file mounts.
fn routes(source: &str) -> BTreeSet<String> {
    let dense: String = source.split_whitespace().collect();
    dense
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| {
            let (path, rest) = rest.split_once("\",web::")?;
            let (method, _) = rest.split_once("()")?;
            Some(format!("{} /sandbox{path}", method.to_uppercase()))
        })
        .collect()
}

/// A page for whoever is woken: each condition, and each line at `ERROR`, with what it means and what to do.
#[test]
fn every_alert_is_explained_and_nothing_else() {
    let page = document("docs/alerts.md").text;
    let sections: BTreeMap<&str, &str> = page
        .split("\n### ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(heading, text)| (heading.trim_matches('`'), text))
        .collect();
    let explained: BTreeSet<&str> = sections.keys().copied().collect();
    assert_eq!(explained, alerts::KINDS.iter().copied().collect());
    for (condition, text) in &sections {
        for part in ["**Means:** ", "\n**Look at:** ", "\n**Do:** "] {
            assert!(text.contains(part), "{condition} lacks {part:?}");
        }
    }
    let names = |text: &str, heading: &str| -> BTreeSet<String> {
        let cells = first_cells(text, heading).into_iter();
        cells
            .map(|cell| cell.trim_matches('`').to_owned())
            .collect()
    };
    let loud = events::ALL.iter().filter(|event| event.level == "ERROR");
    let loud: BTreeSet<String> = loud.map(|event| event.name.to_owned()).collect();
    assert_eq!(names(&page, "| line |"), loud);
    let operations = document("docs/operations.md").text;
    let listed = names(&operations, "| condition |");
    let kinds = alerts::KINDS.iter().map(|kind| (*kind).to_owned());
    assert_eq!(listed, kinds.collect());
}

#[test]
fn the_control_api_is_written_down_whole() {
    let control = document("src/sandbox/control/mod.rs");
    let page = document("docs/sandbox.md");
    let written: BTreeSet<String> = first_cells(&page.text, "| call |")
        .iter()
        .map(|cell| cell.trim_matches('`').to_owned())
        .collect();
    assert_eq!(written, routes(&control.text));
}

#[test]
fn every_field_of_the_control_api_exists() {
    let sources: String = files("src/sandbox")
        .into_iter()
        .map(|file| file.text)
        .collect();
    let page = document("docs/sandbox.md");
    let rows = page
        .text
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains(" /sandbox/"));
    for row in rows {
        let fields = row.split(" | ").nth(1).unwrap_or_default();
        for field in codes(fields) {
            assert!(
                sources.contains(&format!(" {field}: ")),
                "no field `{field}`: {row}"
            );
        }
    }
}

#[test]
fn the_images_context_holds_what_the_manifest_names() {
    let manifest: toml::Table = document("Cargo.toml").text.parse().expect("TOML");
    let image = document("Dockerfile");
    let context = document(".dockerignore");
    for (kind, folder) in [("bench", "benches"), ("test", "tests")] {
        for target in manifest[kind].as_array().expect("targets") {
            let name = target["name"].as_str().expect("a name");
            let file = format!("{folder}/{name}.rs");
            assert!(top().join(&file).exists(), "{file}");
            for (part, text) in [
                ("Dockerfile", &image.text),
                (".dockerignore", &context.text),
            ] {
                let has = |what: &str| {
                    text.split_whitespace()
                        .any(|word| word.trim_start_matches('!') == what)
                };
                assert!(
                    has(folder) || has(&file),
                    "{part} leaves out {file}: cargo refuses the manifest without it"
                );
            }
        }
    }
}

#[test]
fn a_breach_is_caught() {
    assert_eq!(
        fences("a\n```sh\nb\nc\n```\nd\n```toml\ne\n```\n", "sh"),
        ["b\nc\n"]
    );
    assert_eq!(codes("a `b` c\n```\n`d`\n```\n`e`"), ["b", "e"]);
    assert_eq!(
        command_lines("crisp-sync init > file\nnode x.mjs\ncrisp-sync serve --a \\\n  b & # c\n"),
        [vec!["init"], vec!["serve", "--a", "b"]]
    );
    assert!(refusal(&["explain".to_owned()]).is_some());
    assert!(refusal(&["serve".to_owned(), "--no-such-option".to_owned()]).is_some());
    assert_eq!(links("[a](b.md#c) [d](https://e) [f](#g)"), ["b.md"]);
    assert_eq!(
        variables("CRISP_TIER=x ${DATABASE_URL_FILE} PATH"),
        ["CRISP_TIER", "DATABASE_URL_FILE"].into()
    );
    assert_eq!(
        like_settings("`users.pool_size`, `a.b`, `users.rs`", &settings()),
        ["users.pool_size", "users.rs"]
    );
    assert_eq!(
        routes(".route(\"/a\", web::get().to(b)).route(\n\"/c\",\nweb::post().to(d))"),
        ["GET /sandbox/a".to_owned(), "POST /sandbox/c".to_owned()].into()
    );
}

/// What the table on scaling promises follows from the defaults.
#[test]
fn the_calls_that_are_left_to_a_website_follow_from_the_defaults() {
    const GRANTED: f64 = 5000.0;
    let gap = crisp_sync::reconcile::GapSettings::default();
    let looks = 86_400.0 / gap.every.as_secs_f64();
    let text = document("docs/scaling.md").text;
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip_while(|line| !line.starts_with("| websites | calls"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().replace(',', "").parse().expect("a number"))
                .collect()
        })
        .collect();
    assert!(rows.len() > 3, "the table is there");
    for row in rows {
        let calls = GRANTED / row[0];
        let look = looks.min(f64::from(gap.daily_calls) / row[0]);
        let conversations = |cost: f64| ((calls - look) / cost).floor();
        assert_eq!(
            row,
            [row[0], calls, look, conversations(2.0), conversations(5.0)]
        );
    }
}

/// The examples of the API's page are taken as they stand, and its table names every route.
#[test]
fn the_api_is_written_down_as_it_is() {
    let page = document("docs/api.md");
    let source = fs::read_to_string(top().join("src/server/api.rs")).expect("the source");
    let mounted: BTreeSet<&str> = source
        .split("web::resource(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let written: BTreeSet<&str> = first_cells(&page.text, "| request | body")
        .into_iter()
        .filter_map(|cell| cell.trim_matches('`').split_once(' '))
        .map(|(_, route)| route)
        .collect();
    assert_eq!(written, mounted);
    let curls = fences(&page.text, "sh");
    assert_eq!(curls.len(), 2);
    for example in curls
        .iter()
        .chain(&fences(&page.text, "php"))
        .chain(&fences(&page.text, "ruby"))
    {
        assert!(
            mounted.iter().any(|route| example.contains(route)),
            "{example}"
        );
        if let Some((_, body)) = example.split_once("--data '") {
            let body = body.split('\'').next().expect("an end");
            serde_json::from_str::<crisp_sync::server::desk::Whom>(body).expect("a body");
        }
    }
}
