//! The soak: the spawned binary under random chats, edits, faults and outages, for as long as one likes.
//!
//! `CRISP_SYNC_TEST_SOAK` is its length in seconds, a few by default; `CRISP_SYNC_TEST_SEED` its seed. It prints its
//! figures with `--nocapture`. While it runs, memory and file descriptors are measured; when it is over, everything
//! drains, and the sandbox's own books are compared with the ledger, the app's database and the definition.

pub(crate) mod audit;
mod books;
mod crowd;
mod gauge;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use crisp_sync::sandbox::{HookState, State, WebhookSettings};
use futures_util::FutureExt as _;

use self::gauge::Gauges;
pub(crate) use self::{books::Books, crowd::Crowd};
use crate::binary::{
    process::wait_for,
    site::{SECRET, Site},
};

/// How long it lasts where nobody says.
const USUALLY: u64 = 6;
/// How often somebody does something.
const PACE: Duration = Duration::from_millis(100);
/// Crisp delivers one webhook after the other. On a machine that is busy with something else the crowd waits for it.
const BEHIND: usize = 50;
/// How long everything may take to drain: a row that saw several crashes in a row waits for minutes each time.
const DRAINS_WITHIN: Duration = Duration::from_mins(20);

const CONFIG: &str = r#"mode = "live"

[crisp]
timeout = "3s"
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
debounce = "100ms"
fresh_for = "1s"
urgent_cap = 100000

[worker]
lease = "30s"
attempts = 1000
backoff_min = "1s"
backoff_max = "3s"

[lifecycle]
sender = "sole"
grace = "0s"
quiet = "3s"
after_ambiguous = "resend"

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
color = "orange"
"#;

#[expect(
    clippy::disallowed_methods,
    reason = "how long a test lasts is the caller's business, not the service's"
)]
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not `{text}`")))
}

/// Plays it. Who panics says so like any other fault.
pub(crate) async fn caught<T>(
    playing: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    AssertUnwindSafe(playing)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("it panicked: {}", text.unwrap_or("without a word")))
        })
}

/// The seed that was asked for, or one that nobody had before.
pub(crate) fn seed_or_now() -> u64 {
    number("CRISP_SYNC_TEST_SEED").unwrap_or_else(|| {
        let now = crisp_sync::clock::Clock::System.now().as_millisecond();
        u64::try_from(now).unwrap_or_default()
    })
}

/// Arms the events. The app counts in whole seconds: what happens in the rest of this one is baseline.
pub(crate) async fn arm(site: &Site) {
    site.run(&["events", "arm"]).ended(0);
    let second = || crisp_sync::clock::Clock::System.now().as_second();
    let armed = second();
    wait_for("the next second", || (second() > armed).then_some(())).await;
}

async fn wait_a_moment() {
    tokio::time::sleep(PACE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_bad_weather_leave_nothing_behind() {
    let length = Duration::from_secs(number("CRISP_SYNC_TEST_SOAK").unwrap_or(USUALLY));
    let seed = seed_or_now();
    eprintln!("soak: {} s, CRISP_SYNC_TEST_SEED={seed}", length.as_secs());
    let site = Site::with(CONFIG).await;
    let mut crowd = Crowd::gather(&site, seed).await;
    arm(&site).await;
    let mut serving = site.serve().await;
    let url = format!("http://{}/webhooks/crisp", serving.public);
    site.sandbox
        .set_webhook(Some(WebhookSettings::signed(url, SECRET)));
    site.sandbox.behave(|behaviour| {
        behaviour.retry_after_ms = Some(250);
        behaviour.attempt_limit = 1_000_000;
    });

    let mut gauges = Gauges::of(serving.id(), length);
    let began = Instant::now();
    while began.elapsed() < length {
        if site.sandbox.look(untold).values().sum::<usize>() < BEHIND {
            crowd.acts(&site).await;
        }
        gauges.look(began.elapsed());
        wait_a_moment().await;
    }
    crowd.goes_home(&site).await;
    let drained = drain(&site).await;
    crowd.looks_once_more(&site);
    drain(&site).await;
    gauges.look_last();

    serving.signal("TERM");
    assert_eq!(serving.wait_end().await.code(), Some(0));
    eprintln!("soak: {gauges}");
    eprintln!("soak: {crowd}, drained in {} ms", drained.as_millis());
    gauges.assert_flat();
    audit::whole(&site, &crowd, &mut Books::open(&site).await).await;
}

/// Waits until Crisp has nothing more to say and the service has nothing more to do.
pub(crate) async fn drain(site: &Site) -> Duration {
    let began = Instant::now();
    let mut books = Books::open(site).await;
    loop {
        let heard = site.sandbox.look(State::hook_marker);
        let untold = site.sandbox.look(untold);
        let late = site.sandbox.look(State::late_count);
        let left = books.left().await;
        // Work that ended between the looks may have made webhooks, and they work.
        let is_quiet = heard == site.sandbox.look(State::hook_marker);
        if untold.is_empty() && late == 0 && left.is_empty() && is_quiet {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < DRAINS_WITHIN,
            "does not drain: webhooks {untold:?}, {late} applied late, rows {left:#?}"
        );
        wait_a_moment().await;
    }
}

/// Webhooks that are not accepted yet, by where they stand.
fn untold(state: &State) -> BTreeMap<String, usize> {
    let mut untold = BTreeMap::new();
    for hook in state.hooks() {
        if !matches!(hook.state, HookState::Accepted | HookState::NoReceiver) {
            *untold.entry(format!("{:?}", hook.state)).or_default() += 1;
        }
    }
    untold
}
