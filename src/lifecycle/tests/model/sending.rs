//! How the caller sends, and settles what got no answer.

use super::{
    Fate,
    book::Request,
    caller::{Caller, minutes},
    crisp::Read,
    *,
};
use crate::lifecycle::timeline::{
    Clearance, clear, is_surely_before, match_timeline, reaches_back_past,
};

/// How many entries a page of the timeline has.
const PAGE: usize = 20;

impl Caller {
    pub(super) fn send(&mut self, fate: Fate, cached: bool) {
        let Some(row) = self.first(OutboxState::Due) else {
            return;
        };
        let now = minute(self.ours());
        let known = self.store.remembered.known[row].clone();
        let rows = if self.rules.needs_rows(&known.event) {
            self.rows()
        } else {
            BTreeMap::new()
        };
        let fresh = Fresh {
            user: Some(&self.user),
            rows: &rows,
            edges: &self.store.edges,
        };
        let checked = recheck(
            &self.rules,
            &known,
            &fresh,
            &self.store.remembered.memory(),
            now,
        );
        let (text, data) = match checked.expect("it is evaluated") {
            Recheck::Drop { state, reason } => {
                self.refuse(row, reason);
                self.enter(row, state);
                if state == OutboxState::Superseded {
                    // What made it untrue may be an event itself.
                    self.refresh(false);
                }
                return;
            }
            Recheck::Wait { until, reason } => {
                self.refuse(row, reason);
                self.store.remembered.known[row].due_at = until;
                return self.enter(row, OutboxState::Scheduled);
            }
            Recheck::Send { text, data, .. } => (text, data),
        };
        if self.is_braked(&known) {
            self.refuse(row, crate::lifecycle::reason::BRAKE);
            self.store.latched.insert(known.event.clone());
            self.book.is_latched = true;
            return self.enter(row, OutboxState::Held);
        }
        if self.rules.needs_timeline(&known, &self.store.gaps) {
            if self.proof_from(&known).is_some_and(|from| from > now) {
                return;
            }
            let is_vouched = self.store.vouched.contains(&known.key);
            match self.timeline_says(&known, cached) {
                Clearance::Post if is_vouched || self.is_same_contact(&known) => {}
                Clearance::ReadLater => return,
                Clearance::Has(state) => return self.enter(row, state),
                Clearance::ReadOn | Clearance::Unsure | Clearance::Contested if is_vouched => {}
                Clearance::Post | Clearance::ReadOn | Clearance::Unsure | Clearance::Contested => {
                    return self.enter(row, OutboxState::Unsure);
                }
            }
        }
        self.post(row, &text, &data, fate);
    }

    /// From when on a timeline that lacks it proves something.
    fn proof_from(&self, known: &Known) -> Option<Timestamp> {
        let is_vouched = self.store.vouched.contains(&known.key);
        let gaps = &self.store.gaps;
        let under_way_until = is_vouched.then(|| self.rules.under_way_until(known, gaps));
        (self.rules.proof_from(known, gaps)).max(under_way_until.flatten())
    }

    /// Whether the contact is the one that a request which the ledger has forgotten would have gone to.
    fn is_same_contact(&self, known: &Known) -> bool {
        let since = self.forgotten_since(known);
        since.is_none_or(|since| {
            self.is_known_contact() && is_surely_before(self.crisp.made_at(), since)
        })
    }

    /// What the ledger counts, and the brake says of it.
    fn is_braked(&self, row: &Known) -> bool {
        use OutboxState::{Sending, Sent, Unsure};
        let since = minute(self.ours()) - BRAKE_WINDOW;
        let sent = self.store.remembered.known.iter().filter(|known| {
            known.event == row.event
                && matches!(known.state, Sending | Sent | Unsure)
                && known.attempted_at.is_some_and(|at| at >= since)
        });
        let release = if self.store.released.contains(&row.key) {
            Release::UnderCap
        } else {
            Release::No
        };
        let brake = self.rules.rule(&row.event).expect("a rule").brake();
        let sent = u64::try_from(sent.count()).expect("few");
        brake.holds(sent, self.store.latched.contains(&row.event), 1, release)
    }

    /// Commits `sending`, and lets the request go.
    fn post(&mut self, row: usize, text: &str, data: &crate::data::DataMap, fate: Fate) {
        let now = minute(self.ours());
        self.enter(row, OutboxState::Sending);
        let known = &mut self.store.remembered.known[row];
        self.store.vouched.remove(&known.key);
        known.attempted_at = Some(now);
        known.absent_reads = 0;
        known.first_absent_at = None;
        let data: serde_json::Map<_, _> = data
            .iter()
            .map(|(key, value)| (key.clone(), value.to_json()))
            .collect();
        let occurred_at: Timestamp = data["occurred_at"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an instant");
        let request = Request {
            event: text.to_owned(),
            data: data.clone(),
            at: minutes(occurred_at),
            left_at: self.ours(),
            arrives: matches!(fate, Fate::Answered | Fate::Late(_)),
            is_absent: matches!(fate, Fate::Refused),
        };
        if !matches!(fate, Fate::DiesBefore) {
            let told = self.crisp.told_by_others(text);
            self.book.judge(&request, &told);
        }
        self.book.requests.push(request);
        match fate {
            Fate::Answered => {
                self.crisp.take(self.now, self.now, text, data);
                self.store.remembered.known[row].sent_at = Some(now);
                self.enter(row, OutboxState::Sent);
            }
            Fate::Refused => self.enter(row, OutboxState::Due),
            Fate::Lost | Fate::DiesBefore => {}
            Fate::Late(minutes) => {
                self.crisp.take(self.now + minutes, self.now, text, data);
            }
        }
    }

    /// The pages one after the other, as far as they are needed.
    fn timeline_says(&mut self, known: &Known, cached: bool) -> Clearance {
        let Read { entries, cached } = self.crisp.read(cached);
        let rows = self.store.remembered.known.iter();
        let sought: Vec<_> = rows
            .map(|known| {
                self.rules
                    .sought(known, &self.store.edges, &self.store.gaps)
            })
            .collect();
        let this = self
            .rules
            .sought(known, &self.store.edges, &self.store.gaps);
        for read in [PAGE.min(entries.len()), entries.len()] {
            let complete = read == entries.len();
            let matches = match_timeline(&sought, &entries[..read]);
            match clear(&this, &matches, &entries[..read], complete, cached) {
                Clearance::ReadOn => {}
                clearance => return clearance,
            }
        }
        Clearance::Unsure
    }

    pub(super) fn settle(&mut self, cached: bool) {
        let Some(row) = self.first(OutboxState::Sending) else {
            return;
        };
        let known = self.store.remembered.known[row].clone();
        let read = self.crisp.read(cached);
        let reading = Reading {
            at: minute(self.ours()),
            cached: read.cached,
            found: read.entries.iter().any(|entry| {
                entry.data.get("ref").and_then(|found| found.as_str()) == Some(&known.reference)
            }),
            reaches_back: reaches_back_past(
                &read.entries,
                true,
                known.attempted_at.expect("it was attempted"),
            ),
        };
        let verdict = settle_ambiguous(
            &known,
            Some(&reading),
            self.rules.quiet(),
            &self.store.gaps,
            minute(self.ours()),
        );
        match verdict {
            Ambiguity::Sent => self.enter(row, OutboxState::Sent),
            Ambiguity::Absent
                if !self.is_known_contact() || known.attempted_at < Some(self.crisp.made_at()) =>
            {
                self.enter(row, OutboxState::Unsure);
            }
            Ambiguity::Absent => {
                self.is_absent(row);
                self.enter(row, self.rules.after_ambiguous().state());
            }
            Ambiguity::Unsure => self.enter(row, OutboxState::Unsure),
            Ambiguity::ReadAgain {
                absent_reads,
                first_absent_at,
                ..
            } => {
                let known = &mut self.store.remembered.known[row];
                known.absent_reads = absent_reads;
                known.first_absent_at = first_absent_at;
            }
        }
    }
}
