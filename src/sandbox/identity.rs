//! Who a visitor says they are, and what Crisp takes for proven.

use serde_json::json;

use super::state::{Author, State, Verification};

impl State {
    /// A changed address voids its proof and its contact.
    pub(super) fn set_email(
        &mut self,
        session: &str,
        email: Option<String>,
        author: Author,
        now: i64,
    ) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        if conversation.email == email {
            return;
        }
        conversation.email.clone_from(&email);
        conversation.people_id = None;
        conversation.updated_at = now;
        let extra = json!({"email": email.unwrap_or_default()});
        self.emit_session(session, "session:set_email", extra, author, now);
        if self
            .conversation(session)
            .is_some_and(|conversation| conversation.is_verified)
        {
            self.set_verified(session, false, now);
        }
    }

    /// Crisp calls the visitor verified, by one proof of something that need not be the conversation's address.
    pub(super) fn verify(&mut self, session: &str, identity: &str, of: &str, now: i64) -> bool {
        let Some(conversation) = self.conversation_mut(session) else {
            return false;
        };
        conversation.is_verified = true;
        conversation.verifications = vec![Verification {
            identity: identity.to_owned(),
            method: "signature".to_owned(),
            annotation: of.to_owned(),
        }];
        let extra = json!({"is_verified": true, "verifications": conversation.verifications});
        self.emit_session(session, "session:update_verify", extra, Author::Crisp, now);
        true
    }

    pub(super) fn set_verified(&mut self, session: &str, verified: bool, now: i64) {
        let Some(conversation) = self.conversation_mut(session) else {
            return;
        };
        let verifications = match &conversation.email {
            Some(email) if verified => vec![Verification {
                identity: "email".to_owned(),
                method: "signature".to_owned(),
                annotation: email.clone(),
            }],
            _ => Vec::new(),
        };
        if conversation.is_verified == verified && conversation.verifications == verifications {
            return;
        }
        conversation.is_verified = verified;
        conversation.verifications = verifications;
        let extra = json!({
            "is_verified": verified,
            "verifications": conversation.verifications,
        });
        self.emit_session(session, "session:update_verify", extra, Author::Crisp, now);
    }

    pub(super) fn change_identity(
        &mut self,
        session: &str,
        email: Option<String>,
        verified: bool,
        now: i64,
    ) -> bool {
        if self.conversation(session).is_none() {
            return false;
        }
        self.set_email(session, email, Author::Visitor, now);
        self.set_verified(session, verified, now);
        self.bind(session, now);
        true
    }
}
