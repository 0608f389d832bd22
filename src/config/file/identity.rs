//! `[identity]`: whom to believe about an e-mail address, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a conversation may show before its e-mail address is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyFile {
    /// Unproven: segments and the contact, no session data, which the visitor could read.
    #[default]
    ContactFirst,
    /// Unproven: the mark `unverified` alone.
    VerifiedOnly,
    /// Everything, always. Whoever types somebody's address reads that person's data.
    All,
}

/// How the sender's address of a channel is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelFile {
    /// Like an address typed into the chat.
    SameAsChat,
    /// Only the contact is written.
    PeopleOnly,
    /// Like a proven address. A From line can be forged.
    TrustSender,
}

/// Which verification proves an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerificationFile {
    /// One that names the very address the conversation has now.
    #[default]
    Required,
    /// Also one that names no address.
    Optional,
}

/// `[identity]`: whom to believe about an e-mail address.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityFile {
    /// What a conversation gets before its address is proven: `contact_first`, `verified_only` or `all`.
    pub policy: PolicyFile,
    /// Channels by name (`chat`, `email`, or Crisp's `urn:…`): `same_as_chat`, `people_only` or `trust_sender`. Unnamed ones but chat are `people_only`.
    pub channels: BTreeMap<String, ChannelFile>,
    /// Whether a verification must name the address it is for: `required` or `optional`.
    pub verification_address: VerificationFile,
}
