//! What an attempt leaves behind, as rows.

use jiff::Timestamp;

use crate::ids::WebsiteId;

use super::{
    super::{
        mirror::{ConversationMirror, ERASED, Write},
        work::{Claim, WorkKind},
    },
    LedgerError, Store, accept,
    engine::Transaction,
    erasure, listening, mirror, outbox, sweeping,
    work::Fold,
};

impl Store {
    /// Writes what an attempt leaves behind, but for whoever was erased meanwhile. Returns whether it was about somebody who
    /// was: then its trace tells of them, too.
    pub(super) async fn write(
        &self,
        tx: &mut Transaction<'_>,
        fold: &mut Fold,
        claim: &Claim,
        (writes, dirtied): (&[Write], bool),
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let mut is_erased = false;
        let is_claimed = |kind, website: &WebsiteId, key: &str| {
            (claim.kind, &claim.website, claim.key.as_str()) == (kind, website, key)
        };
        for one in writes {
            match one {
                Write::Conversation(conversation) => {
                    let own = is_claimed(
                        WorkKind::Conversation,
                        &conversation.website,
                        conversation.session.as_str(),
                    );
                    if let Some(nobodys) = self.without_erased(tx, conversation).await? {
                        // The run began before the erasure, and may have written what it is not to write.
                        is_erased = true;
                        mirror::write_conversation(tx, &nobodys, true).await?;
                        let session = &conversation.session;
                        erasure::enqueue_look(fold, &conversation.website, session, now)?;
                    } else {
                        mirror::write_conversation(tx, conversation, own && dirtied).await?;
                    }
                }
                Write::ForgetConversation { website, session } => {
                    mirror::forget_conversation(tx, website, session, false).await?;
                }
                Write::Person(person) => {
                    let own =
                        is_claimed(WorkKind::Person, &person.website, person.user_key.as_str());
                    let user = self.pseudonyms.erased_user(&person.user_key);
                    let email = person.email_mac.as_ref();
                    if erasure::stops(&mut *tx, &person.website, Some(&user), email).await? {
                        is_erased = true;
                        erasure::forget_person(tx, &person.website, &person.user_key).await?;
                    } else {
                        mirror::write_person(tx, person, own && dirtied).await?;
                    }
                }
                Write::ForgetPerson { website, user_key } => {
                    is_erased = true;
                    erasure::forget_person(tx, website, user_key).await?;
                }
                Write::Cleared => erasure::settle_conversation(tx, claim).await?,
                Write::Enqueue(enqueue) => fold.add(enqueue),
                Write::Outbox(row) => outbox::write(tx, row).await?,
                Write::HighWater {
                    website,
                    user_key,
                    event,
                    subject,
                    instant,
                } => outbox::raise(tx, website, user_key, event, subject, *instant).await?,
                Write::Doubt { website, sessions } => {
                    let (own, others): (Vec<_>, Vec<_>) = sessions.iter().partition(|session| {
                        is_claimed(WorkKind::Conversation, website, session.as_str())
                    });
                    for session in own {
                        mirror::dirty(tx, website.as_str(), session.as_str()).await?;
                    }
                    // Somebody may be at work on those, and is not to clean them.
                    let others: Vec<_> = others
                        .into_iter()
                        .map(|session| accept::conversation(website, session))
                        .collect();
                    accept::mark_dirty(tx, &others, false).await?;
                }
                Write::Listened(listened) => listening::write(tx, listened).await?,
                Write::Swept(page) => sweeping::write(tx, page).await?,
                Write::Own(names) => mirror::own(tx, names).await?,
                Write::AssertContact { website, user_key } => {
                    mirror::assert_contact(tx, website, user_key).await?;
                }
                Write::VerifiedSeen { website, at } => {
                    mirror::see_verified(tx, website, *at).await?;
                }
            }
        }
        Ok(is_erased)
    }

    /// What the mirror keeps of a conversation whose person was erased. `None`: they were not.
    async fn without_erased(
        &self,
        tx: &mut Transaction<'_>,
        conversation: &ConversationMirror,
    ) -> Result<Option<ConversationMirror>, LedgerError> {
        let codes = &self.pseudonyms;
        let user = conversation
            .user_key
            .as_ref()
            .map(|key| codes.erased_user(key));
        let email = conversation.email.as_ref().map(|email| codes.email(email));
        if user.is_none() && email.is_none() {
            return Ok(None);
        }
        let website = &conversation.website;
        if !erasure::stops(tx, website, user.as_ref(), email.as_ref()).await? {
            return Ok(None);
        }
        let nothing = ConversationMirror::unknown(website.clone(), conversation.session.clone());
        Ok(Some(ConversationMirror {
            trust: Some(ERASED.to_owned()),
            channel: conversation.channel.clone(),
            written_for: email,
            ..nothing
        }))
    }
}
