//! What asks for a person, as one look sees it.
//!
//! Most of it stands in the ledger, and every process sees the same. Refused signatures and open breakers are seen by one
//! process alone.

use std::{collections::VecDeque, time::Duration};

use jiff::{Timestamp, Unit};

use super::Watch;
use crate::{
    breaker::{DEFINITION, RESULTS, Standing},
    ledger::{
        Condition, ConditionRow, Gap, Lane, Latch, LedgerError, Listening, Pause, PauseScope,
    },
    reconcile::{Outlook, outlook},
    telemetry::{Metrics, events, metrics::WebhookLabels},
};

macro_rules! kinds {
    ($($(#[$meaning:meta])* $constant:ident = $name:literal;)*) => {
        $(
            $(#[$meaning])*
            pub(super) const $constant: &str = $name;
        )*
        /// Every kind, for the pages that explain them.
        pub const KINDS: &[&str] = &[$($name),*];
    };
}

kinds! {
    /// The brake holds an event until a person decides.
    BRAKE_LATCHED = "brake_latched";
    /// The ledger is a copy, or was moved, and nobody said that it belongs there.
    LEDGER_DISPLACED = "ledger_displaced";
    /// Lifecycle events wait for a person.
    EVENTS_HELD = "events_held";
    /// Work failed for good.
    DEAD_LETTERS = "dead_letters";
    /// The day's quota does not last the day.
    QUOTA_SHORT = "quota_short";
    /// Requests on the webhook route that prove no right to be there.
    SIGNATURES_REFUSED = "signatures_refused";
    /// A website sends no webhook though its conversations go on.
    SILENCE = "silence";
    /// Crisp refuses our token, or us for a website or its contacts.
    CRISP_PAUSED = "crisp_paused";
    /// Something outside is down.
    BREAKER_OPEN = "breaker_open";
    /// The sweep has not looked for a long time.
    SWEEP_BEHIND = "sweep_behind";
    /// Somebody was erased, and Crisp still holds what is ours of them.
    ERASURE_OWED = "erasure_owed";
    /// Nobody listened for a while, or the ledger is a copy.
    LEDGER_CAUTIOUS = "ledger_cautious";
    /// The ledger cannot be used.
    LEDGER_FAULT = "ledger_fault";
}

/// A pause that ends by itself within this is no news.
const PAUSE_IS_NEWS: Duration = Duration::from_mins(1);
/// How long a gap is told of after it was noticed: it has no end of its own.
const GAP_IS_NEWS: Duration = Duration::from_mins(30);
/// So many looks of the sweep have to be left out before somebody is told.
const SWEEPS_LEFT_OUT: u32 = 4;
/// A sweep that is behind by less is no news, however often it looks.
const SWEEP_IS_NEWS: Duration = Duration::from_hours(1);
/// What an erasure owes is paid within minutes where nothing is in the way.
const DEBT_IS_NEWS: Duration = Duration::from_hours(24);
/// Refusals are counted over this time.
const REFUSAL_WINDOW: Duration = Duration::from_mins(10);

/// So many that look like Crisp's are told, where nothing genuine comes: a quiet website whose secret was replaced never sends
/// as many as somebody who tries.
const A_FEW: u64 = 3;

/// Requests that were refused of late.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    all: Counted,
    /// With a well-formed signature that no secret made.
    mismatched: Counted,
}

/// A counter at the looks of the last minutes.
#[derive(Debug, Default)]
struct Counted(VecDeque<(Timestamp, u64)>);

fn before_window(now: Timestamp) -> Timestamp {
    now.checked_sub(REFUSAL_WINDOW).unwrap_or(Timestamp::MIN)
}

impl Counted {
    /// How many requests were refused within the window, with the counter at `total` now.
    fn within(&mut self, total: u64, now: Timestamp) -> u64 {
        let horizon = before_window(now);
        // The last look before the window is its beginning.
        while self.0.len() > 1 && self.0.get(1).is_some_and(|(at, _)| *at <= horizon) {
            self.0.pop_front();
        }
        self.0.push_back((now, total));
        // Before the first look there was the start of the process, and nothing was counted.
        let began_at = self
            .0
            .front()
            .filter(|(at, _)| *at <= horizon)
            .map_or(0, |(_, count)| *count);
        total.saturating_sub(began_at)
    }
}

impl Watch {
    /// Everything that asks for a person now. `before` is what did at the last look.
    pub(super) async fn conditions(
        &self,
        refusals: &mut Refusals,
        before: &[ConditionRow],
        now: Timestamp,
    ) -> Result<Vec<Condition>, LedgerError> {
        let ledger = &self.ledger;
        let waiting = ledger.waiting().await?;
        let mut seen = Vec::new();
        seen.extend(ledger.latches().await?.iter().map(braked));
        if let Some(since) = ledger.displaced_since().await? {
            seen.push(condition(
                LEDGER_DISPLACED,
                format!(
                    "since {} the ledger is a copy, or was moved, and no lifecycle event leaves: if this is the one that is to tell Crisp, type `crisp-sync events arm` here",
                    shown(since)
                ),
            ));
        }
        if waiting.held + waiting.unsure > 0 {
            let all = waiting.held + waiting.unsure;
            seen.extend(grown(EVENTS_HELD, all));
            seen.push(condition(
                EVENTS_HELD,
                format!(
                    "{} held, {} unsure: `crisp-sync events list` tells why, `events release` and `events drop` decide",
                    waiting.held, waiting.unsure
                ),
            ));
        }
        if waiting.dead > 0 {
            seen.extend(grown(DEAD_LETTERS, waiting.dead));
            seen.push(condition(
                DEAD_LETTERS,
                format!(
                    "{} rows of work failed for good: the log tells why (`work.buried`), `crisp-sync deliveries retry --dead` revives them",
                    waiting.dead
                ),
            ));
        }
        let a_day_ago = now.checked_sub(DEBT_IS_NEWS).unwrap_or(Timestamp::MIN);
        let owed = ledger.erasures_owed(a_day_ago).await?;
        if owed > 0 {
            seen.push(condition(
                ERASURE_OWED,
                format!(
                    "people were erased more than a day ago, and {owed} of them not yet from Crisp: `crisp-sync erase --list` shows whose receipt owes something, `erase --status` over what it fails"
                ),
            ));
        }
        let outlook = outlook(ledger, self.settings.quota, now).await?;
        let was_short = before.iter().any(|row| row.kind == QUOTA_SHORT);
        if self.settings.quota.falls_short(outlook.forecast, was_short) {
            if !was_short {
                announce(&outlook);
            }
            seen.push(condition(QUOTA_SHORT, short_of(&outlook)));
            // That it would not last was told hours ago, perhaps.
            seen.extend((outlook.calls >= outlook.limit).then(|| Condition {
                subject: "used up".to_owned(),
                ..condition(
                    QUOTA_SHORT,
                    format!(
                        "the day's quota of {} calls is used up: only conversations that an operator opens are tried until it is reset",
                        outlook.limit
                    ),
                )
            }));
        }
        seen.extend(
            ledger
                .pauses()
                .await?
                .iter()
                .filter_map(|pause| paused(pause, now)),
        );
        let listening = ledger.listening().await?;
        seen.extend(listening.iter().filter_map(|one| silent(one, before)));
        if let Some(gap) = ledger.last_gap().await?.filter(|gap| is_news(gap, now)) {
            seen.push(condition(
                LEDGER_CAUTIOUS,
                format!(
                    "nobody listened from {} to {}, or the ledger is a copy: events of that time are sent once Crisp's timeline was read, and conversations that changed are looked through",
                    shown(gap.from),
                    shown(gap.to)
                ),
            ));
        }
        seen.extend(self.sweep_behind(now).await?);
        let refused = refusals.all.within(refused_so_far(&self.metrics), now);
        let mismatched = (refusals.mismatched).within(refused_as(&self.metrics, "plugin"), now);
        let horizon = before_window(now);
        let is_heard = (listening.iter()).any(|one| one.heard_at.is_some_and(|at| at > horizon));
        if refused >= self.settings.signature_failures || (mismatched >= A_FEW && !is_heard) {
            seen.push(condition(
                SIGNATURES_REFUSED,
                format!(
                    "{refused} requests in 10 minutes bore no valid signature{}: either somebody tries, or a signing secret was replaced and CRISP_SIGNING_SECRETS lacks the new one",
                    if is_heard { "" } else { ", and no webhook was genuine" }
                ),
            ));
        }
        seen.extend(self.breakers.standings().into_iter().filter_map(open));
        Ok(seen)
    }
}

impl Watch {
    /// The rescan may take days, and says nothing of what is new.
    async fn sweep_behind(&self, now: Timestamp) -> Result<Option<Condition>, LedgerError> {
        let Some(every) = self.settings.sweeps_every else {
            return Ok(None);
        };
        let lags = self.ledger.sweep_lags(now).await?;
        let behind = lags.into_iter().find(|one| one.lane == Lane::Changes);
        Ok(behind
            .filter(|one| one.lag(now) > every.saturating_mul(SWEEPS_LEFT_OUT).max(SWEEP_IS_NEWS))
            .map(|one| {
                condition(
                    SWEEP_BEHIND,
                    format!(
                        "nobody looked since {} to whom something happened: events without a chat are late, and expire with their `max_age`; `crisp-sync status` tells what the query fails over, or how many wait for the quota",
                        shown(one.since)
                    ),
                )
            }))
    }
}

fn condition(kind: &'static str, detail: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        subject: String::new(),
        detail,
    }
}

/// That what was told of has grown tenfold, and tenfold again, each as a condition of its own: one old row must not hide
/// hundreds of new ones.
fn grown(kind: &'static str, count: u64) -> impl Iterator<Item = Condition> {
    let powers = std::iter::successors(Some(10_u64), |power| power.checked_mul(10));
    (powers.take_while(move |power| *power <= count)).map(move |power| Condition {
        subject: format!("{power} or more"),
        ..condition(kind, format!("{count} by now"))
    })
}

fn braked(latch: &Latch) -> Condition {
    let Latch {
        website,
        event,
        since,
    } = latch;
    Condition {
        kind: BRAKE_LATCHED.to_owned(),
        subject: format!("{event} on {website}"),
        detail: format!(
            "more of it came within an hour than `lifecycle.brake` lets go, and since {} every one is held: `crisp-sync events list --state held` shows them, `crisp-sync events release --event '{event}'` lets them go, `crisp-sync events drop --event '{event}'` gives them up",
            shown(*since)
        ),
    }
}

fn announce(outlook: &Outlook) {
    tracing::warn!(
        event = events::QUOTA_SHORT,
        calls = outlook.calls,
        limit = outlook.limit,
        until = outlook.forecast.exhausted_at.map(shown),
        hint = "lists and sweeps stop first, then events; ask Crisp for more and set `crisp.daily_quota`",
        "the day's quota does not last the day"
    );
}

fn short_of(outlook: &Outlook) -> String {
    let Outlook { calls, limit, .. } = outlook;
    match outlook.forecast.exhausted_at {
        Some(_) if calls >= limit => format!("all of the day's {limit} calls are used"),
        Some(at) => format!(
            "{calls} of the day's {limit} calls are used; at this pace the quota is exhausted at {} UTC",
            at.strftime("%H:%M")
        ),
        None => format!(
            "{calls} of the day's {limit} calls are used; at this pace it lasts the day by a hair"
        ),
    }
}

fn paused(pause: &Pause, now: Timestamp) -> Option<Condition> {
    let age = Duration::try_from(now.duration_since(pause.since)).unwrap_or_default();
    let lasts = Duration::try_from(pause.until.duration_since(pause.since)).unwrap_or_default();
    (age.max(lasts) >= PAUSE_IS_NEWS).then(|| Condition {
        kind: CRISP_PAUSED.to_owned(),
        subject: match &pause.website {
            Some(website) if pause.scope == PauseScope::People => format!("contacts of {website}"),
            Some(website) => website.to_string(),
            None => String::new(),
        },
        detail: format!(
            "Crisp refuses {} (`{}`): nothing is lost, calls wait, and a probe goes now and then",
            match pause.scope {
                PauseScope::Token => "the token",
                PauseScope::Website => "this website",
                PauseScope::People => "what is done for contacts of this website; chats go on",
            },
            pause.reason
        ),
    })
}

fn silent(listening: &Listening, before: &[ConditionRow]) -> Option<Condition> {
    let since = listening.silent_since?;
    let subject = listening.website.to_string();
    let was_silent = before
        .iter()
        .any(|row| row.kind == SILENCE && row.subject == subject);
    if !was_silent {
        tracing::warn!(
            event = events::CRISP_SILENT,
            "website.id" = subject,
            since = %since,
            hint = "is the plugin's webhook still registered, and does its address lead here?",
            "a website sends no webhook though its conversations go on"
        );
    }
    Some(Condition {
        kind: SILENCE.to_owned(),
        subject,
        detail: format!(
            "no webhook since {}, though Crisp lists visitors who came or wrote later: is the plugin's webhook still registered, and does its address lead here?",
            shown(since)
        ),
    })
}

/// Without the failure's own words: the log has them.
fn open(breaker: Standing) -> Option<Condition> {
    let since = shown(breaker.since.filter(|_| breaker.state != "closed")?);
    let is_of = |name| breaker.name.split('.').next() == Some(name);
    let detail = if is_of(RESULTS) {
        format!(
            "the ledger refuses the result of every such run since {since}: nothing is lost, each is made again up to once an hour (`worker.fault` in the log tells why)"
        )
    } else if is_of(DEFINITION) {
        format!(
            "the rules of the configuration can be computed for nobody since {since}: nothing is lost, each is tried again up to once an hour (`work.retry` in the log tells why)"
        )
    } else {
        format!(
            "it fails again and again since {since}: what needs it waits, nothing is lost, and a probe finds out when it works (`breaker.opened` in the log tells more)"
        )
    };
    Some(Condition {
        kind: BREAKER_OPEN.to_owned(),
        subject: breaker.name,
        detail,
    })
}

fn is_news(gap: &Gap, now: Timestamp) -> bool {
    gap.to
        .checked_add(GAP_IS_NEWS)
        .is_ok_and(|until| now < until)
}

fn refused_so_far(metrics: &Metrics) -> u64 {
    ["none", "plugin", "website"]
        .into_iter()
        .map(|hook| refused_as(metrics, hook))
        .sum()
}

fn refused_as(metrics: &Metrics, hook: &'static str) -> u64 {
    let outcome = "refused";
    let count = metrics.webhooks.get(&WebhookLabels { outcome, hook });
    count.map_or(0, |count| count.get())
}

fn shown(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_over_ten_minutes() {
        let start: Timestamp = "2026-03-02T09:00:00Z".parse().expect("an instant");
        let mut refusals = Counted::default();
        for (seconds, total, within) in [
            (0, 5, 5),
            (30, 9, 9),
            (570, 10, 10),
            // Ten minutes after the first look, what was before it is out.
            (600, 12, 7),
            (630, 12, 3),
            (1_200, 12, 0),
            (9_000, 13, 1),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(refusals.within(total, now), within, "after {seconds} s");
        }
    }
}
