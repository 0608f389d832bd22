//! `check`: every fault of configuration, database, token and website at once, each with its next step.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ConfigOption, Ended, output};
use crate::{
    clock::Clock,
    config::{self, Config, ConfigFaults, Environment},
    crisp::{
        client::{Client, Meter, PersonRef, Tier},
        error::CrispError,
    },
    expression::nearest,
    ids::{Email, WebsiteId},
    ledger::{Ledger, LedgerError},
    telemetry::Metrics,
    users::{QueryName, Severity, Survey, UserDirectory},
};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: String,
    /// `None` is well.
    fault: Option<String>,
    hint: Option<String>,
    /// Worth a look, but nothing fails because of it.
    is_advice: bool,
    /// The same, drawn in the file it is about.
    drawn: Option<ConfigFaults>,
}

impl Finding {
    fn well(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fault: None,
            hint: None,
            is_advice: false,
            drawn: None,
        }
    }

    fn fault(what: impl Into<String>, fault: impl Into<String>, hint: Option<String>) -> Self {
        let fault = fault.into();
        // Errors carry their hint in their own text; it is shown once, as a hint.
        let (said, own): (Vec<&str>, Vec<&str>) =
            fault.lines().partition(|line| !line.starts_with("hint: "));
        let own = own
            .first()
            .and_then(|line| line.strip_prefix("hint: "))
            .map(str::to_owned);
        Self {
            what: what.into(),
            fault: Some(said.join("\n")),
            hint: own.or(hint),
            is_advice: false,
            drawn: None,
        }
    }
}

impl Finding {
    /// A fault of the file, as the configuration draws it.
    fn in_file(
        what: impl Into<String>,
        faults: &ConfigFaults,
        fault: &config::Fault,
        is_advice: bool,
    ) -> Self {
        Self {
            is_advice,
            drawn: Some(faults.only(fault)),
            ..Self::fault(what, fault.message.clone(), fault.hint.clone())
        }
    }

    fn json(&self) -> serde_json::Value {
        let place = self.drawn.as_ref().and_then(|drawn| {
            let fault = drawn.faults().first()?;
            Some(drawn.place(fault))
        });
        json!({
            "what": self.what,
            "ok": self.fault.is_none() || self.is_advice,
            "fault": self.fault,
            "hint": self.hint,
            "place": place,
        })
    }

    fn print(&self) {
        let Some(fault) = &self.fault else {
            return output::line(&format!("ok     {}", self.what));
        };
        let word = if self.is_advice { "advice" } else { "fault " };
        if let Some(drawn) = &self.drawn {
            output::line(&format!("{word} {}", self.what));
            return output::drawn(drawn);
        }
        output::line(&format!("{word} {}: {fault}", self.what));
        if let Some(hint) = &self.hint {
            output::line(&format!("       hint: {hint}"));
        }
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let environment = Environment::from_process();
    let config = match Config::load(options.config.path(), &environment) {
        Ok(config) => config,
        Err(faults) if options.json => {
            let findings: Vec<_> = faults
                .faults()
                .iter()
                .map(|fault| Finding::in_file("configuration", &faults, fault, false).json())
                .collect();
            output::line(&format!(
                "{:#}",
                json!({ "ok": false, "findings": findings })
            ));
            return Ok(Ended::Badly);
        }
        Err(faults) => return Err(faults.into()),
    };
    let metrics = Metrics::default();
    let mut findings = vec![Finding::well("configuration")];
    let warnings = config.drawn_warnings();
    findings.extend(
        warnings
            .faults()
            .iter()
            .map(|fault| Finding::in_file("configuration", &warnings, fault, true)),
    );
    // The two outside things are asked at once: one that does not answer must not delay what the other has to say.
    let (users, crisp, ledger) = tokio::join!(
        users(&config, &metrics),
        crisp(&config, &metrics),
        ledger(&config)
    );
    findings.extend(users);
    findings.extend(crisp);
    findings.extend(ledger);
    let faults = findings
        .iter()
        .filter(|finding| finding.fault.is_some() && !finding.is_advice)
        .count();
    if options.json {
        let findings: Vec<_> = findings.iter().map(Finding::json).collect();
        output::line(&format!(
            "{:#}",
            json!({ "ok": faults == 0, "findings": findings })
        ));
    } else {
        for finding in &findings {
            finding.print();
        }
    }
    Ok(if faults == 0 {
        Ended::Well
    } else {
        Ended::Badly
    })
}

async fn users(config: &Config, metrics: &Metrics) -> Vec<Finding> {
    let what = "app database";
    let directory = match UserDirectory::connect(config.users.clone(), metrics.clone()) {
        Ok(directory) => directory,
        Err(error) => {
            return vec![Finding::fault(
                what,
                error.to_string(),
                error.hint().map(Into::into),
            )];
        }
    };
    let mut survey = directory.survey().await;
    directory
        .try_sweep(&mut survey, config.rules.sweep_window())
        .await;
    let mut findings: Vec<Finding> = survey
        .faults
        .iter()
        .map(|fault| {
            let is_advice = fault.severity == Severity::Advice;
            let mut finding = Finding {
                is_advice,
                ..Finding::fault(
                    format!("{what}, `{}`", fault.path.join(".")),
                    fault.message.clone(),
                    fault.hint.clone(),
                )
            };
            // A URL mostly stands in the environment, and what is wrong with it is seldom in the file.
            if fault.path.last().is_some_and(|key| key != "url") {
                finding.drawn = Some(config.drawn(fault.clone(), is_advice));
            }
            finding
        })
        .collect();
    findings.extend(unknown_columns(config, &survey));
    if findings.iter().all(|finding| finding.is_advice) {
        findings.push(Finding::well(what));
    }
    findings
}

/// Columns that the definition reads and that no query returns. Found here and not when somebody opens a chat.
fn unknown_columns(config: &Config, survey: &Survey) -> Vec<Finding> {
    let Some(own) = survey.columns.get(&QueryName::ByEmail) else {
        // The query itself failed, and has been told of.
        return Vec::new();
    };
    let mut known: BTreeSet<String> = own.iter().map(|column| column.name.clone()).collect();
    for (query, columns) in &survey.columns {
        let prefix = match query {
            QueryName::More(name) => name.as_str(),
            QueryName::Event(_) => "event",
            _ => continue,
        };
        known.extend(
            columns
                .iter()
                .map(|column| format!("{prefix}.{}", column.name)),
        );
    }
    let mut read = config.definition.columns();
    read.extend(config.rules.columns());
    read.into_iter()
        .filter(|column| !known.contains(column))
        .map(|column| {
            let hint = nearest(&column, known.iter().map(String::as_str)).map_or_else(
                || "select it in `users.query`, or in the look-up it is read from".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            Finding::fault(
                "definition",
                format!("`{column}` is read, and no query returns it"),
                Some(hint),
            )
        })
        .collect()
}

async fn crisp(config: &Config, metrics: &Metrics) -> Vec<Finding> {
    let client = match Client::new(&config.crisp.client, metrics.clone()) {
        Ok(client) => client,
        Err(error) => return vec![Finding::fault("Crisp", error.to_string(), None)],
    };
    let meter = Meter::default();
    let mut findings = Vec::new();
    let anywhere = WebsiteId::parse(NO_WEBSITE).ok();
    // A plugin's token is tried without a website.
    let probed = config.crisp.websites.first().or(anywhere
        .as_ref()
        .filter(|_| config.crisp.client.token.tier == Tier::Plugin));
    if let Some(website) = probed {
        findings.push(told("token", client.probe(&meter, website).await));
    }
    if config.crisp.websites.is_empty() {
        findings.push(Finding {
            is_advice: true,
            ..Finding::fault(
                "websites",
                "none is named, so none was tried; `plan`, `reconcile` and `events arm` need them named",
                Some("set `crisp.websites` or CRISP_WEBSITES".to_owned()),
            )
        });
    }
    for website in &config.crisp.websites {
        findings.extend(one_website(config, &client, website).await);
    }
    findings
}

/// Stands where a plugin's token needs a website and none is named.
const NO_WEBSITE: &str = "00000000-0000-0000-0000-000000000000";
/// Nobody has this address: a contact that is not there is as good an answer as one that is.
const NOBODY: &str = "nobody@crisp-sync.invalid";

fn told(what: &str, result: Result<(), CrispError>) -> Finding {
    match result {
        Ok(()) => Finding::well(what),
        Err(error) => Finding::fault(what, error.to_string(), error.hint().map(Into::into)),
    }
}

/// Whether a website can be read in every way that a refresh needs. Production tokens enforce scopes, and one that is
/// missing shows only when it is used; those for writing cannot be tried without writing.
async fn one_website(config: &Config, client: &Client, website: &WebsiteId) -> Vec<Finding> {
    let meter = Meter::default();
    let what = format!("website {website}");
    let name = match client.website(&meter, website).await {
        Ok(found) => found.name.unwrap_or_default(),
        Err(error) => return vec![told(&what, Err(error))],
    };
    let Ok(nobody) = Email::parse(NOBODY).map(PersonRef::Email) else {
        return Vec::new();
    };
    let mut results = vec![
        client.conversations(&meter, website, 1).await.map(drop),
        client.profile(&meter, website, &nobody).await.map(drop),
        client.people_data(&meter, website, &nobody).await.map(drop),
    ];
    if config.rules.iter().next().is_some() {
        let timeline = client.people_events(&meter, website, &nobody, 1).await;
        results.push(timeline.map(drop));
    }
    let faults: Vec<Finding> = results
        .into_iter()
        .filter(|result| {
            !matches!(
                result,
                Ok(()) | Err(CrispError::PeopleNotFound | CrispError::NotFound)
            )
        })
        .map(|result| told(&what, result))
        .collect();
    if faults.is_empty() {
        return vec![Finding::well(format!("{what} ({name})"))];
    }
    faults
}

async fn ledger(config: &Config) -> Vec<Finding> {
    let what = format!("ledger `{}`", config.ledger.location);
    let now = Clock::System.now();
    match Ledger::open(config.ledger.clone(), now).await {
        Ok(ledger) => {
            let mut findings = vec![Finding::well(what.clone())];
            if let Ok(health) = ledger.health(now).await
                && health.dead > 0
            {
                findings.push(Finding::fault(
                    what.clone(),
                    format!("{} dead letters", health.dead),
                    Some("`deliveries retry --dead` revives them".to_owned()),
                ));
            }
            // A command that cannot close the ledger has read it all the same.
            drop(ledger.close().await);
            findings
        }
        Err(LedgerError::Locked { .. }) => vec![Finding::well(format!(
            "{what}, in use by a running service"
        ))],
        Err(error) => vec![Finding::fault(what, error.to_string(), None)],
    }
}
