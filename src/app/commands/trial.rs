//! `events test`: one real event to one tester, shown before it is sent.

use anyhow::Context as _;
use serde_json::{Value as Json, json};

use super::{super::Service, cheatsheet::invented};
use crate::{
    data::{DataMap, DataValue},
    ids::{Email, WebsiteId},
    lifecycle::{
        Rule,
        limits::{REF, TEST_REF},
        new_trial_ref, trial,
    },
    reconcile::{Mode, TrialSent},
    server::command::Answer,
};

impl Service {
    pub(super) async fn test_event(
        &self,
        event: &str,
        to: &str,
        website: Option<&str>,
        shown: Option<Json>,
    ) -> anyhow::Result<Answer> {
        let email = self.tester(to, "it gets nothing")?;
        self.known_rules(Some(event))?;
        let rule = self.rules.rule(event).context("the rule is known")?;
        let website = self.one_website(website)?;
        match shown {
            None => self.show_trial(rule, &email, website).await,
            Some(shown) => self.send_trial(rule, &email, website, shown).await,
        }
    }

    async fn show_trial(
        &self,
        rule: &Rule,
        email: &Email,
        website: &WebsiteId,
    ) -> anyhow::Result<Answer> {
        let now = self.clock.now();
        let found = self.reconciler.trial_data(rule, email, now).await?;
        let from = match (&found.data, found.known) {
            (Some(_), _) => "the tester's own row fills it",
            (None, true) => "the tester has no row of the event's query: its values are invented",
            (None, false) => "the app does not know the tester: its values are invented",
        };
        let data = found.data.unwrap_or_else(|| {
            rule.data_sources()
                .map(|(key, _)| (key.to_owned(), DataValue::from(invented(key))))
                .collect()
        });
        let reference = new_trial_ref(&rand::random::<[u8; 9]>());
        let payload = json!({
            "text": rule.name(),
            "data": trial(data, &reference, now),
            "color": rule.color().as_str(),
        });
        let to = format!("POST /website/{website}/people/events/{}", email.as_str());
        Ok(Answer {
            ok: true,
            lines: vec![to, format!("{payload:#}"), format!("({from})")],
            table: None,
            json: payload,
        })
    }

    async fn send_trial(
        &self,
        rule: &Rule,
        email: &Email,
        website: &WebsiteId,
        shown: Json,
    ) -> anyhow::Result<Answer> {
        let data: DataMap = serde_json::from_value(shown["data"].clone())
            .context("what was shown is no payload of this version")?;
        let is_trial = data.get(REF).is_some_and(
            |reference| matches!(reference, DataValue::Text(text) if text.starts_with(TEST_REF)),
        );
        anyhow::ensure!(is_trial, "what was shown is not marked as a test");
        if self.mode != Mode::Live {
            return Ok(Answer::failed(
                "nothing was sent: the mode is `observe`\nhint: `mode = \"live\"` in the configuration lets it write to Crisp",
            ));
        }
        let label = (rule.name(), rule.color().as_str());
        let sent = self
            .reconciler
            .send_trial(website, email, label, &data, &self.clock)
            .await
            .context(
                "the test was not confirmed; its timeline in Crisp shows whether it arrived",
            )?;
        let contact_created = match sent {
            TrialSent::Sent { contact_created } => contact_created,
            TrialSent::Erased => {
                return Ok(Answer::failed(
                    "nothing was sent: this address was erased\nhint: `crisp-sync erase --lift` ends that",
                ));
            }
            TrialSent::NoContact => {
                return Ok(Answer::failed(
                    "nothing was sent: Crisp has no contact with this address, and `lifecycle.create_contacts` is off\nhint: open a chat as the tester once, or add the contact in Crisp",
                ));
            }
        };
        let made = if contact_created {
            "; a contact was made for it"
        } else {
            ""
        };
        Ok(Answer::said(
            format!(
                "Crisp took it{made}. It counts for nothing: what really happens is sent as ever"
            ),
            json!({ "sent": shown, "contact_created": contact_created }),
        ))
    }

    /// The website that was named, or the only one there is.
    fn one_website(&self, named: Option<&str>) -> anyhow::Result<&WebsiteId> {
        let websites = self.named_websites()?;
        match (named, websites) {
            (None, [website]) => Ok(website),
            (None, _) => anyhow::bail!("several websites are named\nhint: say which with --website"),
            (Some(named), _) => websites
                .iter()
                .find(|website| website.as_str() == named)
                .with_context(|| {
                    format!("website `{named}` is not served\nhint: `crisp.websites` names those that are")
                }),
        }
    }
}
