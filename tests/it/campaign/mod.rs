//! The campaign: replicas are killed and frozen at random instants while Crisp, the app and people misbehave.
//!
//! A round is a site of its own: one replica with a ledger in a file, or three that share one on a PostgreSQL server. A
//! crowd acts, a replica is struck when a request of its work has just arrived at Crisp, or connections to the ledger are
//! cut, everything comes back and drains, and the books are audited; and so on a few times. `CRISP_SYNC_TEST_ROUNDS` says
//! how many rounds, a few gentler ones by default. Each prints its seed, and `CRISP_SYNC_TEST_SEED` plays it again: with one
//! round, or, if it was one of the few, as the first of them.
//!
//! What may never be: an acknowledged webhook that is not in the ledger, work that is left or buried, a request of an older
//! claim after one of a newer, an event told twice or never, a conversation that does not show what the app says.

mod cuts;
mod fleet;

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::fleet::{Fleet, wait_for_a_while};
use crate::{
    binary::site::Site,
    engines::with_database,
    soak::{Books, Crowd, arm, audit, drain, number, seed_or_now},
};

/// Rounds where nobody says.
const USUALLY: u64 = 2;
/// The longest lease in the configuration below, and some.
const LONGER_THAN_A_LEASE: Duration = Duration::from_millis(3_500);
/// Between one cut of connections and the next.
const BETWEEN_CUTS: Duration = Duration::from_millis(150);
/// How long a server is away.
const AWAY: Duration = Duration::from_millis(1_500);

/// The tables of those who are killed: they start, wait and try again soon.
pub(crate) const IMPATIENT: &str = r#"
[server]
shutdown_deadline = "20s"

[users.cache]
found = "0s"
not_found = "0s"

[triggers]
debounce = "0s"
fresh_for = "0s"
urgent_cap = 100000

[worker]
lease = "3s"
attempts = 1000
backoff_min = "100ms"
backoff_max = "1s"
"#;

const CONFIG: &str = r#"mode = "live"

[crisp]
timeout = "1s"
connect_timeout = "500ms"
daily_quota = 100000000
unproven_share = 100

[users]
query = "SELECT id, email, name, plan, canceled_at FROM users WHERE lower(email) = :email"
query_by_key = "SELECT id, email FROM users WHERE id = :key"
statement_timeout = "300ms"

[context.data]
plan = "{{ plan }}"

[context.segments]
"plan-{{ plan }}" = "plan"

[lifecycle]
sender = "sole"
grace = "0s"
quiet = "2s"
after_ambiguous = "resend"

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
color = "orange"
"#;

fn config() -> String {
    format!("{CONFIG}{IMPATIENT}")
}

/// Where the ledger is.
#[derive(Debug, Clone, Copy)]
enum Engine {
    /// In a file, which one process has.
    Sqlite,
    /// On a server, which so many replicas share.
    Postgres { replicas: usize },
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_costs_only_their_lease_on_sqlite() {
    campaign(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_costs_only_their_lease_on_postgres() {
    campaign(Engine::Postgres { replicas: 3 }).await;
}

/// Fights rounds, each on a site of its own.
async fn campaign(engine: Engine) {
    let rounds = number("CRISP_SYNC_TEST_ROUNDS").unwrap_or(USUALLY);
    let mut seed = seed_or_now();
    let mut seeds = StdRng::seed_from_u64(seed);
    for round in 1..=rounds {
        let began = Instant::now();
        eprintln!("campaign: round {round} of {rounds}, {engine:?}, CRISP_SYNC_TEST_SEED={seed}");
        match engine {
            Engine::Sqlite => Round::begin(&Site::with(&config()).await, 1, seed).await,
            Engine::Postgres { replicas } => {
                with_database(async move |url| {
                    let mut site = Site::with(&config()).await;
                    site.set("CRISP_SYNC_LEDGER", Some(&url));
                    Round::begin(&site, replicas, seed).await;
                })
                .await;
            }
        }
        eprintln!(
            "campaign: round {round} held, {} ms",
            began.elapsed().as_millis()
        );
        seed = seeds.random_range(0..1_000_000_000_000);
    }
}

/// One round under way.
struct Round<'site> {
    site: &'site Site,
    random: StdRng,
    crowd: Crowd,
    fleet: Fleet<'site>,
    replicas: usize,
}

impl<'site> Round<'site> {
    async fn begin(site: &'site Site, replicas: usize, seed: u64) {
        arm(site).await;
        site.sandbox.behave(|behaviour| {
            behaviour.retry_after_ms = Some(50);
            behaviour.attempt_limit = 1_000_000;
        });
        let mut round = Self {
            site,
            random: StdRng::seed_from_u64(seed),
            crowd: Crowd::gather(site, seed).await,
            fleet: Fleet::launch(site, replicas).await,
            replicas,
        };
        for _ in 0..2 + round.chance(3) {
            round.strike().await;
        }
        round.end().await;
    }

    fn chance(&mut self, of: usize) -> usize {
        self.random.random_range(0..of)
    }

    /// A crowd, a blow in the middle of it, and everything drains. One blow at a time: a row that is at work in five of
    /// them in a row is rightly buried.
    async fn strike(&mut self) {
        let victim = self.chance(self.replicas);
        let calls = 1 + self.chance(12);
        let marker = self.site.sandbox.call_marker();
        for _ in 0..10 + self.chance(15) {
            let next = self.chance(self.replicas);
            self.fleet.aim(next);
            if self.chance(8) == 0 {
                self.crowd.cancels(self.site).await;
            }
            self.crowd.acts(self.site).await;
        }
        let few = tokio::time::timeout(
            Duration::from_secs(2),
            self.site.sandbox.wait_until("some calls", |state| {
                state.calls().since(marker).len() >= calls
            }),
        );
        // Of few calls, some blows fall into silence.
        drop(few.await);
        self.blow(victim).await;
        self.crowd.goes_home(self.site).await;
        drain(self.site).await;
    }

    async fn blow(&mut self, victim: usize) {
        let blow = match self.site.ledger_url() {
            None => self.chance(4),
            Some(_) => self.chance(8),
        };
        match (blow, self.site.ledger_url()) {
            (0, _) => {
                self.fleet.freeze(victim);
                wait_for_a_while(LONGER_THAN_A_LEASE).await;
                self.fleet.thaw(victim);
            }
            // A row that saw two crashes waits for a minute: not where everybody waits for the suite.
            (1, _) if number("CRISP_SYNC_TEST_ROUNDS").is_some() => {
                self.fleet.kill(victim);
                self.fleet.raise(victim).await;
                self.crowd.acts(self.site).await;
                self.fleet.kill(victim);
                self.fleet.raise(victim).await;
            }
            (2 | 3, Some(url)) => {
                let cut = cuts::half(url).await;
                eprintln!("campaign: {cut} connections were cut");
                for _ in 0..4 {
                    self.crowd.acts(self.site).await;
                    wait_for_a_while(BETWEEN_CUTS).await;
                    cuts::half(url).await;
                }
            }
            (4, Some(url)) => {
                cuts::go_away(url).await;
                self.crowd.acts(self.site).await;
                wait_for_a_while(AWAY).await;
                cuts::come_back(url).await;
            }
            // A second one, while the first is gone: the last one standing has it all.
            (5, Some(_)) => {
                let second = (victim + 1) % self.replicas;
                self.fleet.kill(victim);
                self.crowd.acts(self.site).await;
                self.fleet.kill(second);
                self.crowd.acts(self.site).await;
                self.fleet.raise(victim).await;
                self.fleet.raise(second).await;
            }
            _ => {
                self.fleet.kill(victim);
                self.crowd.acts(self.site).await;
                self.fleet.raise(victim).await;
            }
        }
    }

    async fn end(mut self) {
        self.crowd.looks_once_more(self.site);
        drain(self.site).await;
        self.fleet.land().await;
        let mut books = Books::open(self.site).await;
        audit::whole(self.site, &self.crowd, &mut books).await;
        eprintln!("campaign: {}", self.crowd);
    }
}
