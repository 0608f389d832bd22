//! `[identity]`, as meant.

use std::collections::BTreeMap;

use super::{super::file::IdentityFile, Resolver};
use crate::identity::{Channel, ChannelPolicy, Policy, VerificationAddress};

/// Whom to believe about an e-mail address.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// What a conversation gets before its address is proven.
    pub policy: Policy,
    /// What the operator chose for single channels, by Crisp's name for them.
    pub channels: BTreeMap<String, ChannelPolicy>,
    /// Whether a verification must name the address it is for.
    pub verification_address: VerificationAddress,
}

impl IdentitySettings {
    /// What holds on a channel.
    pub fn channel_policy(&self, channel: &Channel) -> ChannelPolicy {
        let name = match channel {
            Channel::Chat => "chat",
            Channel::Email => "email",
            Channel::Other(name) => name,
        };
        self.channels
            .get(name)
            .copied()
            .unwrap_or_else(|| channel.default_policy())
    }
}

impl Resolver<'_> {
    pub(super) fn identity(&mut self, written: &IdentityFile) -> IdentitySettings {
        if written.policy == Policy::All {
            self.warn(
                &["identity", "policy"],
                "whoever types somebody's e-mail address reads that person's data",
                "sign e-mail addresses in the chat box (`crisp-sync identity guide`), and leave this key out",
            );
        }
        for (channel, policy) in &written.channels {
            if *policy == ChannelPolicy::TrustSender {
                self.warn(
                    &["identity", "channels", channel],
                    "a sender's address can be forged",
                    "`people_only` shows agents the same and the sender nothing",
                );
            }
        }
        IdentitySettings {
            policy: written.policy,
            channels: written.channels.clone(),
            verification_address: written.verification_address,
        }
    }
}
