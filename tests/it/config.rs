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
#[expect(
    clippy::too_many_lines,
    reason = "one file and its faults as they are drawn"
)]
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
    assert_snapshot!(faults(text), @r#"
    error: `mode` does not take this value
     --> crisp-sync.toml:1:8
      |
    1 | mode = "lvie"
      |        ^^^^^^
      |
      = hint: it takes `observe` or `live`

    error: unknown key `lisen` in `[server]`
     --> crisp-sync.toml:4:1
      |
    4 | lisen = "0.0.0.0:8080"
      | ^^^^^
      |
      = hint: did you mean `listen`?

    error: `server.max_body`: it takes a size such as `512KiB` or `1MiB`
     --> crisp-sync.toml:5:12
      |
    5 | max_body = "1 mile"
      |            ^^^^^^^^

    error: this is not a path
     --> crisp-sync.toml:6:15
      |
    6 | path_prefix = "sync"
      |               ^^^^^^
      |
      = hint: it takes a path such as `/crisp-sync`: letters, digits, `-`, `_`, `.`, `~`

    error: `crisp.timeout` takes a duration in quotes, such as "10s", "15m" or "3d"; this is a whole number
     --> crisp-sync.toml:9:11
      |
    9 | timeout = 10
      |           ^^

    error: `crisp.base_url`: it takes a URL such as `https://host/path`
      --> crisp-sync.toml:10:12
       |
    10 | base_url = "api.crisp.chat"
       |            ^^^^^^^^^^^^^^^^

    error: the value is not a website id: it takes 1 to 64 letters, digits, `-` or `_`
      --> crisp-sync.toml:11:21
       |
    11 | websites = ["ok-1", "not ok"]
       |                     ^^^^^^^^
       |
       = hint: it stands in the address of the Crisp app: `/website/<id>/`

    error: unknown key `token_key` in `[crisp]`
      --> crisp-sync.toml:12:1
       |
    12 | token_key = "*******"
       | ^^^^^^^^^
       |
       = hint: secrets never stand in the file: set CRISP_TOKEN_KEY, or name a file in `crisp.token_key_file`

    error: `users.query` is missing
      --> crisp-sync.toml:14:1
       |
    14 | [users]
       | ^^^^^^^
       |
       = hint: write the SELECT that finds a user, with `:email` in its condition

    error: there is no such time zone: failed to find time zone `Europe/Pari` in time zone database
      --> crisp-sync.toml:16:12
       |
    16 | timezone = "Europe/Pari"
       |            ^^^^^^^^^^^^^
       |
       = hint: it takes an IANA name such as `UTC` or `Europe/Paris`

    error: the longest wait is shorter than the first
      --> crisp-sync.toml:18:1
       |
    18 | [worker]
       | ^^^^^^^^
       |
       = hint: make it at least `worker.backoff_min`

    error: `worker.attempts` takes a whole number, 1 or more; this is 0
      --> crisp-sync.toml:19:12
       |
    19 | attempts = 0
       |            ^

    error: `triggers.on` does not take this value
      --> crisp-sync.toml:23:7
       |
    23 | on = ["message:sent", "session:set_email"]
       |       ^^^^^^^^^^^^^^
       |
       = hint: did you mean `message:send`?

    error: unknown key `colour` in `[[lifecycle.event]]`
      --> crisp-sync.toml:28:1
       |
    28 | colour = "orange"
       | ^^^^^^
       |
       = hint: did you mean `color`?

    error: 14 faults in the configuration `crisp-sync.toml`
    "#);
}

#[test]
fn what_is_not_toml_is_drawn_once_and_without_its_secrets() {
    assert_snapshot!(faults("[crisp]\ntoken_key = \"hunter2\n[users]\n"), @r#"
    error: this is not TOML: invalid basic string, expected `"`
     --> crisp-sync.toml:2:21
      |
    2 | token_key = "*******
      |                     ^
      |
      = hint: text and lengths of time stand in quotes, as in `mode = "live"`; `crisp-sync init` prints a whole file to compare with

    error: 1 fault in the configuration `crisp-sync.toml`
    "#);
}

#[test]
fn other_ways_of_not_being_toml_are_drawn_too() {
    let drawn: Vec<String> = [
        "[crisp]\ntimeout = 10s\n",
        "mode = live\n",
        "mode = \"live\"\nmode = \"observe\"\n",
        "[users\n",
        "mode = \"live",
    ]
    .into_iter()
    .map(faults)
    .collect();
    assert_snapshot!(drawn.join("\n"), @r#"
    error: this is not TOML: string values must be quoted, expected literal string
     --> crisp-sync.toml:2:11
      |
    2 | timeout = 10s
      |           ^^^
      |
      = hint: text and lengths of time stand in quotes, as in `mode = "live"`; `crisp-sync init` prints a whole file to compare with

    error: 1 fault in the configuration `crisp-sync.toml`
    error: this is not TOML: string values must be quoted, expected literal string
     --> crisp-sync.toml:1:8
      |
    1 | mode = live
      |        ^^^^
      |
      = hint: text and lengths of time stand in quotes, as in `mode = "live"`; `crisp-sync init` prints a whole file to compare with

    error: 1 fault in the configuration `crisp-sync.toml`
    error: this is not TOML: duplicate key
     --> crisp-sync.toml:2:1
      |
    2 | mode = "observe"
      | ^^^^
      |
      = hint: a key stands once in its table: take one of the two away

    error: 1 fault in the configuration `crisp-sync.toml`
    error: this is not TOML: unclosed table, expected `]`
     --> crisp-sync.toml:1:7
      |
    1 | [users
      |       ^
      |
      = hint: text and lengths of time stand in quotes, as in `mode = "live"`; `crisp-sync init` prints a whole file to compare with

    error: 1 fault in the configuration `crisp-sync.toml`
    error: this is not TOML: invalid basic string, expected `"`
     --> crisp-sync.toml:1:13
      |
    1 | mode = "live
      |             ^
      |
      = hint: text and lengths of time stand in quotes, as in `mode = "live"`; `crisp-sync init` prints a whole file to compare with

    error: 1 fault in the configuration `crisp-sync.toml`
    "#);
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
    assert_snapshot!(faults(text), @r#"
    error: the query does not use `:email`, so it cannot find anybody
     --> crisp-sync.toml:3:9
      |
    3 |   query = '''
      |  _________^
    4 | |   SELECT id, email
    5 | |   FROM users
    6 | |   WHERE email = :mail'''
      | |________________________^
      |
      = hint: add a condition such as `WHERE lower(email) = :email`

    error: there is no parameter `:mail` here
     --> crisp-sync.toml:6:17
      |
    6 |   WHERE email = :mail'''
      |                 ^^^^^
      |
      = hint: `:email` is the address looked for

    error: there is no parameter `:id` here
     --> crisp-sync.toml:7:65
      |
    7 | query_by_key = "SELECT id, \"e\u006dail\" FROM users WHERE id = :id AND 1 = :key"
      |                                                                 ^^^
      |
      = hint: `:key` is the key looked for

    error: unexpected `==`
      --> crisp-sync.toml:11:11
       |
    11 | at = "a ==== b"
       |           ^^

    error: unknown tool `no_such_filter`
      --> crisp-sync.toml:17:7
       |
    17 |     | no_such_filter"""
       |       ^^^^^^^^^^^^^^
       |
       = hint: there are days_until, days_since, date, round_day, money, round, abs, number, text, yes_no, default, map, slug, upper, lower, trim, replace, truncate, length, starts_with, ends_with, contains, join, pluck, first, last, link

    error: 5 faults in the configuration `crisp-sync.toml`
    "#);
}

#[test]
fn what_must_be_set_is_asked_for() {
    assert_snapshot!(faults_in("mode = \"live\"\n", &Environment::default()), @r#"
    error: `users.url` is missing
    --> crisp-sync.toml
     = hint: set DATABASE_URL, or `users.url` without a password

    error: `users.query` is missing
    --> crisp-sync.toml
     = hint: write the SELECT that finds a user, with `:email` in its condition

    error: CRISP_TOKEN_IDENTIFIER: it is not set, and Crisp's API answers nobody without it
     |
     = hint: make a token in the Crisp Marketplace; set CRISP_TOKEN_IDENTIFIER, or CRISP_TOKEN_IDENTIFIER_FILE to the path of a file

    error: CRISP_TOKEN_KEY: it is not set, and Crisp's API answers nobody without it
     |
     = hint: make a token in the Crisp Marketplace; set CRISP_TOKEN_KEY, or CRISP_TOKEN_KEY_FILE to the path of a file

    error: CRISP_SIGNING_SECRETS: no signing secret is set, so no webhook could be verified
     |
     = hint: copy it from the plugin's Web Hooks page in the Crisp Marketplace

    error: 5 faults in the configuration `crisp-sync.toml`
    "#);
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
    assert_snapshot!(faults(text), @r#"
    error: both listeners have the same address
     --> crisp-sync.toml:4:14
      |
    4 | ops_listen = "0.0.0.0:9090"
      |              ^^^^^^^^^^^^^^
      |
      = hint: give the ops listener a port of its own

    error: the ops listener is open to other machines and asks for no token
     --> crisp-sync.toml:4:14
      |
    4 | ops_listen = "0.0.0.0:9090"
      |              ^^^^^^^^^^^^^^
      |
      = hint: set CRISP_SYNC_OPS_READ_TOKEN, or listen on 127.0.0.1

    error: a website token speaks for one website; these are several
     --> crisp-sync.toml:7:12
      |
    7 | websites = ["one", "two"]
      |            ^^^^^^^^^^^^^^
      |
      = hint: use a plugin token (`tier = "plugin"`), or run one crisp-sync per website

    error: connecting may not take longer than the whole call
     --> crisp-sync.toml:9:19
      |
    9 | connect_timeout = "90s"
      |                   ^^^^^
      |
      = hint: make it at most `crisp.timeout`

    error: the lease is shorter than three calls to Crisp may take
      --> crisp-sync.toml:10:1
       |
    10 | [worker]
       | ^^^^^^^^
       |
       = hint: an attempt must end before its lease does: lengthen it, or shorten `crisp.timeout`

    error: the longest wait is shorter than the first
      --> crisp-sync.toml:11:15
       |
    11 | backoff_max = "1s"
       |               ^^^^
       |
       = hint: make it at least `worker.backoff_min`

    error: no webhook asks for a refresh, so no conversation would ever get its context
      --> crisp-sync.toml:13:6
       |
    13 | on = []
       |      ^^
       |
       = hint: name at least `session:set_email`, or leave the key out for all of them

    error: `event` means something else
      --> crisp-sync.toml:16:13
       |
    16 | [users.more.event]
       |             ^^^^^
       |
       = hint: take another name of letters, digits and `_`

    error: `users.more.two-words.query` is missing
      --> crisp-sync.toml:18:1
       |
    18 | [users.more.two-words]
       | ^^^^^^^^^^^^^^^^^^^^^^
       |
       = hint: write the SELECT; the first row's columns are its parameters, such as `:id`

    error: `two-words` cannot be a name in templates
      --> crisp-sync.toml:18:13
       |
    18 | [users.more.two-words]
       |             ^^^^^^^^^
       |
       = hint: take another name of letters, digits and `_`

    error: 10 faults in the configuration `crisp-sync.toml`
    "#);
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
            .filter_map(|variable| {
                Some((variable.name.to_owned(), own.get(variable.name)?.to_owned()))
            })
            .collect();
        all.extend(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Environment::from_iter(all)
    };
    let port = with(&[("PORT", "2000")]);
    assert_eq!(
        read_in(&text, &port).server.listen.to_string(),
        "127.0.0.1:2000"
    );
    let both = with(&[
        ("PORT", "2000"),
        ("CRISP_SYNC_LISTEN", "[::]:3000"),
        ("CRISP_SYNC_MODE", "live"),
    ]);
    let config = read_in(&text, &both);
    assert_eq!(config.server.listen.to_string(), "[::]:3000");
    assert_eq!(config.mode, Mode::Live);
    let flag = both.with_flag(environment::MODE, "--mode", "observe");
    assert_eq!(read_in(&text, &flag).mode, Mode::Observe);

    let wrong = with(&[("PORT", "http")]).with_flag(environment::MODE, "--mode", "dead");
    assert_snapshot!(faults_in(&text, &wrong), @r#"
    error: --mode: the value cannot be used
     |
     = hint: it takes `observe` or `live`

    error: PORT: the value cannot be used
     |
     = hint: it takes a port, 1 to 65535: invalid digit found in string

    error: 2 faults in the configuration `crisp-sync.toml`
    "#);
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
        (
            "CRISP_SYNC_ALERTS_URL",
            "https://hooks.slack.com/services/T0/hunter2",
        ),
        ("CRISP_WEBSITE_KEYS", "web-1=hook-hunter2"),
    ]);
    let config = Config::from_text(name.to_str().expect("a path"), &text, &environment)
        .unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(
        config.crisp.client.token.key.expose_secret(),
        "key-hunter2-of-a-file"
    );
    assert_eq!(
        config.users.url.expose_secret(),
        "postgres://app:db-hunter2@db/app"
    );
    assert!(!config.webhooks.signing_secrets.is_empty());
    assert_eq!(config.webhooks.website_keys.len(), 1);
    let alerts = config.alerts.url.as_ref().expect("an address");
    assert_eq!(alerts.path(), "/services/T0/hunter2");
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
    assert_snapshot!(faults_in(&text, &environment), @r#"
    error: could not read the secret file `/nowhere/key`: No such file or directory (os error 2)
     --> crisp-sync.toml:2:18
      |
    2 | token_key_file = "/nowhere/key"
      |                  ^^^^^^^^^^^^^^
      |
      = hint: the file holds the secret alone and must be readable by this user

    error: CRISP_TOKEN_IDENTIFIER_FILE: could not read the secret file `/nowhere/id`: No such file or directory (os error 2)
     |
     = hint: the file holds the secret alone and must be readable by this user

    error: DATABASE_URL: it is set together with DATABASE_URL_FILE
     |
     = hint: keep one of the two

    error: 3 faults in the configuration `crisp-sync.toml`
    "#);
}

#[test]
fn alerts_go_encrypted_or_nowhere_else_than_here() {
    let with = |url: &str| {
        let environment = Environment::from_iter([
            ("DATABASE_URL", "postgres://db/app"),
            ("CRISP_TOKEN_IDENTIFIER", "id"),
            ("CRISP_TOKEN_KEY", "key"),
            ("CRISP_SIGNING_SECRETS", "whsec"),
            ("CRISP_SYNC_ALERTS_URL", url),
        ]);
        Config::from_text(FILE, LEAST, &environment)
    };
    for url in [
        "https://hooks.slack.com/services/T0/B0/x",
        "http://127.0.0.1:8065/hooks/x",
        "http://[::1]:8065/hooks/x",
        "http://localhost/hooks/x",
    ] {
        let config = with(url).unwrap_or_else(|faults| panic!("{url}: {faults}"));
        assert_eq!(config.alerts.url.map(String::from).as_deref(), Some(url));
    }
    for url in ["http://hooks.example/x", "http://10.0.0.1/x", "slack"] {
        assert!(with(url).is_err(), "{url}");
    }
    let text = format!("[alerts]\nurl = \"http://hooks.example/x\"\n{LEAST}");
    assert_snapshot!(faults_in(&text, &environment()), @r#"
    error: whoever listens on the way could write into your channel
     --> crisp-sync.toml:2:7
      |
    2 | url = "**********************"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: use `https`; `http` is for a receiver on this machine alone

    error: 1 fault in the configuration `crisp-sync.toml`
    "#);
}

#[test]
fn what_changes_between_two_lists_is_within_the_window() {
    let text = format!("[gap]\nevery = \"2h\"\nwindow = \"1h\"\n{LEAST}");
    assert_snapshot!(faults_in(&text, &environment()), @r#"
    error: the window is shorter than the time between two lists
     --> crisp-sync.toml:3:10
      |
    3 | window = "1h"
      |          ^^^^
      |
      = hint: what changed between them would never be seen: make it at least `gap.every`

    error: 1 fault in the configuration `crisp-sync.toml`
    "#);
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
        "[alerts]\nurl = \"http://hooks.example/services/hunter2\"\n",
        "[alerts]\nurl = \"ftp://hooks.example/services/hunter2\"\n",
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
    let environment = environment::ALL
        .iter()
        .map(|variable| (variable.name, "hunter2 {"))
        .collect();
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
    assert_snapshot!(faults, @r#"
    error: /nowhere/crisp-sync.toml: could not read the configuration: No such file or directory (os error 2)
     |
     = hint: `crisp-sync init` prints one to start from; `--config` names another

    error: 1 fault in the configuration `/nowhere/crisp-sync.toml`
    "#);
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

/// The file that a reader of the plan would write first.
#[test]
fn a_whole_definition_is_accepted() {
    let text = r#"
mode = "observe"                          # everything but Crisp writes; "live" to act
[users]
url   = "postgres://…"                    # sqlite://, mysql://; better from env
key   = "id"                              # stable; survives a change of address
query = """
  SELECT u.id, u.email, u.name, u.created_at, u.onboarded_at, t.name AS tenant_name,
         s.plan, s.status, s.trial_ends_at, s.canceled_at, s.ends_at
  FROM users u LEFT JOIN tenants t … LEFT JOIN subscriptions s …
  WHERE u.email = :email AND u.deleted_at IS NULL ORDER BY s.created_at DESC
"""
[users.more.billing]                      # up to 4 further look-ups, parallel, own URL, bound to the first row
query = "SELECT amount, state, issued_at FROM invoices WHERE user_id = :id ORDER BY issued_at DESC LIMIT 1"
[maps.plan]
price_1NxYz = "pro"
[context.data]
plan            = "{{ plan }}"            # target defaults to "both"
tenant          = "{{ tenant_name }}"
trial_days_left = { value = "{{ days_until(trial_ends_at) }}", when = "status == 'trialing'", target = "session", else = "" }
last_invoice    = { value = "{{ billing.amount | money('EUR') }} {{ billing.state }}", target = "contact" }
admin           = { value = "{{ link('open', 'https://admin.example/u/' ~ id) }}", target = "contact" }
[context.segments]                        # conversation and contact
"plan-{{ plan }}"     = "plan"            # present while the expression is true; ≥ 3 literal characters first
"status-{{ status }}" = "status"
trial                 = "status == 'trialing'"
onboarded             = "onboarded_at"
[profile]                                 # filled if empty
nickname = "{{ name }}"
company  = "{{ tenant_name }}"
[lifecycle]
sender  = "shared"                        # the app pushes too; "sole" if only we do
require = "marketing_opt_in"
exclude = "ends_with(email, '@acme.com')"
[[lifecycle.event]]
name = "user:subscription:canceled"
at   = "canceled_at"                      # an instant or a unique id; a future instant waits until it comes
when = "canceled_at"                      # false means "not yet", looked at again until max_age
group = "subscription"                    # a later event of the group supersedes earlier undecided ones
color = "orange"
data = { plan = "{{ plan }}", tenant_name = "{{ tenant_name }}" }
max_age = "3d"
[[lifecycle.event]]
name = "user:subscription:started"
on_change = "plan"                        # edge, not column: the ledger remembers the last value per user
color = "green"
"#;
    let environment = Environment::from_iter(
        [
            "CRISP_TOKEN_IDENTIFIER",
            "CRISP_TOKEN_KEY",
            "CRISP_SIGNING_SECRETS",
        ]
        .map(|name| (name, "x")),
    );
    let config = read_in(text, &environment);
    assert!(config.users.url.expose_secret().starts_with("postgres://"));
    assert_eq!(config.users.more.keys().collect::<Vec<_>>(), ["billing"]);
    assert_eq!(config.warnings, []);
    assert_ne!(config.definition.hash(), read(LEAST).definition.hash());
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one file and its faults as they are drawn"
)]
fn faults_of_a_definition_are_drawn_where_they_are_written() {
    let text = r#"
[users]
query = "SELECT id, email, plan FROM users WHERE email = :email"

[context.data]
plan = "{{ plan "
trial = { value = "{{ days_until(trial_ends_at) }}", whenn = "status" }
admin = { value = "\u007b{ link('a', 'javascript:x') | shout }}", target = "contcat" }
amount = 3
"bad key" = "x"

[context.segments]
"{{ plan }}" = "plan"
"plan-{{ plan }}" = "plan"
"plan-{{ plan | upper_case }}" = "plan =="

[profile]
nick = "{{ name }}"

[lifecycle]
require = "marketing_opt_in and"
grace = "soon"

[[lifecycle.event]]
name = "a:b"
at = """
    created_at
    | no_such_filter"""
data = { plan = "{{ plan | map('plans') }}" }

[[lifecycle.event]]
name = "a:b"
on_change = "plan"
color = "gold"

[[lifecycle.event]]
at = "created_at"

[[lifecycle.event]]
name = "c:d"
at = "event.at"
query = "SELECT at FROM orders WHERE user_id = :id AND at > ':since"
"#;
    assert_snapshot!(faults(text), @r#"
    error: `{{` has no `}}`
     --> crisp-sync.toml:6:9
      |
    6 | plan = "{{ plan "
      |         ^^^^^^^^

    error: unknown key `whenn` in `[context.data.trial]`
     --> crisp-sync.toml:7:54
      |
    7 | trial = { value = "{{ days_until(trial_ends_at) }}", whenn = "status" }
      |                                                      ^^^^^
      |
      = hint: did you mean `when`?

    error: unknown tool `shout`
     --> crisp-sync.toml:8:56
      |
    8 | admin = { value = "\u007b{ link('a', 'javascript:x') | shout }}", target = "contcat" }
      |                                                        ^^^^^
      |
      = hint: there are days_until, days_since, date, round_day, money, round, abs, number, text, yes_no, default, map, slug, upper, lower, trim, replace, truncate, length, starts_with, ends_with, contains, join, pluck, first, last, link

    error: `context.data.admin.target` does not take this value
     --> crisp-sync.toml:8:76
      |
    8 | admin = { value = "\u007b{ link('a', 'javascript:x') | shout }}", target = "contcat" }
      |                                                                            ^^^^^^^^^
      |
      = hint: did you mean `contact`?

    error: `context.data.amount` takes a template as text, or a table with `value`; this is a whole number
     --> crisp-sync.toml:9:10
      |
    9 | amount = 3
      |          ^

    error: a data key takes letters, digits, `_` and `-`, not ` `
      --> crisp-sync.toml:10:1
       |
    10 | "bad key" = "x"
       | ^^^^^^^^^
       |
       = hint: write `bad_key`

    error: a segment with a placeholder starts with at least 3 literal characters
      --> crisp-sync.toml:13:1
       |
    13 | "{{ plan }}" = "plan"
       | ^^^^^^^^^^^^
       |
       = hint: every segment that starts so is ours to remove; write it like `plan-{{ plan }}`

    error: unknown tool `upper_case`
      --> crisp-sync.toml:15:17
       |
    15 | "plan-{{ plan | upper_case }}" = "plan =="
       |                 ^^^^^^^^^^
       |
       = hint: there are days_until, days_since, date, round_day, money, round, abs, number, text, yes_no, default, map, slug, upper, lower, trim, replace, truncate, length, starts_with, ends_with, contains, join, pluck, first, last, link

    error: the expression ends too early
      --> crisp-sync.toml:15:42
       |
    15 | "plan-{{ plan | upper_case }}" = "plan =="
       |                                          ^

    error: unknown key `nick` in `[profile]`
      --> crisp-sync.toml:18:1
       |
    18 | nick = "{{ name }}"
       | ^^^^
       |
       = hint: the keys here are `nickname`, `phone`, `avatar`, `website`, `company`

    error: the expression ends too early
      --> crisp-sync.toml:21:32
       |
    21 | require = "marketing_opt_in and"
       |                                ^

    error: `soon` is not a length of time
      --> crisp-sync.toml:22:10
       |
    22 | grace = "soon"
       |          ^^^^
       |
       = hint: for example `10m`, `24h`, `3d`

    error: unknown tool `no_such_filter`
      --> crisp-sync.toml:28:7
       |
    28 |     | no_such_filter"""
       |       ^^^^^^^^^^^^^^
       |
       = hint: there are days_until, days_since, date, round_day, money, round, abs, number, text, yes_no, default, map, slug, upper, lower, trim, replace, truncate, length, starts_with, ends_with, contains, join, pluck, first, last, link

    error: no map `plans`
      --> crisp-sync.toml:29:32
       |
    29 | data = { plan = "{{ plan | map('plans') }}" }
       |                                ^^^^^^^
       |
       = hint: define `[maps.plans]`

    error: event number 1 has the name `a:b` too
      --> crisp-sync.toml:32:8
       |
    32 | name = "a:b"
       |        ^^^^^
       |
       = hint: one rule can have several subjects: use `subject` or `query`

    error: Crisp knows no colour `gold`
      --> crisp-sync.toml:34:9
       |
    34 | color = "gold"
       |         ^^^^^^
       |
       = hint: one of red, orange, yellow, green, blue, purple, pink, brown, grey, black

    error: the key `name` is missing in `[[lifecycle.event]]`
      --> crisp-sync.toml:36:1
       |
    36 | [[lifecycle.event]]
       | ^^^^^^^^^^^^^^^^^^^

    error: a quoted text begins here and never ends
      --> crisp-sync.toml:42:61
       |
    42 | query = "SELECT at FROM orders WHERE user_id = :id AND at > ':since"
       |                                                             ^^^^^^^

    error: 18 faults in the configuration `crisp-sync.toml`
    "#);
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
            Some(setting) if setting.starts_with(|next: char| next.is_ascii_lowercase()) => {
                Some(setting)
            }
            Some(_) => None,
            // Sections that state defaults have a plain header.
            None => (line.starts_with('[') && !line.contains('.')).then_some(line),
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let stated: toml::Table = toml::from_str(&stated).expect("the stated defaults are TOML");
    let defaults = serde_json::to_value(crisp_sync::config::ConfigFile::default()).expect("JSON");
    let stated = serde_json::to_value(stated).expect("JSON");
    let mut compared = 0;
    for (section, keys) in stated.as_object().expect("a table") {
        for (key, value) in keys.as_object().into_iter().flatten() {
            // An optional key has no default: its comment shows the form.
            let default = &defaults[section][key];
            if !default.is_null() {
                assert_eq!(default, value, "{section}.{key}");
                compared += 1;
            }
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

proptest::proptest! {
    /// Whatever somebody saves, it is read or its faults are drawn; nothing panics and no password shows.
    #[test]
    fn any_text_is_read_or_refused(parts in proptest::collection::vec(
        proptest::sample::select(vec![
            "[users]\n", "[crisp]\n", "[[lifecycle.event]]\n", "[context.data]\n", "[context.segments]\n", "[é]\n",
            "query = ", "url = ", "token_key = ", "name = ", "at = ", "plan = ", "\"pl-{{ é }}\" = ", "on = ", "timeout = ",
            "'''\n", "\"\"\"\r\n", "\"", "'", "\n", "\r\n", "\\u00e9", "\\\n  ", "{{ ", " }}", "é", "🦀", "=", ",",
            "[", "]", "{ value = ", " }", "1", "-1", "true", "\"10s\"\n", "\"{{ plan | é }}\"\n", "\"a == 🦀\"\n",
            "\"postgres://u:hunter2@db/é\"\n", "#", "\0", "\t", ".",
        ]), 0..24,
    )) {
        let text = parts.concat();
        if let Err(faults) = Config::from_text(FILE, &text, &environment()) {
            let shown = faults.render(Palette::Coloured);
            proptest::prop_assert!(!shown.contains("hunter2"), "{}", shown);
            for fault in faults.faults() {
                let _ = faults.position(fault);
            }
        }
    }
}

#[test]
fn the_ledger_is_in_one_place() {
    let minimal = "[users]\nquery = \"SELECT id, email FROM users WHERE email = :email\"\n";
    let drawn: Vec<String> = [
        "[ledger]\npath = \"a.db\"\nurl = \"postgres://db/ledger\"\n",
        "[ledger]\nurl = \"postgres://u:hunter2@db/ledger\"\n",
        "[ledger]\nurl = \"mysql://db/ledger\"\n",
        "[ledger]\npath = \"postgres://db/ledger\"\n",
    ]
    .into_iter()
    .map(|ledger| faults(&format!("{ledger}{minimal}")))
    .collect();
    assert_snapshot!(drawn.join("\n"), @r#"
    error: `ledger.path` is set as well
     --> crisp-sync.toml:3:7
      |
    3 | url = "postgres://db/ledger"
      |       ^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: the ledger is in one place: keep one of the two

    error: 1 fault in the configuration `crisp-sync.toml`
    error: `ledger.url` holds a password
     --> crisp-sync.toml:2:7
      |
    2 | url = "postgres://u:*******@db/ledger"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: set CRISP_SYNC_LEDGER to the whole URL, or leave the password out of the file

    error: 1 fault in the configuration `crisp-sync.toml`
    error: this is no URL of a PostgreSQL database
     --> crisp-sync.toml:2:7
      |
    2 | url = "mysql://db/ledger"
      |       ^^^^^^^^^^^^^^^^^^^
      |
      = hint: it takes `postgres://user@host/database`

    error: 1 fault in the configuration `crisp-sync.toml`
    error: this is a URL, and no path of a file
     --> crisp-sync.toml:2:8
      |
    2 | path = "postgres://db/ledger"
      |        ^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: a PostgreSQL database goes into `ledger.url`

    error: 1 fault in the configuration `crisp-sync.toml`
    "#);
}
