//! What the book says of a request that is about to leave, and of one that is not made.

use super::{
    DAY, HOUR,
    book::{Book, Request, law},
};
use crate::lifecycle::reason;

/// Why something is not sent, and of what.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    pub(super) event: &'a str,
    pub(super) subject: &'a str,
    pub(super) at: i64,
    pub(super) reason: &'static str,
}

impl Book {
    /// Judges a request. `told` is when entries of others are shown by Crisp now.
    pub(super) fn judge(&self, request: &Request, told: &[i64]) {
        let (event, at, ours) = (request.event.as_str(), request.at, request.left_at);
        let law = law(event);
        assert!(self.is("consent"), "`{event}` without consent");
        assert!(!self.is("banned"), "`{event}` to whom nothing may go");
        assert!(self.is_past("opens_at", ours), "`{event}` too early");
        assert!(at >= self.armed, "`{event}` was before the arming");
        let waits = law.delay + self.grace();
        assert!(ours - at >= waits, "`{event}`: it is not due");
        assert!(ours - at <= law.delay + law.max_age, "`{event}` is too old");
        self.judge_truth(request);
        self.judge_order(request);
        if let Some(column) = law.column.filter(|_| self.shared) {
            // Two that lie close may be mistaken for each other, which costs one of them, and repeats none. Whoever does not wait
            // as long as we do may tell it from the moment it happens.
            let mut close = self.moments[column].clone();
            close.retain(|other| (other - at).abs() <= 25 + law.delay);
            close.sort_unstable();
            close.dedup();
            if close.len() == 1 {
                let told = told.iter().map(|told| told - at);
                let near = told
                    .clone()
                    .find(|after| (-8..=law.delay + 8).contains(after));
                assert_eq!(near, None, "the app told Crisp of `{event}` already");
            }
            // Ours may have waited for a guard for days: whoever told of the only one that ever was told of this one.
            let is_only = self.moments[column].iter().all(|other| *other == at);
            let since = told.iter().find(|told| **told - at >= -8);
            assert!(
                !is_only || since.is_none(),
                "the app told Crisp of `{event}` while it waited"
            );
            // At once, it is of none that happened long before.
            let lone = self.moments[column].iter();
            let is_lone = lone
                .clone()
                .all(|other| *other == at || (other - at).abs() > 25);
            let at_once = told.iter().find(|told| (**told - at).abs() <= 8);
            assert!(
                !is_lone || at_once.is_none(),
                "the app told Crisp of `{event}` at once"
            );
        }
        if self.is_tame {
            self.judge_number(request);
        }
    }

    /// Whether it is true still, for this very user.
    fn judge_truth(&self, request: &Request) {
        let event = request.event.as_str();
        if let Some(column) = law(event).column {
            assert_eq!(self.date(column), Some(request.at), "`{event}` is untrue");
        }
        match event {
            "canceled" => assert!(!self.is("paused"), "`when` is false"),
            "winback" => {
                assert!(self.is("news"), "the rule's own `require`");
                assert!(!self.is("vip"), "the rule's own `exclude`");
            }
            "greeted" => {
                let is_open = self.is_past("welcome_at", request.left_at);
                assert!(is_open, "the rule's own `after`");
            }
            "started" => {
                assert!(self.plan > 0, "nothing was started");
                let plan = format!("plan-{}", self.plan);
                assert_eq!(request.told("plan"), plan, "another plan");
            }
            "subscribed" => {
                let id = format!("sub-{}", self.subscription);
                assert_eq!(request.told("id"), id, "another subscription");
            }
            "imported" | "failed" => {
                let number: usize = request.told("id").parse().expect("a number");
                let import = &self.imports[number];
                let at = match event {
                    "imported" => Some(import.done_at),
                    _ => import.failed_at,
                };
                assert_eq!(at, Some(request.at), "`{event}` of another import");
            }
            _ => {}
        }
    }

    /// Whether nothing later of the group has happened.
    fn judge_order(&self, request: &Request) {
        let event = request.event.as_str();
        let Some((group, rank)) = law(event).group else {
            return;
        };
        for (later, at) in self.happened(request.told("tenant")) {
            let (of, place) = law(later).group.expect("a group");
            let is_relied_on = self.is_tame || later != "started";
            if of == group && (later != event || event == "started") && is_relied_on {
                let has_happened = at <= request.left_at;
                let is_later = (at, place) > (request.at, rank);
                assert!(
                    !(has_happened && is_later),
                    "`{event}` after `{later}`, of {at}"
                );
            }
        }
        let is_unseen = self.plan > 0 && self.plan_seen.is_some_and(|seen| seen != self.plan);
        let undoes = group == "subscription" && self.is_tame && is_unseen;
        assert!(!undoes, "`{event}` after a change that nobody has seen yet");
    }

    /// How many there may be.
    fn judge_number(&self, request: &Request) {
        let event = request.event.as_str();
        let same = self.requests.iter().filter(|other| {
            let is_of = other.event == event && other.told("tenant") == request.told("tenant");
            is_of && !other.is_absent
        });
        for other in same.clone() {
            assert!(
                other.at <= request.at,
                "`{event}` of {} after the one of {}",
                request.at,
                other.at
            );
        }
        if event == "greeted" {
            let close = same.clone().find(|other| {
                other.arrives && other.at != request.at && request.left_at - other.left_at < DAY
            });
            assert!(close.is_none(), "within `min_gap` of {close:?}");
        }
        if event == "imported" {
            let mut others: Vec<&str> = self
                .requests
                .iter()
                .filter(|other| other.event == event && other.arrives)
                .filter(|other| request.left_at - other.left_at < HOUR)
                .map(|other| other.told("id"))
                .filter(|id| *id != request.told("id"))
                .collect();
            others.sort_unstable();
            others.dedup();
            assert!(others.len() < 3, "a fourth one: the brake has to hold it");
        }
    }

    /// Judges why something is not sent.
    pub(super) fn judge_refusal(&self, refusal: &Refusal<'_>, ours: i64) {
        let Refusal {
            event, at, reason, ..
        } = *refusal;
        let law = law(event);
        let sent = |since: i64| {
            self.requests
                .iter()
                .filter(move |other| other.event == event && ours - other.left_at <= since)
                .count()
        };
        let is_just = match reason {
            reason::REQUIRE => !self.is("consent"),
            reason::EXCLUDE => self.is("banned"),
            reason::AFTER => !self.is_past("opens_at", ours),
            reason::RULE_REQUIRE => !self.is("news"),
            reason::RULE_EXCLUDE => self.is("vip"),
            reason::RULE_AFTER => !self.is_past("welcome_at", ours),
            reason::WHEN => self.is("paused"),
            reason::MAX_AGE => ours - at > law.delay + law.max_age,
            reason::NO_LONGER_TRUE => law
                .column
                .is_none_or(|column| self.date(column) != Some(at)),
            // What a clock or a backup has made of it, nobody knows any more.
            _ if !self.is_tame => true,
            reason::MIN_GAP => sent(DAY) > 0,
            reason::BRAKE => self.is_latched || sent(HOUR) >= 3,
            reason::OLDER_THAN_SENT => {
                let requests = self.requests.iter().filter(|other| !other.is_absent);
                let sent = requests.map(|other| (&other.event, other.at));
                let told = self.maybe_told.iter().map(|(event, at)| (event, *at));
                sent.chain(told)
                    .any(|(other, told_at)| other == event && told_at >= at)
            }
            reason::LATER_EVENT => self.has_later(refusal, ours),
            _ => true,
        };
        assert!(is_just, "{refusal:?} at {ours}: it is not so");
    }

    /// Whether anything of the group happened later, and was seen.
    fn has_later(&self, refusal: &Refusal<'_>, ours: i64) -> bool {
        let Some((group, rank)) = law(refusal.event).group else {
            return false;
        };
        let mut happened = Vec::new();
        if group == "subscription" {
            let seen = self.seen.iter();
            happened.extend(seen.map(|(event, at)| (*at, law(event).group)));
            let changes = self.changes.iter();
            happened.extend(changes.map(|(at, _)| (*at, law("started").group)));
            if self.plan_seen.is_some_and(|seen| seen != self.plan) {
                happened.push((ours, law("started").group));
            }
        } else {
            for import in self.of_tenant(refusal.subject) {
                if refusal.event != "imported" {
                    happened.push((import.done_at, law("imported").group));
                }
                if refusal.event != "failed" {
                    happened.extend(import.failed_at.map(|at| (at, law("failed").group)));
                }
            }
        }
        happened.into_iter().any(|(at, place)| {
            let place = place.map_or(0, |(_, place)| place);
            at <= ours && (at, place) > (refusal.at, rank)
        })
    }
}
