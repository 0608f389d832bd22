//! Names of things: websites, conversations, contacts, people.
//!
//! Each id is checked once, when text becomes an id; whoever holds one may put it in a URL path or a table without
//! another look. None of them can hold a NUL, which PostgreSQL refuses and which would poison a whole batch of rows.
//! [`Email`] and [`UserKey`] name people, so their `Debug` says nothing.

use std::fmt;

/// Why a text is not the id it was taken for. It does not repeat the text: it may be somebody's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not {} {what}: {why}", article(what))]
pub struct IdError {
    what: &'static str,
    why: &'static str,
    /// A fixed phrase in place of the text itself.
    text: &'static str,
}

impl IdError {
    const fn new(what: &'static str, why: &'static str) -> Self {
        Self {
            what,
            why,
            text: "the value",
        }
    }
}

fn article(what: &str) -> &'static str {
    if what.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    }
}

fn is_plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

macro_rules! plain_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $longest:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to
            #[doc = stringify!($longest)]
            /// letters, digits, `-` and `_`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                if is_plain(text, $longest) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError::new($what, concat!("it takes 1 to ", $longest, " letters, digits, `-` or `_`")))
                }
            }

            /// The id as Crisp writes it.
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

plain_id!(
    /// A Crisp workspace: `website_id`.
    WebsiteId,
    "website id",
    64
);
plain_id!(
    /// The visitor's side of a conversation: `session_…`. Crisp addresses conversations by it.
    SessionId,
    "session id",
    128
);
plain_id!(
    /// A contact in Crisp's CRM: `people_id`.
    PeopleId,
    "people id",
    64
);

/// An e-mail address, trimmed and ASCII case folded, so that two spellings of one address are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    /// Accepts what mail servers route: one `@` with something on both sides, at most 254 bytes, no blanks or controls.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        const WHAT: &str = "e-mail address";
        let folded = text.trim().to_ascii_lowercase();
        if folded.len() > 254 {
            return Err(IdError::new(WHAT, "it is longer than 254 bytes"));
        }
        if folded
            .chars()
            .any(|character| character.is_whitespace() || character.is_control())
        {
            return Err(IdError::new(
                WHAT,
                "it holds a blank or a control character",
            ));
        }
        match folded.split_once('@') {
            Some((local, domain))
                if !local.is_empty() && !domain.is_empty() && !domain.contains('@') =>
            {
                Ok(Self(folded))
            }
            _ => Err(IdError::new(
                WHAT,
                "it takes one `@` with something on both sides",
            )),
        }
    }

    /// The folded address. Never for a log, a metric or an error.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`: a nickname of last resort.
    pub fn local_part(&self) -> &str {
        self.0
            .split_once('@')
            .map_or(self.0.as_str(), |(local, _)| local)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Email(…)")
    }
}

/// The stable key of a user in the app's own database. It survives a change of address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(String);

impl UserKey {
    /// Accepts 1 to 255 bytes without control characters.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(IdError::new(
                "user key",
                "it takes 1 to 255 bytes without control characters",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as the app's database writes it. Not for logs: use a `UserRef`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_folded_and_never_printed() {
        let email = Email::parse("  Ada@Example.ORG ").expect("an address");
        assert_eq!(email.as_str(), "ada@example.org");
        assert_eq!(format!("{email:?}"), "Email(…)");
        assert_eq!(email.local_part(), "ada");
    }

    #[test]
    fn what_is_not_an_address_is_refused_without_repeating_it() {
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "a@b@c",
            "a da@example.org",
            "ada@example.org\0",
            &"a".repeat(255),
        ] {
            let error = Email::parse(text).expect_err(text);
            assert!(
                text.is_empty() || !error.to_string().contains(text),
                "{error}"
            );
            assert!(error.to_string().contains("is not an e-mail address"));
        }
    }

    #[test]
    fn ids_are_safe_in_a_path() {
        assert!(SessionId::parse("session_5d0f6f1e-3c1b-4a3e-8a57-9f1f0a1b2c3d").is_ok());
        for text in ["", "../x", "a b", "é", "a\0"] {
            assert!(WebsiteId::parse(text).is_err(), "{text:?}");
        }
    }
}
