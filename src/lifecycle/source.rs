//! The `[lifecycle]` table as it is written, before anybody knows whether it makes sense.
//!
//! Lengths of time, colours and expressions are still text here, so that [`Rules::compile`](super::Rules::compile) can
//! report everything that is wrong at once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{OutboxState, SweepSource};

/// Who tells Crisp about lifecycle events.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// The app does, and we send what it missed: after a grace, and after a look at Crisp's timeline that no cache answered.
    #[default]
    Shared,
    /// Only we do.
    Sole,
}

/// What becomes of an event whose request ended without an answer, once Crisp was seen not to have it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AfterAmbiguous {
    /// A person decides.
    #[default]
    Hold,
    /// It is sent again.
    Resend,
}

impl AfterAmbiguous {
    /// The state of an event that was proven absent.
    pub const fn state(self) -> OutboxState {
        match self {
            Self::Hold => OutboxState::Held,
            Self::Resend => OutboxState::Due,
        }
    }
}

/// The colour of an event in Crisp's timeline. Crisp knows no others.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// Red.
    Red,
    /// Orange.
    Orange,
    /// Yellow.
    Yellow,
    /// Green.
    Green,
    /// Blue.
    Blue,
    /// Purple.
    Purple,
    /// Pink.
    Pink,
    /// Brown.
    Brown,
    /// Grey, where a rule names no colour.
    #[default]
    Grey,
    /// Black.
    Black,
}

impl Color {
    /// Every colour that Crisp knows.
    pub const ALL: [Self; 10] = [
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Blue,
        Self::Purple,
        Self::Pink,
        Self::Brown,
        Self::Grey,
        Self::Black,
    ];

    /// The colour as Crisp writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Grey => "grey",
            Self::Black => "black",
        }
    }

    /// Reads a colour.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|color| color.as_str() == text)
    }
}

/// One `[[lifecycle.event]]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSource {
    /// The text of the event. Campaigns match it letter by letter.
    pub name: String,
    /// An expression for the instant it happened, or for a unique id: a new id is a new occurrence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// An expression whose change is the event. A change to nothing is none; write `plan or 'free'` to make it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_change: Option<String>,
    /// With `on_change`: an expression for the instant since which the value is what it is. The value that is seen first is an event of then; without it, or where it is nothing, it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// SQL with one row per occurrence; its columns are `event.<column>` in the other expressions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// An expression that tells occurrences apart where the instant alone does not. Such a rule has no `min_gap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// An expression; false means "not yet", looked at again until `max_age`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// A later event of the same group supersedes this one while it is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The colour in Crisp's timeline; grey where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Color>")]
    pub color: Option<String>,
    /// What campaigns may put into a message: at most 8 keys; a value that is null is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// An occurrence older than this is never sent. Three days where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<String>,
    /// Two of this event to one address within this time: the second is held. `lifecycle.min_gap` where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_gap: Option<String>,
    /// How much later than `at` it is sent, if everything still holds then: `"10d"` for a win-back. `max_age` runs from
    /// then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// An expression that has to be true of the user for this event, besides `lifecycle.require`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<String>,
    /// An expression; a user of whom it is true does not get this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// An expression for an instant before which the user does not get this event, besides `lifecycle.after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Where this event's brake differs from `[lifecycle.brake]`.
    #[serde(default, skip_serializing_if = "RuleBrakeSource::is_empty")]
    pub brake: RuleBrakeSource,
    /// A template for what the event is about, where a user has several of it: `"{{ tenant_id }}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The name this rule had: what was armed, sent and remembered under it counts for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
}

/// The `[lifecycle.brake]` table: how many of one event may go on one website within an hour. Beyond them every further
/// one is held until a person decides. The greater of the two numbers counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BrakeSource {
    /// So many may go, however few people there are.
    pub per_hour: u64,
    /// So large a part of the people known on the website may go.
    pub share: String,
}

impl Default for BrakeSource {
    fn default() -> Self {
        Self {
            per_hour: 20,
            share: "2%".to_owned(),
        }
    }
}

/// Where the brake of one event differs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleBrakeSource {
    /// So many may go; `lifecycle.brake.per_hour` where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u64>,
    /// So large a part of the people known; `lifecycle.brake.share` where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<String>,
}

impl RuleBrakeSource {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The `[lifecycle]` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LifecycleSource {
    /// Whether the app tells Crisp too.
    pub sender: Sender,
    /// An expression that has to be true of a user: consent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<String>,
    /// An expression; a user of whom it is true gets no events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// An expression for an instant before which a user gets no events; nothing or false means "not yet".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How long the app has to tell Crisp before we do.
    pub grace: String,
    /// How long a request without an answer may still be applied.
    pub quiet: String,
    /// Two of one event to one address within this time: the second is held.
    pub min_gap: String,
    /// How far Crisp's time of an event by another sender may lie from the instant it happened.
    pub match_within: String,
    /// What becomes of an event that went unanswered and was seen to be absent.
    pub after_ambiguous: AfterAmbiguous,
    /// Whether a missing contact is created; otherwise its events are parked.
    pub create_contacts: bool,
    /// How many of one event may go within an hour.
    pub brake: BrakeSource,
    /// Addresses to which `events test` may send, and whose values `events cheatsheet` may show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<String>,
    /// SQL that finds people whom no conversation brings up: one row with `users.key` and `at` for everybody to whom something happened from `:since` until `:until`, in the order of `at` and the key, behind `:after`, `:limit` of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// How `lifecycle.query` is asked.
    pub sweep: SweepSource,
    /// The rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<RuleSource>,
}

impl Default for LifecycleSource {
    fn default() -> Self {
        Self {
            sender: Sender::default(),
            require: None,
            exclude: None,
            after: None,
            grace: "10m".to_owned(),
            quiet: "15m".to_owned(),
            min_gap: "24h".to_owned(),
            match_within: "10m".to_owned(),
            after_ambiguous: AfterAmbiguous::default(),
            create_contacts: true,
            brake: BrakeSource::default(),
            testers: Vec::new(),
            query: None,
            sweep: SweepSource::default(),
            event: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_careful_ones() {
        let source: LifecycleSource = toml::from_str("").expect("an empty table");
        assert_eq!(source, LifecycleSource::default());
        assert_eq!(source.sender, Sender::Shared);
        assert_eq!(source.after_ambiguous.state(), OutboxState::Held);
        assert_eq!(AfterAmbiguous::Resend.state(), OutboxState::Due);
        let brake = super::super::Brake::default();
        assert_eq!(source.brake.per_hour, brake.per_hour);
        assert_eq!(
            super::super::Share::parse(&source.brake.share),
            Some(brake.share)
        );
    }

    #[test]
    fn a_slip_of_the_key_is_named() {
        let error =
            toml::from_str::<LifecycleSource>("[[event]]\nname = \"a:b\"\nonchange = \"plan\"")
                .expect_err("there is no `onchange`");
        assert!(
            error.message().contains("unknown field `onchange`"),
            "{error}"
        );
    }

    #[test]
    fn a_colour_is_its_word() {
        for color in Color::ALL {
            assert_eq!(Color::parse(color.as_str()), Some(color));
            assert_eq!(
                serde_json::to_value(color).expect("a colour is text"),
                color.as_str()
            );
        }
        assert_eq!(Color::parse("gray"), None);
    }
}
