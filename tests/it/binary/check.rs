//! `check` and what `serve` says of a configuration: every fault at once, at its place, with its next step.

use crisp_sync::sandbox::{
    DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, TokenSettings,
};
use insta::assert_snapshot;

use super::site::{CONFIG, Site};

const FAULTY: &str = r#"mode = "lively"

[server]
ops_listen = "0.0.0.0:9090"

[users]
query = "SELECT id, email FROM users WHERE email = :mail"

[context.data]
plan = "{{ plan | uper }}"
tenant = { value = "{{ tenant }}", wen = "tenant" }

[context.segments]
"{{ plan }}" = "plan"

[worker]
lease = "5s"

[[lifecycle.event]]
name = "user:signup"
color = "grean"
"#;

/// What `check` found, for a person, without the website's id.
fn found(site: &Site, code: i32) -> String {
    let ran = site.run(&["check"]).ended(code);
    assert_eq!(ran.stderr, "");
    ran.stdout.replace(DEFAULT_WEBSITE, "WEBSITE")
}

#[tokio::test]
async fn a_faulty_file_is_drawn_whole() {
    let mut site = Site::with(FAULTY).await;
    site.set("CRISP_TOKEN_KEY", None);
    site.set("CRISP_SYNC_OPS_LISTEN", None);
    let ran = site.run(&["check"]).ended(1);
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains('\u{1b}'), "no terminal, no colours");
    assert_snapshot!(ran.stderr, @r##"
    error: `mode` does not take this value
     --> crisp-sync.toml:1:8
      |
    1 | mode = "lively"
      |        ^^^^^^^^
      |
      = hint: it takes `observe` or `live`

    error: the ops listener is open to other machines and asks for no token
     --> crisp-sync.toml:4:14
      |
    4 | ops_listen = "0.0.0.0:9090"
      |              ^^^^^^^^^^^^^^
      |
      = hint: set CRISP_SYNC_OPS_READ_TOKEN, or listen on 127.0.0.1

    error: the query does not use `:email`, so it cannot find anybody
     --> crisp-sync.toml:7:9
      |
    7 | query = "SELECT id, email FROM users WHERE email = :mail"
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: add a condition such as `WHERE lower(email) = :email`

    error: there is no parameter `:mail` here
     --> crisp-sync.toml:7:52
      |
    7 | query = "SELECT id, email FROM users WHERE email = :mail"
      |                                                    ^^^^^
      |
      = hint: `:email` is the address looked for

    error: unknown tool `uper`
      --> crisp-sync.toml:10:19
       |
    10 | plan = "{{ plan | uper }}"
       |                   ^^^^
       |
       = hint: did you mean `upper`?

    error: unknown key `wen` in `[context.data.tenant]`
      --> crisp-sync.toml:11:36
       |
    11 | tenant = { value = "{{ tenant }}", wen = "tenant" }
       |                                    ^^^
       |
       = hint: did you mean `when`?

    error: a segment with a placeholder starts with at least 3 literal characters
      --> crisp-sync.toml:14:1
       |
    14 | "{{ plan }}" = "plan"
       | ^^^^^^^^^^^^
       |
       = hint: every segment that starts so is ours to remove; write it like `plan-{{ plan }}`

    error: the lease is shorter than three calls to Crisp may take
      --> crisp-sync.toml:17:9
       |
    17 | lease = "5s"
       |         ^^^^
       |
       = hint: an attempt must end before its lease does: lengthen it, or shorten `crisp.timeout`

    error: the rule has neither `at` nor `on_change`
      --> crisp-sync.toml:19:1
       |
    19 | [[lifecycle.event]]
       | ^^^^^^^^^^^^^^^^^^^
       |
       = hint: `at = "canceled_at"` for a column that says when, `on_change = "plan"` for a value that changes

    error: Crisp knows no colour `grean`
      --> crisp-sync.toml:21:9
       |
    21 | color = "grean"
       |         ^^^^^^^
       |
       = hint: did you mean `green`?

    error: CRISP_TOKEN_KEY: it is not set, and Crisp's API answers nobody without it
     |
     = hint: make a token in the Crisp Marketplace; set CRISP_TOKEN_KEY, or CRISP_TOKEN_KEY_FILE to the path of a file

    error: 11 faults in the configuration `crisp-sync.toml`
    "##);
    // Every other command that needs it says the same.
    assert_eq!(site.run(&["serve"]).ended(1).stderr, ran.stderr);
    let scripted = site.run(&["check", "--json"]).ended(1).json();
    assert_eq!(scripted["ok"], false);
    let first = &scripted["findings"][0];
    assert_eq!(first["place"], "crisp-sync.toml:1:8");
    assert!(first["hint"].is_string());
}

#[tokio::test]
async fn what_is_well_is_told_so() {
    let site = Site::new().await;
    assert_snapshot!(found(&site, 0), @r##"
    ok     configuration
    ok     app database
    ok     token
    ok     website WEBSITE (Sandbox)
    ok     ledger `crisp-sync.db`
    "##);
    // Beside a running service too, whose ledger nobody else can open.
    let _serving = site.serve().await;
    let beside = found(&site, 0);
    assert!(beside.contains("in use by a running service"), "{beside}");
    let scripted = site.run(&["check", "--json"]).ended(0).json();
    assert_eq!(scripted["ok"], true);
}

#[tokio::test]
async fn everything_outside_is_tried_at_once() {
    let mut site = Site::new().await;
    site.set("DATABASE_URL", Some("postgres://nobody@127.0.0.1:1/app"));
    site.sandbox.set_tokens(Vec::new());
    assert_snapshot!(found(&site, 1), @r##"
    ok     configuration
    fault  app database, `users.url`: no connection could be opened within 2000 ms
           hint: whether the server runs, and host and port in `users.url`
    fault  token: Crisp refused the token
           hint: check identifier and key, and that the tier is the token's own (`plugin` or `website`)
    fault  website WEBSITE: Crisp refused the token
           hint: check identifier and key, and that the tier is the token's own (`plugin` or `website`)
    ok     ledger `crisp-sync.db`
    "##);
}

#[tokio::test]
async fn a_website_without_the_plugin_is_told() {
    let site = Site::new().await;
    site.sandbox
        .subscribe(DEFAULT_WEBSITE, false)
        .expect("the website is there");
    assert_snapshot!(found(&site, 1), @r##"
    ok     configuration
    ok     app database
    ok     token
    fault  website WEBSITE: the plugin is not installed on this website
           hint: install the plugin on this website; a development token works on the developer's own workspace only
    ok     ledger `crisp-sync.db`
    "##);
}

#[tokio::test]
async fn a_missing_scope_is_told() {
    let site = Site::new().await;
    site.sandbox.set_tokens(vec![TokenSettings {
        identifier: DEFAULT_TOKEN_IDENTIFIER.to_owned(),
        key: DEFAULT_TOKEN_KEY.to_owned(),
        scopes: Some(vec![
            "website:conversation:sessions".to_owned(),
            "website:people:profiles".to_owned(),
            "website:people:events".to_owned(),
        ]),
        ..TokenSettings::default()
    }]);
    assert_snapshot!(found(&site, 1), @r##"
    ok     configuration
    ok     app database
    ok     token
    fault  website WEBSITE: Crisp forbids this: the token needs the scope `website:people:data read`
           hint: add the scope to the plugin's production token in Crisp's Marketplace; development tokens ignore scopes
    ok     ledger `crisp-sync.db`
    "##);
}

#[tokio::test]
async fn what_the_database_finds_is_pointed_at_in_the_file() {
    let config = CONFIG
        .replace("name, plan, canceled_at FROM", "name, pln FROM")
        .replace(
            "SELECT id, email FROM users WHERE id",
            "SELECT id FROM users WHERE id",
        );
    let site = Site::with(&config).await;
    assert_snapshot!(found(&site, 1), @r##"
    ok     configuration
    fault  app database, `users.query`
    error: no such column: pln
     --> crisp-sync.toml:8:9
      |
    8 | query = "SELECT id, email, name, pln FROM users WHERE lower(email) = :email"
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    fault  app database, `users.query_by_key`
    error: there is no column `email`
     --> crisp-sync.toml:9:16
      |
    9 | query_by_key = "SELECT id FROM users WHERE id = :key"
      |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = hint: select the address of the user; without it no row can be told to be theirs
    ok     token
    ok     website WEBSITE (Sandbox)
    ok     ledger `crisp-sync.db`
    "##);
    let scripted = site.run(&["check", "--json"]).ended(1).json();
    assert_eq!(scripted["findings"][1]["place"], "crisp-sync.toml:8:9");
}

#[tokio::test]
async fn a_column_that_no_query_returns_is_named() {
    let config = CONFIG.replace("plan = \"{{ plan }}\"", "plan = \"{{ plam }}\"");
    let site = Site::with(&config).await;
    let told = found(&site, 1);
    assert!(
        told.contains("`plam` is read, and no query returns it\n       hint: did you mean `plan`?"),
        "{told}"
    );
}

#[tokio::test]
async fn without_a_website_the_token_is_tried_all_the_same() {
    let mut site = Site::new().await;
    site.set("CRISP_WEBSITES", None);
    let told = found(&site, 0);
    assert!(
        told.contains("ok     token\nadvice websites: none is named"),
        "{told}"
    );
    site.sandbox.set_tokens(Vec::new());
    assert!(found(&site, 1).contains("fault  token: Crisp refused the token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_are_shown_by_check_and_logged_by_serve() {
    let site = Site::with(&format!("{CONFIG}\n[identity]\npolicy = \"all\"\n")).await;
    let told = found(&site, 0);
    assert!(
        told.contains("advice configuration\nwarning: whoever types somebody's e-mail address"),
        "{told}"
    );
    let mut serving = site.serve().await;
    let warned = serving.wait_event("config.warning").await;
    assert_eq!(warned["place"], "crisp-sync.toml:30:10");
    assert!(warned["hint"].is_string());
}

/// A query that would lose people without a word is run for a few rows, and drawn.
#[tokio::test]
async fn a_sweep_that_loses_people_is_told() {
    let query = |order: &str| {
        format!(
            "[lifecycle]\nquery = \"SELECT id, email, at FROM (SELECT id, email, '2026-01-01 00:00:00' AS at FROM users) WHERE (at, id) > (:since, :after) AND at < :until ORDER BY {order} LIMIT :limit\""
        )
    };
    let site = Site::with(&CONFIG.replace("[lifecycle]", &query("at, id"))).await;
    let well = found(&site, 0);
    assert!(well.contains("ok     app database"), "{well}");
    site.write_config(&CONFIG.replace("[lifecycle]", &query("at, id DESC")));
    let told = found(&site, 1);
    for said in [
        "fault  app database, `lifecycle.query`",
        "behind a row at the same instant, the query does not go on with the next key",
        "--> crisp-sync.toml:",
        "ORDER BY at, <key> LIMIT :limit",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}
