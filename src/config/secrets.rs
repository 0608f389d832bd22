//! The secrets once more: read again from their files, as the configuration that is in force names them.
//!
//! The configuration's text and the environment are kept as they were at the start. A draft that somebody is writing into
//! the file in the meantime must not take effect by the way.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    ConfigFaults, ConfigFile, Environment, WebhookSettings, document::Document, reading, redact,
    resolve::Resolver,
};
use crate::{crisp::client::ApiToken, ledger::Location};

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
    /// The URLs of databases.
    pub databases: BTreeMap<DatabaseSetting, SecretString>,
}

/// A setting that is the URL of a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseSetting {
    /// `ledger.url`.
    Ledger,
    /// `users.url`.
    Users,
    /// `users.more.<name>.url`.
    More(String),
}

impl fmt::Display for DatabaseSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger => formatter.write_str("ledger.url"),
            Self::Users => formatter.write_str("users.url"),
            Self::More(name) => write!(formatter, "users.more.{name}.url"),
        }
    }
}

/// Whether two URLs differ in the user and the password alone, and lead to one database.
pub fn leads_to_the_same(one: &SecretString, other: &SecretString) -> bool {
    without_user(one.expose_secret()) == without_user(other.expose_secret())
}

/// What a URL says of its database.
#[derive(PartialEq, Eq)]
struct Place<'url> {
    scheme: &'url str,
    host_and_path: &'url str,
    options: Vec<&'url str>,
    /// PostgreSQL takes the database that is called like the user where none is named.
    called_like: Option<&'url str>,
}

/// Not every URL that a driver takes has a host, so this is not left to a parser of URLs.
fn without_user(url: &str) -> Place<'_> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (user, host_at) = match authority.rfind('@') {
        Some(at) => (authority[..at].split(':').next(), at + 1),
        None => (None, 0),
    };
    let options = || options.split('&').filter(|option| !option.is_empty());
    // The last one wins, as with the drivers.
    let option = |name: &str| {
        let mut values = options().filter_map(|option| option.split_once('='));
        values.rfind(|(key, _)| *key == name)
    };
    let is_named = !path.trim_matches('/').is_empty()
        || option("dbname").is_some_and(|(_, name)| !name.is_empty());
    let user = option("user").map(|(_, user)| user).or(user);
    Place {
        scheme,
        host_and_path: &place[host_at..],
        options: options()
            .filter(|option| !option.starts_with("user=") && !option.starts_with("password="))
            .collect(),
        called_like: user.filter(|_| scheme.starts_with("postgres") && !is_named),
    }
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
        let mut databases = resolver.users_urls(&written.users);
        if let Location::Server(url) = resolver.location(&written.ledger) {
            databases.insert(DatabaseSetting::Ledger, url);
        }
        let secrets = Secrets {
            token: resolver.crisp(&written.crisp).client.token,
            webhooks: resolver.webhooks(&written.webhooks),
            databases,
        };
        if resolver.faults.is_empty() {
            Ok(secrets)
        } else {
            Err(faults(resolver.faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_or_password_leads_to_the_same_database() {
        const ONE: &str = "postgres://app:old@db:5432/app?sslmode=require&password=old";
        for (other, is_the_same) in [
            (
                "postgres://app:new@db:5432/app?sslmode=require&password=new",
                true,
            ),
            ("postgres://other@db:5432/app?sslmode=require", true),
            ("postgres://db:5432/app?user=app&sslmode=require", true),
            ("postgres://app:old@other:5432/app?sslmode=require", false),
            ("postgres://app:old@db:5432/other?sslmode=require", false),
            ("postgres://app:old@db:5432/app?sslmode=disable", false),
            ("mysql://app:old@db:5432/app?sslmode=require", false),
            ("postgres://app:old@db:5432/app@2?sslmode=require", false),
            ("", false),
        ] {
            let same = leads_to_the_same(&ONE.to_owned().into(), &other.to_owned().into());
            assert_eq!(same, is_the_same, "{other}");
        }
        let (bare, with) = ("postgres://db/app", "postgres://db/app?password=new");
        assert!(leads_to_the_same(
            &bare.to_owned().into(),
            &with.to_owned().into()
        ));
    }

    /// PostgreSQL takes the user's name for the database where the URL names none; the others do not.
    #[test]
    fn another_user_may_lead_to_a_database_of_that_name() {
        for (one, other, is_the_same) in [
            ("postgres://app:old@db", "postgres://app:new@db", true),
            ("postgres://app@db", "postgres://other@db", false),
            ("postgres://app@db/", "postgres://other@db/", false),
            ("postgresql://app@db/?a=b", "postgresql://b@db/?a=b", false),
            ("postgres://app@db", "postgres://db", false),
            ("postgres://db?user=app", "postgres://db?user=other", false),
            ("postgres://db?user=app", "postgres://app@db", true),
            ("postgres://x@db?user=app", "postgres://y@db?user=app", true),
            (
                "postgres://app@db?dbname=d",
                "postgres://b@db?dbname=d",
                true,
            ),
            (
                "postgres://app@db?dbname=",
                "postgres://b@db?dbname=",
                false,
            ),
            ("mysql://app@db", "mysql://other@db", true),
        ] {
            let same = leads_to_the_same(&one.to_owned().into(), &other.to_owned().into());
            assert_eq!(same, is_the_same, "{one} {other}");
        }
    }
}
