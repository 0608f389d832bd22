//! The model's book: what really happened to the user, and what may be told of it. It knows nothing of rows, keys and
//! states.

use super::{DAY, model::Step};

/// What really happened, by the true time in minutes.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "what is true of a user, a column each"
)]
pub(super) struct Book {
    pub(super) shared: bool,
    /// Since when events may be sent.
    pub(super) armed: i64,
    /// Each cancellation.
    pub(super) cancels: Vec<i64>,
    /// What the user is now.
    pub(super) canceled_at: Option<i64>,
    pub(super) plan: u8,
    pub(super) paused: bool,
    pub(super) consent: bool,
    /// The plan at the last look that was remembered.
    pub(super) plan_seen: Option<u8>,
    /// Whether our clock was ever wrong.
    pub(super) clock_was_set: bool,
}

impl Book {
    pub(super) fn hears(&mut self, step: &Step, now: i64) {
        match step {
            Step::Cancel => {
                self.canceled_at = Some(now);
                self.cancels.push(now);
            }
            Step::Return => self.canceled_at = None,
            Step::Pause(paused) => self.paused = *paused,
            Step::Plan(plan) => self.plan = *plan,
            Step::Consent(consent) => self.consent = *consent,
            Step::Clock(_) => self.clock_was_set = true,
            _ => {}
        }
    }

    /// Judges a request that is about to leave, at a moment by our clock. `shown` is when entries that the app made are
    /// shown by Crisp.
    pub(super) fn judge(&self, text: &str, occurred_at: i64, ours: i64, shown: &[i64]) {
        assert!(self.consent, "`{text}` without consent");
        if text != "canceled" {
            if text == "started" {
                assert!(self.plan > 0, "nothing was started");
            }
            return;
        }
        assert_eq!(self.canceled_at, Some(occurred_at), "they came back");
        assert!(!self.paused, "`when` is false");
        assert!(occurred_at >= self.armed, "it was before the arming");
        assert!(ours - occurred_at <= 3 * DAY, "it is too old");
        if self.shared {
            assert!(ours - occurred_at >= 10, "the app has its time");
            // Two cancellations that lie close may be mistaken for each other, which costs one of them, and repeats none.
            let alone = |at: &&i64| (**at - occurred_at).abs() <= 25;
            if self.cancels.iter().filter(alone).count() == 1 {
                let near = shown.iter().find(|at| (**at - occurred_at).abs() <= 8);
                assert_eq!(near, None, "the app told Crisp already");
            }
        }
        if !self.clock_was_set && self.canceled_at.is_some_and(|at| at < ours) {
            let changed = self
                .plan_seen
                .is_some_and(|seen| seen != self.plan && self.plan > 0);
            assert!(!changed, "they changed their plan after it");
        }
    }
}
