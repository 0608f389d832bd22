//! Where the adapters meet: look the user up, compute the context, compare, change the least.
//!
//! Four rooms: [`conversation`] (what an agent sees beside the chat), [`person`] (the contact, and the lifecycle events
//! that Crisp missed), [`gap`] (conversations that changed while nobody listened) and [`sweep`] (people whom none of these
//! brings up). All take a [`Run`] and return a [`Reconciled`]: what became of it and what the ledger must
//! write. They decide nothing themselves that can be decided without IO; that lives in `context`, `lifecycle` and
//! `identity`.
//!
//! Promises: an effect that is in force already costs no request; a GET comes before every PATCH that replaces; nothing
//! is retried here, an error says what to do next ([`ReconcileError::disposition`]) and the worker does it.

mod attempt;
mod braked;
mod contact;
mod conversation;
mod erase;
mod error;
mod event_contact;
mod events;
mod gap;
mod gone;
mod hand;
mod outbox;
mod person;
mod plan;
mod post;
mod profile;
mod recheck;
mod send;
mod send_on_paper;
mod session_layer;
mod spent;
mod stamp;
mod survey;
mod sweep;
mod timeline;
mod trace;
mod trial;
mod visitor;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

pub use error::{Disposition, ReconcileError};
pub use gap::GapSettings;
pub use hand::{Mode, PlannedCall};
pub use plan::Plan;
pub use spent::{Outlook, outlook, used};
pub use survey::{Surveyed, Watermarks, Whom};
pub use trace::RunTrace;
pub use trial::{Trial, TrialSent};

use crate::{
    breaker::Breakers,
    clock::Clock,
    context::{Definition, OwnedNames},
    crisp::client::{Client, RequestStamp},
    identity::{Channel, ChannelPolicy, Policy, Trust, VerificationAddress},
    ids::WebsiteId,
    ledger::{Claim, Ledger, OwnedKind, OwnedName, Side, Trace, Write},
    lifecycle::Rules,
    pseudonym::UserRef,
    telemetry::Metrics,
    users::UserDirectory,
};
use hand::Hand;
use timeline::LongestPage;

/// What reconciling takes from the configuration.
#[derive(Debug, Clone)]
pub struct ReconcileSettings {
    /// Whether writes go out.
    pub mode: Mode,
    /// Which websites are served; `plan` and `reconcile --email` speak of each.
    pub websites: Vec<WebsiteId>,
    /// What an unproven visitor's conversation may hold.
    pub policy: Policy,
    /// Channels that differ from chat, by name.
    pub channels: BTreeMap<String, ChannelPolicy>,
    /// Whether a verification must name the address it verified.
    pub verification_address: VerificationAddress,
    /// A mirror older than this is read again, whatever the hooks said.
    pub mirror_max_age: Duration,
    /// `context_as_of` is written again when it is older than this, even if nothing else changed.
    pub as_of_max_age: Duration,
    /// Contact values are asserted again after this long.
    pub assert_every: Duration,
    /// How conversations that changed while nobody listened are found.
    pub gap: GapSettings,
}

impl Default for ReconcileSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            websites: Vec::new(),
            policy: Policy::default(),
            channels: BTreeMap::new(),
            verification_address: VerificationAddress::default(),
            mirror_max_age: Duration::from_hours(12),
            as_of_max_age: Duration::from_hours(12),
            assert_every: Duration::from_hours(7 * 24),
            gap: GapSettings::default(),
        }
    }
}

impl ReconcileSettings {
    fn channel_policy(&self, channel: &Channel) -> ChannelPolicy {
        let name = channel.name();
        self.channels
            .get(name)
            .copied()
            .unwrap_or_else(|| channel.default_policy())
    }
}

/// Everything a refresh needs. Clones share it.
#[derive(Debug, Clone)]
pub struct Reconciler {
    crisp: Client,
    ledger: Ledger,
    users: UserDirectory,
    definition: Arc<Definition>,
    rules: Arc<Rules>,
    settings: Arc<ReconcileSettings>,
    metrics: Metrics,
    breakers: Breakers,
    longest_page: LongestPage,
}

/// What lies outside, and what of it is down.
#[derive(Debug, Clone)]
pub struct Adapters {
    /// Crisp's REST API.
    pub crisp: Client,
    /// The ledger.
    pub ledger: Ledger,
    /// The app's users.
    pub users: UserDirectory,
    /// The breakers of Crisp and of the app's databases.
    pub breakers: Breakers,
}

/// How a run ended when nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything was as it should be.
    Unchanged,
    /// Something was changed.
    Patched,
    /// In `observe` mode: something would have been changed.
    WouldPatch,
    /// The conversation has no address.
    NoEmail,
    /// The app does not know the address.
    NoUser,
    /// Crisp has no contact for the address.
    NoContact,
    /// A page of conversations, or of people, was looked through.
    Listed,
    /// The person was erased: nothing is looked up, and nothing of ours is left there.
    Erased,
}

impl Outcome {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Patched => "patched",
            Self::WouldPatch => "would_patch",
            Self::NoEmail => "no_email",
            Self::NoUser => "no_user",
            Self::NoContact => "no_contact",
            Self::Listed => "listed",
            Self::Erased => "erased",
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Reconciled {
    /// How it ended.
    pub outcome: Outcome,
    /// When to look again, if something is known to become due.
    pub again_at: Option<Timestamp>,
    /// What the ledger writes in the settling transaction.
    pub writes: Vec<Write>,
    /// What could not be done yet, though the rest could: the worker retries for it, and the writes are kept.
    pub owed: Option<ReconcileError>,
}

impl Default for Reconciled {
    fn default() -> Self {
        Self::nothing(Outcome::Unchanged)
    }
}

impl Reconciled {
    /// An end without anything to write.
    fn nothing(outcome: Outcome) -> Self {
        Self {
            outcome,
            again_at: None,
            writes: Vec::new(),
            owed: None,
        }
    }
}

/// One refresh, from claim to settlement.
#[derive(Debug)]
pub struct Run {
    /// The claimed work; `None` on paper.
    pub claim: Option<Claim>,
    /// When it began. One instant for the whole run, so that its parts agree.
    pub now: Timestamp,
    /// The time while it runs: a request that cannot be taken back is dated by when it leaves.
    pub(crate) clock: Clock,
    /// Crisp, as this run may use it.
    pub(crate) hand: Hand,
    /// What was decided and why, for `explain`.
    pub trace: RunTrace,
    /// The person, once found.
    pub user: Option<UserRef>,
    /// Whether the visitor proved their address, where there is one.
    pub trust: Option<Trust>,
}

impl Reconciler {
    /// Puts the adapters together.
    pub fn new(
        Adapters {
            crisp,
            ledger,
            users,
            breakers,
        }: Adapters,
        definition: Arc<Definition>,
        rules: Arc<Rules>,
        settings: ReconcileSettings,
        metrics: Metrics,
    ) -> Self {
        Self {
            crisp,
            ledger,
            users,
            definition,
            rules,
            settings: Arc::new(settings),
            metrics,
            breakers,
            longest_page: LongestPage::default(),
        }
    }

    /// Starts a run for a claim.
    pub fn run(&self, claim: Claim, clock: Clock) -> Run {
        let stamp = RequestStamp {
            generation: claim.generation,
            attempt: claim.fence(),
        };
        Run {
            claim: Some(claim),
            now: clock.now(),
            clock,
            hand: Hand::new(self.crisp.stamped(stamp), self.settings.mode),
            trace: RunTrace::default(),
            user: None,
            trust: None,
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &ReconcileSettings {
        &self.settings
    }

    /// Every name that is ours: the definition's, and those it ever owned.
    async fn owned(&self) -> Result<OwnedNames, ReconcileError> {
        let mut owned = self.definition.owned();
        for OwnedName { side, kind, name } in self.ledger.owned_names().await? {
            let side = match side {
                Side::Session => &mut owned.session,
                Side::Contact => &mut owned.contact,
            };
            match kind {
                OwnedKind::Key => side.keys.insert(name),
                OwnedKind::Segment => side.segments.insert(name),
                OwnedKind::SegmentPrefix => side.segment_prefixes.insert(name),
            };
        }
        Ok(owned)
    }
}

impl Run {
    fn is_unwatched(&self) -> bool {
        (self.claim.as_ref()).is_some_and(|claim| claim.trigger.is_unwatched())
    }

    /// Requests that were made, by purpose.
    pub fn calls(&self) -> Vec<&'static str> {
        self.hand
            .meter
            .calls()
            .iter()
            .map(|call| call.purpose)
            .collect()
    }

    /// Ends the run: what the ledger keeps of it.
    pub fn into_trace(self, outcome: &str, error: Option<String>) -> Trace {
        let mut trace = self.trace;
        trace.close(&self.hand.meter.calls(), self.hand.planned(), error);
        Trace {
            outcome: outcome.to_owned(),
            detail: serde_json::to_value(&trace).unwrap_or_default(),
        }
    }
}
