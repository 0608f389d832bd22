//! What must not be in Crisp twice, and what has to be there at the end.

use std::collections::BTreeMap;

use super::{
    DAY, HOUR,
    book::{Book, law, told},
    minute,
};
use crate::lifecycle::timeline::Entry;

impl Book {
    /// No occurrence is told twice, by what the entries say, and not by our `ref`.
    pub(super) fn assert_nothing_was_told_twice<'a>(&self, ours: impl Iterator<Item = &'a Entry>) {
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for entry in ours {
            let key = match entry.text.as_str() {
                "started" => "plan",
                "subscribed" | "imported" | "failed" => "id",
                _ => "occurred_at",
            };
            *counts
                .entry((entry.text.as_str(), told(&entry.data, key)))
                .or_default() += 1;
        }
        for ((event, what), count) in counts {
            // Each way to a plan is a change.
            let allowed = match what.strip_prefix("plan-") {
                Some(plan) => {
                    let plan: u8 = plan.parse().expect("a plan");
                    self.begun.get(&plan).copied().unwrap_or_default()
                }
                None => 1,
            };
            assert!(count <= allowed, "`{event}` of {what}: told {count} times");
        }
    }

    /// What is true at the end was told, where nothing ever went wrong.
    pub(super) fn assert_all_was_told<'a>(
        &self,
        now: i64,
        ours: &(impl Iterator<Item = &'a Entry> + Clone),
    ) {
        let is_open =
            self.is("consent") && !self.is("banned") && self.is_past("opens_at", now - HOUR);
        if !is_open {
            return;
        }
        let count = |event: &str, key: &str, what: &str| {
            let entries = ours.clone();
            entries
                .filter(|entry| entry.text == event && told(&entry.data, key) == what)
                .count()
        };
        for event in ["canceled", "churned", "started"] {
            let at = match law(event).column {
                Some(column) => self.dated(column),
                None => self.change(),
            };
            let Some(at) = at.filter(|at| self.is_last(event, *at)) else {
                continue;
            };
            let is_late = self.happened("").iter().any(|(later, other)| {
                let place = |event| law(event).group.map_or(0, |(_, place)| place);
                *other <= now && (*other, place(later)) > (at, place(event))
            });
            let waits = event == "canceled" && self.is("paused");
            let is_time = at <= now - HOUR && now - at < 3 * DAY && at >= self.armed;
            if !is_late && !waits && is_time {
                let what = minute(at).to_string();
                let told = count(event, "occurred_at", &what);
                assert!(told > 0, "`{event}` of {at} was lost");
            }
        }
        // More than these the brake lets go too slowly, and one that waits for a guard is overtaken where it opens sooner.
        let is_plain = self.imports.len() <= 12 && !self.moments.contains_key("opens_at");
        let imports = self.imports.iter().enumerate();
        for (number, import) in imports.filter(|_| is_plain) {
            let tenant = import.tenant.to_string();
            let has_failed = self.of_tenant(&tenant).any(|one| one.failed_at.is_some());
            let is_overtaken = self.shut_at.is_some() && self.of_tenant(&tenant).count() > 1;
            if !has_failed && !is_overtaken && now - import.done_at < 3 * DAY {
                let id = number.to_string();
                assert!(count("imported", "id", &id) > 0, "import {id} was lost");
            }
        }
    }

    /// The moment of a column, if no change was seen since, and it was never another's meanwhile: what was taken back is told
    /// no more.
    fn dated(&self, column: &'static str) -> Option<i64> {
        let at = self.date(column)?;
        let times = self.moments[column].iter().filter(|other| **other == at);
        let is_unchanged = self.changes.iter().all(|(seen, _)| *seen < at);
        (times.count() == 1 && is_unchanged).then_some(at)
    }
}
