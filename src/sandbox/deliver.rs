//! Delivers webhooks over real HTTP, one after the other, in the order of events.
//!
//! A delivery that fails does not hold up the next one: Crisp promises no order either. It is tried again on demand, or
//! after a pause when the settings name one, up to the limit that its headers announce.

use std::time::{Duration, Instant};

use reqwest::redirect;

use super::{
    Shared,
    journal::{HookAttempt, HookState},
    settings::HookProof,
    state::State,
};
use crate::crisp::signature;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A webhook ready to go.
struct Parcel {
    number: u64,
    count: u32,
    limit: u32,
    url: String,
    origin: &'static str,
    timestamp: String,
    signature: Option<String>,
    body: String,
    at: i64,
}

/// Runs until it is dropped.
pub(super) async fn run(shared: Shared) {
    let client = match client() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = %error, "the sandbox cannot send webhooks");
            return;
        }
    };
    loop {
        let seen = shared.version();
        let (parcel, pause) = shared.take(State::next_parcel);
        let Some(parcel) = parcel else {
            tokio::select! {
                () = shared.changed_since(seen) => {}
                () = tokio::time::sleep(pause.unwrap_or(Duration::from_hours(1))) => {}
            }
            continue;
        };
        let started = Instant::now();
        let status = send(&client, &parcel).await;
        let duration = started.elapsed();
        shared.act(|state, _| state.note_attempt(&parcel, status, duration));
    }
}

fn client() -> reqwest::Result<reqwest::Client> {
    // The first caller in a process decides; a second try is no failure.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
}

async fn send(client: &reqwest::Client, parcel: &Parcel) -> Option<u16> {
    let mut request = client
        .post(&parcel.url)
        .header("content-type", "application/json")
        .header("x-crisp-hook-origin", parcel.origin)
        .header("x-crisp-request-timestamp", &parcel.timestamp)
        .header("x-delivery-attempt-limit", parcel.limit.to_string())
        .header("x-delivery-attempt-count", parcel.count.to_string());
    if let Some(signature) = &parcel.signature {
        request = request.header("x-crisp-signature", signature);
    }
    let answer = request.body(parcel.body.clone()).send().await;
    answer.ok().map(|answer| answer.status().as_u16())
}

impl State {
    /// The next webhook to send, or how long to wait for one that rests.
    fn next_parcel(&mut self, now: i64) -> (Option<Parcel>, Option<Duration>) {
        let next_late = self.late.iter().map(|late| late.due - now).min();
        let mut pause =
            next_late.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0).max(20)));
        let Some(webhook) = self.webhook.clone().filter(|_| !self.hooks_held) else {
            return (None, pause);
        };
        let instant = Instant::now();
        let limit = self.behaviour.attempt_limit;
        for hook in &mut self.hooks {
            if hook.state == HookState::Failed
                && let Some(until) = hook.not_before
            {
                if until <= instant {
                    hook.state = HookState::Queued;
                } else {
                    let left = until - instant;
                    pause = Some(pause.map_or(left, |pause| pause.min(left)));
                }
            }
            if hook.state != HookState::Queued {
                continue;
            }
            hook.state = HookState::Sending;
            hook.not_before = None;
            let timestamp = now.to_string();
            let (url, origin, signature) = match &webhook.proof {
                HookProof::Secret(secret) => (
                    webhook.url.clone(),
                    "plugin/rtm 4f2a9c1be07d5e63 production",
                    Some(signature::sign(secret, &timestamp, hook.body.as_bytes())),
                ),
                HookProof::UrlKey(key) => {
                    let mark = if webhook.url.contains('?') { '&' } else { '?' };
                    let key: String =
                        url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
                    (
                        format!("{}{mark}key={key}", webhook.url),
                        "website/rtm 4f2a9c1be07d5e63 production",
                        None,
                    )
                }
            };
            let parcel = Parcel {
                number: hook.number,
                count: u32::try_from(hook.attempts.len()).unwrap_or(u32::MAX) + 1,
                limit,
                url,
                origin,
                timestamp,
                signature,
                body: hook.body.clone(),
                at: now,
            };
            return (Some(parcel), None);
        }
        (None, pause)
    }

    fn note_attempt(&mut self, parcel: &Parcel, status: Option<u16>, duration: Duration) {
        let wait = self.behaviour.retry_after_ms.map(Duration::from_millis);
        let Some(hook) = self
            .hooks
            .iter_mut()
            .find(|hook| hook.number == parcel.number)
        else {
            return;
        };
        hook.attempts.push(HookAttempt {
            count: parcel.count,
            status,
            at: parcel.at,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        });
        hook.state = match status {
            Some(200..=299) => HookState::Accepted,
            _ if parcel.count >= parcel.limit => HookState::Lost,
            _ => HookState::Failed,
        };
        if hook.state == HookState::Failed {
            hook.not_before = wait.map(|wait| Instant::now() + wait);
        }
    }

    /// Puts failed webhooks back in the queue. Returns how many.
    pub(super) fn retry_hooks(&mut self) -> usize {
        let mut count = 0;
        for hook in &mut self.hooks {
            if hook.state == HookState::Failed {
                hook.state = HookState::Queued;
                count += 1;
            }
        }
        count
    }

    /// Sends a webhook once more, whatever became of it.
    pub(super) fn redeliver(&mut self, number: u64) -> bool {
        let webhook = self.webhook.is_some();
        let found = self.hooks.iter_mut().find(|hook| hook.number == number);
        match found {
            Some(hook) if webhook && hook.state != HookState::Sending => {
                hook.state = HookState::Queued;
                true
            }
            _ => false,
        }
    }

    /// Turns the order of what waits around, for deliveries that overtake one another.
    pub(super) fn reverse_queue(&mut self) {
        let places: Vec<usize> = self
            .hooks
            .iter()
            .enumerate()
            .filter(|(_, hook)| hook.state == HookState::Queued)
            .map(|(place, _)| place)
            .collect();
        for (from, to) in places.iter().zip(places.iter().rev()) {
            if from < to {
                self.hooks.swap(*from, *to);
            }
        }
    }
}
