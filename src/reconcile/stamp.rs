//! The age of the context, as agents see it.
//!
//! `context_as_of` changes with every refresh, so by itself it would make every refresh a request. It rides along when
//! something else changed, or when it is older than an agent should have to trust.

use std::time::Duration;

use jiff::{Timestamp, Unit};

use crate::{
    context::{AS_OF, Held, Layer, Owned, Patch, STAMPS, STATE, diff},
    data::DataValue,
};

/// What `context_state` says while the app's database does not answer.
const STALE: &str = "stale";

/// When a layer was computed, for a place that may show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) now: Timestamp,
    pub(super) max_age: Duration,
    /// Whether the layer is another than the one last written. Without news a change is a correction of somebody else's,
    /// and a correction that looks different each time would never be seen to repeat.
    pub(super) is_news: bool,
}

impl Stamp {
    /// The least change from `held` to `desired`, stamped if there is one or if the stamp that is there is old. Without a
    /// stamp, none is shown.
    pub(super) fn diff(stamp: Option<Self>, desired: &Layer, held: &Held, owned: &Owned) -> Patch {
        let Some(stamp) = stamp.filter(|_| owned.keys.contains(AS_OF)) else {
            return diff(desired, held, owned);
        };
        let mut layer = desired.clone();
        let there = held
            .data
            .get(AS_OF)
            .and_then(|value| value.as_str())
            .unwrap_or_default();
        layer.data.insert(AS_OF.to_owned(), DataValue::from(there));
        layer.data.insert(STATE.to_owned(), DataValue::absent());
        let patch = diff(&layer, held, owned);
        let shows_something = layer
            .data
            .iter()
            .any(|(key, value)| !STAMPS.contains(&key.as_str()) && *value != DataValue::absent());
        let is_old = shows_something
            && there.parse::<Timestamp>().map_or(true, |at| {
                stamp.now.duration_since(at).unsigned_abs() > stamp.max_age
            });
        if (patch.is_empty() || !stamp.is_news) && !is_old {
            return patch;
        }
        layer
            .data
            .insert(AS_OF.to_owned(), DataValue::from(stamp.text()));
        diff(&layer, held, owned)
    }

    /// Whether two layers say the same, whenever they were computed.
    pub(super) fn same(one: &Layer, other: &Layer) -> bool {
        let bare = |layer: &Layer| {
            let mut layer = layer.clone();
            layer.data.retain(|key, value| {
                !STAMPS.contains(&key.as_str()) && *value != DataValue::absent()
            });
            layer
        };
        bare(one) == bare(other)
    }

    /// The layer as Crisp holds it after the patch: the stamps that it holds then are part of it.
    pub(super) fn kept(layer: &Layer, held: &Held, patch: &Patch) -> Layer {
        let mut layer = layer.clone();
        let holds = patch.data.as_ref().unwrap_or(&held.data);
        for name in STAMPS {
            match holds.get(name).and_then(|value| value.as_str()) {
                Some(text) if !text.is_empty() => {
                    layer.data.insert(name.to_owned(), DataValue::from(text));
                }
                _ => {
                    layer.data.remove(name);
                }
            }
        }
        layer
    }

    /// Marks a layer as not refreshed.
    pub(super) fn stale(layer: &mut Layer) {
        layer.data.insert(STATE.to_owned(), DataValue::from(STALE));
    }

    fn text(self) -> String {
        self.now.round(Unit::Second).unwrap_or(self.now).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Stamp {
        Stamp {
            now: text.parse().expect("an instant"),
            max_age: Duration::from_hours(12),
            is_news: true,
        }
    }

    fn held(data: &serde_json::Value) -> Held {
        Held {
            data: data.as_object().cloned().unwrap_or_default(),
            segments: Vec::new(),
        }
    }

    fn owned() -> Owned {
        Owned {
            keys: ["plan", AS_OF, STATE].map(str::to_owned).into(),
            ..Owned::default()
        }
    }

    fn layer(plan: &str) -> Layer {
        Layer {
            data: [("plan".to_owned(), DataValue::from(plan))].into(),
            ..Layer::default()
        }
    }

    #[test]
    fn the_age_rides_along_with_a_change_and_alone_only_when_it_is_old() {
        let there = held(&json!({ "plan": "pro", "context_as_of": "2026-01-01T00:00:00Z" }));
        let table = [
            ("2026-01-01T01:00:00Z", "pro", None),
            (
                "2026-01-01T01:00:00Z",
                "starter",
                Some("2026-01-01T01:00:00Z"),
            ),
            ("2026-01-01T12:00:01Z", "pro", Some("2026-01-01T12:00:01Z")),
        ];
        for (now, plan, expected) in table {
            let patch = Stamp::diff(Some(at(now)), &layer(plan), &there, &owned());
            let stamped = patch.data.as_ref().and_then(|data| data[AS_OF].as_str());
            assert_eq!(stamped, expected, "{plan} at {now}");
        }
    }

    #[test]
    fn a_correction_leaves_the_age_alone() {
        let there = held(&json!({ "plan": "forged", "context_as_of": "2026-01-01T00:00:00Z" }));
        let correction = Stamp {
            is_news: false,
            ..at("2026-01-01T01:00:00Z")
        };
        let patch = Stamp::diff(Some(correction), &layer("pro"), &there, &owned());
        let data = patch.data.expect("a change");
        assert_eq!(data["plan"], "pro");
        assert_eq!(data[AS_OF], "2026-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_kept_has_the_age_that_crisp_shows() {
        let there = held(&json!({ "plan": "pro", "context_as_of": "2026-01-01T00:00:00Z" }));
        let kept = Stamp::kept(&layer("pro"), &there, &Patch::default());
        assert_eq!(kept.data[AS_OF], DataValue::from("2026-01-01T00:00:00Z"));
        assert!(Stamp::same(&kept, &layer("pro")));
        assert!(!Stamp::same(&kept, &layer("starter")));
    }

    #[test]
    fn nothing_to_show_has_no_age() {
        let patch = Stamp::diff(
            Some(at("2026-01-01T00:00:00Z")),
            &layer(""),
            &held(&json!({})),
            &owned(),
        );
        assert!(patch.is_empty(), "{patch:?}");
    }

    #[test]
    fn a_stale_layer_says_so_and_keeps_what_it_showed() {
        let mut full = layer("pro");
        Stamp::stale(&mut full);
        assert_eq!(full.data[STATE], DataValue::from("stale"));
        assert_eq!(full.data["plan"], DataValue::from("pro"));
    }
}
