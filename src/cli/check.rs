//! `check`: every fault of configuration, database, token and website at once, each with its next step.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ConfigOption, Ended, output};
use crate::{
    clock::Clock,
    config::Config,
    crisp::client::{Client, Meter},
    expression::nearest,
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
}

impl Finding {
    fn well(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fault: None,
            hint: None,
            is_advice: false,
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
        }
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<Ended> {
    let config = options.config.load()?;
    let metrics = Metrics::default();
    let mut findings = vec![Finding::well("configuration")];
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
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({ "what": finding.what, "ok": finding.fault.is_none() || finding.is_advice, "fault": finding.fault, "hint": finding.hint })
            })
            .collect();
        output::line(&format!(
            "{:#}",
            json!({ "ok": faults == 0, "findings": findings })
        ));
    } else {
        for finding in &findings {
            match &finding.fault {
                None => output::line(&format!("ok     {}", finding.what)),
                Some(fault) => {
                    let word = if finding.is_advice {
                        "advice"
                    } else {
                        "fault "
                    };
                    output::line(&format!("{word} {}: {fault}", finding.what));
                    if let Some(hint) = &finding.hint {
                        output::line(&format!("       hint: {hint}"));
                    }
                }
            }
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
    let survey = directory.survey().await;
    let mut findings: Vec<Finding> = survey
        .faults
        .iter()
        .map(|fault| Finding {
            what: format!("{what}, `{}`", fault.path.join(".")),
            fault: Some(fault.message.clone()),
            hint: fault.hint.clone(),
            is_advice: fault.severity == Severity::Advice,
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
    if let Some(website) = config.crisp.websites.first() {
        findings.push(match client.probe(&meter, website).await {
            Ok(()) => Finding::well("token"),
            Err(error) => Finding::fault("token", error.to_string(), error.hint().map(Into::into)),
        });
    }
    for website in &config.crisp.websites {
        let what = format!("website {website}");
        let name = match client.website(&meter, website).await {
            Ok(found) => found.name.unwrap_or_default(),
            Err(error) => {
                findings.push(Finding::fault(
                    what,
                    error.to_string(),
                    error.hint().map(Into::into),
                ));
                continue;
            }
        };
        // Production tokens enforce scopes, and one that is missing shows up only when it is used.
        match client.conversations(&meter, website, 1).await {
            Ok(_) => findings.push(Finding::well(format!("{what} ({name})"))),
            Err(error) => findings.push(Finding::fault(
                what,
                error.to_string(),
                error.hint().map(Into::into),
            )),
        }
    }
    findings
}

async fn ledger(config: &Config) -> Vec<Finding> {
    let what = format!("ledger `{}`", config.ledger.path.display());
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
