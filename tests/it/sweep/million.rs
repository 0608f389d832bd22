//! Many people, few changes: what a look costs follows from what changed, not from how many there are.
//!
//! `CRISP_SYNC_TEST_SWEEP=1000000 cargo test --test it sweep::million -- --nocapture` prints the figures of
//! `docs/performance.md`.

use std::{fs, time::Instant};

use crisp_sync::{ids::UserKey, ledger::Lane, users::Freshness};

use super::{lane, next_look};
use crate::{
    engines::{Database, execute, servers::variable},
    world::World,
};

/// So many people there are in every run of the tests.
const FEW: usize = 3_000;
/// So many of them change.
const CHANGED: usize = 100;
/// From so many on, memory is measured: fewer are lost among the other tests of this process.
const MANY: usize = 100_000;
/// What it may grow by between a tenth of the pages and the last: other tests are not running then.
const GROWTH: u64 = 16 << 20;

const DEFINITION: &str = r#"
mode = "observe"

[server]
workers = 1

[users]
statement_timeout = "20s"
query = "SELECT id, email, plan FROM people WHERE email = :email"
query_by_key = "SELECT id, email FROM people WHERE id = :key"

[crisp]
daily_quota = 100000

[context.data]
plan = "{{ plan }}"

[lifecycle]
query = """
  SELECT id, email, changed_at AS at FROM people
  WHERE (changed_at, id) > (:since, :after) AND changed_at < :until
  ORDER BY changed_at, id LIMIT :limit
"""

[lifecycle.sweep]
every = "1h"
first = "3650d"
"#;

/// Ten people to each instant, all of them longer ago than a day.
const SQLITE: [&str; 4] = [
    "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, plan TEXT, changed_at TEXT)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < COUNT) \
     INSERT INTO people SELECT i, 'p' || i || '@northwind.example', 'pro', \
       datetime('now', '-2 days', '-' || (i / 10) || ' seconds') FROM n",
    "CREATE INDEX people_changed ON people (changed_at, id)",
    "CREATE INDEX people_email ON people (email)",
];
const POSTGRES: [&str; 4] = [
    "CREATE TABLE people (id bigint PRIMARY KEY, email text, plan text, changed_at timestamptz)",
    "INSERT INTO people SELECT i, 'p' || i || '@northwind.example', 'pro', \
       now() - interval '2 days' - (i / 10) * interval '1 second' FROM generate_series(1, COUNT) i",
    "CREATE INDEX people_changed ON people (changed_at, id)",
    "CREATE INDEX people_email ON people (email)",
];

fn how_many() -> usize {
    variable("CRISP_SYNC_TEST_SWEEP").map_or(FEW, |count| count.parse().expect("a number"))
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says so");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.expect("a number") * 1024
}

/// Where the people are.
enum Home {
    OfTheWorld,
    Server(Database),
}

impl Home {
    async fn run(&self, world: &mut World, statement: &str) {
        match self {
            Self::OfTheWorld => {
                world.sql(statement).await;
            }
            Self::Server(database) => execute(&database.url, statement).await,
        }
    }
}

async fn story(engine: &str, home: Home, statements: &[&str], touch: &str) {
    let count = how_many();
    let mut world = World::with(|setup| {
        DEFINITION.clone_into(&mut setup.definition);
        if how_many() > FEW {
            // Beside other tests the machine may stand still for longer.
            setup.replace("statement_timeout = \"20s\"", "statement_timeout = \"1s\"");
        }
        if let Home::Server(database) = &home {
            setup.set("DATABASE_URL", database.url.clone());
        }
    })
    .await;
    for statement in statements {
        let statement = statement.replace("COUNT", &count.to_string());
        home.run(&mut world, &statement).await;
    }

    // Everybody, once.
    let (began, mut early) = (Instant::now(), None);
    world.service.begin_sweeps().await.expect("enqueued");
    let all = loop {
        world.step().await;
        let rescan = lane(&world, Lane::Rescan).await;
        let pages = rescan.look.as_ref().map_or(0, |look| look.counts.pages);
        if pages >= u64::try_from(count).expect("small") / 5_000 {
            early.get_or_insert_with(resident);
        }
        if rescan.finished_at.is_some() {
            break rescan.last;
        }
    };
    let grew = resident().saturating_sub(early.unwrap_or_default());
    let took = began.elapsed();
    assert_eq!(all.rows, u64::try_from(count).expect("small"));
    eprintln!(
        "sweep, {engine}: {count} people on {} pages in {} ms, memory grew by {} KiB",
        all.pages,
        took.as_millis(),
        grew / 1024
    );
    if count >= MANY {
        assert!(grew < GROWTH, "{grew} bytes");
    }

    // Nobody changed.
    world
        .restart(|setup| setup.replace("mode = \"observe\"", "mode = \"live\""))
        .await;
    let began = Instant::now();
    next_look(&mut world).await;
    let idle = lane(&world, Lane::Changes).await.last;
    assert_eq!((idle.pages, idle.rows), (1, 0));
    eprintln!(
        "sweep, {engine}: nobody changed: {} ms",
        began.elapsed().as_millis()
    );

    // Few changed.
    let step = count / CHANGED;
    home.run(&mut world, &touch.replace("STEP", &step.to_string()))
        .await;
    let (began, marker) = (Instant::now(), world.marker());
    next_look(&mut world).await;
    let few = lane(&world, Lane::Changes).await.last;
    let changed = u64::try_from(CHANGED).expect("small");
    assert_eq!((few.rows, few.enqueued), (changed, changed));
    assert_eq!(
        world.calls_since(marker).len(),
        CHANGED,
        "one look at each for a contact"
    );
    eprintln!(
        "sweep, {engine}: {CHANGED} changed: {} ms, and as many calls",
        began.elapsed().as_millis()
    );
    let timeouts = world.metric("crisp_sync_work_total{kind=\"sweep\",outcome=\"retry\"}");
    assert_eq!(
        timeouts, 0,
        "no page took longer than `users.statement_timeout`"
    );
    // The look-ups that people need are as fast as ever.
    let key = UserKey::parse("1").expect("a key");
    let found = world
        .service
        .users
        .by_key(&key, None, Freshness::Fresh)
        .await;
    assert!(found.is_ok(), "{found:?}");
    world.finish().await;
    if let Home::Server(database) = home {
        database.drop().await;
    }
}

#[tokio::test]
async fn many_people_on_sqlite() {
    let touch = "UPDATE people SET changed_at = datetime('now', '-5 seconds') WHERE id % STEP = 0";
    story("SQLite", Home::OfTheWorld, &SQLITE, touch).await;
}

#[tokio::test]
async fn many_people_on_postgres() {
    let Some(database) = Database::create().await else {
        return;
    };
    let touch = "UPDATE people SET changed_at = now() - interval '5 seconds' WHERE id % STEP = 0";
    story("PostgreSQL", Home::Server(database), &POSTGRES, touch).await;
}
