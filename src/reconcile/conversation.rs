//! The refresh of one conversation: who is it, what should an agent see, what is there, what is the least change.
//!
//! A warm mirror may conclude that there is nothing to do, and then Crisp is not asked at all. It may never conclude
//! what to write: before a PATCH the conversation is read, and everything is decided again on what that read says.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    Mode, Outcome, ReconcileError, Reconciled, Reconciler, Run, hand::Applied,
    session_layer::Desired, stamp::Stamp, visitor::Visitor,
};
use crate::{
    context::{ChangeKind, Patch},
    crisp::model::MetasPatch,
    identity::Trust,
    ids::{SessionId, UserKey, WebsiteId},
    ledger::{Claim, ConversationMirror, ERASED, Enqueue, Trigger, Urgency, WorkKind, Write},
};

/// The longest from asking for a conversation to writing upon what was read. A write carries everything that is there, so
/// what others typed since the read is lost: that may be a round trip, not a process that slept or a look-up that hung.
const READ_HOLDS: Duration = Duration::from_secs(15);
/// How often one run reads, should the reads grow too old.
const READS: u32 = 3;

/// A conversation whose refresh is decided.
struct Decided<'a> {
    website: &'a WebsiteId,
    session: &'a SessionId,
    mirror: Option<&'a ConversationMirror>,
    visitor: Visitor,
    desired: Desired,
    patch: Patch,
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
        if let Some(mirror) = mirror
            .as_ref()
            .filter(|mirror| self.may_rely_on(mirror, run))
        {
            let visitor = Visitor::remembered(mirror);
            let decided = self
                .decided(run, website, session, Some(mirror), visitor)
                .await?;
            if decided.patch.is_empty() {
                run.trace
                    .fact("by the mirror there is nothing to do: Crisp was not asked");
                return self.finish(run, decided).await;
            }
            if run.hand.mode() == Mode::Plan {
                // On paper the mirror stands for the read that would come first.
                run.hand.conversation(website, session).await?;
                return self.finish(run, decided).await;
            }
        }
        for _ in 0..READS {
            let asked_at = run.clock.now();
            let Some(conversation) = run.hand.conversation(website, session).await? else {
                return Ok(Reconciled::nothing(Outcome::NoEmail));
            };
            let address = self.settings.verification_address;
            let visitor = Visitor::read(conversation, mirror.as_ref(), address, run.now);
            let decided = self
                .decided(run, website, session, mirror.as_ref(), visitor)
                .await?;
            if decided.patch.is_empty() || age(asked_at, run.clock.now()) <= READ_HOLDS {
                return self.finish(run, decided).await;
            }
            run.trace
                .fact("what was read is too old to be written upon: Crisp is read again");
        }
        Err(ReconcileError::Deadline)
    }

    /// A mirror is warm while hooks have kept it clean and the last read is not too old. On paper there is no other.
    fn may_rely_on(&self, mirror: &ConversationMirror, run: &Run) -> bool {
        let is_young = |at: Timestamp| age(at, run.now) < self.settings.mirror_max_age;
        run.hand.mode() == Mode::Plan || (!mirror.dirty && mirror.read_at.is_some_and(is_young))
    }

    /// Whether an earlier attempt may have sent a write of which nobody knows what became: it was cut off, or its process
    /// died. What is read now may be read before that write lands.
    fn may_still_land(run: &Run, decided: &Decided<'_>) -> bool {
        let is_taken_over = |claim: &Claim| claim.attempt > 1 || claim.crashes > 0;
        run.hand.mode() == Mode::Live
            && run.claim.as_ref().is_some_and(is_taken_over)
            && decided.mirror.is_none_or(|mirror| mirror.dirty)
    }

    /// When the last write that is on its way has landed.
    fn quiet_until(&self, run: &Run) -> Timestamp {
        run.now
            .checked_add(self.rules.quiet())
            .unwrap_or(Timestamp::MAX)
    }

    async fn decided<'a>(
        &self,
        run: &mut Run,
        website: &'a WebsiteId,
        session: &'a SessionId,
        mirror: Option<&'a ConversationMirror>,
        visitor: Visitor,
    ) -> Result<Decided<'a>, ReconcileError> {
        let owned = self.owned().await?.session;
        let desired = self.desired(run, website, &visitor, mirror).await?;
        let patch = self.session_patch(&desired, &visitor, mirror, &owned, run.now);
        Ok(Decided {
            website,
            session,
            mirror,
            visitor,
            desired,
            patch,
        })
    }

    /// Makes the change, and says what the ledger is to remember.
    async fn finish(
        &self,
        run: &mut Run,
        decided: Decided<'_>,
    ) -> Result<Reconciled, ReconcileError> {
        let Decided {
            website,
            session,
            patch,
            ..
        } = &decided;
        let applied = if patch.is_empty() {
            None
        } else {
            let metas = MetasPatch {
                data: patch.data.clone(),
                segments: patch.segments.clone(),
            };
            Some(run.hand.update_metas(website, session, &metas).await?)
        };
        // What was there is no value of ours any more, once somebody is erased.
        let ours = decided.mirror.filter(|_| !decided.desired.is_erased());
        run.trace.changes(
            "session",
            &patch.changes,
            ours.map(|mirror| &mirror.session_layer),
        );
        let mut writes = vec![Write::Conversation(self.mirrored(&decided, applied, run))];
        if (decided.desired.is_erased() || decided.mirror.is_some_and(was_erased))
            && applied != Some(Applied::Withheld)
        {
            writes.push(Write::Cleared);
        }
        if decided.visitor.trust == Trust::Proven {
            writes.push(Write::VerifiedSeen {
                website: decided.website.clone(),
                at: run.now,
            });
        }
        if let Some(user) = decided
            .desired
            .user
            .clone()
            .filter(|_| decided.desired.reaches_contact())
        {
            if decided.is_forged() {
                run.trace
                    .fact("the session held values under our names: the contact is asserted again");
                writes.push(Write::AssertContact {
                    website: decided.website.clone(),
                    user_key: user.clone(),
                });
            }
            writes.push(person(decided.website, &user, run));
        }
        // Where the conversation may not tell that it was not looked up, the contact does.
        if decided.desired.is_stale
            && !decided.desired.shows_data()
            && decided.desired.reaches_contact()
            && let Some(mirror) = decided
                .mirror
                .filter(|mirror| mirror.email == decided.visitor.email)
            && let Some(user) = &mirror.user_key
        {
            writes.push(person(decided.website, user, run));
        }
        let outcome = decided.desired.outcome.unwrap_or(match applied {
            None => Outcome::Unchanged,
            Some(Applied::Yes) => Outcome::Patched,
            Some(Applied::Withheld) => Outcome::WouldPatch,
        });
        let look_again_at = decided.desired.look_again_at();
        let verify_at = Self::may_still_land(run, &decided).then(|| self.quiet_until(run));
        Ok(Reconciled {
            outcome,
            again_at: look_again_at.into_iter().chain(verify_at).min(),
            writes,
            // What could be done without an answer is done and remembered; the look-up is owed.
            owed: decided.desired.owed,
        })
    }

    fn mirrored(
        &self,
        decided: &Decided<'_>,
        applied: Option<Applied>,
        run: &Run,
    ) -> ConversationMirror {
        let Decided {
            visitor,
            desired,
            mirror,
            ..
        } = decided;
        let is_erased = desired.is_erased();
        // The mirror of somebody who was erased has no address; what it has in its place stays, or nobody would find it if
        // they came back.
        let erased_before = mirror.filter(|mirror| visitor.email.is_none() && was_erased(mirror));
        let same_person = mirror.filter(|mirror| mirror.email == visitor.email);
        let withheld = applied == Some(Applied::Withheld);
        let (session_layer, written_for) = if withheld {
            let before =
                mirror.map(|mirror| (mirror.session_layer.clone(), mirror.written_for.clone()));
            before.unwrap_or_default()
        } else {
            let email = visitor.email.as_ref();
            let written_for = email
                .map(|email| self.ledger.pseudonyms().email(email))
                .or_else(|| erased_before.and_then(|mirror| mirror.written_for.clone()));
            (
                Stamp::kept(&desired.layer, &visitor.held, &decided.patch),
                written_for,
            )
        };
        ConversationMirror {
            website: decided.website.clone(),
            session: decided.session.clone(),
            email: visitor.email.clone().filter(|_| !is_erased),
            user_key: desired
                .user
                .clone()
                .or_else(|| same_person.and_then(|mirror| mirror.user_key.clone()))
                .filter(|_| !is_erased),
            people: visitor.people.clone().filter(|_| !is_erased),
            trust: Some(
                if is_erased || erased_before.is_some() {
                    ERASED
                } else {
                    visitor.trust.as_str()
                }
                .to_owned(),
            ),
            channel: Some(visitor.channel.name().to_owned()),
            session_layer,
            // The ledger keeps it.
            crisp_form: None,
            written_for,
            dirty: withheld,
            email_since: Some(visitor.email_since),
            read_at: if Self::may_still_land(run, decided) {
                // Believed until then, and no longer.
                self.quiet_until(run)
                    .checked_sub(self.settings.mirror_max_age)
                    .ok()
            } else {
                visitor.read_at
            },
            refreshed_at: Some(run.now),
        }
    }
}

impl Decided<'_> {
    /// Whether a session that may hold no data of ours held some: a visitor wrote it, and it may have flowed into the
    /// contact.
    fn is_forged(&self) -> bool {
        !self.desired.shows_data()
            && self
                .patch
                .changes
                .iter()
                .any(|change| change.kind == ChangeKind::Data && change.before.is_some())
    }
}

fn was_erased(mirror: &ConversationMirror) -> bool {
    mirror.trust.as_deref() == Some(ERASED)
}

/// The refresh of the person behind a conversation. Where nobody waits for the one, nobody waits for the other. What a
/// stranger asks for is charged to strangers, unless an operator looks at it.
fn person(website: &WebsiteId, user: &UserKey, run: &Run) -> Write {
    let claim = run.claim.as_ref();
    let is_watched = claim.is_some_and(|claim| claim.priority == 0);
    let trigger = match claim {
        _ if run.trust == Some(Trust::Unproven) && !is_watched => Trigger::Unproven,
        Some(claim) if claim.trigger == Trigger::Gap => Trigger::Gap,
        _ => Trigger::Conversation,
    };
    Write::Enqueue(Enqueue {
        kind: WorkKind::Person,
        website: website.clone(),
        key: user.as_str().to_owned(),
        trigger,
        run_at: run.now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    })
}

/// How long ago.
fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at).max(SignedDuration::ZERO)).unwrap_or_default()
}
