//! Steps, and how they are drawn.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

/// Who types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typist {
    Agent,
    Visitor,
}

/// Where an attempt stops until it is resumed, killed or taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Crisp has answered its read; it did not see the answer yet.
    Read,
    /// Its write is applied; it did not see the answer yet.
    Written,
    /// Its write is on the way, and is applied when it lands.
    Underway,
}

/// What goes wrong with the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// 500, and applied all the same.
    FailedButApplied,
    /// 500, and not applied.
    Failed,
    /// Cut off after it was applied.
    CutAfter,
    /// Cut off before it was applied.
    CutBefore,
    /// Cut off, and applied later.
    Late,
    /// 429.
    TooMany,
    /// The read before it fails with 503.
    ReadFails,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Somebody types a value; without one, takes the key away.
    Data {
        by: Typist,
        key: usize,
        value: Option<usize>,
    },
    /// Somebody sets a segment, or takes it away.
    Segment {
        by: Typist,
        segment: usize,
        on: bool,
    },
    /// An agent types a value into the contact of a user, or takes the key away.
    ContactData {
        user: usize,
        key: usize,
        value: Option<usize>,
    },
    /// An agent sets a segment of the contact, or takes it away.
    ContactSegment {
        user: usize,
        segment: usize,
        on: bool,
    },
    /// The app changes a plan.
    Plan { user: usize, plan: usize },
    /// The visitor gives another address, or proves the one they gave.
    Address { address: usize, proven: bool },
    /// The visitor writes.
    Message,
    /// An agent opens the conversation.
    Look,
    /// One of the waiting webhooks arrives; if `again`, it will arrive once more.
    Hook { which: usize, again: bool },
    /// All of them arrive, in order.
    Hooks,
    /// One of them never arrives.
    Lose { which: usize },
    /// Everything that is due is worked.
    Work,
    /// Time passes, and nobody works.
    Pass { which: usize },
    /// The conversation is worked up to a point.
    Begin(Stop),
    /// A user's contact is worked up to a point.
    BeginContact { user: usize, stop: Stop },
    /// The attempt that was stopped goes on.
    Resume,
    /// The attempt that was stopped dies.
    Kill,
    /// Writes that are on their way land.
    Land,
    /// The next write goes wrong.
    Bad(Bad),
    /// The app's database goes away, or comes back.
    Database { up: bool },
}

/// What [`Step::Pass`] chooses from: a moment, a backoff, a burst's end, a lease and more, the urgent window and more.
pub(super) const PAUSES: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(6),
    Duration::from_secs(65),
    Duration::from_secs(130),
    Duration::from_mins(11),
];

fn step() -> impl Strategy<Value = Step> {
    let typist = prop_oneof![Just(Typist::Agent), Just(Typist::Visitor)];
    let stop = prop_oneof![Just(Stop::Read), Just(Stop::Written), Just(Stop::Underway)];
    let bad = prop_oneof![
        Just(Bad::FailedButApplied),
        Just(Bad::Failed),
        Just(Bad::CutAfter),
        Just(Bad::CutBefore),
        Just(Bad::Late),
        Just(Bad::TooMany),
        Just(Bad::ReadFails),
    ];
    prop_oneof![
        6 => (typist.clone(), 0..6_usize, proptest::option::weighted(0.85, 0..3_usize))
            .prop_map(|(by, key, value)| Step::Data { by, key, value }),
        5 => (typist, 0..6_usize, any::<bool>())
            .prop_map(|(by, segment, on)| Step::Segment { by, segment, on }),
        3 => (0..2_usize, 0..6_usize, proptest::option::weighted(0.85, 0..3_usize))
            .prop_map(|(user, key, value)| Step::ContactData { user, key, value }),
        4 => (0..2_usize, 0..6_usize, any::<bool>())
            .prop_map(|(user, segment, on)| Step::ContactSegment { user, segment, on }),
        4 => (0..2_usize, 0..3_usize).prop_map(|(user, plan)| Step::Plan { user, plan }),
        3 => (0..4_usize, any::<bool>()).prop_map(|(address, proven)| Step::Address { address, proven }),
        2 => Just(Step::Message),
        5 => Just(Step::Look),
        6 => (0..8_usize, proptest::bool::weighted(0.2)).prop_map(|(which, again)| Step::Hook { which, again }),
        6 => Just(Step::Hooks),
        1 => (0..8_usize).prop_map(|which| Step::Lose { which }),
        8 => Just(Step::Work),
        4 => (0..PAUSES.len()).prop_map(|which| Step::Pass { which }),
        5 => stop.clone().prop_map(Step::Begin),
        4 => (0..2_usize, stop).prop_map(|(user, stop)| Step::BeginContact { user, stop }),
        3 => Just(Step::Resume),
        1 => Just(Step::Kill),
        2 => Just(Step::Land),
        3 => bad.prop_map(Step::Bad),
        1 => any::<bool>().prop_map(|up| Step::Database { up }),
    ]
}

/// The schedule of a seed, ready to be shrunk.
pub(super) fn tree(seed: u64) -> impl ValueTree<Value = Vec<Step>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    vec(step(), 5..40)
        .new_tree(&mut runner)
        .expect("nothing is filtered out")
}
