//! Keyed hashes that stand in for people.
//!
//! One secret, made with the ledger and never rotated, turns an address, a user key or an occurrence into a short code.
//! Who has a log but not the ledger learns nothing; the same person has the same code in every line. Each use has its
//! own domain, so that a code from a log says nothing about a `ref` in Crisp.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::ids::{Email, UserKey, WebsiteId};

/// Makes pseudonyms with the ledger's secret.
#[derive(Debug, Clone)]
pub struct Pseudonyms {
    secret: SecretSlice<u8>,
}

macro_rules! code {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes back a code that the ledger stored.
            pub fn from_stored(code: String) -> Self {
                Self(code)
            }

            /// The code.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

code!(
    /// How a person appears in logs and traces: 64 bits, hex.
    UserRef
);
code!(
    /// An address in tables that must not hold one: 128 bits, hex.
    EmailMac
);
code!(
    /// A user key in tables that must not hold one: 128 bits, hex. Said of people who were erased, and of nobody else.
    UserMac
);
code!(
    /// The `ref` of an occurrence in Crisp's timeline: 96 bits, hex. Unguessable, so that a visitor cannot plant it.
    OccurrenceRef
);

impl Pseudonyms {
    /// Takes the ledger's secret.
    pub fn new(secret: SecretSlice<u8>) -> Self {
        Self { secret }
    }

    /// The code of a user in logs.
    pub fn user(&self, key: &UserKey) -> UserRef {
        UserRef(self.mac("user", &[key.as_str()], 8))
    }

    /// The code of an address in logs, for somebody who has no user key.
    pub fn stranger(&self, email: &Email) -> UserRef {
        UserRef(self.mac("stranger", &[email.as_str()], 8))
    }

    /// The code of an address in tables.
    pub fn email(&self, email: &Email) -> EmailMac {
        EmailMac(self.mac("email", &[email.as_str()], 16))
    }

    /// The code of a user key in tables.
    pub fn erased_user(&self, key: &UserKey) -> UserMac {
        UserMac(self.mac("erased_user", &[key.as_str()], 16))
    }

    /// Tells this secret from another one: codes mean something to the ledger that made them, and to its copies.
    pub fn fingerprint(&self) -> String {
        self.mac("fingerprint", &[], 8)
    }

    /// The `ref` that an event carries into Crisp.
    pub fn occurrence(&self, website: &WebsiteId, user: &UserKey, parts: &[&str]) -> OccurrenceRef {
        let mut all = vec![website.as_str(), user.as_str()];
        all.extend_from_slice(parts);
        OccurrenceRef(self.mac("occurrence", &all, 12))
    }

    /// The code of a row that a query gave, to know it again: 128 bits, hex.
    pub fn row(&self, text: &str) -> String {
        self.mac("row", &[text], 16)
    }

    fn mac(&self, domain: &str, parts: &[&str], bytes: usize) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret())
            .expect("HMAC takes a key of any length");
        for part in std::iter::once(&domain).chain(parts) {
            // The length goes first, so that ("ab", "c") and ("a", "bc") differ.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        hex::encode(&mac.finalize().into_bytes()[..bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms(secret: &[u8]) -> Pseudonyms {
        Pseudonyms::new(SecretSlice::from(secret.to_vec()))
    }

    #[test]
    fn a_code_depends_on_secret_domain_and_person() {
        let email = Email::parse("ada@example.org").expect("an address");
        let ours = pseudonyms(b"one");
        assert_eq!(ours.stranger(&email), ours.stranger(&email));
        assert_ne!(ours.stranger(&email), pseudonyms(b"two").stranger(&email));
        assert!(
            !ours
                .email(&email)
                .as_str()
                .starts_with(ours.stranger(&email).as_str())
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let website = WebsiteId::parse("w").expect("an id");
        let user = UserKey::parse("1").expect("a key");
        let ours = pseudonyms(b"one");
        assert_ne!(
            ours.occurrence(&website, &user, &["ab", "c"]),
            ours.occurrence(&website, &user, &["a", "bc"])
        );
        assert_eq!(ours.occurrence(&website, &user, &["a"]).as_str().len(), 24);
    }
}
