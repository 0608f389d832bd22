//! The look at what happened while nobody listened.
//!
//! Crisp lists a website's conversations, the last changed first. Those that changed since the last look and were not
//! refreshed since are enqueued. One run reads one page and leaves the number of the next in the ledger, in the transaction
//! that enqueues: whatever dies in between costs that page at the most, open chats come first between two pages, and each
//! page asks the quota anew.
//!
//! A page is a read of fifty conversations for one call. What it shows of a conversation is compared with the mirror: where
//! both agree, a refresh may rely on the mirror and asks Crisp nothing; where they do not, hooks were missed, and Crisp is
//! read. A website that sends no webhook though its list shows newer visitors is silent, and said to be.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Outcome, ReconcileError, Reconciled, Reconciler, Run, visitor::Visitor};
use crate::{
    context::{OwnedNames, diff},
    crisp::model::{Conversation, Metas},
    identity::VerificationAddress,
    ids::{SessionId, WebsiteId},
    ledger::{
        ConversationMirror, Enqueue, Gap, LedgerError, Listened, Listening, Scan, Trigger, Urgency,
        WorkKind, Write,
    },
};

type Mirrors = BTreeMap<SessionId, ConversationMirror>;

/// How conversations that changed while nobody listened are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapSettings {
    /// How often each website is listed.
    pub every: Duration,
    /// How far back a list goes.
    pub window: Duration,
    /// How long a website may be silent while its conversations go on.
    pub silence: Duration,
    /// Calls a day that looking may cost while there is nothing to find, for all websites together.
    pub daily_calls: u32,
}

impl Default for GapSettings {
    fn default() -> Self {
        Self {
            every: Duration::from_hours(1),
            window: Duration::from_hours(24),
            silence: Duration::from_hours(6),
            daily_calls: 250,
        }
    }
}

/// Crisp's clock and ours differ, and its list may lag behind.
const OVERLAP: Duration = Duration::from_mins(5);
/// What follows the last webhook so soon proves nothing: its own may be on the way.
const ON_ITS_WAY: Duration = Duration::from_mins(10);
/// A change so close to our own refresh is ours.
const OURS: Duration = Duration::from_mins(1);
/// A page holds at least so many conversations, if there are any more (crisp.md: smaller pages are refused).
const SHORT: usize = 10;
/// No look goes deeper, whatever the list says: 10,000 conversations.
const DEEPEST: u32 = 200;

impl GapSettings {
    /// How long after a look the next one is due, with so many websites to look at.
    fn pace(&self, websites: usize) -> Duration {
        const DAY: Duration = Duration::from_hours(24);
        let websites = u32::try_from(websites).unwrap_or(u32::MAX);
        let affordable = DAY.saturating_mul(websites) / self.daily_calls.max(1);
        self.every.max(affordable)
    }

    /// The look that is due: the one under way, or a new one.
    fn scan(&self, known: Option<&Listening>, last_gap: Option<Gap>, now: Timestamp) -> Scan {
        let horizon = before(now, self.window);
        if let Some(scan) = known.and_then(|known| known.scan) {
            return Scan {
                from: scan.from.max(horizon),
                ..scan
            };
        }
        // A new installation has no past to make up for.
        let from = known
            .and_then(|known| known.checked_to)
            .or(last_gap.map(|gap| gap.from))
            .map_or(now, |at| before(at, OVERLAP));
        Scan {
            from: from.max(horizon),
            to: now,
            page: 1,
        }
    }

    /// What a list says about a website's silence: the newest visitor of whom no webhook told, and since when it has been
    /// silent, if that is long enough. A time in which nobody listened is not its fault.
    fn silence(
        &self,
        known: &Listening,
        last_gap: Option<Gap>,
        newest: Option<Timestamp>,
        now: Timestamp,
    ) -> Silence {
        let heard = known.heard_at.unwrap_or(known.since);
        let since = last_gap.map_or(heard, |gap| heard.max(gap.to));
        let unheard_at = newest
            .max(known.unheard_at)
            .filter(|at| at.duration_since(since) > signed(ON_ITS_WAY));
        let is_long = now.duration_since(since) >= signed(self.silence);
        Silence {
            unheard_at,
            since: (is_long && unheard_at.is_some()).then_some(since),
        }
    }
}

/// What a list says about a website's silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Silence {
    /// The newest visitor of whom no webhook told.
    unheard_at: Option<Timestamp>,
    /// Since when it has been silent.
    since: Option<Timestamp>,
}

/// When a visitor last came or wrote, as far as a list says: webhooks tell of both. Of agents' answers, of what they do with
/// a conversation, and of our own writes not every plugin is told, so that a change alone is no sign.
fn last_visit(conversation: &Conversation) -> Option<Timestamp> {
    [conversation.created_at, conversation.waiting_since]
        .into_iter()
        .filter_map(instant)
        .max()
}

fn is_ours(changed: Timestamp, refreshed: Option<Timestamp>) -> bool {
    refreshed.is_some_and(|refreshed| changed.duration_since(refreshed).abs() <= signed(OURS))
}

/// Whether the list ends with this page, or what is left of it was looked at before.
fn is_last(page: &[Conversation], scan: Scan) -> bool {
    let oldest = page.last().and_then(updated_at);
    page.len() < SHORT || oldest.is_none_or(|at| at < scan.from) || scan.page >= DEEPEST
}

fn updated_at(conversation: &Conversation) -> Option<Timestamp> {
    instant(conversation.updated_at)
}

fn instant(millis: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis?).ok()
}

/// What is to be done about a listed conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missed {
    /// Nothing.
    No,
    /// It changed since it was refreshed, and holds what the mirror says.
    Changed,
    /// It holds something else: hooks were missed, and the mirror is wrong.
    Differs,
}

fn missed(
    conversation: &Conversation,
    mirror: Option<&ConversationMirror>,
    scan: Scan,
    owned: &OwnedNames,
    address: VerificationAddress,
) -> Missed {
    // What changes once the look has begun is told by webhooks, or is found by the next look.
    let Some(at) = updated_at(conversation).filter(|at| (scan.from..=scan.to).contains(at)) else {
        return Missed::No;
    };
    let refreshed = mirror.and_then(|mirror| mirror.refreshed_at);
    let is_refreshed = refreshed.is_some_and(|refreshed| refreshed >= at);
    // A list that shows nothing of the visitor proves nothing about them.
    let shows_nothing = conversation.meta == Metas::default();
    let had_email = mirror.is_some_and(|mirror| mirror.email.is_some());
    if conversation.meta.email.is_none() && !had_email && !shows_nothing {
        return Missed::No;
    }
    // A refresh since then may have relied on the mirror, and shown the previous person's data once more. Only a read knows
    // better than the list; one too many costs a call.
    let is_read = mirror
        .and_then(|mirror| mirror.read_at)
        .is_some_and(|read| before(read, OVERLAP) >= at);
    match mirror {
        _ if is_refreshed && (is_read || shows_nothing) => Missed::No,
        Some(mirror) if !agrees(conversation, mirror, owned, address) => Missed::Differs,
        Some(_) if is_refreshed || is_ours(at, refreshed) => Missed::No,
        _ => Missed::Changed,
    }
}

/// Whether Crisp shows of a conversation what the mirror remembers: the same visitor, proven or not, and our own values.
fn agrees(
    conversation: &Conversation,
    mirror: &ConversationMirror,
    owned: &OwnedNames,
    address: VerificationAddress,
) -> bool {
    let shown = Visitor::read(
        conversation.clone(),
        Some(mirror),
        address,
        Timestamp::UNIX_EPOCH,
    );
    let remembered = Visitor::remembered(mirror);
    shown.email == remembered.email
        && shown.trust == remembered.trust
        && diff(&mirror.session_layer, &shown.held, &owned.session).is_empty()
}

impl Reconciler {
    /// Reads the next page of a website's conversations, and enqueues those that were missed.
    pub async fn gap(
        &self,
        run: &mut Run,
        website: &WebsiteId,
    ) -> Result<Reconciled, ReconcileError> {
        let settings = self.settings.gap;
        let listening = self.ledger.listening().await?;
        let known = listening.iter().find(|one| one.website == *website);
        let last_gap = self.ledger.last_gap().await?;
        let scan = settings.scan(known, last_gap, run.now);
        let page = run.hand.conversations(website, scan.page).await?;
        let mirrors = self.mirrors_of(website, &page).await?;
        let newest = page.iter().filter_map(last_visit).max();
        let silence = known.map_or_else(Silence::default, |known| {
            settings.silence(known, last_gap, newest, run.now)
        });
        let mut writes = self.missed_on(run, website, &page, &mirrors, scan).await?;
        let over = is_last(&page, scan);
        writes.push(Write::Listened(Listened {
            website: website.clone(),
            checked_to: over.then_some(scan.to),
            scan: (!over).then_some(Scan {
                page: scan.page + 1,
                ..scan
            }),
            unheard_at: silence.unheard_at,
            silent_since: silence.since,
            at: run.now,
        }));
        let rest = settings.pace(listening.len().max(1));
        let again_at = if over { after(scan.to, rest) } else { run.now };
        Ok(Reconciled {
            outcome: Outcome::Listed,
            again_at: Some(again_at.max(run.now)),
            writes,
            owed: None,
        })
    }

    async fn mirrors_of(
        &self,
        website: &WebsiteId,
        page: &[Conversation],
    ) -> Result<Mirrors, LedgerError> {
        let sessions: Vec<SessionId> = page
            .iter()
            .filter_map(|conversation| conversation.session_id.clone())
            .collect();
        Ok(self
            .ledger
            .mirrors(website, &sessions)
            .await?
            .into_iter()
            .map(|mirror| (mirror.session.clone(), mirror))
            .collect())
    }

    async fn missed_on(
        &self,
        run: &mut Run,
        website: &WebsiteId,
        page: &[Conversation],
        mirrors: &Mirrors,
        scan: Scan,
    ) -> Result<Vec<Write>, ReconcileError> {
        let owned = self.owned().await?;
        let address = self.settings.verification_address;
        let (mut writes, mut differing) = (Vec::new(), Vec::new());
        for conversation in page {
            let Some(session) = &conversation.session_id else {
                continue;
            };
            let found = missed(conversation, mirrors.get(session), scan, &owned, address);
            if found == Missed::Differs {
                differing.push(session.clone());
            }
            if found != Missed::No {
                writes.push(refresh(website, session, run.now));
            }
        }
        run.trace.fact(format!(
            "page {}: {} listed, {} changed unseen, {} of them unlike the mirror",
            scan.page,
            page.len(),
            writes.len(),
            differing.len()
        ));
        if !differing.is_empty() {
            writes.push(Write::Doubt {
                website: website.clone(),
                sessions: differing,
            });
        }
        Ok(writes)
    }
}

/// A refresh that nobody waits for.
fn refresh(website: &WebsiteId, session: &SessionId, now: Timestamp) -> Write {
    Write::Enqueue(Enqueue {
        kind: WorkKind::Conversation,
        website: website.clone(),
        key: session.as_str().to_owned(),
        trigger: Trigger::Gap,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    })
}

fn before(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn after(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn signed(duration: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}
