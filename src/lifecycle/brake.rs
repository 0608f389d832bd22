//! The brake: so many of one event in an hour are a fault of the app's, not news.
//!
//! It latches. Once it holds one, it holds every further one until a person has released or dropped what it holds; what
//! they release stays under the cap all the same.

use jiff::SignedDuration;

/// Why the brake holds an occurrence.
pub const BRAKE: &str = "brake";
/// Why one is due that a person let go.
pub const RELEASED: &str = "released";
/// The hour that slides.
pub const BRAKE_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// So many may always go: a small site has no crowd to compare with.
const ALWAYS: u64 = 20;
/// One in so many of the people known: 2 %.
const ONE_IN: u64 = 50;

/// Whether another one is held, when `sent` went out within [`BRAKE_WINDOW`] and `held` are held already. `people` are
/// those known on the website; `released` says that a person let this one go.
pub const fn brakes(sent: u64, held: u64, people: u64, released: bool) -> bool {
    let share = people / ONE_IN;
    let cap = if share > ALWAYS { share } else { ALWAYS };
    sent >= cap || (held > 0 && !released)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_latches_and_a_release_stays_under_the_cap() {
        for (sent, held, people, released, is_held) in [
            (0, 0, 0, false, false),
            (19, 0, 100, false, false),
            (20, 0, 100, false, true),
            (20, 0, 5_000, false, false),
            (99, 0, 5_000, false, false),
            (100, 0, 5_000, false, true),
            (0, 1, 100, false, true),
            (0, 1, 100, true, false),
            (20, 1, 100, true, true),
        ] {
            assert_eq!(
                brakes(sent, held, people, released),
                is_held,
                "{sent} sent, {held} held, {people} people, released: {released}"
            );
        }
    }
}
