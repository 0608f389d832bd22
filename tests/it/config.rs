//! The configuration as an operator meets it: its faults as they are drawn, its secrets as they are kept, its documents
//! as they are made.

use std::{fs, path::Path};

use crisp_sync::config::{
    Config, Environment, Mode, Palette, TEMPLATE,
    environment::{self},
    schema,
};
use insta::assert_snapshot;
use secrecy::ExposeSecret;

const FILE: &str = "crisp-sync.toml";

/// The least that works.
const LEAST: &str = r#"
[users]
query = "SELECT id, email, plan FROM users WHERE email = :email"
"#;

fn environment() -> Environment {
    Environment::from_iter([
        ("DATABASE_URL", "postgres://app:db-hunter2@db/app"),
        ("CRISP_TOKEN_IDENTIFIER", "id-hunter2"),
        ("CRISP_TOKEN_KEY", "key-hunter2"),
        ("CRISP_SIGNING_SECRETS", "whsec-hunter2-a, whsec-hunter2-b"),
    ])
}

fn read(text: &str) -> Config {
    read_in(text, &environment())
}

fn read_in(text: &str, environment: &Environment) -> Config {
    Config::from_text(FILE, text, environment).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The faults as they are drawn, without their last line when `text` is only a part of a file.
fn faults(text: &str) -> String {
    faults_in(text, &environment())
}

fn faults_in(text: &str, environment: &Environment) -> String {
    match Config::from_text(FILE, text, environment) {
        Ok(_) => panic!("no fault in {text}"),
        Err(faults) => faults.to_string(),
    }
}

#[test]
fn every_fault_of_a_broken_file_is_drawn_at_once() {
    let text = r#"mode = "lvie"

[server]
lisen = "0.0.0.0:8080"
max_body = "1 mile"
path_prefix = "sync"

[crisp]
timeout = 10
base_url = "api.crisp.chat"
websites = ["ok-1", "not ok"]
token_key = "hunter2"

[users]
url = "postgres://app:hunter2@db/app"
timezone = "Europe/Pari"

[worker]
attempts = 0
backoff_min = "2h"

[triggers]
on = ["message:sent", "session:set_email"]

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
colour = "orange"
"#;
    assert_snapshot!(faults(text), @"");
}

#[test]
fn what_is_not_toml_is_drawn_once_and_without_its_secrets() {
    assert_snapshot!(faults("[crisp]\ntoken_key = \"hunter2\n[users]\n"), @"");
}

#[test]
fn a_place_inside_a_string_is_found_in_every_form() {
    let text = r#"
[users]
query = '''
  SELECT id, email
  FROM users
  WHERE email = :mail'''
query_by_key = "SELECT id, \"e\u006dail\" FROM users WHERE id = :id AND 1 = :key"

[[lifecycle.event]]
name = "a:b"
at = "a ==== b"

[[lifecycle.event]]
name = "c:d"
at = """\
    created_at \
    | no_such_filter"""
"#;
    assert_snapshot!(faults(text), @"");
}

#[test]
fn what_must_be_set_is_asked_for() {
    assert_snapshot!(faults_in("mode = \"live\"\n", &Environment::default()), @"");
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    let text = r#"
[server]
listen = "0.0.0.0:9090"
ops_listen = "0.0.0.0:9090"
[crisp]
tier = "website"
websites = ["one", "two"]
timeout = "60s"
connect_timeout = "90s"
[worker]
backoff_max = "1s"
[triggers]
on = []
[users]
query = "SELECT id, email FROM users WHERE email = :email"
[users.more.event]
query = "SELECT 1"
[users.more.two-words]
"#;
    assert_snapshot!(faults(text), @"");
}

#[test]
fn the_environment_stands_over_the_file_and_a_flag_over_both() {
    let text = format!("mode = \"observe\"\n[server]\nlisten = \"127.0.0.1:1000\"\n{LEAST}");
    let config = read(&text);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:1000");

    let with = |pairs: &[(&str, &str)]| {
        let own = environment();
        let mut all: Vec<(String, String)> = environment::ALL
            .iter()
            .filter_map(|variable| Some((variable.name.to_owned(), own.get(variable.name)?.to_owned())))
            .collect();
        all.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Environment::from_iter(all)
    };
    let port = with(&[("PORT", "2000")]);
    assert_eq!(read_in(&text, &port).server.listen.to_string(), "127.0.0.1:2000");
    let both = with(&[("PORT", "2000"), ("CRISP_SYNC_LISTEN", "[::]:3000"), ("CRISP_SYNC_MODE", "live")]);
    let config = read_in(&text, &both);
    assert_eq!(config.server.listen.to_string(), "[::]:3000");
    assert_eq!(config.mode, Mode::Live);
    let flag = both.with_flag(environment::MODE, "--mode", "observe");
    assert_eq!(read_in(&text, &flag).mode, Mode::Observe);

    let wrong = with(&[("PORT", "http")]).with_flag(environment::MODE, "--mode", "dead");
    assert_snapshot!(faults_in(&text, &wrong), @"");
}

#[test]
fn a_secret_comes_from_its_variable_or_from_a_file_and_never_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    fs::write(&key, "key-hunter2-of-a-file\n").expect("a file");
    fs::write(folder.path().join("secret"), "whsec-hunter2-of-a-file\n").expect("a file");
    let name = folder.path().join(FILE);
    let text = format!("[webhooks]\nsigning_secret_files = [\"secret\"]\n{LEAST}");
    let environment = Environment::from_iter([
        ("DATABASE_URL", "postgres://app:db-hunter2@db/app"),
        ("CRISP_TOKEN_IDENTIFIER", "id-hunter2"),
        ("CRISP_TOKEN_KEY_FILE", key.to_str().expect("a path")),
        ("CRISP_SYNC_PROXY", "http://me:proxy-hunter2@proxy:3128"),
        ("CRISP_SYNC_OPS_READ_TOKEN", "ops-hunter2"),
        ("CRISP_WEBSITE_KEYS", "web-1=hook-hunter2"),
    ]);
    let config = Config::from_text(name.to_str().expect("a path"), &text, &environment)
        .unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(config.crisp.client.token.key.expose_secret(), "key-hunter2-of-a-file");
    assert_eq!(config.users.url.expose_secret(), "postgres://app:db-hunter2@db/app");
    assert!(!config.webhooks.signing_secrets.is_empty());
    assert_eq!(config.webhooks.website_keys.len(), 1);
    assert_eq!(config.secret_files, [key, folder.path().join("secret")]);
    let shown = format!("{config:?} {environment:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_secret_that_cannot_be_read_is_a_fault_at_the_place_that_named_it() {
    let text = format!("[crisp]\ntoken_key_file = \"/nowhere/key\"\n{LEAST}");
    let environment = Environment::from_iter([
        ("DATABASE_URL", "postgres://db/app"),
        ("DATABASE_URL_FILE", "/nowhere/url"),
        ("CRISP_TOKEN_IDENTIFIER_FILE", "/nowhere/id"),
        ("CRISP_SIGNING_SECRETS", "whsec"),
    ]);
    assert_snapshot!(faults_in(&text, &environment), @"");
}

#[test]
fn no_fault_shows_a_secret() {
    for text in [
        "[crisp]\ntoken_key = \"hunter2\"\n",
        "[crisp]\nkey = \"hunter2\"\n",
        "[crisp]\ntoken = { key = \"hunter2\" }\n",
        "[webhooks]\nsigning_secrets = [\n  \"hunter2\",\n]\n",
        "[webhooks]\nsigning_secret = 'hunter2\n",
        "[server]\nops_act_token = \"\"\"\nhunter2\"\"\"\n",
        "[users]\nurl = \"postgres://app:hunter2@db/app\"\n",
        "[users]\nurl = [\"postgres://app:hunter2@db/app\"]\n",
        "[users.more.a]\nurl = \"mysql://app:hunter2@db/app\"\n",
        "[crisp]\nproxy = \"http://me:hunter2@proxy\"\n",
        "password = \"hunter2\"\n",
    ] {
        let faults = Config::from_text(FILE, text, &environment()).expect_err(text);
        for shown in [
            faults.to_string(),
            faults.render(Palette::Coloured),
            format!("{faults:?}"),
        ] {
            assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        }
    }
    let environment = Environment::from_iter(
        environment::ALL
            .iter()
            .map(|variable| (variable.name, "hunter2 {")),
    );
    let shown = faults_in(LEAST, &environment);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn colours_are_for_terminals() {
    let faults = Config::from_text(FILE, "mod = 1\n", &environment()).expect_err("a slip");
    assert!(faults.render(Palette::Coloured).contains('\u{1b}'));
    assert!(!faults.render(Palette::Plain).contains('\u{1b}'));
    assert_eq!(faults.position(&faults.faults()[0]), Some((1, 1)));
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let faults = Config::load(Path::new("/nowhere/crisp-sync.toml"), &environment())
        .expect_err("there is no such file");
    assert_snapshot!(faults, @"");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = format!("[identity]\npolicy = \"all\"\n{LEAST}");
    let mut pairs = vec![("CRISP_SIGNING_SECRET", "x")];
    let own = environment();
    pairs.extend(
        environment::ALL
            .iter()
            .filter_map(|variable| Some((variable.name, own.get(variable.name)?))),
    );
    let config = read_in(&text, &Environment::from_iter(pairs));
    let warnings: Vec<&str> = config
        .warnings
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "nothing reads this variable",
            "whoever types somebody's e-mail address reads that person's data"
        ]
    );
}

#[test]
fn the_template_is_a_configuration() {
    let config = read(TEMPLATE);
    assert_eq!(config.mode, Mode::Observe);
    assert_eq!(config.users.more.len(), 1);
}

/// `#key = value` states a default; uncommented, it is one.
#[test]
fn the_template_states_the_defaults() {
    let stated: String = TEMPLATE
        .lines()
        .filter_map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|next: char| next.is_ascii_lowercase()) => Some(setting),
            Some(_) => None,
            None => line.starts_with('[').then_some(line),
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let stated: toml::Table = toml::from_str(&stated).expect("the stated defaults are TOML");
    let defaults = serde_json::to_value(crisp_sync::config::ConfigFile::default()).expect("JSON");
    let stated = serde_json::to_value(stated).expect("JSON");
    let mut compared = 0;
    for (section, keys) in stated.as_object().expect("a table") {
        for (key, value) in keys.as_object().into_iter().flatten() {
            if value.is_object() && value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.is_array() && section == "lifecycle"
                || ["url"].contains(&key.as_str())
                || ["users.more", "maps", "context"].contains(&format!("{section}.{key}").as_str())
                || ["maps", "context"].contains(&section.as_str())
                || key == "more"
            {
                continue;
            }
            assert_eq!(defaults[section].get(key), Some(value), "{section}.{key}");
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} defaults are stated");
}

#[test]
fn the_reference_is_fresh() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let schema = serde_json::to_string_pretty(&schema::schema()).expect("JSON") + "\n";
    for (name, made) in [
        ("configuration.md", schema::reference()),
        ("crisp-sync.schema.json", schema),
    ] {
        let path = docs.join(name);
        if std::env::vars_os().any(|(name, _)| name == "UPDATE_DOCS") {
            fs::create_dir_all(&docs).expect("a folder");
            fs::write(&path, &made).expect("a page");
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == made,
            "docs/{name} is out of date: run `UPDATE_DOCS=1 cargo test --test it config`"
        );
    }
}

#[test]
fn every_key_says_what_it_means() {
    let page = schema::reference();
    let silent: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.ends_with("|  |"))
        .collect();
    assert_eq!(silent, Vec::<&str>::new());
}
