//! What a receiver is sent: the shape of Slack's incoming webhooks, which Mattermost, Rocket.Chat and Discord take too.
//!
//! Pure. A message is made of fixed sentences, counts, instants and names from the configuration.

use jiff::{Timestamp, Unit};
use serde_json::{Value as Json, json};

/// Slack asks for no more than this many attachments.
pub(super) const MOST: usize = 20;

/// One condition, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told<'a> {
    /// Its kind: `dead_letters`.
    pub(super) condition: &'a str,
    /// Of what; may be empty.
    pub(super) subject: &'a str,
    /// What it means.
    pub(super) detail: &'a str,
    /// Since when it holds, or held.
    pub(super) since: Timestamp,
    /// Until when it held, if it is over.
    pub(super) until: Option<Timestamp>,
}

/// The message of a service called `name`.
pub(super) fn message(name: &str, told: &[Told<'_>]) -> Json {
    let over = told.iter().filter(|told| told.until.is_some()).count();
    let began = told.len() - over;
    let mut counts = Vec::new();
    if began > 0 {
        counts.push(format!("{began} {} a person", asks(began)));
    }
    if over > 0 {
        counts.push(format!("{over} {} over", is(over)));
    }
    let lines: Vec<_> = told.iter().map(line).collect();
    json!({
        "text": escaped(&format!("{name}: {}\n{}", counts.join(", "), lines.join("\n"))),
        "attachments": told.iter().map(attachment).collect::<Vec<_>>(),
    })
}

fn asks(count: usize) -> &'static str {
    if count == 1 {
        "condition asks for"
    } else {
        "conditions ask for"
    }
}

fn is(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// What a phone shows of it.
fn line(told: &Told<'_>) -> String {
    let title = title(told);
    if told.until.is_some() {
        format!("over: {title}")
    } else {
        format!("{title}: {}", told.detail)
    }
}

fn title(told: &Told<'_>) -> String {
    let kind = told.condition.replace('_', " ");
    if told.subject.is_empty() {
        kind
    } else {
        format!("{kind} ({})", told.subject)
    }
}

fn attachment(told: &Told<'_>) -> Json {
    let mut fields = vec![
        field("condition", told.condition),
        field("since", &shown(told.since)),
    ];
    if !told.subject.is_empty() {
        fields.push(field("subject", told.subject));
    }
    if let Some(until) = told.until {
        fields.push(field("until", &shown(until)));
    }
    json!({
        "color": if told.until.is_some() { "good" } else { "danger" },
        "title": escaped(&title(told)),
        "text": escaped(told.detail),
        "fallback": escaped(&line(told)),
        "fields": fields,
        "ts": told.until.unwrap_or(told.since).as_second(),
    })
}

fn field(title: &str, value: &str) -> Json {
    json!({ "title": title, "value": escaped(value), "short": true })
}

fn shown(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

/// Slack reads `&`, `<` and `>` as the beginning of something.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_message_says_what_began_and_what_is_over() {
        let told = [
            Told {
                condition: "breaker_open",
                subject: "users",
                detail: "look-ups fail & are not tried",
                since: at("2026-03-02T09:00:00.4Z"),
                until: None,
            },
            Told {
                condition: "dead_letters",
                subject: "",
                detail: "3 pieces of work failed for good",
                since: at("2026-03-02T08:00:00Z"),
                until: Some(at("2026-03-02T09:00:00Z")),
            },
        ];
        let made = message("crisp-sync <staging>", &told);
        let shown = serde_json::to_string_pretty(&made).expect("JSON");
        insta::assert_snapshot!(shown, @r#"
        {
          "attachments": [
            {
              "color": "danger",
              "fallback": "breaker open (users): look-ups fail &amp; are not tried",
              "fields": [
                {
                  "short": true,
                  "title": "condition",
                  "value": "breaker_open"
                },
                {
                  "short": true,
                  "title": "since",
                  "value": "2026-03-02T09:00:00Z"
                },
                {
                  "short": true,
                  "title": "subject",
                  "value": "users"
                }
              ],
              "text": "look-ups fail &amp; are not tried",
              "title": "breaker open (users)",
              "ts": 1772442000
            },
            {
              "color": "good",
              "fallback": "over: dead letters",
              "fields": [
                {
                  "short": true,
                  "title": "condition",
                  "value": "dead_letters"
                },
                {
                  "short": true,
                  "title": "since",
                  "value": "2026-03-02T08:00:00Z"
                },
                {
                  "short": true,
                  "title": "until",
                  "value": "2026-03-02T09:00:00Z"
                }
              ],
              "text": "3 pieces of work failed for good",
              "title": "dead letters",
              "ts": 1772442000
            }
          ],
          "text": "crisp-sync &lt;staging&gt;: 1 condition asks for a person, 1 is over\nbreaker open (users): look-ups fail &amp; are not tried\nover: dead letters"
        }
        "#);
    }
}
