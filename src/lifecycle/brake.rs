//! The brake: so many of one event in an hour are a fault of the app's, not news.
//!
//! It latches. Once it holds one, it holds every further one until a person has decided about all that it holds; what
//! they release stays under the cap all the same, unless they say otherwise.

use jiff::SignedDuration;

use super::reason;

/// The hour that slides.
pub const BRAKE_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// So many may always go: a small site has no crowd to compare with.
const PER_HOUR: u64 = 20;
/// 2 % of the people known.
const SHARE: Share = Share(200);

/// How many of one event may go on one website within [`BRAKE_WINDOW`]: the greater of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brake {
    /// So many, however few people there are.
    pub per_hour: u64,
    /// Of the people known on the website.
    pub share: Share,
}

/// A part of a whole, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

/// Whether a person let an occurrence go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nobody did.
    No,
    /// Somebody did, within the cap.
    UnderCap,
    /// Somebody did, whatever the cap.
    OverCap,
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            per_hour: PER_HOUR,
            share: SHARE,
        }
    }
}

impl Brake {
    /// How many may go, where so many people are known.
    pub fn cap(self, people: u64) -> u64 {
        self.per_hour.max(self.share.of(people))
    }

    /// Whether another one is held, when `sent` went out within [`BRAKE_WINDOW`], and the brake is `latched` already.
    pub fn holds(self, sent: u64, latched: bool, people: u64, release: Release) -> bool {
        match release {
            Release::OverCap => false,
            Release::UnderCap => sent >= self.cap(people),
            Release::No => latched || sent >= self.cap(people),
        }
    }
}

impl Share {
    /// Reads `"2%"` or `"0.5%"`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%')?.trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |digits: &str| {
            !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit())
        };
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 2 {
            return None;
        }
        let hundredths: u32 = format!("{fraction:0<2}").parse().ok()?;
        let share = whole.parse::<u32>().ok()? * 100 + hundredths;
        (share <= 10_000).then_some(Self(share))
    }

    fn of(self, whole: u64) -> u64 {
        whole.saturating_mul(u64::from(self.0)) / 10_000
    }
}

impl Release {
    /// What a row's reason says of it.
    pub fn of(reason: &str) -> Self {
        match reason {
            reason::RELEASED | reason::RELEASED_UNSURE => Self::UnderCap,
            reason::RELEASED_OVER_CAP | reason::RELEASED_UNSURE_OVER_CAP => Self::OverCap,
            _ => Self::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_latches_and_a_release_stays_under_the_cap() {
        use Release::{No, OverCap, UnderCap};
        for (sent, latched, people, release, is_held) in [
            (0, false, 0, No, false),
            (19, false, 100, No, false),
            (20, false, 100, No, true),
            (20, false, 5_000, No, false),
            (99, false, 5_000, No, false),
            (100, false, 5_000, No, true),
            (0, true, 100, No, true),
            (0, true, 100, UnderCap, false),
            (20, true, 100, UnderCap, true),
            (20, true, 100, OverCap, false),
        ] {
            assert_eq!(
                Brake::default().holds(sent, latched, people, release),
                is_held,
                "{sent} sent, latched: {latched}, {people} people, {release:?}"
            );
        }
    }

    #[test]
    fn the_greater_of_two_numbers_is_the_cap() {
        let brake = Brake {
            per_hour: 5,
            share: Share::parse("0.5%").expect("a share"),
        };
        assert_eq!(
            [0, 999, 1_200, 10_000].map(|people| brake.cap(people)),
            [5, 5, 6, 50]
        );
    }

    #[test]
    fn a_share_is_written_in_percent() {
        for (text, hundredths) in [
            ("2%", Some(200)),
            ("0.5 %", Some(50)),
            ("12.25%", Some(1_225)),
            ("100%", Some(10_000)),
            ("0%", Some(0)),
            ("101%", None),
            ("2", None),
            ("%", None),
            ("-1%", None),
            ("1.234%", None),
            ("1e1%", None),
        ] {
            assert_eq!(Share::parse(text), hundredths.map(Share), "{text}");
        }
    }
}
