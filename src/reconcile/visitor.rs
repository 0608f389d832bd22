//! The visitor: who they are and what their conversation holds, by the best knowledge at hand.
//!
//! Two ways lead here. A read of the conversation is the truth, and the only thing that can raise trust; the ledger's
//! mirror is a memory of such a read, good enough to conclude that there is nothing to do.

use jiff::Timestamp;
use serde_json::Map;

use crate::{
    context::Held,
    crisp::model::Conversation,
    identity::{Channel, Trust, Verification, VerificationAddress, trust},
    ids::{Email, PeopleId},
    ledger::ConversationMirror,
};

/// A visitor and what their conversation holds.
#[derive(Debug)]
pub(super) struct Visitor {
    pub(super) email: Option<Email>,
    pub(super) email_since: Timestamp,
    pub(super) trust: Trust,
    pub(super) channel: Channel,
    pub(super) people: Option<PeopleId>,
    pub(super) held: Held,
    pub(super) read_at: Option<Timestamp>,
}

impl Visitor {
    /// As a read of the conversation shows them.
    pub(super) fn read(
        conversation: Conversation,
        mirror: Option<&ConversationMirror>,
        address: VerificationAddress,
        now: Timestamp,
    ) -> Self {
        let email = conversation.meta.email;
        let verifications: Vec<_> = conversation
            .verifications
            .iter()
            .map(|verification| Verification {
                identity: &verification.identity,
                annotation: verification.annotation.as_deref(),
            })
            .collect();
        let trust = email.as_ref().map_or(Trust::Unproven, |email| {
            trust(email, conversation.is_verified, &verifications, address)
        });
        Self {
            email_since: email_since(email.as_ref(), mirror, conversation.created_at, now),
            email,
            trust,
            channel: Channel::from_origin(conversation.meta.origin.as_deref()),
            people: conversation.people_id,
            held: accepted(
                Held {
                    data: conversation.meta.data,
                    segments: conversation.meta.segments,
                },
                mirror,
            ),
            read_at: Some(now),
        }
    }

    /// As the last read left them in the mirror.
    pub(super) fn remembered(mirror: &ConversationMirror) -> Self {
        let layer = &mirror.session_layer;
        let data = layer
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
                segments: layer.segments.iter().cloned().collect(),
            },
            read_at: mirror.read_at,
        }
    }
}

/// Since when the visitor has this address. A verification arrives a moment after it, so a young address is not yet called
/// unverified. In a conversation that is new to us the address is as old as the conversation.
fn email_since(
    email: Option<&Email>,
    mirror: Option<&ConversationMirror>,
    created_at: Option<i64>,
    now: Timestamp,
) -> Timestamp {
    match mirror {
        Some(mirror) if mirror.email.as_ref() == email => mirror.email_since.unwrap_or(now),
        Some(_) => now,
        None => created_at
            .and_then(|at| Timestamp::from_millisecond(at).ok())
            .map_or(now, |at| at.min(now)),
    }
}

/// What is held, with the form that Crisp gave to our values taken for our values: Crisp insisted on it, and correcting it
/// again would go on for ever.
fn accepted(mut held: Held, mirror: Option<&ConversationMirror>) -> Held {
    let Some((wanted, form)) =
        mirror.and_then(|mirror| Some((&mirror.session_layer, mirror.crisp_form.as_ref()?)))
    else {
        return held;
    };
    for (key, value) in &form.data {
        if let Some(wanted) = wanted.data.get(key)
            && value.is_held_as(held.data.get(key))
        {
            held.data.insert(key.clone(), wanted.to_json());
        }
    }
    let is_the_form = form
        .segments
        .iter()
        .all(|segment| held.segments.contains(segment));
    if form.segments != wanted.segments && is_the_form {
        held.segments
            .retain(|segment| !form.segments.contains(segment));
        held.segments.extend(wanted.segments.iter().cloned());
    }
    held
}
