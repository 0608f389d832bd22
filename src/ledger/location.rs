//! Where a ledger is kept.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Where a ledger is kept.
#[derive(Debug, Clone)]
pub enum Location {
    /// In a SQLite file, beside which come `-wal`, `-shm` and `.lock`. One process has it at a time.
    File(PathBuf),
    /// In a PostgreSQL database, named by a URL with its password. Any number of processes share it.
    Server(SecretString),
}

impl Location {
    /// Whether a text names a server, and not a file.
    pub fn is_server(text: &str) -> bool {
        ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

/// For people: the path, or the URL without what may be secret.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Server(url) => match Url::parse(url.expose_secret()) {
                Ok(url) => {
                    write!(
                        formatter,
                        "postgres://{}",
                        url.host_str().unwrap_or_default()
                    )?;
                    if let Some(port) = url.port() {
                        write!(formatter, ":{port}")?;
                    }
                    write!(formatter, "{}", url.path())
                }
                Err(_) => write!(formatter, "postgres://"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_without_its_user_password_and_options() {
        for (url, shown) in [
            (
                "postgres://u:hunter2@db:6432/app?password=hunter2",
                "postgres://db:6432/app",
            ),
            ("postgresql://u:hunter2@db/app", "postgres://db/app"),
            (
                "postgres://u:hunter2@/app?host=/run/postgresql",
                "postgres://",
            ),
        ] {
            let location = Location::Server(url.to_owned().into());
            assert_eq!(location.to_string(), shown);
            assert!(!format!("{location:?}").contains("hunter2"));
        }
    }
}
