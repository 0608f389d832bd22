//! Times of which the ledger may know less than happened.
//!
//! Each is kept for itself, because what it puts in doubt differs: an occurrence of which a database tells the moment lies
//! in those that ended after it, and a change in those since the last look at the user. So one of months ago costs nothing
//! for what happens today, and none ends what an earlier one put in doubt.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many are told apart. Of more, the two oldest become one that covers both.
const MOST: usize = 32;

/// A time of which the ledger may know less than happened: it was not running, or it is a restored copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last moment that the ledger surely knows all of.
    pub from: Timestamp,
    /// When it was noticed.
    pub until: Timestamp,
}

impl Gap {
    /// The numbers of changes up to this one may have been used by changes that were forgotten.
    pub(super) fn floor(self) -> u64 {
        u64::try_from(self.until.as_second()).unwrap_or_default()
    }
}

/// Notes another one after those that are known, the last one last. One that begins with the last is the same, and goes on.
pub fn note_gap(gaps: &mut Vec<Gap>, gap: Gap) {
    if let Some(last) = gaps.last_mut().filter(|last| last.from == gap.from) {
        last.until = gap.until;
        return;
    }
    gaps.push(gap);
    if gaps.len() > MOST {
        let oldest = gaps.remove(0);
        if let Some(next) = gaps.first_mut() {
            next.from = next.from.min(oldest.from);
            next.until = next.until.max(oldest.until);
        }
    }
}

/// The highest number that a change may have that was forgotten in any of them.
pub(super) fn floor(gaps: &[Gap]) -> u64 {
    gaps.iter().map(|gap| gap.floor()).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: i64, until: i64) -> Gap {
        let at = |second| Timestamp::from_second(second).expect("an instant");
        Gap {
            from: at(from),
            until: at(until),
        }
    }

    #[test]
    fn a_gap_that_goes_on_is_one_and_another_one_is_another() {
        let mut gaps = Vec::new();
        for one in [gap(0, 10), gap(0, 20), gap(30, 40), gap(40, 50)] {
            note_gap(&mut gaps, one);
        }
        assert_eq!(gaps, [gap(0, 20), gap(30, 40), gap(40, 50)]);
        assert_eq!(floor(&gaps), 50);
        assert_eq!(floor(&[]), 0);
    }

    #[test]
    fn however_many_there_were_none_is_forgotten() {
        let mut gaps = Vec::new();
        for number in 0..100 {
            note_gap(&mut gaps, gap(number * 10, number * 10 + 5));
        }
        assert_eq!(gaps.len(), MOST);
        assert_eq!(gaps.first(), Some(&gap(0, 685)));
        assert_eq!(gaps.last(), Some(&gap(990, 995)));
    }

    #[test]
    fn it_is_stored_as_plain_json() {
        let text = serde_json::to_string(&[gap(0, 10)]).expect("JSON");
        let stored = r#"[{"from":"1970-01-01T00:00:00Z","until":"1970-01-01T00:00:10Z"}]"#;
        assert_eq!(text, stored);
        let read: Vec<Gap> = serde_json::from_str(&text).expect("gaps");
        assert_eq!(read, [gap(0, 10)]);
    }
}
