//! Echo or edit: what Crisp says it holds, against what we last wrote.
//!
//! Pure. Only our part is compared: what others keep beside it is none of our business. A form that comes back after
//! every correction is Crisp's own way to write our values; it is accepted after [`CORRECTIONS`] tries.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::{
    context::{AS_OF, Layer},
    data::{DataMap, DataValue},
};

use super::mirror::{OwnedKind, OwnedName, Side};

/// How often the same form is corrected before it is accepted.
pub(super) const CORRECTIONS: u32 = 2;

/// What the ledger remembers about corrections of one conversation.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Corrections {
    pub(super) data: Correction<DataMap>,
    pub(super) segments: Correction<BTreeSet<String>>,
}

/// Corrections of one half of a layer.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Correction<Form> {
    /// The form that was corrected last.
    form: Option<Form>,
    /// How often in a row.
    count: u32,
    /// Whether the correction was not yet made: the same form said again in the meantime is not another one.
    pending: bool,
}

impl<Form> Default for Correction<Form> {
    fn default() -> Self {
        Self {
            form: None,
            count: 0,
            pending: false,
        }
    }
}

/// What to do about a form that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is what we wrote.
    Echo,
    /// Refresh: ours goes over it once more.
    Correct,
    /// Crisp writes ours this way.
    Accept,
    /// It does not say: Crisp is to be read before anything is concluded.
    Look,
}

impl Corrections {
    /// The last settlement wrote what was to be written.
    pub(super) fn made(&mut self) {
        self.data.pending = false;
        self.segments.pending = false;
    }
}

impl<Form: PartialEq> Correction<Form> {
    fn echo(&mut self) -> Verdict {
        *self = Self::default();
        Verdict::Echo
    }

    fn differs(&mut self, form: Form) -> Verdict {
        if self.form.as_ref() == Some(&form) {
            if !self.pending {
                if self.count >= CORRECTIONS {
                    *self = Self::default();
                    return Verdict::Accept;
                }
                self.count += 1;
            }
        } else {
            self.form = Some(form);
            self.count = 1;
        }
        self.pending = true;
        Verdict::Correct
    }
}

/// Judges session data: what we wrote, and that names which are ours but not written hold nothing. A key that the webhook
/// does not mention may be gone, or the webhook carries only what changed: that is worth a look when there is another
/// reason for one, not a refresh. An empty object is how everything is deleted.
pub(super) fn judge_data(
    layer: &Layer,
    crisp_form: &mut Option<Layer>,
    corrections: &mut Corrections,
    held: &Map<String, Json>,
    owned: &BTreeSet<OwnedName>,
) -> Verdict {
    let wanted = with_retired(&layer.data, owned);
    let is_ours = |ours: &DataMap| {
        ours.iter().all(|(key, value)| match held.get(key) {
            Some(held) => value.is_held_as(Some(held)),
            None => !held.is_empty() || value.is_held_as(None),
        })
    };
    let is_whole = |ours: &DataMap| {
        ours.iter()
            .all(|(key, value)| held.contains_key(key) || value.is_held_as(None))
    };
    if is_ours(&wanted) {
        return if is_whole(&wanted) {
            corrections.data.echo()
        } else {
            Verdict::Look
        };
    }
    if let Some(form) = crisp_form
        .as_ref()
        .map(|form| with_retired(&form.data, owned))
        .filter(is_ours)
    {
        return if is_whole(&form) {
            Verdict::Echo
        } else {
            Verdict::Look
        };
    }
    let mut form = wanted;
    for (key, value) in &mut form {
        match held.get(key) {
            Some(held) => *value = as_data(held),
            None if held.is_empty() => *value = DataValue::absent(),
            None => {}
        }
    }
    let verdict = corrections.data.differs(form.clone());
    if verdict == Verdict::Accept {
        crisp_form.get_or_insert_with(|| layer.clone()).data = form;
    }
    verdict
}

/// The data with every other key that is ours, or once was, as absent; but the age, which only ever rides along.
fn with_retired(data: &DataMap, owned: &BTreeSet<OwnedName>) -> DataMap {
    let mut data = data.clone();
    for name in owned {
        let is_key = name.side == Side::Session && name.kind == OwnedKind::Key;
        if is_key && name.name != AS_OF {
            data.entry(name.name.clone())
                .or_insert_with(DataValue::absent);
        }
    }
    data
}

/// Judges segments. Whatever bears one of our names is ours, also what we did not put there.
pub(super) fn judge_segments(
    layer: &Layer,
    crisp_form: &mut Option<Layer>,
    corrections: &mut Corrections,
    held: &[String],
    owned: &BTreeSet<OwnedName>,
) -> Verdict {
    let is_owned = |segment: &str| {
        owned.iter().any(|name| {
            name.side == Side::Session
                && match name.kind {
                    OwnedKind::Key => false,
                    OwnedKind::Segment => name.name == segment,
                    OwnedKind::SegmentPrefix => segment.starts_with(&name.name),
                }
        })
    };
    let known = |segment: &String| {
        layer.segments.contains(segment)
            || is_owned(segment)
            || crisp_form
                .as_ref()
                .is_some_and(|form| form.segments.contains(segment))
    };
    let form: BTreeSet<String> = held
        .iter()
        .filter(|segment| known(segment))
        .cloned()
        .collect();
    if form == layer.segments {
        return corrections.segments.echo();
    }
    if crisp_form
        .as_ref()
        .is_some_and(|accepted| accepted.segments == form)
    {
        return Verdict::Echo;
    }
    let verdict = corrections.segments.differs(form.clone());
    if verdict == Verdict::Accept {
        crisp_form.get_or_insert_with(|| layer.clone()).segments = form;
    }
    verdict
}

fn as_data(held: &Json) -> DataValue {
    match held {
        Json::Bool(value) => DataValue::Bool(*value),
        Json::Number(value) => DataValue::Number(value.clone()),
        Json::String(text) => DataValue::Text(text.clone()),
        Json::Null => DataValue::absent(),
        nested => DataValue::Text(nested.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layer() -> Layer {
        Layer {
            data: DataMap::from([
                ("plan".to_owned(), DataValue::from("pro")),
                ("days".to_owned(), DataValue::from(3)),
                ("none".to_owned(), DataValue::absent()),
            ]),
            segments: BTreeSet::from(["plan-pro".to_owned()]),
        }
    }

    fn judge(held: Json, form: &mut Option<Layer>, corrections: &mut Corrections) -> Verdict {
        let Json::Object(held) = held else {
            panic!("an object")
        };
        let owned = BTreeSet::from([OwnedName {
            side: Side::Session,
            kind: OwnedKind::Key,
            name: "retired".to_owned(),
        }]);
        judge_data(&layer(), form, corrections, &held, &owned)
    }

    #[test]
    fn only_our_part_is_compared() {
        for (held, verdict) in [
            (
                json!({"plan": "pro", "days": 3.0, "note": "x"}),
                Verdict::Echo,
            ),
            (json!({"note": "x"}), Verdict::Look),
            (json!({"plan": "pro", "note": "x"}), Verdict::Look),
            (
                json!({"plan": "pro", "days": 3, "retired": ""}),
                Verdict::Echo,
            ),
            (
                json!({"plan": "pro", "days": 3, "retired": "forged"}),
                Verdict::Correct,
            ),
            (json!({"plan": "free"}), Verdict::Correct),
            (json!({"plan": null}), Verdict::Correct),
            (json!({}), Verdict::Correct),
            (json!({"none": "forged"}), Verdict::Correct),
        ] {
            let shown = held.to_string();
            let got = judge(held, &mut None, &mut Corrections::default());
            assert_eq!(got, verdict, "{shown}");
        }
    }

    #[test]
    fn a_form_that_comes_back_after_two_corrections_is_accepted() {
        let (mut form, mut corrections) = (None, Corrections::default());
        let held = json!({"plan": "PRO", "days": 3});
        for _ in 0..CORRECTIONS {
            for _ in 0..3 {
                // Said again before the correction was made: not another one.
                assert_eq!(
                    judge(held.clone(), &mut form, &mut corrections),
                    Verdict::Correct
                );
            }
            corrections.made();
        }
        assert_eq!(
            judge(held.clone(), &mut form, &mut corrections),
            Verdict::Accept
        );
        assert_eq!(judge(held, &mut form, &mut corrections), Verdict::Echo);
        assert_eq!(
            judge(json!({"plan": "free"}), &mut form, &mut corrections),
            Verdict::Correct
        );
    }

    #[test]
    fn another_form_starts_the_count_again() {
        let (mut form, mut corrections) = (None, Corrections::default());
        for plan in ["a", "b", "a", "b", "a"] {
            assert_eq!(
                judge(json!({ "plan": plan }), &mut form, &mut corrections),
                Verdict::Correct
            );
            corrections.made();
        }
    }

    #[test]
    fn a_segment_that_bears_our_name_is_ours() {
        let owned = BTreeSet::from([OwnedName {
            side: Side::Session,
            kind: OwnedKind::SegmentPrefix,
            name: "plan-".to_owned(),
        }]);
        for (held, verdict) in [
            (vec!["vip", "plan-pro"], Verdict::Echo),
            (vec!["vip"], Verdict::Correct),
            (vec!["plan-pro", "plan-gold"], Verdict::Correct),
        ] {
            let held: Vec<String> = held.into_iter().map(str::to_owned).collect();
            let got = judge_segments(
                &layer(),
                &mut None,
                &mut Corrections::default(),
                &held,
                &owned,
            );
            assert_eq!(got, verdict, "{held:?}");
        }
    }
}
