//! The environment variables, each named once with its meaning, and the one place that reads them.
//!
//! [`Environment::from_process`] is the only reader of the process's environment; everything else is handed an
//! [`Environment`], so a test says what its environment is. Values never appear in `Debug`, in an error or in a log.

use std::{collections::BTreeMap, fmt};

use crate::expression::nearest;

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name. A secret may also come from the file that `<name>_FILE` points to.
    pub name: &'static str,
    /// What it sets, for the table in `docs/configuration.md`.
    pub meaning: &'static str,
    /// Whether it holds a secret, and so has a `_FILE` form.
    pub secret: bool,
}

macro_rules! variables {
    ($($(#[$kind:ident])? $constant:ident = $name:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: Variable = Variable { name: $name, meaning: $meaning, secret: variables!(@ $($kind)?) };
        )*
        /// Every variable we read.
        pub const ALL: &[Variable] = &[$($constant),*];
    };
    (@ secret) => { true };
    (@) => { false };
}

variables! {
    CONFIG = "CRISP_SYNC_CONFIG", "The configuration file; `crisp-sync.toml` when unset.";
    MODE = "CRISP_SYNC_MODE", "`observe` or `live`; overrides `mode`.";
    LISTEN = "CRISP_SYNC_LISTEN", "Address of the public listener; overrides `server.listen` and `PORT`.";
    PORT = "PORT", "Port of the public listener, as hosting platforms set it; overrides the port of `server.listen`.";
    PATH_PREFIX = "CRISP_SYNC_PATH_PREFIX", "Path before every public route; overrides `server.path_prefix`.";
    OPS_LISTEN = "CRISP_SYNC_OPS_LISTEN", "Address of the ops listener; overrides `server.ops_listen`.";
    #[secret] OPS_READ_TOKEN = "CRISP_SYNC_OPS_READ_TOKEN", "Bearer token that may read the ops listener.";
    #[secret] OPS_ACT_TOKEN = "CRISP_SYNC_OPS_ACT_TOKEN", "Bearer token that may also act: retry, release, erase.";
    #[secret] LEDGER = "CRISP_SYNC_LEDGER", "Where the ledger is kept: the path of a file, or a `postgres://` URL with its password; overrides `ledger.path` and `ledger.url`.";
    LOG_FORMAT = "CRISP_SYNC_LOG_FORMAT", "`auto`, `json` or `text`; overrides `log.format`.";
    LOG_FILTER = "CRISP_SYNC_LOG", "What is logged, as `tracing` directives; overrides `log.filter`.";
    #[secret] ALERTS_URL = "CRISP_SYNC_ALERTS_URL", "Where alerts go, as Slack's incoming webhooks take them; overrides `alerts.url`.";
    #[secret] PROXY = "CRISP_SYNC_PROXY", "HTTP proxy for calls to Crisp, with its password if it has one; overrides `crisp.proxy`.";
    BASE_URL = "CRISP_BASE_URL", "Where Crisp's REST API answers; overrides `crisp.base_url`.";
    TIER = "CRISP_TIER", "`plugin` or `website`; overrides `crisp.tier`.";
    WEBSITES = "CRISP_WEBSITES", "Website ids we act for, separated by commas; overrides `crisp.websites`.";
    #[secret] TOKEN_IDENTIFIER = "CRISP_TOKEN_IDENTIFIER", "Identifier of the token for Crisp's REST API.";
    #[secret] TOKEN_KEY = "CRISP_TOKEN_KEY", "Key of the token for Crisp's REST API.";
    #[secret] SIGNING_SECRETS = "CRISP_SIGNING_SECRETS", "Signing secrets of the plugin's webhooks, separated by commas or line ends; several while one is replaced.";
    #[secret] WEBSITE_KEYS = "CRISP_WEBSITE_KEYS", "Keys of unsigned website hooks, `website_id=key`, separated by commas or line ends.";
    #[secret] DATABASE_URL = "DATABASE_URL", "The app's own database, with its password; overrides `users.url`. `DATABASE_URL_<NAME>` is the same for `[users.more.<name>]`.";
}

/// What stands in the environment, and which command-line flags were set over it.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, String>,
    flags: BTreeMap<&'static str, &'static str>,
}

impl Environment {
    /// Reads the process's environment. A value that is not Unicode keeps what can be read of it.
    pub fn from_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect()
    }

    /// Sets a variable from a command-line flag: the last word, and the one a fault then names.
    #[must_use]
    pub fn with_flag(mut self, variable: Variable, flag: &'static str, value: &str) -> Self {
        self.values
            .insert(variable.name.to_owned(), value.to_owned());
        self.flags.insert(variable.name, flag);
        self
    }

    /// The value of a variable. An empty one counts as unset: that is how a platform's form clears a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.trim().is_empty())
    }

    /// What an operator typed to set this variable: the flag, or the variable's name.
    pub fn origin(&self, variable: Variable) -> &'static str {
        self.flags
            .get(variable.name)
            .copied()
            .unwrap_or(variable.name)
    }

    /// Names in the environment that look like a slip of one of ours: `(found, meant)`. Names that a cluster sets by
    /// itself (`CRISP_SYNC_SERVICE_HOST`) are far from all of ours and stay silent.
    pub fn slips(&self) -> Vec<(&str, String)> {
        let known: Vec<String> = ALL
            .iter()
            .flat_map(|variable| {
                let file = variable.secret.then(|| format!("{}_FILE", variable.name));
                [Some(variable.name.to_owned()), file]
            })
            .flatten()
            .collect();
        self.values
            .keys()
            .filter(|name| name.starts_with("CRISP_") && !known.contains(name))
            .filter_map(|name| {
                let meant = nearest(name, known.iter().map(String::as_str))?;
                Some((name.as_str(), meant.to_owned()))
            })
            .collect()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self {
            values: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            flags: BTreeMap::new(),
        }
    }
}

/// Names only: any value may be a secret.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_set()
            .entries(
                self.values
                    .keys()
                    .filter(|name| ALL.iter().any(|variable| name.starts_with(variable.name))),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_named_once() {
        let mut names: Vec<_> = ALL.iter().map(|variable| variable.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn a_slip_is_noticed_and_a_cluster_is_not() {
        let environment = Environment::from_iter([
            ("CRISP_TOKEN_IDENTIFER", "x"),
            ("CRISP_SYNC_SERVICE_HOST", "10.0.0.1"),
            ("CRISP_TOKEN_KEY_FILE", "/run/key"),
        ]);
        assert_eq!(
            environment.slips(),
            [("CRISP_TOKEN_IDENTIFER", "CRISP_TOKEN_IDENTIFIER".to_owned())]
        );
    }

    #[test]
    fn debug_shows_names_and_no_value() {
        let environment = Environment::from_iter([("DATABASE_URL", "postgres://u:hunter2@db/app")]);
        assert_eq!(format!("{environment:?}"), r#"{"DATABASE_URL"}"#);
    }

    #[test]
    fn an_empty_value_is_unset_and_a_flag_is_named_as_the_origin() {
        let environment = Environment::from_iter([("CRISP_SYNC_MODE", " ")]);
        assert_eq!(environment.get(MODE.name), None);
        let environment = environment.with_flag(MODE, "--mode", "live");
        assert_eq!(environment.get(MODE.name), Some("live"));
        assert_eq!(environment.origin(MODE), "--mode");
    }
}
