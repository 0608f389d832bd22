//! How each call ended is told: the breakers, the caller's meter, the metrics and the log.

use std::time::Duration;

use reqwest::Method;

use super::{
    Call, Client, CrispError, Meter,
    route::{Route, Subject},
};
use crate::{
    breaker::{CRISP, CRISP_WRITES, PEOPLE},
    telemetry::{events, metrics::CrispCallLabels},
};

impl Client {
    pub(super) fn record(
        &self,
        meter: &Meter,
        route: &'static Route,
        status: Option<u16>,
        request_id: Option<&str>,
        duration: Duration,
        error: Option<&CrispError>,
    ) {
        let outcome = error.map_or("ok", CrispError::code);
        if let Some(breakers) = &self.breakers {
            // Reads that are answered say nothing about writes, and one kind of call about contacts nothing about another.
            let is_write = !matches!(route.method, Method::GET | Method::HEAD);
            let is_people = route.subject == Subject::People;
            let names = [
                Some(CRISP.to_owned()),
                is_write.then(|| CRISP_WRITES.to_owned()),
                is_people.then(|| format!("{PEOPLE}.{}", route.purpose)),
            ];
            for breaker in names.into_iter().flatten().map(|name| breakers.of(&name)) {
                match error.filter(|error| error.is_outage()) {
                    Some(error) => breaker.failed(&told(error)),
                    None => breaker.succeeded(),
                }
            }
        }
        meter.record(Call {
            purpose: route.purpose,
            method: method_name(&route.method),
            route: route.template,
            status,
            duration,
        });
        self.metrics
            .crisp_calls
            .get_or_create(&CrispCallLabels {
                purpose: route.purpose,
                answer: answer_class(status, error),
            })
            .inc();
        self.metrics
            .crisp_call_seconds
            .observe(duration.as_secs_f64());
        tracing::debug!(
            event = events::CRISP_CALL,
            purpose = route.purpose,
            route = route.template,
            status,
            "request.id" = request_id,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            outcome,
            "called Crisp"
        );
    }
}

/// An error with its cause and its hint, for people.
fn told(error: &CrispError) -> String {
    let mut told = error.to_string();
    if let Some(cause) = std::error::Error::source(error) {
        told = format!("{told}: {cause}");
    }
    match error.hint() {
        Some(hint) => format!("{told}\nhint: {hint}"),
        None => told,
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        _ => "GET",
    }
}

/// The class of an answer, for the counter.
fn answer_class(status: Option<u16>, error: Option<&CrispError>) -> &'static str {
    match (error, status) {
        (Some(CrispError::Throttled { .. }), _) => "throttled",
        (Some(CrispError::NotSent { .. }), _) => "not_sent",
        (Some(CrispError::NoAnswer { .. }), _) | (_, None) => "no_answer",
        (_, Some(200..=299)) => "2xx",
        (_, Some(300..=399)) => "3xx",
        (_, Some(400..=499)) => "4xx",
        (_, Some(_)) => "5xx",
    }
}
