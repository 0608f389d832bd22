//! An event on trial: what a tester gets, so that a campaign can be seen working before anybody else is told anything.
//!
//! It carries `test = true` and a `ref` of its own kind, by which [`timeline`](super::timeline) passes it over: it never
//! stands for something that happened.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::{
    limits::{KEYS, OCCURRED_AT, REF, TEST, TEST_REF},
    occurrence::whole_second,
};
use crate::data::{DataMap, DataValue};

/// A `ref` for a trial, from random bytes.
pub fn new_trial_ref(random: &[u8]) -> String {
    format!("{TEST_REF}{}", hex::encode(random))
}

/// Whether an entry of a timeline was sent on trial.
pub fn is_trial(data: &Map<String, Json>) -> bool {
    data.get(REF)
        .and_then(Json::as_str)
        .is_some_and(|reference| reference.starts_with(TEST_REF))
}

/// The data of a trial: the rule's own, the mark, the `ref`, and where there is room for a tenth key, when it was sent.
pub fn trial(mut data: DataMap, reference: &str, at: Timestamp) -> DataMap {
    data.insert(TEST.to_owned(), DataValue::from(true));
    data.insert(REF.to_owned(), DataValue::from(reference));
    if data.len() < KEYS {
        let at = whole_second(at).to_string();
        data.insert(OCCURRED_AT.to_owned(), DataValue::from(at));
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_keeps_to_ten_keys_and_is_told_apart() {
        let now = Timestamp::from_second(1_767_355_200).expect("an instant");
        let reference = new_trial_ref(&[1, 2]);
        assert_eq!(reference, "test-0102");
        for (own, has_instant) in [(0, true), (7, true), (8, false)] {
            let data: DataMap = (0..own)
                .map(|key| (format!("key{key}"), DataValue::from("value")))
                .collect();
            let made = trial(data, &reference, now);
            assert!(made.len() <= KEYS, "{own}: {}", made.len());
            assert_eq!(made[TEST], DataValue::from(true));
            assert_eq!(made.contains_key(OCCURRED_AT), has_instant, "{own}");
            let json = made
                .iter()
                .map(|(key, value)| (key.clone(), value.to_json()));
            assert!(is_trial(&json.collect()));
        }
        assert!(!is_trial(&Map::from_iter([(
            REF.to_owned(),
            Json::from("5eed")
        )])));
    }
}
