//! Random histories: users change their mind, the app tells Crisp itself, lists come from a cache, answers are lost,
//! processes die, clocks jump and are set back, backups are restored, contacts are replaced, and Crisp forgets.
//!
//! The [`caller`](Caller) is the one of the module's documentation, in memory, and [`Crisp`] a list that keeps the newest
//! entries and may apply a request up to `quiet` late. Beside them stands a [`Book`], which knows nothing of rows, keys and
//! states: it is told what really happened to the user and when, and judges each request by that alone, and each reason for
//! which one is not made. At the end the weather is good for some hours, and whatever is still true has to be told.

mod book;
mod caller;
mod crisp;
mod judge;
mod owed;
mod sending;
mod steps;
mod store;

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use caller::Caller;
use steps::{Fate, QUIET, Step, Weather, forgotten, step};

/// A rule of each kind, and a guard of each kind.
const RULES: &str = r#"
    after_ambiguous = "resend"
    min_gap = "0s"
    require = "consent"
    exclude = "banned"
    after = "opens_at"
    [[event]]
    name = "canceled"
    at = "canceled_at"
    when = "not paused"
    group = "subscription"
    [[event]]
    name = "churned"
    at = "ends_at"
    group = "subscription"
    [[event]]
    name = "started"
    on_change = "plan"
    group = "subscription"
    data = { plan = "{{ plan }}" }
    [[event]]
    name = "winback"
    at = "canceled_at"
    delay = "12h"
    max_age = "6h"
    require = "news"
    exclude = "vip"
    [[event]]
    name = "greeted"
    at = "seen_at"
    min_gap = "24h"
    max_age = "36h"
    after = "welcome_at"
    [[event]]
    name = "subscribed"
    at = "subscription"
    data = { id = "{{ subscription }}" }
    [[event]]
    name = "imported"
    query = "SELECT 1"
    at = "event.done_at"
    id = "event.id"
    subject = "{{ event.tenant }}"
    group = "import"
    brake = { per_hour = 3, share = "0%" }
    data = { id = "{{ event.id }}", tenant = "{{ event.tenant }}" }
    [[event]]
    name = "failed"
    query = "SELECT 1"
    at = "event.failed_at"
    id = "event.id"
    subject = "{{ event.tenant }}"
    group = "import"
    data = { id = "{{ event.id }}", tenant = "{{ event.tenant }}" }
"#;

fn sender() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("shared"), Just("sole")]
}

fn armed() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => 0..200_i64]
}

fn wild_steps() -> impl Strategy<Value = Vec<Step>> {
    prop_oneof![
        40 => step(Weather::Wild).prop_map(|step| vec![step]),
        1 => forgotten(),
    ]
}

fn play(mut caller: Caller, steps: &[Step]) -> Caller {
    for step in steps {
        caller.run(step);
    }
    caller.good_weather();
    caller.assert_every_row_is_settled();
    caller
}

/// The same histories in each run, so that a change is judged by what it changed. `CRISP_SYNC_TEST_SEED` looks at others, taken
/// when this is built because nothing here reads the environment, and `PROPTEST_CASES` at more.
fn config() -> ProptestConfig {
    let seed =
        option_env!("CRISP_SYNC_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Where nothing goes wrong, what is true is told, and once.
    #[test]
    fn in_calm_weather_what_is_true_is_told_once(
        sender in sender(),
        steps in prop::collection::vec(step(Weather::Calm), 1..60),
    ) {
        play(Caller::new(sender, 0, 0, Weather::Calm), &steps).assert_nothing_was_lost();
    }

    /// Requests are lost or late, processes die, lists are cached and cut, the app tells Crisp too.
    #[test]
    fn in_rough_weather_nothing_is_told_twice_or_untrue(
        sender in sender(),
        skew in -60..60_i64,
        armed in armed(),
        steps in prop::collection::vec(step(Weather::Rough), 1..120),
    ) {
        play(Caller::new(sender, skew, armed, Weather::Rough), &steps);
    }

    /// Clocks are set, and backups come back.
    #[test]
    fn in_wild_weather_nothing_is_told_twice_or_untrue(
        sender in sender(),
        skew in -60..60_i64,
        armed in armed(),
        steps in prop::collection::vec(wild_steps(), 1..120),
    ) {
        play(Caller::new(sender, skew, armed, Weather::Wild), &steps.concat());
    }
}

/// The model does send: a proof about a caller that never sends would be worth nothing.
#[test]
fn in_good_weather_each_occurrence_is_told_once() {
    for (sender, fate) in [
        ("shared", Fate::Answered),
        ("sole", Fate::Answered),
        ("shared", Fate::Late(3)),
        ("shared", Fate::Lost),
        ("sole", Fate::DiesBefore),
    ] {
        let send = |fate| Step::Send {
            fate,
            cached: false,
        };
        let look = Step::Refresh { dies: false };
        let mut caller = Caller::new(sender, 0, 0, Weather::Rough);
        let mut steps = vec![
            look.clone(),
            Step::Wait(5),
            Step::Date("canceled_at", Some(0)),
            look.clone(),
            Step::Wait(10),
            look.clone(),
            send(fate),
        ];
        for _ in 0..2 {
            steps.extend([Step::Wait(QUIET), Step::Settle { cached: false }]);
        }
        steps.extend([send(Fate::Answered), Step::Wait(12 * HOUR), look.clone()]);
        steps.extend([send(Fate::Answered), Step::Wait(DAY), Step::Plan(2)]);
        steps.extend([Step::Refresh { dies: true }, look.clone(), Step::Wait(10)]);
        steps.extend([look, send(Fate::Answered)]);
        for step in &steps {
            caller.run(step);
        }
        let told = ["canceled", "winback", "started"];
        assert_eq!(caller.crisp.texts(), told, "{sender} {fate:?}");
    }
}
