//! The refresh of one conversation: who is it, what should an agent see, what is there, what is the least change.
//!
//! A warm mirror may conclude that there is nothing to do, and then Crisp is not asked at all. It may never conclude
//! what to write: before a PATCH the conversation is read, and everything is decided again on what that read says.

use jiff::{SignedDuration, Timestamp};
use serde_json::Map;

use super::{
    Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, hand::Applied, stamp::Stamp,
};
use crate::{
    context::{ChangeKind, Held, Layer, Owned, Patch, UNVERIFIED, evaluate},
    crisp::model::{Conversation, MetasPatch},
    identity::{Channel, MarkDecision, Permissions, Situation, Trust, Verification, permit, trust},
    ids::{Email, PeopleId, SessionId, UserKey, WebsiteId},
    ledger::{ConversationMirror, Enqueue, Trigger, Urgency, WorkKind, Write},
    record::User,
    users::{Freshness, Lookup, UsersError},
};

/// The visitor, and what their conversation holds, by the best knowledge at hand.
#[derive(Debug)]
struct Visitor {
    email: Option<Email>,
    email_since: Timestamp,
    trust: Trust,
    channel: Channel,
    people: Option<PeopleId>,
    held: Held,
    read_at: Option<Timestamp>,
}

/// What should be there, and why.
#[derive(Debug)]
struct Desired {
    layer: Layer,
    /// Set when the look-up did not answer: the layer is what may stay until it does.
    outage: Option<UsersError>,
    user: Option<UserKey>,
    permissions: Option<Permissions>,
    outcome: Option<Outcome>,
}

impl Reconciler {
    /// Refreshes one conversation.
    pub async fn conversation(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        session: &SessionId,
    ) -> Result<Reconciled, ReconcileError> {
        let mirror = self.ledger.conversation(website, session).await?;
        let owned = self.owned().await?.session;
        if let Some(mirror) = mirror
            .as_ref()
            .filter(|mirror| self.may_rely_on(mirror, run))
        {
            let visitor = Visitor::from_mirror(mirror);
            let desired = self.desired(run, website, &visitor, Some(mirror)).await?;
            let patch = self.patch(&desired, &visitor, &owned, run.now);
            if desired.outage.is_none() && patch.is_empty() || run.hand.mode() == Mode::Plan {
                run.trace.fact("the mirror is warm: Crisp was not asked");
                return self
                    .finish(run, website, session, Some(mirror), visitor, desired, patch)
                    .await;
            }
        }
        let Some(conversation) = run.hand.conversation(website, session).await? else {
            // On paper and without a mirror there is nothing to compare with.
            return Ok(Reconciled::nothing(Outcome::NoEmail));
        };
        let visitor = self.read(conversation, mirror.as_ref(), run.now);
        let desired = self
            .desired(run, website, &visitor, mirror.as_ref())
            .await?;
        let patch = self.patch(&desired, &visitor, &owned, run.now);
        self.finish(
            run,
            website,
            session,
            mirror.as_ref(),
            visitor,
            desired,
            patch,
        )
        .await
    }

    /// A mirror is warm while hooks have kept it clean and the last read is not too old.
    fn may_rely_on(&self, mirror: &ConversationMirror, run: &Run) -> bool {
        run.hand.mode() == Mode::Plan
            || (!mirror.dirty
                && mirror
                    .read_at
                    .is_some_and(|at| age(at, run.now) < self.settings.mirror_max_age))
    }

    fn read(
        &self,
        conversation: Conversation,
        mirror: Option<&ConversationMirror>,
        now: Timestamp,
    ) -> Visitor {
        let email = conversation.meta.email;
        let trust = email.as_ref().map_or(Trust::Unproven, |email| {
            let verifications: Vec<_> = conversation
                .verifications
                .iter()
                .map(|verification| Verification {
                    identity: &verification.identity,
                    annotation: verification.annotation.as_deref(),
                })
                .collect();
            trust(
                email,
                conversation.is_verified,
                &verifications,
                self.settings.verification_address,
            )
        });
        // The age of an address is counted from when we first saw it, so that a verification that arrives a moment after
        // it is not preceded by an `unverified` mark.
        let email_since = mirror
            .filter(|mirror| mirror.email == email)
            .and_then(|mirror| mirror.email_since)
            .unwrap_or(now);
        Visitor {
            email,
            email_since,
            trust,
            channel: Channel::from_origin(conversation.meta.origin.as_deref()),
            people: conversation.people_id,
            held: Held {
                data: conversation.meta.data,
                segments: conversation.meta.segments,
            },
            read_at: Some(now),
        }
    }

    /// What the conversation should hold for this visitor.
    async fn desired(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        visitor: &Visitor,
        mirror: Option<&ConversationMirror>,
    ) -> Result<Desired, ReconcileError> {
        let empty = self.definition.empty_context().session;
        let Some(email) = &visitor.email else {
            run.trace.fact("the visitor gave no address");
            return Ok(Desired::nobody(empty, Outcome::NoEmail));
        };
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
        let lookup = match self.users.by_email(email, Freshness::Cached).await {
            Ok(lookup) => lookup,
            Err(error) if error.is_transient() => {
                run.trace.fact("the app's database did not answer");
                return Ok(self.during_outage(visitor, mirror, permissions, error));
            }
            Err(error) => return Err(error.into()),
        };
        let Lookup::Found(user) = lookup else {
            run.trace.fact("the app does not know the address");
            return Ok(Desired::nobody(empty, Outcome::NoUser));
        };
        run.trace
            .fact(format!("user {}", self.ledger.pseudonyms().user(&user.key)));
        let layer = self.layer_for(&user, &permissions, run.now)?;
        Ok(Desired {
            layer,
            outage: None,
            user: Some(user.key.clone()),
            permissions: Some(permissions),
            outcome: None,
        })
    }

    /// The session layer of a user, cut down to what this visitor may have.
    fn layer_for(
        &self,
        user: &User,
        permissions: &Permissions,
        now: Timestamp,
    ) -> Result<Layer, ReconcileError> {
        let mut layer = evaluate(&self.definition, user, now)?.session;
        if !permissions.session_data {
            layer = layer.without_data();
        }
        if !permissions.session_segments {
            layer = layer.without_segments();
        }
        Ok(mark(layer, permissions))
    }

    /// The app's database is away. What was written for this very address stays, marked as stale; what was written for
    /// somebody else is cleared at once, because waiting would show it to the wrong person.
    fn during_outage(
        &self,
        visitor: &Visitor,
        mirror: Option<&ConversationMirror>,
        permissions: Permissions,
        error: UsersError,
    ) -> Desired {
        let ours = mirror.filter(|mirror| self.is_written_for(visitor.email.as_ref(), mirror));
        let layer = match ours {
            Some(mirror) if permissions.session_data => {
                let mut layer = mirror.session_layer.clone();
                Stamp::stale(&mut layer);
                layer
            }
            Some(mirror) => mirror.session_layer.clone().without_data(),
            None => self.definition.empty_context().session,
        };
        Desired {
            layer: mark(layer, &permissions),
            outage: Some(error),
            user: None,
            permissions: Some(permissions),
            outcome: None,
        }
    }

    fn is_written_for(&self, email: Option<&Email>, mirror: &ConversationMirror) -> bool {
        let of_email = email.map(|email| self.ledger.pseudonyms().email(email));
        of_email.is_some() && of_email == mirror.written_for
    }

    /// The least change, with the age of the context riding along when there is a change or the age itself is old.
    fn patch(&self, desired: &Desired, visitor: &Visitor, owned: &Owned, now: Timestamp) -> Patch {
        let may_stamp = desired.user.is_some()
            && desired
                .permissions
                .as_ref()
                .is_some_and(|permissions| permissions.session_data);
        let stamp = may_stamp.then_some(Stamp {
            now,
            max_age: self.settings.as_of_max_age,
        });
        Stamp::diff(stamp, &desired.layer, &visitor.held, owned)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the end of one refresh, told from both ways into it"
    )]
    async fn finish(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        session: &SessionId,
        mirror: Option<&ConversationMirror>,
        visitor: Visitor,
        desired: Desired,
        patch: Patch,
    ) -> Result<Reconciled, ReconcileError> {
        let applied = if patch.is_empty() {
            None
        } else {
            let metas = MetasPatch {
                data: patch.data.clone(),
                segments: patch.segments.clone(),
            };
            Some(run.hand.update_metas(website, session, &metas).await?)
        };
        run.trace.changes("session", &patch.changes);
        let mut writes = Vec::new();
        if visitor.trust == Trust::Proven {
            writes.push(Write::VerifiedSeen {
                website: website.clone(),
                at: run.now,
            });
        }
        let withheld = applied == Some(Applied::Withheld);
        let mirrored = ConversationMirror {
            website: website.clone(),
            session: session.clone(),
            written_for: visitor
                .email
                .as_ref()
                .map(|email| self.ledger.pseudonyms().email(email)),
            email: visitor.email.clone(),
            user_key: desired.user.clone().or_else(|| {
                mirror
                    .filter(|mirror| mirror.email == visitor.email)
                    .and_then(|mirror| mirror.user_key.clone())
            }),
            people: visitor.people.clone(),
            trust: Some(visitor.trust.as_str().to_owned()),
            channel: Some(visitor.channel.name().to_owned()),
            crisp_form: None,
            session_layer: if withheld {
                mirror
                    .map(|mirror| mirror.session_layer.clone())
                    .unwrap_or_default()
            } else {
                stamped(&desired.layer, &patch)
            },
            dirty: withheld,
            email_since: Some(visitor.email_since),
            read_at: visitor.read_at,
            refreshed_at: Some(run.now),
        };
        writes.push(Write::Conversation(mirrored));
        if let Some(error) = desired.outage {
            // What could be done without the database is done and must be remembered; the look-up is owed.
            return Ok(Reconciled {
                writes,
                owed: Some(error.into()),
                ..Reconciled::default()
            });
        }
        let permissions = desired.permissions.as_ref();
        if let (Some(user), true) = (
            &desired.user,
            permissions.is_some_and(|permissions| permissions.contact),
        ) {
            let forged = !permissions.is_some_and(|permissions| permissions.session_data)
                && patch.changes.iter().any(|change| change.before.is_some());
            if forged {
                run.trace
                    .fact("the session held values under our names: the contact is asserted again");
                writes.push(Write::AssertContact {
                    website: website.clone(),
                    user_key: user.clone(),
                });
            }
            writes.push(Write::Enqueue(Enqueue {
                kind: WorkKind::Person,
                website: website.clone(),
                key: user.as_str().to_owned(),
                trigger: Trigger::Conversation,
                run_at: run.now,
                urgency: Urgency::Timer,
                debounce: std::time::Duration::ZERO,
            }));
        }
        let outcome = desired.outcome.unwrap_or(match applied {
            None => Outcome::Unchanged,
            Some(Applied::Yes) => Outcome::Patched,
            Some(Applied::Withheld) => Outcome::WouldPatch,
        });
        let again_at = match permissions.map(|permissions| &permissions.unverified_mark) {
            Some(MarkDecision::LookAgainAt(at)) => Some(*at),
            _ => None,
        };
        Ok(Reconciled {
            outcome,
            again_at,
            writes,
            owed: None,
        })
    }
}

/// How long ago.
pub(super) fn age(at: Timestamp, now: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(now.duration_since(at).max(SignedDuration::ZERO))
        .unwrap_or_default()
}

/// Adds the mark where it is to be written.
fn mark(mut layer: Layer, permissions: &Permissions) -> Layer {
    if permissions.unverified_mark == MarkDecision::Write {
        layer.segments.insert(UNVERIFIED.to_owned());
    }
    layer
}

/// The layer as Crisp holds it after the patch: the stamps that rode along are part of it.
fn stamped(layer: &Layer, patch: &Patch) -> Layer {
    let mut layer = layer.clone();
    for change in &patch.changes {
        if let (ChangeKind::Data, Some(after)) = (change.kind, &change.after)
            && let Ok(value) = serde_json::from_value(after.clone())
        {
            layer.data.insert(change.name.clone(), value);
        }
    }
    layer
}

impl Visitor {
    fn from_mirror(mirror: &ConversationMirror) -> Self {
        let data = mirror
            .session_layer
            .data
            .iter()
            .map(|(key, value)| (key.clone(), value.to_json()));
        Self {
            email: mirror.email.clone(),
            email_since: mirror
                .email_since
                .or(mirror.read_at)
                .unwrap_or(Timestamp::MIN),
            trust: mirror
                .trust
                .as_deref()
                .and_then(Trust::parse)
                .unwrap_or(Trust::Unproven),
            channel: Channel::from_origin(mirror.channel.as_deref()),
            people: mirror.people.clone(),
            held: Held {
                data: data.collect::<Map<_, _>>(),
                segments: mirror.session_layer.segments.iter().cloned().collect(),
            },
            read_at: mirror.read_at,
        }
    }
}

impl Desired {
    fn nobody(layer: Layer, outcome: Outcome) -> Self {
        Self {
            layer,
            outage: None,
            user: None,
            permissions: None,
            outcome: Some(outcome),
        }
    }
}
