//! Everybody there is to look at, page by page: one source for each command that asks "what would become of all of them?".
//!
//! Addresses that somebody typed come first, then the people that the ledger knows, website by website, in the order of
//! their keys. A page of the app's own table (`UserDirectory::sweep`) belongs behind those two, with a [`Cursor`] of its own.

use anyhow::Context as _;

use crate::{
    ids::{Email, UserKey, WebsiteId},
    ledger::Ledger,
    server::survey::Cursor,
};

/// Everybody, for one look.
#[derive(Debug)]
pub(super) struct Everyone<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) websites: &'a [WebsiteId],
    /// Addresses that somebody typed.
    pub(super) typed: Vec<Email>,
}

/// Somebody to look at.
#[derive(Debug)]
pub(super) struct Somebody {
    pub(super) who: Who,
    /// On which websites.
    pub(super) websites: Vec<WebsiteId>,
    /// Where to go on behind them.
    pub(super) cursor: Cursor,
}

/// By what they are known.
#[derive(Debug)]
pub(super) enum Who {
    Typed(Email),
    Key(UserKey),
}

/// Some of them, and where the next ones begin.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) people: Vec<Somebody>,
    pub(super) next: Option<Cursor>,
}

impl Everyone<'_> {
    /// The page behind `after`, of at most `limit` people.
    pub(super) async fn page(&self, after: Option<&Cursor>, limit: u32) -> anyhow::Result<Page> {
        match after {
            None if !self.typed.is_empty() => Ok(self.typed_from(0, limit)),
            Some(Cursor::Typed { done }) if *done < self.typed.len() => {
                Ok(self.typed_from(*done, limit))
            }
            None | Some(Cursor::Typed { .. }) => self.known_from(0, None, limit).await,
            Some(Cursor::Ledger { website, key }) => {
                let at = self
                    .websites
                    .iter()
                    .position(|named| named.as_str() == website)
                    .with_context(|| {
                        format!(
                            "it stopped at website `{website}`, which is not named any more\nhint: begin anew, with another file"
                        )
                    })?;
                let key = (!key.is_empty()).then(|| UserKey::parse(key)).transpose()?;
                self.known_from(at, key, limit).await
            }
        }
    }

    /// How many there are, as far as that is known before one has looked.
    pub(super) async fn total(&self) -> anyhow::Result<u64> {
        let mut total = self.typed.len() as u64;
        for website in self.websites {
            total += self.ledger.person_count(website).await?;
        }
        Ok(total)
    }

    fn typed_from(&self, from: usize, limit: u32) -> Page {
        let until = self.typed.len().min(from + limit as usize);
        let people = self.typed[from..until]
            .iter()
            .zip(from..)
            .map(|(email, at)| Somebody {
                who: Who::Typed(email.clone()),
                websites: self.websites.to_vec(),
                cursor: Cursor::Typed { done: at + 1 },
            })
            .collect();
        Page {
            people,
            // The ledger's people come behind, also when nobody was typed any more.
            next: Some(Cursor::Typed { done: until }),
        }
    }

    async fn known_from(
        &self,
        at: usize,
        after: Option<UserKey>,
        limit: u32,
    ) -> anyhow::Result<Page> {
        let Some(website) = self.websites.get(at) else {
            return Ok(Page {
                people: Vec::new(),
                next: None,
            });
        };
        let cursor = |website: &WebsiteId, key: &str| Cursor::Ledger {
            website: website.as_str().to_owned(),
            key: key.to_owned(),
        };
        let keys = self.ledger.people(website, after.as_ref(), limit).await?;
        let next = match keys.last() {
            Some(last) if keys.len() == limit as usize => Some(cursor(website, last.as_str())),
            _ => self.websites.get(at + 1).map(|website| cursor(website, "")),
        };
        let people = keys
            .into_iter()
            .map(|key| Somebody {
                cursor: cursor(website, key.as_str()),
                who: Who::Key(key),
                websites: vec![website.clone()],
            })
            .collect();
        Ok(Page { people, next })
    }
}
