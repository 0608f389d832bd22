//! `POST /webhooks/crisp`: verify, commit, answer.
//!
//! The handler takes a [`VerifiedWebhook`], whose only way into being is a signature over the raw bytes, so no unverified
//! request can reach the ledger or the reading of its body. What the head of a request shows to be wrong is refused before
//! the body is read, and a body is never unpacked. The answer waits for the ledger's commit and for nothing else: neither
//! Crisp nor the app's database can slow it down.

use std::{borrow::Cow, sync::Arc, time::Duration};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse, dev,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
    web,
};
use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    HookKeys, body, head,
    interest::{Interest, InterestSettings, interest},
    refusal::Refusal,
    throttle::{Line, Throttle},
};
use crate::{
    clock::Clock,
    crisp::{
        event::Envelope,
        signature::{Hook, VerifiedBody},
    },
    ledger::{Acceptance, Delivery, Ledger},
    telemetry::{Metrics, events, metrics::WebhookLabels},
};

/// Headers of a delivery (Crisp web hooks reference, "Delivery").
pub(super) static SIGNATURE: HeaderName = HeaderName::from_static("x-crisp-signature");
pub(super) static TIMESTAMP: HeaderName = HeaderName::from_static("x-crisp-request-timestamp");
static ORIGIN: HeaderName = HeaderName::from_static("x-crisp-hook-origin");
static ATTEMPT: HeaderName = HeaderName::from_static("x-delivery-attempt-count");
static ATTEMPT_LIMIT: HeaderName = HeaderName::from_static("x-delivery-attempt-limit");

/// What the receiver takes from the configuration.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// What a request is checked with.
    pub keys: HookKeys,
    /// The longest body.
    pub max_body: usize,
    /// The most bytes of bodies that are held at a time.
    pub body_memory: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a commit may take; past it the sender is asked to try again, and the delivery may be committed all the same.
    pub accept_deadline: Duration,
    /// A signature older than this is accepted but counted as late: a retry may repeat the first timestamp.
    pub late_after: Duration,
    /// Which webhooks are acted on.
    pub interest: InterestSettings,
}

/// Verifies, reads and commits webhooks.
#[derive(Debug, Clone)]
pub struct Receiver {
    settings: Arc<ReceiverSettings>,
    ledger: Ledger,
    metrics: Metrics,
    clock: Clock,
    /// For bodies, in bytes.
    room: Arc<Semaphore>,
    throttle: Arc<Throttle>,
}

/// A webhook whose signature or key verified, with what its headers say.
#[derive(Debug)]
pub struct VerifiedWebhook {
    body: VerifiedBody,
    arrived: Timestamp,
    origin: Option<String>,
    attempts: Attempts,
    held: OwnedSemaphorePermit,
}

/// Which attempt this delivery is, and how many Crisp will make.
#[derive(Debug, Clone, Copy, Default)]
struct Attempts {
    count: Option<u32>,
    limit: Option<u32>,
}

impl Receiver {
    /// Builds the receiver.
    pub fn new(settings: ReceiverSettings, ledger: Ledger, metrics: Metrics, clock: Clock) -> Self {
        Self {
            room: Arc::new(Semaphore::new(
                settings.body_memory.min(Semaphore::MAX_PERMITS),
            )),
            settings: Arc::new(settings),
            ledger,
            metrics,
            clock,
            throttle: Arc::default(),
        }
    }

    /// Commits a verified webhook, or acknowledges one that asks for nothing.
    async fn receive(&self, webhook: VerifiedWebhook) -> Result<&'static str, Refusal> {
        let hook = hook_name(webhook.body.hook());
        // A key speaks for one website: a body that names another does not come past here.
        let envelope = Envelope::read(&webhook.body)?;
        let now = self.clock.now();
        let effects = match interest(
            &envelope,
            &self.settings.interest,
            self.ledger.pseudonyms(),
            now,
        ) {
            Interest::Act(effects) => effects,
            Interest::Ignore(reason) => {
                self.ledger.hear(&envelope.website, now);
                return Ok(self.ignore(&envelope, hook, "ignored", reason));
            }
            Interest::Foreign => {
                return Ok(self.ignore(&envelope, hook, "foreign", "foreign_website"));
            }
        };
        self.ledger.hear(&envelope.website, now);
        let late = webhook.body.signed_at().is_some_and(|signed_at| {
            now.duration_since(signed_at).unsigned_abs() > self.settings.late_after
        });
        let delivery = Delivery {
            website: envelope.website.clone(),
            event: envelope.name.clone(),
            session: envelope.session().cloned(),
            people: envelope.people().cloned(),
            event_at: envelope.at,
            hook,
            origin: webhook.origin.clone(),
            attempt: webhook.attempts.count,
            signed_at: webhook.body.signed_at(),
            bytes: u32::try_from(webhook.body.bytes().len()).unwrap_or(u32::MAX),
        };
        let ledger = self.ledger.clone();
        let acceptance = Acceptance { delivery, effects };
        let mut committing = Box::pin(async move { ledger.accept(acceptance, now).await });
        let error = match tokio::time::timeout(self.settings.accept_deadline, &mut committing).await
        {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_elapsed) => {
                // It still waits for the disk, and what it holds counts until it is done.
                let held = webhook.held;
                tokio::spawn(async move {
                    drop(committing.await);
                    drop(held);
                });
                Some("the commit took longer than `webhooks.accept_deadline`".to_owned())
            }
        };
        if let Some(error) = error {
            if self.may_log("not_committed", now) {
                tracing::error!(
                    event = events::DELIVERY_UNAVAILABLE,
                    "website.id" = %envelope.website,
                    "webhook.event" = envelope.name,
                    error,
                    "could not commit a delivery; Crisp was asked to try again"
                );
            }
            return Err(Refusal::Unavailable);
        }
        let duration = self
            .clock
            .now()
            .duration_since(webhook.arrived)
            .unsigned_abs();
        self.metrics.accept_seconds.observe(duration.as_secs_f64());
        if late {
            self.metrics.webhooks_late.inc();
        }
        tracing::info!(
            event = events::DELIVERY_ACCEPTED,
            "website.id" = %envelope.website,
            "session.id" = envelope.session().map(tracing::field::display),
            "people.id" = envelope.people().map(tracing::field::display),
            "webhook.event" = envelope.name,
            "webhook.origin" = webhook.origin,
            hook,
            attempt = webhook.attempts.count,
            attempt_limit = webhook.attempts.limit,
            late,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "accepted a delivery"
        );
        Ok(self.count("accepted", hook))
    }

    fn ignore(
        &self,
        envelope: &Envelope,
        hook: &'static str,
        outcome: &'static str,
        reason: &'static str,
    ) -> &'static str {
        tracing::debug!(
            event = events::DELIVERY_IGNORED,
            "website.id" = %envelope.website,
            "webhook.event" = envelope.name,
            reason,
            "acknowledged a delivery that asks for nothing"
        );
        self.count(outcome, hook)
    }

    fn count(&self, outcome: &'static str, hook: &'static str) -> &'static str {
        self.metrics
            .webhooks
            .get_or_create(&WebhookLabels { outcome, hook })
            .inc();
        outcome
    }

    fn refused(&self, refusal: &Refusal, hook: &'static str, attempts: Attempts) {
        self.count(refusal.reason(), hook);
        if !self.may_log(refusal.reason(), self.clock.now()) {
            return;
        }
        tracing::warn!(
            event = events::DELIVERY_REFUSED,
            reason = %refusal,
            status = actix_web::ResponseError::status_code(refusal).as_u16(),
            attempt = attempts.count,
            attempt_limit = attempts.limit,
            "refused a request on the webhook route"
        );
    }

    /// Whether a line of that kind may be written. Junk costs its sender nothing, so it must not fill our disk.
    fn may_log(&self, kind: &'static str, now: Timestamp) -> bool {
        match self.throttle.line(kind, now) {
            Line::LeaveOut => false,
            Line::Write { left_out } => {
                if left_out > 0 {
                    tracing::warn!(
                        event = events::LOG_LINES_LEFT_OUT,
                        kind,
                        left_out,
                        "left lines of one kind out of the log; the metrics count each"
                    );
                }
                true
            }
        }
    }
}

fn hook_name(hook: &Hook) -> &'static str {
    match hook {
        Hook::Plugin => "plugin",
        Hook::Website(_) => "website",
    }
}

impl Attempts {
    fn read(headers: &HeaderMap) -> Self {
        let number = |name| text(headers, name).and_then(|count| count.parse().ok());
        Self {
            count: number(&ATTEMPT),
            limit: number(&ATTEMPT_LIMIT),
        }
    }
}

/// The `key` of the query.
pub(super) fn key(request: &HttpRequest) -> Option<Cow<'_, str>> {
    url::form_urlencoded::parse(request.query_string().as_bytes())
        .find(|(name, _)| name == "key")
        .map(|(_, value)| value)
}

pub(super) fn bytes<'head>(headers: &'head HeaderMap, name: &HeaderName) -> Option<&'head [u8]> {
    headers.get(name).map(HeaderValue::as_bytes)
}

/// A header as printable text: anything else is as good as absent.
pub(super) fn text<'head>(headers: &'head HeaderMap, name: &HeaderName) -> Option<&'head str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl FromRequest for VerifiedWebhook {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let receiver = request
            .app_data::<web::Data<Receiver>>()
            .expect("the route is mounted with a receiver")
            .clone();
        let arrived = receiver.clock.now();
        let request = request.clone();
        let payload = payload.take();
        Box::pin(async move {
            let settings = &receiver.settings;
            let read = async {
                let claim = head::inspect(&request, settings, &receiver.room)?;
                let (limit, patience) = (settings.max_body, settings.body_timeout);
                let (body, held) = body::read(payload, limit, patience, &receiver.room).await?;
                Ok((claim.verify(&settings.keys.read(), body)?, held))
            };
            let verified = read.await;
            let attempts = Attempts::read(request.headers());
            match verified {
                Ok((body, held)) => Ok(Self {
                    body,
                    arrived,
                    origin: text(request.headers(), &ORIGIN)
                        .map(|origin| origin.chars().take(120).collect()),
                    attempts,
                    held,
                }),
                Err(refusal) => {
                    receiver.refused(&refusal, refusal.hook(), attempts);
                    Err(refusal)
                }
            }
        })
    }
}

/// Mounts the route. Another method on its path is told so, not that there is no such path.
pub(super) fn routes(services: &mut web::ServiceConfig) {
    services.service(web::resource("/webhooks/crisp").route(web::post().to(receive)));
}

async fn receive(
    receiver: web::Data<Receiver>,
    webhook: VerifiedWebhook,
) -> Result<HttpResponse, Refusal> {
    let hook = hook_name(webhook.body.hook());
    let attempts = webhook.attempts;
    match receiver.receive(webhook).await {
        Ok(outcome) => {
            let plain = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            Ok(HttpResponse::Ok().insert_header(plain).body(outcome))
        }
        Err(refusal) => {
            receiver.refused(&refusal, hook, attempts);
            Err(refusal)
        }
    }
}
