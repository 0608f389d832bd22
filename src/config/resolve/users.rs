//! `[users]`, as meant.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    super::{
        environment,
        faults::{Fault, Place},
        file::{MoreFile, UsersFile},
        secrets::DatabaseSetting,
    },
    Resolver,
    definition::placed,
    owned,
};
use crate::{
    expression::DefinitionFault,
    users::{CacheSettings, MoreSettings, Severity, UsersFault, UsersSettings},
};

const URL_HINT: &str = "it takes `postgres://user@host/database`, `mysql://user@host/database` or `sqlite:///path/to/file`";

impl Resolver<'_> {
    pub(in super::super) fn users(
        &mut self,
        written: &UsersFile,
        events: BTreeMap<String, String>,
        sweep: Option<String>,
    ) -> UsersSettings {
        let url = self.users_url(written);
        let query = self.query(&["users", "query"], written.query.as_deref());
        let key_hint = "add a condition such as `WHERE id = :key`";
        let email_hint = "add a condition such as `WHERE lower(email) = :email`";
        for (name, query, parameter, hint) in [
            ("query", &written.query, ":email", email_hint),
            ("query_by_key", &written.query_by_key, ":key", key_hint),
        ] {
            if query
                .as_ref()
                .is_some_and(|query| !query.contains(parameter))
            {
                self.fault(
                    &["users", name],
                    format!("the query does not use `{parameter}`, so it cannot find anybody"),
                    hint,
                );
            }
        }
        let timezone = TimeZone::get(&written.timezone).unwrap_or_else(|error| {
            self.fault(
                &["users", "timezone"],
                format!("there is no such time zone: {error}"),
                "it takes an IANA name such as `UTC` or `Europe/Paris`",
            );
            TimeZone::UTC
        });
        let settings = UsersSettings {
            url,
            query,
            key: written.key.clone(),
            email: written.email.clone(),
            query_by_key: written.query_by_key.clone(),
            more: self.more(&written.more),
            events,
            sweep,
            statement_timeout: written.statement_timeout.get(),
            acquire_timeout: written.acquire_timeout.get(),
            pool_size: written.connections,
            pooler: written.pooler,
            timezone,
            cache: CacheSettings {
                found: written.cache.found.get(),
                not_found: written.cache.not_found.get(),
                capacity: written.cache.capacity.get(),
            },
        };
        self.sql(&settings);
        settings
    }

    /// What the directory itself says of its settings. Without a URL nobody knows the dialect, and a fault of a URL has
    /// been noted where it came from.
    fn sql(&mut self, settings: &UsersSettings) {
        if !is_database(settings.url.expose_secret()) {
            return;
        }
        for fault in settings.faults() {
            let last = fault.path.last().map_or("", String::as_str);
            let path = self.document.indexed(fault.path.clone());
            // A query that is missing, and a URL, have been dealt with where they are read.
            if last == "url" || last == "query" && self.document.node(&path).is_none() {
                continue;
            }
            let severity = fault.severity;
            let fault = placed(self.document, fault.into());
            match severity {
                Severity::Error => self.faults.push(fault),
                Severity::Advice => self.warnings.push(fault),
            }
        }
    }

    /// The URLs of the app's databases.
    pub(in super::super) fn users_urls(
        &mut self,
        written: &UsersFile,
    ) -> BTreeMap<DatabaseSetting, SecretString> {
        let mut urls = BTreeMap::from([(DatabaseSetting::Users, self.users_url(written))]);
        for (name, look_up) in &written.more {
            let url = self.more_url(name, look_up);
            urls.extend(url.map(|url| (DatabaseSetting::More(name.clone()), url)));
        }
        urls
    }

    fn users_url(&mut self, written: &UsersFile) -> SecretString {
        if written.url.is_some() && written.url_file.is_some() {
            self.fault(
                &["users", "url_file"],
                "`users.url` is set as well",
                "keep one of the two",
            );
        }
        let before = self.faults.len();
        let file = written
            .url_file
            .as_deref()
            .map(|path| (path, &["users", "url_file"][..]));
        if let Some(url) = self.secret(environment::DATABASE_URL, file) {
            if !is_database(url.expose_secret()) {
                let named = match self.environment.get(environment::DATABASE_URL.name) {
                    Some(_) => Place::Named(
                        self.environment
                            .origin(environment::DATABASE_URL)
                            .to_owned(),
                    ),
                    None => Place::Named(format!("{}_FILE", environment::DATABASE_URL.name)),
                };
                self.faults
                    .push(Fault::new(named, "this is no database URL").hint(URL_HINT));
            }
            return url;
        }
        if let Some(url) = &written.url {
            return self.written_url(&["users", "url"], url, environment::DATABASE_URL.name);
        }
        if self.faults.len() == before {
            self.missing(
                &["users", "url"],
                "set DATABASE_URL, or `users.url` without a password",
            );
        }
        SecretString::default()
    }

    /// A URL of the file: it may hold no password.
    fn written_url(&mut self, path: &[&str], url: &str, variable: &str) -> SecretString {
        let password = Url::parse(url).is_ok_and(|url| url.password().is_some());
        if password || url.contains("password=") {
            self.fault(
                path,
                format!("`{}` holds a password", path.join(".")),
                &format!("set {variable} to the whole URL, or leave the password out of the file"),
            );
        } else if !is_database(url) {
            self.fault(path, "this is no database URL", URL_HINT);
        }
        SecretString::from(url)
    }

    fn query(&mut self, path: &[&str], written: Option<&str>) -> String {
        match written {
            Some(query) if !query.trim().is_empty() => {}
            _ => self.missing(
                path,
                "write the SELECT that finds a user, with `:email` in its condition",
            ),
        }
        written.unwrap_or_default().to_owned()
    }

    fn more(&mut self, written: &BTreeMap<String, MoreFile>) -> BTreeMap<String, MoreSettings> {
        let mut more = BTreeMap::new();
        for (name, look_up) in written {
            let identifier = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !name.as_bytes().first().is_none_or(u8::is_ascii_digit);
            // `DATABASE_URL_FILE` is the file of the main URL; the others are words of the language.
            let taken = ["file", "event", "accounts", "accounts_count", "ambiguous"]
                .contains(&name.as_str());
            if !identifier || taken {
                let place = self.document.key_place(&owned(&["users", "more", name]));
                let message = if taken {
                    format!("`{name}` means something else")
                } else {
                    format!("`{name}` cannot be a name in templates")
                };
                self.faults.push(
                    Fault::new(place, message).hint("take another name of letters, digits and `_`"),
                );
            }
            let query = match &look_up.query {
                Some(query) if !query.trim().is_empty() => query.clone(),
                _ => {
                    self.missing(
                        &["users", "more", name, "query"],
                        "write the SELECT; the first row's columns are its parameters, such as `:id`",
                    );
                    String::new()
                }
            };
            let url = self.more_url(name, look_up);
            more.insert(name.clone(), MoreSettings { url, query });
        }
        more
    }

    fn more_url(&mut self, name: &str, written: &MoreFile) -> Option<SecretString> {
        let variable = format!(
            "{}_{}",
            environment::DATABASE_URL.name,
            name.to_ascii_uppercase()
        );
        if let Some(url) = self.named_secret(&variable, None) {
            if !is_database(url.expose_secret()) {
                self.faults.push(
                    Fault::new(Place::Named(variable), "this is no database URL").hint(URL_HINT),
                );
            }
            return Some(url);
        }
        let url = written.url.as_deref()?;
        Some(self.written_url(&["users", "more", name, "url"], url, &variable))
    }
}

/// What the directory finds wrong has the same shape as what a definition does.
impl From<UsersFault> for DefinitionFault {
    fn from(fault: UsersFault) -> Self {
        Self {
            path: fault.path,
            on_key: false,
            range: fault.range,
            message: fault.message,
            hint: fault.hint,
        }
    }
}

fn is_database(url: &str) -> bool {
    [
        "postgres://",
        "postgresql://",
        "mysql://",
        "mariadb://",
        "sqlite:",
    ]
    .iter()
    .any(|scheme| url.starts_with(scheme))
}
