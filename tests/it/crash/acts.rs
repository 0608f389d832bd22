//! What may happen in a schedule.

/// People who are there from the beginning; more may sign up.
pub(super) const PEOPLE: usize = 2;

/// Something that happens. People are named by number; whoever is not there stands for the first one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Somebody has an account from now on.
    SignsUp(Push),
    /// The app changes somebody's row.
    Changes(usize, Change, Push),
    /// The app tells Crisp only now of the last thing that happened to somebody, where it has not yet.
    Tells(usize, Push),
    /// Somebody wants to be told, or does not.
    Opts(usize, bool),
    /// The service starts with a definition in which each rule has another name.
    Renames,
    /// Somebody writes, from their present address.
    Chats(usize),
    /// A visitor puts an entry on the timeline of somebody, with one of our names.
    Forges {
        who: usize,
        text: usize,
        dated: bool,
    },
    /// Somebody's timeline fills up with something else.
    Fills(usize),
    /// So many of the next requests go wrong.
    Fails {
        route: Route,
        how: Failure,
        times: u32,
    },
    /// Crisp answers lists from a cache, or keeps only the newest entries.
    Lists { cached: bool, capped: bool },
    /// Crisp's cache is empty.
    Flushes,
    /// Somebody else asks for every list.
    Reads,
    /// Time goes by, and what falls due is worked.
    Passes(Span),
    /// Somebody writes, and the process is killed when so many requests of what follows have arrived.
    Dies { who: usize, at: Point },
    /// A copy of the ledger is made: by `ledger backup`, or of the file as it lies there.
    Copies { raw: bool },
    /// The ledger is replaced by the copy: the file is another one then, or the very same with another content.
    Restores { in_place: bool },
    /// A person says that the ledger, wherever it came from, is the one that counts.
    Arms,
    /// Somebody starts the service once more on the same file.
    StartsTwice,
    /// A command beside the service asks for somebody's refresh, while the service has the same to do.
    Commands(usize),
    /// Somebody's contact is removed in Crisp, with all that stands on it.
    Removes(usize),
    /// An agent makes somebody's contact by hand.
    Returns(usize),
    /// Somebody's contact is removed and made anew, and Crisp tells nobody.
    Replaces(usize),
    /// The service is away for longer than it may be without doubt about what happened meanwhile.
    Away,
    /// Somebody is erased, while the service has something to do for them.
    Erases(usize),
    /// Whoever was erased is back.
    Lifts(usize),
    /// A person decides about everything that is held.
    Decides(Decision),
}

/// What a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Release,
    /// Past the brake's cap.
    ReleaseOverCap,
    Drop,
}

/// What is typed beside the service.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Decide(Decision),
    /// An address.
    Erase(String),
    /// A user key.
    Lift(String),
    /// Every receipt, to be kept.
    Receipts,
    /// Those that were kept.
    Replay(serde_json::Value),
}

/// What the app does to somebody's row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// To a plan that nobody had before.
    Plan,
    /// To the plan that they had before.
    PlanBack,
    Cancels,
    ComesBack,
    /// What was noted last turns out to have happened a second earlier.
    Corrects,
    Moves,
}

/// Whether the app tells Crisp itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Push {
    No,
    /// Seconds later.
    Plain,
    /// Seconds later, and it says when it happened.
    Dated,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route {
    Add,
    List,
    Contact,
    Any,
}

/// How a request ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    /// Cut before it took effect.
    DroppedBefore,
    /// Cut after it took effect.
    DroppedAfter,
    /// A server's failure that took no effect.
    Fails,
    /// A server's failure that took effect.
    FailsApplied,
    /// A load balancer's page, and it took effect.
    PageApplied,
    /// Cut, and it takes effect later.
    Late,
    /// 429.
    Throttled,
    /// The first half of an answer.
    Half,
    /// It takes effect, and the answer comes when nobody waits any more.
    Slow,
}

/// How long.
#[derive(Debug, Clone, Copy)]
pub(super) enum Span {
    /// Next to nothing.
    Moment,
    /// Some minutes, and less than the grace.
    Minutes,
    /// Past the grace.
    Grace,
    /// Past the quiet.
    Quiet,
    /// Past the gap between two of one event, and some.
    Long,
}

/// The instant of a death.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// When so many requests have arrived since.
    pub(super) calls: usize,
    /// While the last of them waits for its answer.
    pub(super) in_flight: bool,
    /// Whether that one took effect.
    pub(super) applied: bool,
    /// So many turns of the scheduler later.
    pub(super) turns: u32,
    /// Once the grace of what happened is over.
    pub(super) when_due: bool,
}
