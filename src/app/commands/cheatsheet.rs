//! `events cheatsheet`: every configured event as those who write campaigns need it.
//!
//! Examples are a named tester's, or invented: nobody else's values appear.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value as Json, json};

use super::super::{Service, everyone::Everyone, everyone::Who};
use crate::{
    data::{DataMap, DataValue},
    ids::Email,
    lifecycle::{Rule, limits::OCCURRED_AT},
    reconcile::Whom,
    server::command::{Answer, Table},
};

/// What has to be set up in Crisp before an event starts a campaign.
const PREREQUISITES: [&str; 5] = [
    "an automated campaign in Crisp whose launch event is this name, letter by letter; Crisp suggests a name once it has seen it: `crisp-sync events test` sends one to a tester",
    "`deliver once` chosen on purpose: with it a person gets the campaign for the first event only, without it for each one",
    "people who have not opted out of e-mails in Crisp",
    "a fallback for every `{{ event.data.… }}` in the text: a value that is empty is left out of the event",
    "filters of the campaign read the contact, not the event: the contact is refreshed before its event is sent",
];
/// How many people are asked for the type of a value that no tester has.
const ASKED: u32 = 20;

/// One placeholder.
struct Placeholder {
    key: String,
    kind: &'static str,
    example: String,
    from: &'static str,
}

impl Service {
    pub(super) async fn cheatsheet(&self, tester: Option<&str>) -> anyhow::Result<Answer> {
        let tester = tester
            .map(|tester| self.tester(tester, "its values are not shown"))
            .transpose()?;
        self.known_rules(None)?;
        let mut events = Vec::new();
        for rule in self.rules.iter() {
            let example = self.tester_data(rule, tester.as_ref()).await?;
            let kinds = match &example {
                Some(_) => BTreeMap::new(),
                None => self.kinds(rule).await,
            };
            let placeholders: Vec<Placeholder> = rule
                .data_sources()
                .map(|(key, _)| placeholder(key, example.as_ref(), &kinds))
                .chain([Placeholder {
                    key: OCCURRED_AT.to_owned(),
                    kind: "instant",
                    example: "2026-03-02T09:00:00Z".to_owned(),
                    from: "invented",
                }])
                .collect();
            events.push((rule, self.rules.words(rule), placeholders));
        }
        let lines = events
            .iter()
            .map(|(rule, words, data)| markdown(rule, words, data));
        let lines = [heading()].into_iter().chain(lines).collect();
        let rows = events
            .iter()
            .flat_map(|(rule, words, data)| rows(rule, words, data))
            .collect();
        Ok(Answer {
            ok: true,
            lines,
            table: Some(Table {
                headings: [
                    "event",
                    "colour",
                    "when",
                    "placeholder",
                    "type",
                    "example",
                    "example_from",
                ]
                .map(str::to_owned)
                .to_vec(),
                rows,
                below: None,
            }),
            json: json!({
                "events": events.iter().map(|(rule, words, data)| as_json(rule, words, data)).collect::<Vec<_>>(),
                "prerequisites": PREREQUISITES,
            }),
        })
    }

    /// An address that the configuration lists as a tester's; `otherwise` is what becomes of one that it does not.
    pub(super) fn tester(&self, address: &str, otherwise: &str) -> anyhow::Result<Email> {
        let email = Email::parse(address)?;
        anyhow::ensure!(
            self.rules.testers().contains(&email),
            "this address is no tester's: {otherwise}\nhint: list it in the configuration: `[lifecycle] testers = [\"you@yourcompany.com\"]`"
        );
        Ok(email)
    }

    /// The values of a tester: the one that was named, or the first one whom the app knows.
    async fn tester_data(
        &self,
        rule: &Rule,
        tester: Option<&Email>,
    ) -> anyhow::Result<Option<DataMap>> {
        let now = self.clock.now();
        let testers: Vec<&Email> = match tester {
            Some(tester) => vec![tester],
            None => self.rules.testers().iter().collect(),
        };
        for email in testers {
            let trial = self.reconciler.trial_data(rule, email, now).await?;
            if trial.data.is_some() {
                return Ok(trial.data);
            }
        }
        Ok(None)
    }

    /// What kinds of values people have, without the values. An example is worth no failure: whoever cannot be asked is
    /// passed over.
    async fn kinds(&self, rule: &Rule) -> BTreeMap<String, &'static str> {
        let mut kinds = BTreeMap::new();
        let Ok(websites) = self.named_websites() else {
            return kinds;
        };
        let everyone = Everyone {
            ledger: &self.ledger,
            users: &self.users,
            reconciler: &self.reconciler,
            websites,
            typed: Vec::new(),
        };
        let Ok(page) = everyone.page(None, ASKED).await else {
            return kinds;
        };
        let now = self.clock.now();
        for somebody in page.people {
            let (Who::Key(key), Some(website)) = (&somebody.who, somebody.websites.first()) else {
                continue;
            };
            let data = self
                .reconciler
                .example_of(rule, website, Whom::Key(key), now);
            for (key, value) in data.await.ok().flatten().into_iter().flatten() {
                kinds.entry(key).or_insert(kind(&value));
            }
        }
        kinds
    }
}

/// A key of an event's data with an example.
fn placeholder(
    key: &str,
    example: Option<&DataMap>,
    kinds: &BTreeMap<String, &'static str>,
) -> Placeholder {
    if let Some(value) = example.and_then(|example| example.get(key)) {
        return Placeholder {
            key: key.to_owned(),
            kind: kind(value),
            example: text(value),
            from: "tester",
        };
    }
    let kind = kinds.get(key).copied().unwrap_or("unknown");
    Placeholder {
        key: key.to_owned(),
        kind,
        example: match kind {
            "number" => "42".to_owned(),
            "true or false" => "true".to_owned(),
            _ => invented(key),
        },
        from: "invented",
    }
}

/// What stands for a value that nobody has.
pub(super) fn invented(key: &str) -> String {
    format!("example of {key}")
}

const fn kind(value: &DataValue) -> &'static str {
    match value {
        DataValue::Bool(_) => "true or false",
        DataValue::Number(_) => "number",
        DataValue::Text(_) => "text",
    }
}

fn text(value: &DataValue) -> String {
    match value.to_json() {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

fn mention(key: &str) -> String {
    format!("{{{{ event.data.{key} }}}}")
}

fn heading() -> String {
    let mut page =
        String::from("# Lifecycle events\n\nWhat a campaign in Crisp needs, for each of them:\n");
    for prerequisite in PREREQUISITES {
        // A string takes any text.
        let _ = write!(page, "\n- {prerequisite}");
    }
    page
}

fn markdown(rule: &Rule, words: &[String], data: &[Placeholder]) -> String {
    let mut page = format!(
        "\n## `{}`\n\nColour: {}\n",
        rule.name(),
        rule.color().as_str()
    );
    for word in words {
        let _ = write!(page, "\n- {word}");
    }
    page.push_str("\n\nIn the text of the campaign:\n");
    for placeholder in data {
        let example = placeholder.example.replace(['`', '\n', '\r'], " ");
        let whose = match placeholder.from {
            "tester" => "a tester's",
            _ => "invented",
        };
        let _ = write!(
            page,
            "\n- `{}`: {}, for example `{example}` ({whose})",
            mention(&placeholder.key),
            placeholder.kind
        );
    }
    page
}

fn rows(rule: &Rule, words: &[String], data: &[Placeholder]) -> Vec<Vec<String>> {
    data.iter()
        .map(|placeholder| {
            vec![
                rule.name().to_owned(),
                rule.color().as_str().to_owned(),
                words.join("; "),
                mention(&placeholder.key),
                placeholder.kind.to_owned(),
                placeholder.example.clone(),
                placeholder.from.to_owned(),
            ]
        })
        .collect()
}

fn as_json(rule: &Rule, words: &[String], data: &[Placeholder]) -> Json {
    json!({
        "event": rule.name(),
        "color": rule.color().as_str(),
        "when": words,
        "data": data.iter().map(|placeholder| json!({
            "key": placeholder.key,
            "placeholder": mention(&placeholder.key),
            "type": placeholder.kind,
            "example": placeholder.example,
            "example_from": placeholder.from,
        })).collect::<Vec<_>>(),
    })
}
