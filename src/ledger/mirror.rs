//! The mirror: what Crisp held when we last looked, as far as it is ours, and the writes that keep it.
//!
//! It may only ever save a request ("nothing to do"); before anything is written to Crisp, Crisp is read.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use crate::{
    context::Layer,
    ids::{Email, PeopleId, SessionId, UserKey, WebsiteId},
    pseudonym::EmailMac,
};

use super::{
    listening::Listened, outbox::OutboxRow, sweeping::SweptPage, trigger::Enqueue, work::words,
};

/// What stands in the place of the trust of a conversation whose person was erased.
pub const ERASED: &str = "erased";

/// One conversation.
#[derive(Clone, PartialEq)]
pub struct ConversationMirror {
    /// Whose.
    pub website: WebsiteId,
    /// Which.
    pub session: SessionId,
    /// The e-mail it showed.
    pub email: Option<Email>,
    /// The user it belongs to.
    pub user_key: Option<UserKey>,
    /// The contact it is bound to.
    pub people: Option<PeopleId>,
    /// Whether the e-mail was proven: `proven` or `unproven`; [`ERASED`] where its person was erased.
    pub trust: Option<String>,
    /// The channel it came over.
    pub channel: Option<String>,
    /// Our own values, as Crisp last accepted them.
    pub session_layer: Layer,
    /// What Crisp makes of `session_layer` when it normalises. Kept by the ledger: found by corrections that do not
    /// stick, dropped when `session_layer` changes. What a settlement says here is ignored.
    pub crisp_form: Option<Layer>,
    /// For whom `session_layer` was written.
    pub written_for: Option<EmailMac>,
    /// Whether Crisp must be read before anything is concluded. A settlement cannot clean what became dirty after its
    /// row was claimed.
    pub dirty: bool,
    /// Since when the e-mail is known.
    pub email_since: Option<Timestamp>,
    /// When the conversation was last read.
    pub read_at: Option<Timestamp>,
    /// When it was last refreshed.
    pub refreshed_at: Option<Timestamp>,
}

impl ConversationMirror {
    /// A conversation of which nothing is known.
    pub fn unknown(website: WebsiteId, session: SessionId) -> Self {
        Self {
            website,
            session,
            email: None,
            user_key: None,
            people: None,
            trust: None,
            channel: None,
            session_layer: Layer::default(),
            crisp_form: None,
            written_for: None,
            dirty: true,
            email_since: None,
            read_at: None,
            refreshed_at: None,
        }
    }
}

impl fmt::Debug for ConversationMirror {
    /// Leaves the values out: they describe a person.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConversationMirror")
            .field("website", &self.website)
            .field("session", &self.session)
            .field("trust", &self.trust)
            .field("channel", &self.channel)
            .field("dirty", &self.dirty)
            .field("read_at", &self.read_at)
            .field("refreshed_at", &self.refreshed_at)
            .finish_non_exhaustive()
    }
}

words! {
    /// Whether Crisp has a contact for a person.
    ContactState {
        /// Nobody looked.
        Unknown = "unknown",
        /// It has.
        Exists = "exists",
        /// It was removed, and is not made again by us.
        Removed = "removed",
    }
}

/// One person on one website.
#[derive(Clone, PartialEq)]
pub struct PersonMirror {
    /// Whose.
    pub website: WebsiteId,
    /// Who.
    pub user_key: UserKey,
    /// The code of their address.
    pub email_mac: Option<EmailMac>,
    /// Their contact.
    pub people: Option<PeopleId>,
    /// Whether the contact exists.
    pub contact: ContactState,
    /// Our own values, as Crisp last accepted them.
    pub contact_layer: Layer,
    /// Whether the profile was filled.
    pub profile_done: bool,
    /// When the contact was last pushed.
    pub pushed_at: Option<Timestamp>,
    /// When it is to be asserted again.
    pub assert_at: Option<Timestamp>,
    /// What the rules remember: the last value per edge.
    pub edges: Json,
    /// Their contacts of other addresses, for as long as something that was told there may still be told.
    pub former: Vec<FormerContact>,
}

/// A contact that a person had at another address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerContact {
    /// Which, if it was known.
    #[serde(deserialize_with = "people_id")]
    pub people: Option<PeopleId>,
    /// When it was noticed that they have another address: nothing that happened later was told there.
    pub until: Timestamp,
}

/// How many contacts of other addresses are told apart.
const MOST_FORMER: usize = 8;

/// Notes a contact that a person has left, the last one last. Of too many the two oldest become one of which nothing can be
/// read: what may have been told there stays in doubt, and costs no call.
pub fn note_former(former: &mut Vec<FormerContact>, left: FormerContact) {
    former.retain(|one| one.people != left.people);
    former.push(left);
    if former.len() > MOST_FORMER {
        former.remove(0);
        if let Some(oldest) = former.first_mut() {
            oldest.people = None;
        }
    }
}

/// What is no id leads to no contact.
fn people_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PeopleId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| PeopleId::parse(&text).ok()))
}

impl PersonMirror {
    /// A person of whom nothing is known.
    pub fn unknown(website: WebsiteId, user_key: UserKey) -> Self {
        Self {
            website,
            user_key,
            email_mac: None,
            people: None,
            contact: ContactState::Unknown,
            contact_layer: Layer::default(),
            profile_done: false,
            pushed_at: None,
            assert_at: None,
            edges: Json::Object(serde_json::Map::new()),
            former: Vec::new(),
        }
    }
}

impl fmt::Debug for PersonMirror {
    /// Leaves the values out: they describe a person.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PersonMirror")
            .field("website", &self.website)
            .field("email_mac", &self.email_mac)
            .field("people", &self.people)
            .field("contact", &self.contact)
            .field("profile_done", &self.profile_done)
            .field("pushed_at", &self.pushed_at)
            .field("assert_at", &self.assert_at)
            .field("former", &self.former)
            .finish_non_exhaustive()
    }
}

words! {
    /// Where an owned name lives.
    Side {
        /// On conversations.
        Session = "session",
        /// On contacts.
        Contact = "contact",
    }
}

words! {
    /// What an owned name is.
    OwnedKind {
        /// A data key.
        Key = "key",
        /// A whole segment.
        Segment = "segment",
        /// How a family of segments begins.
        SegmentPrefix = "segment_prefix",
    }
}

/// A name that the definition owns, or once owned. It is only ever added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnedName {
    /// Where.
    pub side: Side,
    /// What.
    pub kind: OwnedKind,
    /// The name.
    pub name: String,
}

/// One thing that an attempt leaves behind besides its outcome.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// What is known of a conversation.
    Conversation(ConversationMirror),
    /// The conversation is gone.
    ForgetConversation {
        /// Whose.
        website: WebsiteId,
        /// Which.
        session: SessionId,
    },
    /// What is known of a person.
    Person(PersonMirror),
    /// More work.
    Enqueue(Enqueue),
    /// An occurrence entered the outbox or changed its state. A change that [`OutboxState::may_become`] forbids is not
    /// written: what is there stays.
    ///
    /// [`OutboxState::may_become`]: crate::lifecycle::OutboxState::may_become
    Outbox(OutboxRow),
    /// An occurrence was decided: older ones of its kind are superseded for ever. It never falls.
    HighWater {
        /// Whose.
        website: WebsiteId,
        /// Who.
        user_key: UserKey,
        /// Which event.
        event: String,
        /// About what.
        subject: String,
        /// When it happened.
        instant: Timestamp,
    },
    /// The contact may hold values that are not ours under our names: the next refresh asserts them.
    AssertContact {
        /// The website.
        website: WebsiteId,
        /// The user.
        user_key: UserKey,
    },
    /// What the mirror holds of these conversations may be wrong: Crisp is read before anything is concluded.
    Doubt {
        /// Whose.
        website: WebsiteId,
        /// Which.
        sessions: Vec<SessionId>,
    },
    /// The claimed conversation shows what it has to show: what an erasure wanted cleared is.
    Cleared,
    /// Somebody who was erased was found after all.
    ForgetPerson {
        /// The website.
        website: WebsiteId,
        /// The user.
        user_key: UserKey,
    },
    /// Names that are ours from now on.
    Own(Vec<OwnedName>),
    /// How far a website was listened to.
    Listened(Listened),
    /// What a page of a sweep leaves behind.
    Swept(SweptPage),
    /// A verified conversation was seen.
    VerifiedSeen {
        /// Whose.
        website: WebsiteId,
        /// When.
        at: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_often_somebody_moves_none_of_it_is_forgotten() {
        let left = |number: i64| FormerContact {
            people: PeopleId::parse(&format!("4a8e3a6e-7f0b-4a5d-9a51-{number:012}")).ok(),
            until: Timestamp::from_second(number).expect("an instant"),
        };
        let mut former = Vec::new();
        for number in 1..=20 {
            note_former(&mut former, left(number));
        }
        let oldest = FormerContact {
            people: None,
            ..left(13)
        };
        assert_eq!(
            former,
            [vec![oldest], (14..=20).map(left).collect()].concat()
        );
        // Back at an address, and away again.
        let again = FormerContact {
            until: left(21).until,
            ..left(15)
        };
        note_former(&mut former, again.clone());
        assert_eq!((former.len(), former.last()), (MOST_FORMER, Some(&again)));
    }
}
