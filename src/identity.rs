//! Who a session may be taken for, and what that lets us write.
//!
//! Nearly every site sets the visitor's e-mail without a signature, so anybody can type anybody's address. A visitor can read
//! the session's data but not its segments, and cannot read the contact at all. Hence [`Policy::ContactFirst`]: an unproven
//! e-mail gives the agent everything and the visitor nothing.
//!
//! Trust is worked out anew from each read of a conversation. A webhook may lower it or say "look"; it never raises it.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::Email;

/// An e-mail younger than this is not marked yet: the site may be about to sign it.
pub const MARK_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// The mark means something while verified conversations were seen within this time: elsewhere nobody is ever verified.
pub const MARK_WHILE_SEEN_WITHIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What is written where an e-mail is not proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// What the visitor cannot read: segments and the contact.
    #[default]
    ContactFirst,
    /// Nothing but the mark.
    VerifiedOnly,
    /// Everything. A visitor who types somebody's address then reads what the definition says of them.
    All,
}

/// How a message came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// The chatbox.
    Chat,
    /// An e-mail, whose From line anybody can write.
    Email,
    /// Another origin, by Crisp's name for it.
    Other(String),
}

impl Channel {
    /// Reads Crisp's `origin`. Without one it is the chatbox, which is trusted least with data.
    pub fn from_origin(origin: Option<&str>) -> Self {
        match origin.map(str::trim) {
            None | Some("" | "chat") => Self::Chat,
            Some("email") => Self::Email,
            Some(other) => Self::Other(other.to_owned()),
        }
    }

    /// Crisp's name for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Chat => "chat",
            Self::Email => "email",
            Self::Other(name) => name,
        }
    }

    /// What holds on this channel unless the operator says otherwise.
    pub fn default_policy(&self) -> ChannelPolicy {
        match self {
            Self::Chat => ChannelPolicy::SameAsChat,
            Self::Email | Self::Other(_) => ChannelPolicy::PeopleOnly,
        }
    }
}

/// What holds on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelPolicy {
    /// The policy, as in the chatbox.
    SameAsChat,
    /// The contact as the policy says; nothing on the conversation.
    PeopleOnly,
    /// The sender is who they say they are.
    TrustSender,
}

/// Whether the session's e-mail is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Anybody may have typed it.
    Unproven,
    /// Crisp verified this very address for this session.
    Proven,
}

impl Trust {
    /// The word for logs and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Proven => "proven",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Unproven, Self::Proven]
            .into_iter()
            .find(|trust| trust.as_str() == word)
    }
}

/// One verification of a conversation, as Crisp tells it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Verification<'a> {
    /// What was verified: `email`, `phone`, `urn:…`.
    pub identity: &'a str,
    /// Which one: the address.
    pub annotation: Option<&'a str>,
}

impl std::fmt::Debug for Verification<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Verification")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Whether a verification has to name the address it verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerificationAddress {
    /// It has to, and it is the session's.
    #[default]
    Required,
    /// It may be silent about it. One that names another address still proves nothing.
    Optional,
}

/// What one read of a conversation proves about the e-mail that the same read shows.
pub fn trust(
    current: &Email,
    is_verified: bool,
    verifications: &[Verification<'_>],
    address: VerificationAddress,
) -> Trust {
    let mut of_email = verifications
        .iter()
        .filter(|verification| verification.identity.eq_ignore_ascii_case("email"))
        .map(|verification| {
            verification
                .annotation
                .map(str::trim)
                .filter(|text| !text.is_empty())
        })
        .peekable();
    let proven = is_verified
        && match address {
            VerificationAddress::Required => {
                of_email.any(|annotation| annotation.is_some_and(|text| names(text, current)))
            }
            VerificationAddress::Optional => {
                of_email.peek().is_some()
                    && of_email.all(|annotation| annotation.is_none_or(|text| names(text, current)))
            }
        };
    if proven {
        Trust::Proven
    } else {
        Trust::Unproven
    }
}

fn names(text: &str, address: &Email) -> bool {
    Email::parse(text).is_ok_and(|named| named == *address)
}

/// What decides about permissions.
#[derive(Debug, Clone)]
pub struct Situation {
    /// The operator's policy.
    pub policy: Policy,
    /// How the session talks to us.
    pub channel: Channel,
    /// The policy of that channel.
    pub channel_policy: ChannelPolicy,
    /// Whether the e-mail is proven.
    pub trust: Trust,
    /// Since when the session has had this e-mail.
    pub email_known_since: Timestamp,
    /// When a verified conversation was last seen on this website.
    pub verified_seen_at: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// What may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// The session's data, which the visitor can read.
    pub session_data: bool,
    /// The session's segments.
    pub session_segments: bool,
    /// The contact: data, segments, profile.
    pub contact: bool,
    /// The `unverified` segment on the session.
    pub unverified_mark: MarkDecision,
}

/// Whether the session is marked as unverified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkDecision {
    /// It is.
    Write,
    /// It is not.
    Omit,
    /// Not yet; the e-mail is too young to tell.
    LookAgainAt(Timestamp),
}

/// What may be written in this situation.
///
/// | e-mail | policy | session data | session segments | contact | mark |
/// |---|---|---|---|---|---|
/// | proven | any | yes | yes | yes | no |
/// | unproven | `contact_first` | no | yes | yes | yes |
/// | unproven | `verified_only` | no | no | no | yes |
/// | unproven | `all` | yes | yes | yes | yes |
///
/// `people_only` takes everything on the session away, mark included; `trust_sender` counts as proven.
pub fn permit(situation: &Situation) -> Permissions {
    let is_proven =
        situation.trust == Trust::Proven || situation.channel_policy == ChannelPolicy::TrustSender;
    let on_session = situation.channel_policy != ChannelPolicy::PeopleOnly;
    let (session_data, session_segments, contact) = match situation.policy {
        _ if is_proven => (true, true, true),
        Policy::ContactFirst => (false, true, true),
        Policy::VerifiedOnly => (false, false, false),
        Policy::All => (true, true, true),
    };
    Permissions {
        session_data: session_data && on_session,
        session_segments: session_segments && on_session,
        contact,
        unverified_mark: if is_proven || !on_session {
            MarkDecision::Omit
        } else {
            mark(situation)
        },
    }
}

fn mark(situation: &Situation) -> MarkDecision {
    let means_something = situation
        .verified_seen_at
        .is_some_and(|seen| situation.now.duration_since(seen) <= MARK_WHILE_SEEN_WITHIN);
    if !means_something {
        return MarkDecision::Omit;
    }
    let marked_at = situation
        .email_known_since
        .checked_add(MARK_AFTER)
        .unwrap_or(Timestamp::MAX);
    if situation.now < marked_at {
        MarkDecision::LookAgainAt(marked_at)
    } else {
        MarkDecision::Write
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(offset: i64) -> Timestamp {
        Timestamp::from_second(NOW + offset).expect("a time")
    }

    fn situation(policy: Policy, channel_policy: ChannelPolicy, trust: Trust) -> Situation {
        Situation {
            policy,
            channel: Channel::Chat,
            channel_policy,
            trust,
            email_known_since: at(-60),
            verified_seen_at: Some(at(-3600)),
            now: at(0),
        }
    }

    #[test]
    fn every_policy_on_every_channel_with_either_trust() {
        use ChannelPolicy::{PeopleOnly, SameAsChat, TrustSender};
        use Policy::{All, ContactFirst, VerifiedOnly};
        use Trust::{Proven, Unproven};
        // policy, channel, trust → session data, session segments, contact, mark
        let table = [
            (ContactFirst, SameAsChat, Proven, [true, true, true, false]),
            (
                ContactFirst,
                SameAsChat,
                Unproven,
                [false, true, true, true],
            ),
            (
                ContactFirst,
                PeopleOnly,
                Proven,
                [false, false, true, false],
            ),
            (
                ContactFirst,
                PeopleOnly,
                Unproven,
                [false, false, true, false],
            ),
            (ContactFirst, TrustSender, Proven, [true, true, true, false]),
            (
                ContactFirst,
                TrustSender,
                Unproven,
                [true, true, true, false],
            ),
            (VerifiedOnly, SameAsChat, Proven, [true, true, true, false]),
            (
                VerifiedOnly,
                SameAsChat,
                Unproven,
                [false, false, false, true],
            ),
            (
                VerifiedOnly,
                PeopleOnly,
                Proven,
                [false, false, true, false],
            ),
            (
                VerifiedOnly,
                PeopleOnly,
                Unproven,
                [false, false, false, false],
            ),
            (VerifiedOnly, TrustSender, Proven, [true, true, true, false]),
            (
                VerifiedOnly,
                TrustSender,
                Unproven,
                [true, true, true, false],
            ),
            (All, SameAsChat, Proven, [true, true, true, false]),
            (All, SameAsChat, Unproven, [true, true, true, true]),
            (All, PeopleOnly, Proven, [false, false, true, false]),
            (All, PeopleOnly, Unproven, [false, false, true, false]),
            (All, TrustSender, Proven, [true, true, true, false]),
            (All, TrustSender, Unproven, [true, true, true, false]),
        ];
        for (policy, channel, trust, [data, segments, contact, marked]) in table {
            assert_eq!(
                permit(&situation(policy, channel, trust)),
                Permissions {
                    session_data: data,
                    session_segments: segments,
                    contact,
                    unverified_mark: if marked {
                        MarkDecision::Write
                    } else {
                        MarkDecision::Omit
                    },
                },
                "{policy:?} {channel:?} {trust:?}"
            );
        }
    }

    #[test]
    fn the_mark_waits_for_the_signature_and_means_something_or_is_not_written() {
        let unproven = situation(
            Policy::ContactFirst,
            ChannelPolicy::SameAsChat,
            Trust::Unproven,
        );
        for (known, seen, expected) in [
            (0, Some(-60), MarkDecision::LookAgainAt(at(5))),
            (-4, Some(-60), MarkDecision::LookAgainAt(at(1))),
            (-5, Some(-60), MarkDecision::Write),
            (-60, Some(-30 * 86_400), MarkDecision::Write),
            (-60, Some(-30 * 86_400 - 1), MarkDecision::Omit),
            (-60, None, MarkDecision::Omit),
            (0, None, MarkDecision::Omit),
            (-60, Some(10), MarkDecision::Write),
        ] {
            let permissions = permit(&Situation {
                email_known_since: at(known),
                verified_seen_at: seen.map(at),
                ..unproven.clone()
            });
            assert_eq!(permissions.unverified_mark, expected, "{known} {seen:?}");
        }
    }

    #[test]
    fn only_a_verification_of_this_very_address_proves_it() {
        use VerificationAddress::{Optional, Required};
        let current = Email::parse("ada@example.org").expect("an address");
        let email = |annotation| Verification {
            identity: "email",
            annotation,
        };
        let phone = Verification {
            identity: "phone",
            annotation: Some("ada@example.org"),
        };
        let same = email(Some("ada@example.org"));
        let folded = email(Some(" Ada@EXAMPLE.org "));
        let other = email(Some("eve@example.org"));
        let silent = email(None);
        let blank = email(Some(""));
        let odd = email(Some("signature"));
        let cases: [(bool, &[Verification<'_>], VerificationAddress, bool); 17] = [
            (true, &[same], Required, true),
            (true, &[folded], Required, true),
            (true, &[phone, other, same], Required, true),
            (false, &[same], Required, false),
            (true, &[other], Required, false),
            (true, &[silent], Required, false),
            (true, &[phone], Required, false),
            (true, &[odd], Required, false),
            (true, &[], Required, false),
            (true, &[silent], Optional, true),
            (true, &[blank], Optional, true),
            (true, &[folded], Optional, true),
            (true, &[other], Optional, false),
            (true, &[silent, other], Optional, false),
            (true, &[phone], Optional, false),
            (true, &[], Optional, false),
            (false, &[silent], Optional, false),
        ];
        for (is_verified, verifications, address, proven) in cases {
            assert_eq!(
                trust(&current, is_verified, verifications, address) == Trust::Proven,
                proven,
                "{is_verified} {verifications:?} {address:?}"
            );
        }
    }

    #[test]
    fn origins_are_channels_and_channels_have_their_policy() {
        for (origin, channel, policy) in [
            (None, Channel::Chat, ChannelPolicy::SameAsChat),
            (Some("chat"), Channel::Chat, ChannelPolicy::SameAsChat),
            (Some("email"), Channel::Email, ChannelPolicy::PeopleOnly),
            (
                Some("urn:crisp.im:twitter:0"),
                Channel::Other("urn:crisp.im:twitter:0".to_owned()),
                ChannelPolicy::PeopleOnly,
            ),
        ] {
            let read = Channel::from_origin(origin);
            assert_eq!(read, channel);
            assert_eq!(read.default_policy(), policy);
        }
    }

    #[test]
    fn a_verification_prints_no_address() {
        let verification = Verification {
            identity: "email",
            annotation: Some("ada@example.org"),
        };
        assert!(!format!("{verification:?}").contains("ada"));
    }
}
