//! Faults on demand: what an answer looks like when Crisp, or the way to it, has a bad day.
//!
//! A fault waits for the next request that matches it. The request may be applied or not, apart from what the client is
//! told: that difference is what an ambiguous answer is.

use serde::{Deserialize, Serialize};

/// What goes wrong, with which requests, how often. The empty fault is none: say at least one of `status`, `reset`,
/// `delay_ms`, `hold` or `applied_late_ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Only this method.
    pub method: Option<String>,
    /// Only this route: its short name (`people_event.add`) or its template.
    pub route: Option<String>,
    /// Only this conversation.
    pub session: Option<String>,
    /// Let this many matching requests pass first.
    pub skip: u32,
    /// How many requests it hits; 0 means every one until the faults are cleared.
    pub times: Option<u32>,
    /// Answer this status.
    pub status: Option<u16>,
    /// The `reason` of a JSON answer; a fitting one when left out.
    pub reason: Option<String>,
    /// What the answer's body is.
    pub body: FaultBody,
    /// The `Retry-After` header.
    pub retry_after: Option<String>,
    /// Whether the request takes effect in spite of the status.
    pub applied: bool,
    /// Cut the connection instead of answering.
    pub reset: Option<Reset>,
    /// The request takes effect at once, the answer comes this much later.
    pub delay_ms: u64,
    /// The request takes effect at once, the answer waits for `release`.
    pub hold: bool,
    /// The request takes effect this much later by the sandbox's clock, or on `apply-late`; the connection is cut unless
    /// a status is given.
    pub applied_late_ms: Option<u64>,
}

/// The body of a faulty answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultBody {
    /// Crisp's envelope.
    #[default]
    Json,
    /// A load balancer's page.
    Html,
    /// Nothing.
    Empty,
    /// The first half of Crisp's envelope; then the connection is cut.
    Half,
}

/// When the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// The request never took effect.
    Before,
    /// The request took effect.
    After,
}

impl Fault {
    /// A status, once, for a route given by short name.
    pub fn status(route: &str, status: u16) -> Self {
        Self {
            route: Some(route.to_owned()),
            status: Some(status),
            ..Self::default()
        }
    }

    /// A cut connection, once.
    pub fn reset(route: &str, reset: Reset) -> Self {
        Self {
            route: Some(route.to_owned()),
            reset: Some(reset),
            ..Self::default()
        }
    }

    /// No answer now, the effect later, once.
    pub fn applied_late(route: &str, after: std::time::Duration) -> Self {
        Self {
            route: Some(route.to_owned()),
            applied_late_ms: Some(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            ..Self::default()
        }
    }

    /// Hits this many requests; 0 means every one.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// Only for this conversation.
    #[must_use]
    pub fn of(mut self, session: &str) -> Self {
        self.session = Some(session.to_owned());
        self
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after(mut self, value: &str) -> Self {
        self.retry_after = Some(value.to_owned());
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: FaultBody) -> Self {
        self.body = body;
        self
    }

    /// The request takes effect in spite of the status.
    #[must_use]
    pub fn but_applied(mut self) -> Self {
        self.applied = true;
        self
    }

    fn matches(&self, method: &str, name: &str, template: &str, session: Option<&str>) -> bool {
        self.method
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self
                .route
                .as_deref()
                .is_none_or(|wanted| wanted == name || wanted == template)
            && self
                .session
                .as_deref()
                .is_none_or(|wanted| session == Some(wanted))
    }

    /// Whether the request itself takes effect before the answer.
    pub(super) fn applies_now(&self) -> bool {
        if self.applied_late_ms.is_some() {
            return false;
        }
        match (self.reset, self.status) {
            (Some(reset), _) => reset == Reset::After,
            (None, Some(_)) => self.applied,
            (None, None) => true,
        }
    }

    pub(super) fn cuts(&self) -> bool {
        self.reset.is_some() || (self.applied_late_ms.is_some() && self.status.is_none())
    }

    /// The `reason` Crisp gives with a status, as far as it is known.
    pub(super) fn reason_text(&self) -> String {
        if let Some(reason) = &self.reason {
            return reason.clone();
        }
        match self.status.unwrap_or_default() {
            400 => "invalid_data",
            401 => "invalid_session",
            402 => "subscription_upgrade_required",
            403 => "not_allowed",
            404 => "not_subscribed",
            409 => "conflict",
            420 | 429 => "rate_limited",
            423 => "quota_limit_exceeded",
            _ => "internal_error",
        }
        .to_owned()
    }
}

/// Takes the first fault that fits this request, and forgets it when it is used up.
pub(super) fn strike(
    faults: &mut Vec<Fault>,
    method: &str,
    name: &str,
    template: &str,
    session: Option<&str>,
) -> Option<Fault> {
    let mut place = 0;
    while let Some(fault) = faults.get_mut(place) {
        if !fault.matches(method, name, template, session) {
            place += 1;
            continue;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            place += 1;
            continue;
        }
        let struck = fault.clone();
        match fault.times {
            Some(0) => {}
            None | Some(1) => {
                faults.remove(place);
            }
            Some(more) => fault.times = Some(more - 1),
        }
        return Some(struck);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_was_told() {
        let mut faults = vec![
            Fault::status("metas.update", 500).times(2).skip(1),
            Fault::status("profile.get", 429),
        ];
        let mut statuses = Vec::new();
        for _ in 0..5 {
            statuses.push(
                strike(&mut faults, "PATCH", "metas.update", "/t", None)
                    .and_then(|fault| fault.status),
            );
        }
        assert_eq!(statuses, [None, Some(500), Some(500), None, None]);
        assert_eq!(faults.len(), 1, "the other one still waits");
    }

    #[test]
    fn a_fault_of_one_conversation_leaves_the_others_alone() {
        let mut faults = vec![Fault::status("metas.update", 500).of("session_a")];
        let mut meets =
            |session| strike(&mut faults, "PATCH", "metas.update", "/t", session).is_some();
        assert!(!meets(Some("session_b")) && !meets(None));
        assert!(meets(Some("session_a")));
    }

    #[test]
    fn what_is_said_and_what_is_done_are_two_things() {
        assert!(!Fault::status("x", 500).applies_now());
        assert!(Fault::status("x", 500).but_applied().applies_now());
        assert!(!Fault::reset("x", Reset::Before).applies_now());
        assert!(Fault::reset("x", Reset::After).applies_now());
        let late = Fault::applied_late("x", std::time::Duration::from_mins(1));
        assert!(!late.applies_now() && late.cuts());
        assert!(
            Fault {
                delay_ms: 50,
                ..Fault::default()
            }
            .applies_now()
        );
    }
}
