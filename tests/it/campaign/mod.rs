//! The campaign: replicas are killed and frozen at random instants while Crisp, the app and people misbehave.
//!
//! A round is a site of its own: a crowd acts, a replica is struck when a request of its work has just arrived at Crisp,
//! it comes back, everything drains, and the books are audited; and so on a few times. `CRISP_SYNC_TEST_ROUNDS` says how
//! many rounds, a few by default. Each prints its seed, and `CRISP_SYNC_TEST_SEED` with one round plays it again.
//!
//! What may never be: an acknowledged webhook that is not in the ledger, work that is left or buried, a request of an older
//! claim after one of a newer, an event told twice or never, a conversation that does not show what the app says.

mod fleet;

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::fleet::{Fleet, wait_while_frozen};
use crate::{
    binary::site::Site,
    soak::{Books, Crowd, arm, audit, drain, number, seed_or_now},
};

/// Rounds where nobody says.
const USUALLY: u64 = 2;
/// The longest lease in the configuration below, and some.
const LONGER_THAN_A_LEASE: Duration = Duration::from_millis(3_500);

const CONFIG: &str = r#"mode = "live"

[crisp]
timeout = "1s"
connect_timeout = "500ms"
daily_quota = 100000000
unproven_share = 100

[server]
shutdown_deadline = "20s"

[users]
query = "SELECT id, email, name, plan, canceled_at FROM users WHERE lower(email) = :email"
query_by_key = "SELECT id, email FROM users WHERE id = :key"
statement_timeout = "300ms"

[users.cache]
found = "0s"
not_found = "0s"

[context.data]
plan = "{{ plan }}"

[context.segments]
"plan-{{ plan }}" = "plan"

[triggers]
debounce = "0s"
fresh_for = "0s"
urgent_cap = 100000

[worker]
lease = "3s"
attempts = 1000
backoff_min = "100ms"
backoff_max = "1s"

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

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_costs_only_their_lease_on_sqlite() {
    campaign(async || Site::with(CONFIG).await, 1).await;
}

/// Fights rounds on sites made to order, each with so many replicas.
async fn campaign(site: impl AsyncFn() -> Site, replicas: usize) {
    let rounds = number("CRISP_SYNC_TEST_ROUNDS").unwrap_or(USUALLY);
    let mut seed = seed_or_now();
    let mut seeds = StdRng::seed_from_u64(seed);
    for round in 1..=rounds {
        let began = Instant::now();
        eprintln!(
            "campaign: round {round} of {rounds}, {replicas} replicas, CRISP_SYNC_TEST_SEED={seed}"
        );
        Round::begin(&site().await, replicas, seed).await;
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
        match self.chance(4) {
            0 => {
                self.fleet.freeze(victim);
                wait_while_frozen(LONGER_THAN_A_LEASE).await;
                self.fleet.thaw(victim);
            }
            1 => {
                self.fleet.kill(victim);
                self.fleet.raise(victim).await;
                self.crowd.acts(self.site).await;
                self.fleet.kill(victim);
                self.fleet.raise(victim).await;
            }
            _ => {
                self.fleet.kill(victim);
                self.crowd.acts(self.site).await;
                self.fleet.raise(victim).await;
            }
        }
        self.crowd.goes_home(self.site).await;
        drain(self.site).await;
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
