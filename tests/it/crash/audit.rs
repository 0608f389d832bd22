//! The audit after a schedule: by the sandbox's own books and the app's, never by the `ref` that we send along.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use jiff::Timestamp;

use super::{
    app::{CANCELED, PLAN},
    deliveries::deliveries,
    evidence::{Entry, Row, entries, rows, what},
    excuses, forgotten,
    play::Play,
    seen::{self, looks},
    stage::Stage,
};

/// An app that tells as it happens has told within so much.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What was counted.
#[derive(Debug, Default, Clone)]
pub(super) struct Count {
    pub(super) told: usize,
    pub(super) by_the_app: usize,
    /// Happenings that were neither told nor recorded, because they were over before anybody looked.
    pub(super) unseen: usize,
    pub(super) states: BTreeMap<String, usize>,
    pub(super) webhooks: usize,
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.told += other.told;
        self.by_the_app += other.by_the_app;
        self.unseen += other.unseen;
        self.webhooks += other.webhooks;
        for (state, count) in other.states {
            *self.states.entry(state).or_default() += count;
        }
    }
}

/// Everything that is audited.
pub(super) struct Audit<'play, 'stage, S> {
    pub(super) play: &'play Play<'stage, S>,
    pub(super) rows: Vec<Row>,
    pub(super) entries: Vec<Entry>,
    faults: Vec<String>,
}

/// Looks at everything. The faults are told all at once.
pub(super) async fn whole<S: Stage>(play: &Play<'_, S>) -> Result<Count, String> {
    let mut books = play.stage.books().await;
    let mut audit = Audit {
        play,
        rows: rows(play, &mut books).await,
        entries: entries(play),
        faults: Vec::new(),
    };
    audit.twice();
    audit.in_order();
    audit.who_came_back();
    audit.copies_are_silent();
    let unseen = audit.lost();
    audit.unjustified();
    audit.faults.extend(audit.spaced());
    audit.faults.extend(audit.braked());
    audit.faults.extend(audit.unwanted());
    audit.faults.extend(audit.removed_stays_removed());
    let erased = audit.erased(&mut books).await;
    audit.faults.extend(erased);
    let webhooks = deliveries(play, &mut books, &mut audit.faults).await;
    if !audit.faults.is_empty() {
        return Err(audit.report());
    }
    let mut count = Count {
        told: audit.ours().count(),
        by_the_app: (play.app.happenings.iter())
            .filter(|one| one.pushed.is_some())
            .count(),
        unseen,
        webhooks,
        ..Count::default()
    };
    for row in &audit.rows {
        *count
            .states
            .entry(format!("{} {}", row.state, row.reason))
            .or_default() += 1;
    }
    Ok(count)
}

impl<S: Stage> Audit<'_, '_, S> {
    /// Whether somebody was looked at before a moment, and nothing stood in the way.
    pub(super) fn looked_at(&self, who: usize, before: Timestamp) -> bool {
        looks(self, who).any(|at| at < before)
    }

    pub(super) fn ours(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_ours())
    }

    /// Nobody was told twice: at one address of one thing that occurred at one time; by us, or by the app and us, of one thing,
    /// at no matter which of their addresses.
    fn twice(&mut self) {
        let mut count: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        let mut counts = |what| *count.entry(what).or_default() += 1;
        for entry in self.ours() {
            let text = entry.event.text.clone();
            counts((entry.address.clone(), text.clone(), entry.occurred_at()));
            if !forgotten::is_of_a_stranger(self, entry) {
                counts((format!("person {}", entry.who), text.clone(), entry.what()));
            }
            if text == PLAN {
                counts((entry.address.clone(), text, entry.what()));
            }
        }
        for one in &self.play.app.happenings {
            if let Some((address, at)) = &one.pushed {
                // What was said on a timeline that is no more, nobody can read.
                if (self.play.weather).was_removed(address, *at, Timestamp::MAX) {
                    continue;
                }
                // An app that tells what we have told does so by itself.
                let told = self.ours().filter(|entry| entry.tells(one));
                let late = at.duration_since(one.noted_at).unsigned_abs() > AT_ONCE;
                let by = *at + if late { S::TOLERANCE } else { Duration::ZERO };
                if told.into_iter().any(|entry| self.left_at(entry) < by) {
                    continue;
                }
                counts((address.clone(), one.text.to_owned(), what(one)));
                if !seen::left_unseen(self, one.who, address) {
                    let person = format!("person {}", one.who);
                    counts((person, one.text.to_owned(), what(one)));
                }
            }
        }
        for (what, count) in count {
            if count > 1 {
                self.faults.push(format!("told {count} times: {what:?}"));
            }
        }
    }

    /// What happened earlier is never told after what happened later.
    fn in_order(&mut self) {
        let mut last: BTreeMap<(usize, &str), Timestamp> = BTreeMap::new();
        let mut faults = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.is_ours()) {
            if self.left_at(entry) != entry.at() {
                // Crisp turned the order around.
                continue;
            }
            let occurred_at: Timestamp = entry.occurred_at().parse().expect("an instant");
            let last = last
                .entry((entry.who, entry.event.text.as_str()))
                .or_insert(occurred_at);
            if occurred_at < *last && !forgotten::was_forgotten_before(self, entry) {
                faults.push(format!("an older one after a newer: {entry:?}"));
            }
            *last = occurred_at.max(*last);
        }
        self.faults.extend(faults);
    }

    /// When the request left whose entry it is.
    pub(super) fn left_at(&self, entry: &Entry) -> Timestamp {
        (self.play.weather).left_at(entry, S::LATE)
    }

    /// The same, and what else it may have been.
    pub(super) fn may_have_left(&self, entry: &Entry) -> [Timestamp; 2] {
        // Another may have arrived in the very moment in which a late one was applied, and be late itself.
        let weather = &self.play.weather;
        let is_alone = self.ours().filter(|other| other.at() == entry.at()).count() == 1
            && !weather.went_wrong(entry);
        let left_at = self.left_at(entry);
        let late = weather.left_late(entry, S::LATE);
        [left_at, if is_alone { left_at } else { late }]
    }

    /// Whatever is told was true when it left; who came back was not told goodbye.
    fn who_came_back(&mut self) {
        let mut faults = Vec::new();
        for entry in self.ours() {
            let left = self.may_have_left(entry);
            let told = (self.play.app.happenings.iter()).find(|one| entry.tells(one));
            let ended = told.and_then(|one| one.ended);
            let overtaken = told.and_then(|one| one.overtaken);
            // Between the last look and the request lies a hair.
            let is_true = left.into_iter().any(|left_at| {
                told.is_some_and(|one| one.noted_at <= left_at)
                    && (ended.into_iter().chain(overtaken).min())
                        .is_none_or(|ended| left_at <= ended + S::TOLERANCE)
            });
            if !is_true {
                let what = if entry.event.text == CANCELED {
                    "told goodbye after they came back"
                } else {
                    "told what was not true"
                };
                faults.push(format!("{what}: {entry:?}"));
            }
        }
        self.faults.extend(faults);
    }

    /// A ledger that is taken for a copy tells nobody anything until a person says that it counts.
    fn copies_are_silent(&mut self) {
        for one in &self.play.weather.rollbacks {
            let until = one.armed.map_or(u64::MAX, |(call, _)| call);
            let adds = self.play.weather.adds_between(one.call, until);
            if one.displaced && adds > 0 {
                self.faults
                    .push(format!("a copy told {adds} times: {one:?}"));
            }
        }
    }

    /// Everything that happened was told, or has a row that says why not, or was over before anybody looked. How many of
    /// those there are.
    fn lost(&mut self) -> usize {
        let (mut faults, mut unseen) = (Vec::new(), 0);
        for one in &self.play.app.happenings {
            let by_us = self.ours().any(|entry| entry.tells(one));
            let is_told = by_us || one.pushed.is_some();
            let row = self.rows.iter().find(|row| row.is_of(one));
            // The last thing that happened to everybody is a change of plan in fair weather. It is not told where the list is
            // short, where somebody forged it since the last look, or where it has the number of one that was told and forgotten.
            let is_hidden = row.is_some_and(|row| {
                row.reason == "timeline_too_short"
                    || row.reason == "address_changed" && excuses::forced(self, row).is_ok()
                    || row.state == "already_in_crisp" && excuses::forced(self, row).is_ok()
                    || row.state == "sent" && forgotten::was_told_before(self, row)
            });
            let is_erased = self.play.weather.is_erased(one.who);
            if one.text == PLAN && one.ended.is_none() && !by_us && !is_hidden && !is_erased {
                faults.push(format!("not told in fair weather: {one:?}"));
            }
            match row {
                _ if is_told => {}
                Some(row) => {
                    if row.state == "sent" && !forgotten::was_told_before(self, row) {
                        faults.push(format!("said to be sent, and is not there: {row:?}"));
                    }
                }
                None => match seen::unseen(self, one) {
                    Ok(()) => unseen += 1,
                    Err(why) => faults.push(format!("never seen ({why}): {one:?}")),
                },
            }
        }
        self.faults.extend(faults);
        unseen
    }

    /// Whatever stands in a state that is not `sent` was forced there.
    fn unjustified(&mut self) {
        for row in &self.rows {
            if let Err(why) = excuses::forced(self, row) {
                self.faults.push(format!("not forced ({why}): {row:?}"));
            }
        }
    }

    fn report(&self) -> String {
        let mut all = String::new();
        let mut line = |text: String| writeln!(all, "{text}").expect("text takes text");
        for fault in &self.faults {
            line(fault.clone());
        }
        for one in &self.play.app.happenings {
            line(format!("  happened {one:?}"));
        }
        for row in &self.rows {
            line(format!("  {row:?}"));
        }
        for entry in &self.entries {
            if entry.event.text != "page:viewed" {
                let data = serde_json::Value::Object(entry.event.data.clone());
                let event = &entry.event;
                line(format!(
                    "  entry {} {} at {} by {:?}: {data}",
                    entry.address,
                    event.text,
                    entry.at(),
                    event.author
                ));
            }
        }
        line(format!("  {:?}", self.play.weather));
        all
    }
}
