//! The configurations of the schedules.

use std::time::Duration;

use crisp_sync::worker::Chance;

use super::{
    app::{TEXTS, renamed},
    play::Rules,
    subjects::{Subject, subject},
    twists::{Twist, twist},
};
use crate::{campaign::IMPATIENT, world::Setup};

const RULES: &str = r#"
[[lifecycle.event]]
name = "user:signup"
at = "created_at"
color = "green"

[[lifecycle.event]]
name = "user:plan:changed"
on_change = "plan"
min_gap = "0s"
data = { plan = "{{ plan }}", change = "{{ change }}" }

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
when = "status == 'canceled'"
group = "subscription"
color = "orange"

[[lifecycle.event]]
name = "user:subscription:started"
at = "subscribed_at"
group = "subscription"
color = "green"
"#;

/// How people are found whom nobody brings up.
const SWEEP: &str = r#"query = """
  SELECT id, email, changed_at AS at FROM users
  WHERE (changed_at, id) > (:since, :after) AND changed_at < :until
  ORDER BY changed_at, id LIMIT :limit
"""

[lifecycle.sweep]
every = "30m"
page = 2

"#;

/// When the app changed a row, by its own clock, which is another than everybody else's: each change has a time of its own, and
/// none is so near that it might be followed by another with the same.
pub(super) const CHANGED_AT: [&str; 4] = [
    "ALTER TABLE users ADD COLUMN changed_at TEXT",
    "CREATE TABLE changes (number INTEGER)",
    "CREATE TRIGGER inserted AFTER INSERT ON users BEGIN \
       INSERT INTO changes SELECT 7 + count(*) * 7 FROM changes; \
       UPDATE users SET changed_at = datetime('now', '-1200 seconds', '+' || (SELECT max(number) FROM changes) || ' seconds') \
       WHERE id = new.id; END",
    "CREATE TRIGGER updated AFTER UPDATE OF email, plan, status, canceled_at, subscribed_at, change ON users BEGIN \
       INSERT INTO changes SELECT 7 + count(*) * 7 FROM changes; \
       UPDATE users SET changed_at = datetime('now', '-1200 seconds', '+' || (SELECT max(number) FROM changes) || ' seconds') \
       WHERE id = new.id; END",
];

/// The binary's configuration, up to its rules.
const BINARY: &str = r#"mode = "live"

[crisp]
timeout = "1s"
connect_timeout = "500ms"
daily_quota = 100000000
unproven_share = 100
pause = "1s"

[users]
query = "SELECT id, email, name, plan, status, created_at, canceled_at, subscribed_at, change, marketing_opt_in FROM users WHERE lower(email) = :email"
query_by_key = "SELECT id, email FROM users WHERE id = :key"

[context.data]
plan = "{{ plan }}"
"#;

/// How many entries a page of a timeline may have: nobody says.
const PAGE_SIZES: [usize; 3] = [20, 3, 10];

/// What differs from one schedule to the next besides the acts.
fn rules(seed: u64, grace: Duration, match_within: Duration, delay: Duration) -> Rules {
    Rules {
        shared: !seed.is_multiple_of(3),
        holds: seed % 2 == 1,
        min_gap: if seed.is_multiple_of(4) {
            Duration::from_hours(1)
        } else {
            Duration::ZERO
        },
        grace,
        match_within,
        brake: (subject(seed) == Subject::Brake).then_some(1 + seed % 2),
        sweeps: subject(seed) == Subject::Sweep,
        twist: twist(seed),
        delay: if twist(seed) == Twist::Delayed {
            delay
        } else {
            Duration::ZERO
        },
        page_size: PAGE_SIZES[usize::try_from(seed / 3 % 3).expect("one of three")],
    }
}

/// The rules of a schedule that is played here.
pub(super) fn rules_here(seed: u64) -> Rules {
    let minutes = Duration::from_mins;
    rules(seed, minutes(10), minutes(10), minutes(20))
}

/// The rules of one that the binary plays, by the machine's clock. The sweep's column is dated by another one.
pub(super) fn rules_spawned(seed: u64) -> Rules {
    let seconds = Duration::from_secs;
    Rules {
        sweeps: false,
        ..rules(seed, seconds(2), seconds(3), seconds(4))
    }
}

/// The binary's configuration.
pub(super) fn spawned_config(rules: Rules) -> String {
    let first = "\n[[lifecycle.event]]\nname = \"user:signup\"";
    let seconds = "[lifecycle.sweep]\noverlap = \"2s\"\n";
    let lifecycle = lifecycle(rules, "2s").replace(first, &format!("{seconds}{first}"));
    format!("{BINARY}{IMPATIENT}\n{lifecycle}")
}

fn lifecycle(rules: Rules, quiet: &str) -> String {
    let sender = if rules.shared { "shared" } else { "sole" };
    let after = if rules.holds { "hold" } else { "resend" };
    let query = if rules.sweeps { SWEEP } else { "" };
    let brake = rules.brake.map_or_else(String::new, |per_hour| {
        format!("[lifecycle.brake]\nper_hour = {per_hour}\nshare = \"0%\"\n")
    });
    let guard = match rules.twist {
        Twist::Guarded => "require = \"marketing_opt_in\"\n",
        Twist::Contactless => "create_contacts = false\n",
        _ => "",
    };
    let mut events = RULES.to_owned();
    if !rules.delay.is_zero() {
        let delay = format!("delay = \"{}s\"", rules.delay.as_secs());
        for at in ["at = \"created_at\"", "at = \"canceled_at\""] {
            events = events.replace(at, &format!("{at}\n{delay}"));
        }
    }
    format!(
        "[lifecycle]\n{guard}sender = \"{sender}\"\ngrace = \"{}s\"\nquiet = \"{quiet}\"\nmin_gap = \"{}s\"\nmatch_within = \"{}s\"\nafter_ambiguous = \"{after}\"\n{query}{brake}{events}",
        rules.grace.as_secs(),
        rules.min_gap.as_secs(),
        rules.match_within.as_secs(),
    )
}

/// How each rule gets another name, and says which it had: what stands in the configuration, and what then.
pub(super) fn renaming() -> impl Iterator<Item = (String, String)> {
    TEXTS.into_iter().map(|name| {
        let other = renamed(name);
        (
            format!("name = \"{name}\""),
            format!("name = \"{other}\"\nrenamed_from = \"{name}\""),
        )
    })
}

/// The configuration of the service in this process.
pub(super) fn definition(setup: &mut Setup, seed: u64) {
    setup.replace(
        "canceled_at, marketing_opt_in",
        "canceled_at, created_at, change, marketing_opt_in",
    );
    setup.add(
        "[crisp]\ntimeout = \"3s\"\nconnect_timeout = \"3s\"\n[triggers]\ndebounce = \"0s\"\nfresh_for = \"0s\"\nurgent_cap = 100000",
    );
    setup.chance = Chance::seeded(seed);
    setup.add(&lifecycle(rules_here(seed), "15m"));
}
