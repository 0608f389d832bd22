//! Everybody there is to look at, page by page: one source for each command that asks "what would become of all of them?".
//!
//! Addresses that somebody typed come first, then the people that the ledger knows, website by website, in the order of
//! their keys, then those whom `lifecycle.query` finds and the ledger does not know.

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::{
    ids::{Email, UserKey, WebsiteId},
    ledger::Ledger,
    reconcile::Reconciler,
    server::survey::Cursor,
    users::{SweepMark, SweepPage, UserDirectory},
};

/// Everybody, for one look.
#[derive(Debug)]
pub(super) struct Everyone<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) users: &'a UserDirectory,
    pub(super) reconciler: &'a Reconciler,
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
            Some(Cursor::Table { until, after }) => {
                let after = after.clone().map(|(at, key)| SweepMark { at, key });
                self.found_from(*until, after, limit).await
            }
        }
    }

    /// How many there are, if that is known before one has looked.
    pub(super) async fn total(&self) -> anyhow::Result<Option<u64>> {
        if self.users.can_sweep() {
            return Ok(None);
        }
        let mut total = self.typed.len() as u64;
        for website in self.websites {
            total += self.ledger.person_count(website).await?;
        }
        Ok(Some(total))
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
                next: self.table(),
            });
        };
        let cursor = |website: &WebsiteId, key: &str| Cursor::Ledger {
            website: website.as_str().to_owned(),
            key: key.to_owned(),
        };
        let keys = self.ledger.people(website, after.as_ref(), limit).await?;
        let next = match keys.last() {
            Some(last) if keys.len() == limit as usize => Some(cursor(website, last.as_str())),
            _ => self
                .websites
                .get(at + 1)
                .map(|website| cursor(website, ""))
                .or_else(|| self.table()),
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

    /// Where the app's own table begins, if there is a query for it.
    fn table(&self) -> Option<Cursor> {
        self.users.can_sweep().then_some(Cursor::Table {
            until: None,
            after: None,
        })
    }

    /// Whoever is known already was looked at before.
    async fn found_from(
        &self,
        until: Option<Timestamp>,
        after: Option<SweepMark>,
        limit: u32,
    ) -> anyhow::Result<Page> {
        const ASKED: &str = "`lifecycle.query` could not be asked";
        let until = match until {
            Some(until) => until,
            None => self.users.now().await.context(ASKED)?,
        };
        let page = self.users.sweep(SweepPage {
            since: Timestamp::UNIX_EPOCH,
            until,
            after,
            limit,
        });
        let page = page.await.context(ASKED)?;
        let cursor = |mark: &SweepMark| Cursor::Table {
            until: Some(until),
            after: Some((mark.at.clone(), mark.key.clone())),
        };
        let next = match page.rows.last() {
            Some(last) if !page.is_last => Some(cursor(&last.mark)),
            _ => None,
        };
        let mut people = Vec::new();
        let mut seen = BTreeSet::new();
        for row in &page.rows {
            let Some(website) = self.reconciler.website_of(row) else {
                continue;
            };
            if row.is_without_address
                || !self.websites.contains(&website)
                || self.ledger.person(&website, &row.key).await?.is_some()
                || !seen.insert((website.clone(), row.key.clone()))
            {
                continue;
            }
            people.push(Somebody {
                cursor: cursor(&row.mark),
                who: Who::Key(row.key.clone()),
                websites: vec![website],
            });
        }
        Ok(Page { people, next })
    }
}
