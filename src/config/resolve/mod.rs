//! From what was written to what is meant.
//!
//! Each section has a file here that turns it, with the environment over it, into settings. None stops at a fault: it
//! notes it and goes on with something harmless, and the [`Config`] is only handed out when no fault was
//! noted.

pub(super) mod crisp;
pub(super) mod definition;
pub(super) mod identity;
pub(super) mod server;
pub(super) mod users;
pub(super) mod watch;
pub(super) mod webhooks;
pub(super) mod work;

use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{
    Config, ConfigFile,
    document::Document,
    environment::{self, Environment, Variable},
    faults::{Fault, Place},
};

/// What resolving looks at and what it finds.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) environment: &'a Environment,
    /// The folder that relative paths of the file start at.
    pub(super) folder: &'a Path,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    /// The files that secrets were read from: whoever waits for a new secret looks at them again.
    pub(super) secret_files: Vec<PathBuf>,
}

impl Resolver<'_> {
    /// Every section. What it returns counts only if no fault was noted.
    pub(super) fn config(&mut self, written: &ConfigFile) -> Config {
        for (found, meant) in self.environment.slips() {
            let warning = Fault::new(
                Place::Named(found.to_owned()),
                "nothing reads this variable",
            )
            .hint(format!("did you mean {meant}?"));
            self.warnings.push(warning);
        }
        let mode = self.overridden(environment::MODE, written.mode, server::word);
        let crisp = self.crisp(&written.crisp);
        let worker = self.worker(&written.worker, crisp.client.timeout);
        self.sweep(written, &crisp.websites);
        Config {
            mode,
            server: self.server(&written.server),
            webhooks: self.webhooks(&written.webhooks),
            crisp,
            ledger: self.ledger(written),
            keep: written.ledger.keep.get(),
            users: self.users(
                &written.users,
                Self::event_queries(written),
                written.lifecycle.query.clone(),
            ),
            identity: self.identity(&written.identity),
            definition: self.definition(written),
            rules: self
                .rules(written)
                .with_answers_kept_for(written.users.cache.found.get()),
            triggers: self.triggers(&written.triggers),
            worker,
            gap: self.gap(&written.gap),
            alerts: self.alerts(&written.alerts),
            log: self.log(&written.log),
            warnings: std::mem::take(&mut self.warnings),
            secret_files: std::mem::take(&mut self.secret_files),
            secrets: super::SecretSource::default(),
            source: super::Source::default(),
        }
    }

    /// Notes a fault of the value at `path`.
    pub(super) fn fault(&mut self, path: &[&str], message: impl Into<String>, hint: &str) {
        let place = self.place(path);
        self.faults.push(Fault::new(place, message).hint(hint));
    }

    /// Notes that a mandatory value is missing.
    pub(super) fn missing(&mut self, path: &[&str], hint: &str) {
        let steps = owned(path);
        let place = match steps.split_last() {
            Some((_, parent)) if self.document.node(parent).is_some() => {
                self.document.place(parent)
            }
            _ => Place::File,
        };
        self.faults
            .push(Fault::new(place, format!("`{}` is missing", path.join("."))).hint(hint));
    }

    /// Notes something that is allowed and probably not meant.
    pub(super) fn warn(&mut self, path: &[&str], message: impl Into<String>, hint: &str) {
        let place = self.place(path);
        self.warnings.push(Fault::new(place, message).hint(hint));
    }

    fn place(&self, path: &[&str]) -> Place {
        self.document.place(&owned(path))
    }

    /// A path as the file means it.
    pub(super) fn located(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// What a variable says, read by `parse`; `written` when it is not set.
    pub(super) fn overridden<T>(
        &mut self,
        variable: Variable,
        written: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        match self
            .environment
            .get(variable.name)
            .map(str::trim)
            .map(parse)
        {
            None => written,
            Some(Ok(value)) => value,
            Some(Err(hint)) => {
                self.faults.push(
                    Fault::new(
                        Place::Named(self.environment.origin(variable).to_owned()),
                        "the value cannot be used",
                    )
                    .hint(hint),
                );
                written
            }
        }
    }

    /// A secret: from its variable, else the file that `<variable>_FILE` names, else the file that the configuration
    /// names at `key`.
    pub(super) fn secret(
        &mut self,
        variable: Variable,
        written: Option<(&Path, &[&str])>,
    ) -> Option<SecretString> {
        self.named_secret(variable.name, written)
    }

    /// The same for a variable whose name the file decides.
    pub(super) fn named_secret(
        &mut self,
        variable: &str,
        written: Option<(&Path, &[&str])>,
    ) -> Option<SecretString> {
        let file_name = format!("{variable}_FILE");
        let file = self.environment.get(&file_name).map(str::to_owned);
        let value = self.environment.get(variable).map(str::to_owned);
        match (value, file, written) {
            (Some(_), Some(_), _) => {
                self.faults.push(
                    Fault::new(
                        Place::Named(variable.to_owned()),
                        format!("it is set together with {file_name}"),
                    )
                    .hint("keep one of the two"),
                );
                None
            }
            (Some(value), None, _) => Some(value.trim().to_owned().into()),
            (None, Some(path), _) => self.secret_file(Path::new(&path), Place::Named(file_name)),
            (None, None, Some((path, key))) => {
                let place = self.place(key);
                self.secret_file(&self.located(path), place)
            }
            (None, None, None) => None,
        }
    }

    /// Reads a secret from a file, without the line end that editors leave behind.
    pub(super) fn secret_file(&mut self, path: &Path, place: Place) -> Option<SecretString> {
        let read = fs::read_to_string(path);
        self.secret_files.push(path.to_owned());
        let message = match read {
            Ok(text) if !text.trim().is_empty() => return Some(text.trim().to_owned().into()),
            Ok(_) => format!("the secret file `{}` is empty", path.display()),
            Err(error) => format!(
                "could not read the secret file `{}`: {error}",
                path.display()
            ),
        };
        let fault = Fault::new(place, message)
            .hint("the file holds the secret alone and must be readable by this user");
        self.faults.push(fault);
        None
    }
}

pub(super) fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|step| (*step).to_owned()).collect()
}

/// The parts of a list in an environment variable.
pub(super) fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
}
