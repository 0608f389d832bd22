//! What the ledger may have sent and forgotten, by the gaps that it had.

use jiff::Timestamp;

use super::{
    Edges, Gap, Known, Rules,
    ambiguity::quiet_from,
    period::later,
    rules::{Which, which},
};

impl Rules {
    /// From when on a timeline that lacks `known` proves something: a request that left before the gap was noticed, and that
    /// the ledger forgot, may be applied until then.
    pub fn proof_from(&self, known: &Known, gaps: &[Gap]) -> Option<Timestamp> {
        let until = self.lies_in(known, gaps).map(|gap| gap.until).max()?;
        Some(later(until, self.quiet))
    }

    /// Until when the last request of `known` may be applied, if one left.
    pub fn under_way_until(&self, known: &Known, gaps: &[Gap]) -> Option<Timestamp> {
        Some(quiet_from(known.attempted_at?, self.quiet, gaps))
    }

    /// From when on the ledger may have sent `known` and forgotten, if it may have: what a contact shows that was made later
    /// proves nothing.
    pub fn forgotten_since(&self, known: &Known, edges: &Edges, gaps: &[Gap]) -> Option<Timestamp> {
        let since = |gap: Gap| {
            if self.may_be_forgotten(known, gap) {
                gap.from
            } else {
                gap.from.max(known.happened_at())
            }
        };
        self.lies_in(known, gaps)
            .filter(|gap| !self.is_before(known, edges, *gap))
            .map(since)
            .min()
    }

    /// Whether the ledger may have sent `known` to an address that the user had until an instant, and forgotten.
    pub fn may_be_forgotten_at(
        &self,
        known: &Known,
        edges: &Edges,
        gaps: &[Gap],
        until: Timestamp,
    ) -> bool {
        self.lies_in(known, gaps)
            .filter(|gap| !self.is_before(known, edges, *gap))
            .any(|gap| {
                until > gap.from
                    && (known.happened_at() <= until || self.may_be_forgotten(known, gap))
            })
    }

    /// Whether a change is newer than a gap: after it the value was looked at, and was another.
    fn is_before(&self, known: &Known, edges: &Edges, gap: Gap) -> bool {
        let unchanged_at = self.unchanged_at(known, edges);
        unchanged_at.is_some_and(|at| at >= later(gap.until, self.sight_age()))
    }

    /// The gaps in which the ledger may have sent `known` and forgotten.
    pub(super) fn lies_in<'a>(
        &'a self,
        known: &'a Known,
        gaps: &'a [Gap],
    ) -> impl Iterator<Item = Gap> + 'a {
        (gaps.iter().copied())
            .filter(|gap| known.happened_at() <= gap.until || self.may_be_forgotten(known, *gap))
    }

    /// Since when an entry may be of `known`, if it is an occurrence that is only dated later because it was seen again. An id
    /// may come back: after the last gap it may be one that was told, though another was seen meanwhile.
    pub(super) fn forgotten_entries(
        &self,
        known: &Known,
        edges: &Edges,
        gaps: &[Gap],
    ) -> Option<Timestamp> {
        let (last, earlier) = gaps.split_last()?;
        let earlier = (earlier.iter()).filter(|gap| !self.is_before(known, edges, **gap));
        earlier
            .chain([last])
            .filter(|gap| self.may_be_forgotten(known, **gap))
            .map(|gap| gap.from)
            .min()
    }

    /// Whether the row may be an occurrence that was sent in the gap, and is only dated later because it was seen again.
    fn may_be_forgotten(&self, known: &Known, gap: Gap) -> bool {
        self.rule(&known.event)
            .and_then(|rule| which(&known.key, rule))
            .is_some_and(|which| match which {
                Which::Change(number) => number <= gap.floor(),
                Which::Id(_) => true,
            })
    }
}
