//! `[identity]`: whom to believe about an e-mail address, as written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::identity::{ChannelPolicy, Policy, VerificationAddress};

/// `[identity]`: whom to believe about an e-mail address.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityFile {
    /// What a conversation gets before its address is proven: `contact_first` (segments and the contact), `verified_only` (the mark `unverified` alone) or `all` (everything, readable for whoever types the address).
    pub policy: Policy,
    /// Channels by name (`chat`, `email`, or Crisp's `urn:…`): `same_as_chat`, `people_only` (the contact alone) or `trust_sender` (as if proven). `people_only` where it is not said, but for `chat`.
    pub channels: BTreeMap<String, ChannelPolicy>,
    /// Whether a verification must name the address it is for: `required`, or `optional` if it may be silent.
    pub verification_address: VerificationAddress,
}
