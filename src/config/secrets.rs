//! The secrets once more: read again from their files, as the configuration that is in force names them.
//!
//! The configuration's text and the environment are kept as they were at the start. A draft that somebody is writing into
//! the file in the meantime must not take effect by the way.

use std::{fmt, path::Path, sync::Arc};

use super::{
    ConfigFaults, ConfigFile, Environment, WebhookSettings, document::Document, reading, redact,
    resolve::Resolver,
};
use crate::crisp::client::ApiToken;

/// Where secrets come from. Clones share it.
#[derive(Clone, Default)]
pub struct SecretSource(Arc<Kept>);

#[derive(Default)]
struct Kept {
    name: String,
    text: String,
    environment: Environment,
}

/// Whatever it holds may be secret.
impl fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.name)
    }
}

/// The secrets that may change while the service runs.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The credentials for Crisp's API.
    pub token: ApiToken,
    /// What webhooks are checked with.
    pub webhooks: WebhookSettings,
}

impl SecretSource {
    pub(super) fn new(name: &str, text: &str, environment: &Environment) -> Self {
        Self(Arc::new(Kept {
            name: name.to_owned(),
            text: text.to_owned(),
            environment: environment.clone(),
        }))
    }

    /// Reads the secrets again. The faults are those of the files: everything else was right at the start.
    pub fn read(&self) -> Result<Secrets, ConfigFaults> {
        let Kept {
            name,
            text,
            environment,
        } = self.0.as_ref();
        let faults = |faults| ConfigFaults::new(name, redact::redact(text), faults);
        let mut document = Document::parse(text).map_err(|fault| faults(vec![fault]))?;
        let (written, _) = reading::read::<ConfigFile>(&mut document);
        let written = written.unwrap_or_default();
        let mut resolver = Resolver {
            document: &document,
            environment,
            folder: Path::new(name).parent().unwrap_or_else(|| Path::new("")),
            faults: Vec::new(),
            warnings: Vec::new(),
            secret_files: Vec::new(),
        };
        let secrets = Secrets {
            token: resolver.crisp(&written.crisp).client.token,
            webhooks: resolver.webhooks(&written.webhooks),
        };
        if resolver.faults.is_empty() {
            Ok(secrets)
        } else {
            Err(faults(resolver.faults))
        }
    }
}
