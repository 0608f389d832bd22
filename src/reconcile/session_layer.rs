//! What a conversation should hold for its visitor, and why.

use jiff::Timestamp;

use super::{Outcome, ReconcileError, Reconciler, Run, stamp::Stamp, visitor::Visitor};
use crate::{
    context::{Layer, Owned, Patch, UNVERIFIED, evaluate},
    identity::{MarkDecision, Permissions, Situation, permit},
    ids::{Email, UserKey, WebsiteId},
    ledger::ConversationMirror,
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
                return Ok(self.nobody(Outcome::NoUser));
            }
            Err(error) => return self.without_answer(email, mirror, permissions, error),
        };
        let reference = self.ledger.pseudonyms().user(&user);
        run.trace.fact(format!("user {reference}"));
        run.user = Some(reference);
        Ok(Desired {
            layer: cut(layer, &permissions),
            user: Some(user),
            permissions: Some(permissions),
            outcome: None,
            owed: None,
        })
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

    /// The app's database is away, or its answer cannot be used. What was written for this very address stays, marked as
    /// stale. What was written for somebody else is cleared at once, whatever the error: waiting would show it to the wrong
    /// person.
    fn without_answer(
        &self,
        email: &Email,
        mirror: Option<&ConversationMirror>,
        permissions: Permissions,
        error: ReconcileError,
    ) -> Result<Desired, ReconcileError> {
        let of_email = self.ledger.pseudonyms().email(email);
        let is_for = |mirror: &&ConversationMirror| mirror.written_for.as_ref() == Some(&of_email);
        let layer = match mirror.filter(is_for) {
            Some(_) if !error.is_transient() => return Err(error),
            Some(mirror) => {
                let mut layer = cut(mirror.session_layer.clone(), &permissions);
                Stamp::stale(&mut layer);
                layer
            }
            None => cut(self.definition.empty_context().session, &permissions),
        };
        Ok(Desired {
            layer,
            user: None,
            permissions: Some(permissions),
            outcome: None,
            owed: Some(error),
        })
    }

    fn nobody(&self, outcome: Outcome) -> Desired {
        Desired {
            layer: self.definition.empty_context().session,
            user: None,
            permissions: None,
            outcome: Some(outcome),
            owed: None,
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

    /// When to look again, because the mark may become due.
    pub(super) fn look_again_at(&self) -> Option<Timestamp> {
        match self.permissions.as_ref()?.unverified_mark {
            MarkDecision::LookAgainAt(at) => Some(at),
            MarkDecision::Write | MarkDecision::Omit => None,
        }
    }
}

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
