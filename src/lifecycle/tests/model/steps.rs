//! What may happen, and how often.

use proptest::prelude::*;

/// Minutes within which Crisp may apply a request.
pub(super) const QUIET: i64 = 15;

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing that may cost an event.
    Calm,
    /// Requests, lists and processes.
    Rough,
    /// Clocks and memory, too.
    Wild,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// So many minutes pass.
    Wait(i64),
    /// A yes or no in the user's row.
    Flag(&'static str, bool),
    /// A moment in the user's row, so many minutes from now; or none any more.
    Date(&'static str, Option<i64>),
    /// Another plan; 0 is none.
    Plan(u8),
    /// Another subscription.
    Subscribe(u8),
    /// Something of a tenant's is imported.
    Import(u8),
    /// The tenant's last import fails.
    Fail(u8),
    /// The app tells Crisp of an event itself: of one that happens now, or of none.
    AppTells { event: &'static str, happens: bool },
    /// A visitor writes to the timeline.
    Noise(usize),
    /// Our clock is set forward or back by so many minutes; Crisp's and the app's go on.
    Clock(i64),
    /// A look at the user; or the process dies before it is stored.
    Refresh { dies: bool },
    /// The row whose turn it is. A cache may answer for the timeline.
    Send { fate: Fate, cached: bool },
    /// Looks after the request that got no answer.
    Settle { cached: bool },
    /// A person lets go whatever is held.
    Release,
    /// A person answers for one that nobody could prove.
    Vouch,
    /// The contact is removed in Crisp, and another one is made.
    Replace,
    /// Nobody listens for so many minutes.
    Away(i64),
    /// The ledger is copied.
    Backup,
    /// The copy comes back.
    Restore,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Answered,
    Refused,
    /// It never arrives, and nobody knows.
    Lost,
    /// It arrives that many minutes later, without an answer.
    Late(i64),
    /// The process dies before it leaves.
    DiesBefore,
}

pub(super) fn step(weather: Weather) -> BoxedStrategy<Step> {
    match weather {
        Weather::Calm => calm(),
        Weather::Rough => prop_oneof![3 => calm(), 1 => rough()].boxed(),
        Weather::Wild => prop_oneof![15 => calm(), 5 => rough(), 1 => wild()].boxed(),
    }
}

fn calm() -> BoxedStrategy<Step> {
    prop_oneof![
        6 => (0..40_i64).prop_map(Step::Wait),
        2 => flag(),
        6 => date(),
        2 => (0..4_u8).prop_map(Step::Plan),
        1 => (0..3_u8).prop_map(Step::Subscribe),
        3 => (0..2_u8).prop_map(Step::Import),
        1 => (0..2_u8).prop_map(Step::Fail),
        6 => prop::bool::weighted(0.2).prop_map(|dies| Step::Refresh { dies }),
        8 => prop_oneof![3 => Just(Fate::Answered), 1 => Just(Fate::Refused)]
            .prop_map(|fate| Step::Send { fate, cached: false }),
        1 => Just(Step::Settle { cached: false }),
        1 => Just(Step::Release),
    ]
    .boxed()
}

/// Mostly as an event needs it.
fn flag() -> impl Strategy<Value = Step> {
    let flags = vec![
        ("consent", true),
        ("banned", false),
        ("paused", false),
        ("news", true),
        ("vip", false),
    ];
    (prop::sample::select(flags), prop::bool::weighted(0.6))
        .prop_map(|((name, open), is_open)| Step::Flag(name, open == is_open))
}

fn date() -> impl Strategy<Value = Step> {
    let ago = |most: i64| prop_oneof![3 => Just(0), 1 => -most..0_i64];
    let some = |name, at: i64| Step::Date(name, Some(at));
    prop_oneof![
        3 => ago(60).prop_map(move |at| some("canceled_at", at)),
        1 => Just(Step::Date("canceled_at", None)),
        2 => (-30..200_i64).prop_map(move |at| some("ends_at", at)),
        1 => Just(Step::Date("ends_at", None)),
        3 => ago(300).prop_map(move |at| some("seen_at", at)),
        1 => (-30..90_i64).prop_map(move |at| some("opens_at", at)),
        1 => (-30..90_i64).prop_map(move |at| some("welcome_at", at)),
    ]
}

fn rough() -> BoxedStrategy<Step> {
    let fate = prop_oneof![
        3 => Just(Fate::Answered),
        2 => Just(Fate::Lost),
        3 => (0..QUIET).prop_map(Fate::Late),
        1 => Just(Fate::DiesBefore),
    ];
    let told = vec!["canceled", "churned", "greeted", "winback"];
    prop_oneof![
        2 => (0..3000_i64).prop_map(Step::Wait),
        4 => (prop::sample::select(told), prop::bool::weighted(0.8))
            .prop_map(|(event, happens)| Step::AppTells { event, happens }),
        1 => prop_oneof![1..15_usize, 20..40_usize].prop_map(Step::Noise),
        6 => (fate, prop::bool::weighted(0.7))
            .prop_map(|(fate, cached)| Step::Send { fate, cached }),
        3 => any::<bool>().prop_map(|cached| Step::Settle { cached }),
        1 => Just(Step::Vouch),
        1 => Just(Step::Replace),
    ]
    .boxed()
}

/// What is told, or about to be, is forgotten: chance alone comes to it too seldom.
pub(super) fn forgotten() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        Just(Fate::Answered),
        Just(Fate::Lost),
        (0..QUIET).prop_map(Fate::Late),
    ];
    let happens = prop_oneof![
        Just(Step::Date("canceled_at", Some(0))),
        (1..4_u8).prop_map(Step::Plan),
        (0..2_u8).prop_map(Step::Import),
    ];
    let is_lost = prop_oneof![
        3 => Just(Step::Restore),
        1 => (6..30_i64).prop_map(Step::Away),
        1 => (6..30_i64).prop_map(Step::Clock),
    ];
    let replaced = prop::bool::weighted(0.3);
    (happens, fate, replaced, is_lost, 0..QUIET).prop_map(
        |(happens, fate, replaced, is_lost, later)| {
            let look = || Step::Refresh { dies: false };
            let send = |fate| Step::Send {
                fate,
                cached: false,
            };
            let mut steps = vec![look(), Step::Backup, happens, look(), Step::Wait(10)];
            steps.extend([look(), send(fate)]);
            steps.extend(replaced.then_some(Step::Replace));
            steps.extend([is_lost, look(), Step::Wait(later), look()]);
            steps.push(send(Fate::Answered));
            steps
        },
    )
}

fn wild() -> BoxedStrategy<Step> {
    prop_oneof![
        2 => (-60..60_i64).prop_map(Step::Clock),
        1 => Just(Step::Backup),
        1 => Just(Step::Restore),
        1 => (1..90_i64).prop_map(Step::Away),
    ]
    .boxed()
}
