//! What a conversation should hold for its visitor, and why.

use jiff::{SignedDuration, Timestamp};

use super::{Outcome, ReconcileError, Reconciler, Run, stamp::Stamp, visitor::Visitor};
use crate::{
    context::{Layer, Owned, Patch, STAMPS, UNVERIFIED, evaluate},
    data::DataValue,
    identity::{MarkDecision, Permissions, Situation, permit},
    ids::{Email, UserKey, WebsiteId},
    ledger::{ConversationMirror, Tombstoned},
    users::{Freshness, Lookup},
};

/// What should be there.
#[derive(Debug)]
pub(super) struct Desired {
    pub(super) layer: Layer,
    pub(super) user: Option<UserKey>,
    pub(super) permissions: Option<Permissions>,
    /// Set where there is nobody to show anything of.
    pub(super) outcome: Option<Outcome>,
    /// Set when it could not be found out: the layer is what may stay until it is.
    pub(super) owed: Option<ReconcileError>,
    /// Whether agents are to be told that it could not be found out.
    pub(super) is_stale: bool,
    /// When to look up again whom the app does not know yet.
    pub(super) not_found_again_at: Option<Timestamp>,
}

impl Reconciler {
    /// What the conversation should hold for this visitor.
    pub(super) async fn desired(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        visitor: &Visitor,
        mirror: Option<&ConversationMirror>,
    ) -> Result<Desired, ReconcileError> {
        let Some(email) = &visitor.email else {
            run.trace.fact("the visitor gave no address");
            return Ok(self.nobody(Outcome::NoEmail));
        };
        if self.ledger.tombstoned(website, None, Some(email)).await? == Tombstoned::Yes {
            run.trace
                .fact("erased: nobody is looked up, and nothing of ours stays");
            return Ok(self.erased());
        }
        run.trust = Some(visitor.trust);
        let permissions = permit(&Situation {
            policy: self.settings.policy,
            channel_policy: self.settings.channel_policy(&visitor.channel),
            channel: visitor.channel.clone(),
            trust: visitor.trust,
            email_known_since: visitor.email_since,
            verified_seen_at: self.ledger.verified_seen(website).await?,
            now: run.now,
        });
        run.trace.fact(format!(
            "channel {}, trust {}",
            visitor.channel.name(),
            visitor.trust.as_str()
        ));
        let (user, layer) = match self.layer_of(run, email).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                run.trace.fact("the app does not know the address");
                return Ok(Desired {
                    not_found_again_at: look_up_again_at(visitor.email_since, run.now),
                    ..self.nobody(Outcome::NoUser)
                });
            }
            Err(error @ (ReconcileError::Users(_) | ReconcileError::Evaluate(_))) => {
                let lasting = self.is_lasting(run, &error);
                return Ok(self.without_answer(email, mirror, permissions, error, lasting));
            }
            Err(error) => return Err(error),
        };
        let asked = self.ledger.tombstoned(website, Some(&user), None);
        if asked.await? == Tombstoned::Yes {
            run.trace
                .fact("erased under another address: nothing of ours stays");
            return Ok(self.erased());
        }
        let reference = self.ledger.pseudonyms().user(&user);
        run.trace.fact(format!("user {reference}"));
        run.user = Some(reference);
        Ok(Desired {
            layer: cut(layer, &permissions),
            user: Some(user),
            permissions: Some(permissions),
            outcome: None,
            owed: None,
            is_stale: false,
            not_found_again_at: None,
        })
    }

    /// Nothing of somebody who was erased stays.
    fn erased(&self) -> Desired {
        let mut nobody = self.nobody(Outcome::Erased);
        // They ride along with a change, and are no reason for one; here they tell of a person.
        let stamps = STAMPS.map(|stamp| (stamp.to_owned(), DataValue::absent()));
        nobody.layer.data.extend(stamps);
        nobody
    }

    async fn layer_of(
        &self,
        run: &Run,
        email: &Email,
    ) -> Result<Option<(UserKey, Layer)>, ReconcileError> {
        let Lookup::Found(user) = self.users.by_email(email, Freshness::Cached).await? else {
            return Ok(None);
        };
        let layer = evaluate(&self.definition, &user, run.now)?.session;
        Ok(Some((user.key.clone(), layer)))
    }

    /// The app's database is away, or its answer cannot be used. What was written for this very address stays; what was
    /// written for somebody else is cleared at once, whatever the error: waiting would show it to the wrong person. Once it
    /// is no accident, agents are told that what they see, or do not see, was not looked up.
    fn without_answer(
        &self,
        email: &Email,
        mirror: Option<&ConversationMirror>,
        permissions: Permissions,
        error: ReconcileError,
        lasting: bool,
    ) -> Desired {
        let of_email = self.ledger.pseudonyms().email(email);
        let is_for = |mirror: &&ConversationMirror| mirror.written_for.as_ref() == Some(&of_email);
        let layer = match mirror.filter(is_for) {
            Some(mirror) => mirror.session_layer.clone(),
            None => self.definition.empty_context().session,
        };
        let mut layer = cut(layer, &permissions);
        if lasting && permissions.session_data {
            Stamp::stale(&mut layer);
        }
        Desired {
            layer,
            user: None,
            permissions: Some(permissions),
            outcome: None,
            owed: Some(error),
            is_stale: lasting,
            not_found_again_at: None,
        }
    }

    /// Whether a failed look-up is no accident: it failed for this row before, or for somebody else just now.
    pub(super) fn is_lasting(&self, run: &Run, error: &ReconcileError) -> bool {
        run.claim.as_ref().is_some_and(|claim| claim.attempt > 1)
            || error.breaker().is_some_and(|name| {
                self.breakers.outage(&name).is_some() || self.breakers.failures_in_a_row(&name) > 1
            })
    }

    fn nobody(&self, outcome: Outcome) -> Desired {
        Desired {
            layer: self.definition.empty_context().session,
            user: None,
            permissions: None,
            outcome: Some(outcome),
            owed: None,
            is_stale: false,
            not_found_again_at: None,
        }
    }

    /// The least change, with the age of the context riding along.
    pub(super) fn session_patch(
        &self,
        desired: &Desired,
        visitor: &Visitor,
        mirror: Option<&ConversationMirror>,
        owned: &Owned,
        now: Timestamp,
    ) -> Patch {
        let stamp = (desired.user.is_some() && desired.shows_data()).then_some(Stamp {
            now,
            max_age: self.settings.as_of_max_age,
            is_news: mirror
                .is_none_or(|mirror| !Stamp::same(&mirror.session_layer, &desired.layer)),
        });
        Stamp::diff(stamp, &desired.layer, &visitor.held, owned)
    }
}

impl Desired {
    /// Whether it is for nobody, because somebody was erased.
    pub(super) fn is_erased(&self) -> bool {
        self.outcome == Some(Outcome::Erased)
    }

    /// Whether the visitor may read data.
    pub(super) fn shows_data(&self) -> bool {
        self.permissions
            .as_ref()
            .is_some_and(|permissions| permissions.session_data)
    }

    /// Whether the contact may be written on the strength of this conversation.
    pub(super) fn reaches_contact(&self) -> bool {
        self.permissions
            .as_ref()
            .is_some_and(|permissions| permissions.contact)
    }

    /// When to look again, because the mark may become due or the user may be there.
    pub(super) fn look_again_at(&self) -> Option<Timestamp> {
        if self.not_found_again_at.is_some() {
            return self.not_found_again_at;
        }
        match self.permissions.as_ref()?.unverified_mark {
            MarkDecision::LookAgainAt(at) => Some(at),
            MarkDecision::Write | MarkDecision::Omit => None,
        }
    }
}

/// Somebody who has just signed up may not be on a replica yet, or their sign-up is not committed. Whom the app does not know
/// under a young address is looked up again; a look-up costs no call to Crisp.
fn look_up_again_at(email_since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    LOOK_UP_AGAIN
        .iter()
        .filter_map(|age| email_since.checked_add(*age).ok())
        .find(|at| *at > now)
}

/// How old an address is when it is looked up again.
const LOOK_UP_AGAIN: [SignedDuration; 3] = [
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(60),
    SignedDuration::from_mins(5),
];

/// Cuts a layer down to what this visitor may have, and sets or takes away the mark.
fn cut(mut layer: Layer, permissions: &Permissions) -> Layer {
    if !permissions.session_data {
        layer = layer.without_data();
    }
    if !permissions.session_segments {
        layer = layer.without_segments();
    }
    layer.segments.remove(UNVERIFIED);
    if permissions.unverified_mark == MarkDecision::Write {
        layer = layer.marked(UNVERIFIED);
    }
    layer
}
