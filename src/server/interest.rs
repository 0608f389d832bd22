//! Which webhooks we act on, and what each does to the ledger.
//!
//! Pure: an envelope and the settings in, effects out. Nothing here waits for Crisp or for the app's database, because
//! the sender waits for us.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use crate::{
    crisp::event::{Envelope, WebhookEvent},
    ids::{SessionId, WebsiteId},
    ledger::{Effect, Enqueue, Trigger, Urgency, WorkKind},
    pseudonym::Pseudonyms,
};

/// What the operator chose to act on.
#[derive(Debug, Clone)]
pub struct InterestSettings {
    /// Websites we serve; empty means every website that the signing secrets vouch for.
    pub websites: BTreeSet<WebsiteId>,
    /// Which triggers refresh a conversation.
    pub triggers: BTreeSet<Trigger>,
    /// How long a first trigger waits for the ones that come with it, while it is not settled who the visitor is.
    pub debounce: Duration,
    /// After a refresh, further messages refresh again only when this is over.
    pub fresh_for: Duration,
}

impl Default for InterestSettings {
    fn default() -> Self {
        Self {
            websites: BTreeSet::new(),
            triggers: [
                Trigger::MessageSend,
                Trigger::SetEmail,
                Trigger::UpdateVerify,
                Trigger::SetState,
                Trigger::SetOpened,
                Trigger::RequestInitiated,
                Trigger::BindSession,
            ]
            .into(),
            debounce: Duration::from_secs(1),
            fresh_for: Duration::from_mins(1),
        }
    }
}

/// What a genuine webhook asks for.
#[derive(Debug)]
pub enum Interest {
    /// Commit the delivery with these effects.
    Act(Vec<Effect>),
    /// Acknowledge it, and keep nothing.
    Ignore(&'static str),
    /// It speaks of a website that is not ours.
    Foreign,
}

/// Decides what `envelope` asks for.
pub fn interest(
    envelope: &Envelope,
    settings: &InterestSettings,
    pseudonyms: &Pseudonyms,
    now: Timestamp,
) -> Interest {
    if !settings.websites.is_empty() && !settings.websites.contains(&envelope.website) {
        return Interest::Foreign;
    }
    let refresh = Refresh {
        website: &envelope.website,
        settings,
        now,
    };
    let website = || envelope.website.clone();
    let email_mac =
        |email: &Option<crate::ids::Email>| email.as_ref().map(|email| pseudonyms.email(email));
    let effects = match &envelope.event {
        WebhookEvent::MessageSend {
            from_user: false, ..
        } => return Interest::Ignore("not_from_the_visitor"),
        WebhookEvent::MessageSend { session, .. } => refresh.effects(session, Trigger::MessageSend),
        WebhookEvent::SessionSetEmail { session, .. } => {
            let mut effects = vec![Effect::IdentityChanged {
                website: website(),
                session: session.clone(),
            }];
            effects.extend(refresh.effects(session, Trigger::SetEmail));
            effects
        }
        WebhookEvent::SessionUpdateVerify {
            session,
            is_verified,
        } => {
            let mut effects = vec![Effect::LowerTrust {
                website: website(),
                session: session.clone(),
            }];
            let trigger = if *is_verified {
                Trigger::Verified
            } else {
                Trigger::UpdateVerify
            };
            effects.extend(refresh.effects(session, trigger));
            effects
        }
        WebhookEvent::SessionSetState { state, .. } if state == "resolved" => {
            return Interest::Ignore("resolved");
        }
        WebhookEvent::SessionSetState { session, .. } => {
            refresh.effects(session, Trigger::SetState)
        }
        WebhookEvent::SessionSetOpened { session } => refresh.effects(session, Trigger::SetOpened),
        WebhookEvent::SessionRequestInitiated { session } => {
            refresh.effects(session, Trigger::RequestInitiated)
        }
        WebhookEvent::PeopleBindSession { session, .. } => {
            refresh.effects(session, Trigger::BindSession)
        }
        WebhookEvent::SessionSetData { session, data } => vec![Effect::HeldData {
            website: website(),
            session: session.clone(),
            data: data.clone(),
        }],
        WebhookEvent::SessionSetSegments { session, segments } => vec![Effect::HeldSegments {
            website: website(),
            session: session.clone(),
            segments: segments.clone(),
        }],
        WebhookEvent::SessionRemoved { session } => vec![Effect::ForgetConversation {
            website: website(),
            session: session.clone(),
        }],
        WebhookEvent::PeopleProfileCreated { people, email } => vec![Effect::ContactCreated {
            website: website(),
            people: people.clone(),
            email: email_mac(email),
        }],
        WebhookEvent::PeopleProfileRemoved { people, email } => vec![Effect::ContactRemoved {
            website: website(),
            people: people.clone(),
            email: email_mac(email),
        }],
        // Somebody edited the contact, or we did. What is ours is asserted weekly and on every change; no refresh is
        // owed to an edit of the rest.
        WebhookEvent::PeopleProfileUpdated { .. } => return Interest::Ignore("contact_edited"),
        WebhookEvent::PluginSubscriptionUpdated { bound: true } => {
            vec![Effect::Resume { website: website() }]
        }
        WebhookEvent::PluginSubscriptionUpdated { bound: false } => {
            return Interest::Ignore("plugin_removed");
        }
        WebhookEvent::Other => return Interest::Ignore("no_interest"),
    };
    if effects.is_empty() {
        Interest::Ignore("trigger_off")
    } else {
        Interest::Act(effects)
    }
}

/// The refresh of one conversation, as a trigger asks for it.
struct Refresh<'a> {
    website: &'a WebsiteId,
    settings: &'a InterestSettings,
    now: Timestamp,
}

impl Refresh<'_> {
    fn effects(&self, session: &SessionId, trigger: Trigger) -> Vec<Effect> {
        let chosen = match trigger {
            // One webhook, and one choice.
            Trigger::Verified => Trigger::UpdateVerify,
            other => other,
        };
        if !self.settings.triggers.contains(&chosen) {
            return Vec::new();
        }
        let urgency = match trigger {
            // A new address, a verification or an operator who looks: somebody waits for this.
            Trigger::SetEmail
            | Trigger::UpdateVerify
            | Trigger::Verified
            | Trigger::SetOpened
            | Trigger::RequestInitiated => Urgency::Urgent,
            _ => Urgency::Normal {
                fresh_for: self.settings.fresh_for,
            },
        };
        vec![Effect::Enqueue(Enqueue {
            kind: WorkKind::Conversation,
            website: self.website.clone(),
            key: session.as_str().to_owned(),
            trigger,
            run_at: self.now,
            urgency,
            debounce: self.settings.debounce,
        })]
    }
}
