//! Why a row of the outbox stands where it stands: one word each, that never changes.
//!
//! Scripts match these words and people read them in `events list`, so each is listed with what it means and what can be
//! done. `docs/events.md` is made of this list.

/// A reason, as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// The word.
    pub word: &'static str,
    /// The states that a row may be in with it, as their words.
    pub states: &'static str,
    /// What it means, and what to do where something can be done.
    pub meaning: &'static str,
}

macro_rules! reasons {
    ($($name:ident = $word:literal, $states:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: &str = $word;
        )*

        /// Every reason.
        pub const ALL: &[Reason] = &[
            $(Reason { word: $word, states: $states, meaning: $meaning },)*
        ];
    };
}

reasons! {
    NOT_DUE = "not_due", "scheduled", "Its moment lies ahead: a future instant, the rule's `delay`, or the app's `grace`.";
    WHEN = "when", "scheduled", "The rule's `when` is false. It is looked at again every hour, until `max_age`.";
    AFTER = "after", "scheduled", "`lifecycle.after` opens later.";
    RULE_AFTER = "rule_after", "scheduled", "The rule's own `after` opens later.";
    RULE_FAILED = "rule_failed", "scheduled", "An expression of the rule has no value for this user: mend the rule or the row; it is tried again every hour.";
    DUE = "due", "due", "Nothing stands in its way.";
    GUARDS_PASSED = "guards_passed", "due", "What kept it back is over: consent was given, or the user is no longer excluded.";
    RELEASED = "released", "due, scheduled", "A person let it go. It is checked once more, and stays under the brake's cap. What keeps it back for a while, such as `when`, makes it `scheduled` and takes nothing of that back.";
    RELEASED_OVER_CAP = "released_over_cap", "due, scheduled", "A person let it go past the brake's cap. It is checked once more.";
    RELEASED_UNSURE = "released_unsure", "due, scheduled", "A person let it go that was `unsure`: they answer for it that it was not told. Only what Crisp's timeline shows keeps it back, and the brake's cap; it is read once `quiet` is over since the last request.";
    RELEASED_UNSURE_OVER_CAP = "released_unsure_over_cap", "due, scheduled", "The same, past the brake's cap.";
    CONTACT_GONE = "contact_gone", "due, unsure", "Crisp had the contact and has it no more. While due, it waits a few minutes for the word that it was removed.";
    TIMELINE_CACHED = "timeline_cached", "due", "Crisp's timeline came from a cache, and may lack what the app told a moment ago, or what we did. It is read again in five minutes, and then ever more seldom.";
    MAY_BE_UNDER_WAY = "may_be_under_way", "due", "The ledger may have forgotten a request: it was not running, or it is a copy. Crisp's timeline is read once `quiet` is over.";
    REFUSED_FOR_NOW = "refused_for_now", "due", "Crisp refused, and may take it later: a pause, the quota, an error of its own.";
    USER_MISSING = "user_missing", "scheduled, due, parked", "The app's database did not know the user a moment ago: a second look follows in ten minutes, or in `lifecycle.sweep.overlap` where that is shorter.";
    NOT_SEEN = "not_seen", "due", "The last look before it left did not show it any more. One answer proves little, because a replica may lag behind the one that was asked before: a second look follows in ten minutes, or in `lifecycle.sweep.overlap` where that is shorter.";
    ON_ITS_WAY = "on_its_way", "sending", "The request is under way, or was when the process died.";
    NO_ANSWER = "no_answer", "sending", "The request got no clear answer: Crisp's timeline is read after `quiet`.";
    CONFIRMED = "confirmed", "sent", "Crisp answered that it has it.";
    FOUND_IN_TIMELINE = "found_in_timeline", "sent, already_in_crisp", "Crisp's timeline shows it: with our `ref` we sent it, without it somebody else did.";
    MAX_AGE = "max_age", "expired", "It grew older than the rule's `max_age` before it could be sent.";
    PARKED_TOO_LONG = "parked_too_long", "expired", "Crisp got no contact for it within the rule's `max_age`.";
    CACHED_TOO_LONG = "cached_too_long", "expired", "Crisp's timeline came from a cache until it was older than the rule's `max_age`: whether somebody else told Crisp could not be seen. It is never sent on suspicion.";
    DROPPED = "dropped", "expired, unsure", "A person gave it up with `events drop`. One that is `unsure` stays so, because Crisp may have it, and waits for nobody any more.";
    OLDER_THAN_SENT = "older_than_sent", "superseded", "Crisp has, or may have, a later one of the same event.";
    LATER_EVENT = "later_event", "superseded", "A later event of the rule's `group` made it untrue: who came back is not told goodbye.";
    NO_LONGER_TRUE = "no_longer_true", "superseded", "The app's database tells it no more: the instant was taken back, the value changed again.";
    USER_GONE = "user_gone", "superseded", "The app's database does not know the user any more.";
    RULE_REMOVED = "rule_removed", "superseded", "The definition has no rule of this name. A rule that got another name says so with `renamed_from`.";
    BEFORE_ARMED = "before_armed", "baseline", "It happened before the watermark that `events arm` stored.";
    REQUIRE = "require", "no_consent", "`lifecycle.require` is not true of the user. It is looked at again every hour, and goes when it becomes true within `max_age`.";
    RULE_REQUIRE = "rule_require", "no_consent", "The rule's own `require` is not true of the user. It is looked at again every hour, and goes when it becomes true within `max_age`.";
    EXCLUDE = "exclude", "excluded", "`lifecycle.exclude` is true of the user. It is looked at again every hour, and goes when that changes within `max_age`.";
    RULE_EXCLUDE = "rule_exclude", "excluded", "The rule's own `exclude` is true of the user. It is looked at again every hour, and goes when that changes within `max_age`.";
    BRAKE = "brake", "held", "More of this event came within the hour than `lifecycle.brake` lets go. `events release` or `events drop` decides; until then every further one is held.";
    MIN_GAP = "min_gap", "held", "Another one of this event went to the same address within `min_gap`. `events release` lets it go once that is over.";
    CHANGED_UNSEEN = "changed_unseen", "held", "The value changed while nobody looked, perhaps before the rule was armed, or longer ago than its `max_age`. `lifecycle.query` has people looked at as they change. `events release` or `events drop` decides.";
    NOT_ARMED = "not_armed", "held", "Nothing says any more that the rule is armed: mostly it was armed under a name that `renamed_from` does not tell now. Say it again, then `events release`.";
    ALREADY_DECIDED = "already_decided", "held", "Somebody decided about it while it was on its way out. `events release` lets it go.";
    PROVEN_ABSENT = "proven_absent", "held, due", "Two late reads of the timeline showed that Crisp did not take it. With `after_ambiguous = \"hold\"` a person releases it.";
    REFUSED_BY_CRISP = "refused_by_crisp", "held", "Crisp will not take it as it is: mend the rule's `data`, then `events release`.";
    NO_CONTACT = "no_contact", "parked", "Crisp has no contact for the address, and `create_contacts` is off. It goes when the contact appears, within `max_age`.";
    CONTACT_REMOVED = "contact_removed", "parked, unsure", "The contact was removed in Crisp, and is not made again. While parked, it goes if somebody makes the contact anew within `max_age`.";
    ADDRESS_CHANGED = "address_changed", "unsure", "It had no answer yet when the user's address changed; or it may have been told at the old one, by the app or by us and forgotten, and nobody can tell any more.";
    CONTACT_NEWER = "contact_newer", "unsure", "The ledger may have sent it before and forgotten, and the contact is not the one that it had then, or there is none: its timeline proves nothing. Look at the contact, then `events release --state unsure` or leave it.";
    CONTACT_REPLACED = "contact_replaced", "unsure", "It had no answer yet when another contact took the place of the one it went to, or the contact of now was made so late that it may be another. Look at the contact, then `events release --state unsure` or leave it.";
    TIMELINE_TOO_SHORT = "timeline_too_short", "unsure", "Crisp's timeline does not reach back far enough to tell. Look at the contact, then `events release --state unsure` or leave it.";
    ONE_OF_SEVERAL = "one_of_several", "unsure", "Somebody else told Crisp of it or of another one while both waited, and nothing says of which; the other one may have expired since. Look at the contact, then `events release --state unsure` or leave it.";
    NO_PROOF = "no_proof", "unsure", "A day of reading did not tell whether Crisp took it. Look at the contact, then `events release --state unsure` or leave it.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::lifecycle::OutboxState;

    #[test]
    fn each_word_is_listed_once_with_states_that_exist() {
        let words: BTreeSet<_> = ALL.iter().map(|reason| reason.word).collect();
        assert_eq!(words.len(), ALL.len());
        for reason in ALL {
            for state in reason.states.split(", ") {
                assert!(OutboxState::parse(state).is_some(), "{reason:?}");
            }
        }
    }
}
