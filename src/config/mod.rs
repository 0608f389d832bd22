//! Which settings: from a file and the environment to a [`Config`] that is right by construction.
//!
//! Two tiers. [`file::ConfigFile`] is what was written; [`Config`] is what is meant: URLs, durations, secrets, and the
//! compiled definition. Whoever holds a `Config` asks nothing again. Order of precedence: defaults, file, environment,
//! flags. Every fault is reported at once, each at its line and with its next step ([`ConfigFaults`]).
//!
//! Secrets come from the environment or from files named in it or in the configuration, never from the configuration
//! itself; neither `Debug` nor a fault shows one.

pub mod environment;
pub mod faults;
pub mod file;
pub mod quantity;

mod document;
mod offsets;
mod reading;
mod redact;
mod secrets;

pub use environment::Environment;
pub use faults::{ConfigFaults, Fault, Palette, Place};
pub mod schema;

mod resolve;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

pub use file::{ConfigFile, Mode, TriggerName};
pub use resolve::{
    crisp::CrispSettings,
    identity::IdentitySettings,
    server::{LogSettings, ServerSettings},
    watch::{AlertSettings, GapSettings},
    webhooks::WebhookSettings,
    work::{TriggerSettings, WorkerSettings},
};

use crate::{
    context::Definition, expression::DefinitionFault, ledger::LedgerSettings, lifecycle::Rules,
    users::UsersSettings,
};
use document::Document;
use resolve::Resolver;
pub use secrets::{DatabaseSetting, SecretSource, Secrets, leads_to_the_same};

/// Every setting, checked and compiled.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether anything is written to Crisp.
    pub mode: Mode,
    /// The two listeners.
    pub server: ServerSettings,
    /// How Crisp's webhooks are accepted.
    pub webhooks: WebhookSettings,
    /// Crisp's REST API.
    pub crisp: CrispSettings,
    /// Our own durable store.
    pub ledger: LedgerSettings,
    /// Age at which deliveries, traces and finished work are deleted.
    pub keep: Duration,
    /// The app's own database.
    pub users: UsersSettings,
    /// Whom to believe about an e-mail address.
    pub identity: IdentitySettings,
    /// What a conversation and a contact show.
    pub definition: Definition,
    /// Lifecycle events.
    pub rules: Rules,
    /// What makes a conversation be refreshed.
    pub triggers: TriggerSettings,
    /// How work is done and tried again.
    pub worker: WorkerSettings,
    /// How conversations that changed while nobody listened are found.
    pub gap: GapSettings,
    /// Who is told when a person is needed.
    pub alerts: AlertSettings,
    /// Log lines.
    pub log: LogSettings,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Fault>,
    /// The files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
    /// To read them again.
    pub secrets: SecretSource,
    /// The file, to draw in it what is found later.
    source: Source,
}

/// A configuration's text with its secrets blotted out.
#[derive(Clone, Default)]
struct Source {
    name: String,
    text: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Config {
    /// The warnings, to be drawn in their file.
    pub fn drawn_warnings(&self) -> ConfigFaults {
        let Source { name, text } = &self.source;
        ConfigFaults::new(name, text.clone(), self.warnings.clone()).into_warnings()
    }

    /// What was found later, such as by the database, to be drawn in the file it is about.
    pub fn drawn(&self, fault: impl Into<DefinitionFault>, is_advice: bool) -> ConfigFaults {
        let faults = Self::pointed(&self.source.name, &self.source.text, [fault.into()]);
        if is_advice {
            faults.into_warnings()
        } else {
            faults
        }
    }

    /// Reads the file at `path`.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigFaults> {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::from_text(&name, &text, environment),
            Err(error) => {
                let fault = Fault::new(
                    Place::Named(name.clone()),
                    format!("could not read the configuration: {error}"),
                )
                .hint("`crisp-sync init` prints one to start from; `--config` names another");
                Err(ConfigFaults::new(&name, String::new(), vec![fault]))
            }
        }
    }

    /// Draws faults that were found later, such as by the database, at their places in the same text.
    pub fn pointed(
        name: &str,
        text: &str,
        faults: impl IntoIterator<Item = DefinitionFault>,
    ) -> ConfigFaults {
        let placed = |fault: DefinitionFault| match Document::parse(text) {
            Ok(document) => resolve::definition::placed(&document, fault),
            Err(_) => Fault::new(Place::File, fault.to_string()),
        };
        let faults = faults.into_iter().map(placed).collect();
        ConfigFaults::new(name, redact::redact(text), faults)
    }

    /// Reads a configuration from text. Relative paths in it start at the folder of `name`.
    pub fn from_text(
        name: &str,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigFaults> {
        let faults = |faults| ConfigFaults::new(name, redact::redact(text), faults);
        let mut document = Document::parse(text).map_err(|fault| faults(vec![fault]))?;
        let (written, mut found) = reading::read::<ConfigFile>(&mut document);
        let written = written.unwrap_or_default();
        let folder = Path::new(name).parent().unwrap_or_else(|| Path::new(""));
        let mut resolver = Resolver {
            document: &document,
            environment,
            folder,
            faults: Vec::new(),
            warnings: Vec::new(),
            secret_files: Vec::new(),
        };
        let mut config = resolver.config(&written);
        config.source = Source {
            name: name.to_owned(),
            text: redact::redact(text),
        };
        config.secrets = SecretSource::new(name, text, environment);
        found.append(&mut resolver.faults);
        if found.is_empty() {
            Ok(config)
        } else {
            Err(faults(found))
        }
    }
}

/// A commented example of the file, to start from.
pub const TEMPLATE: &str = include_str!("template.toml");
