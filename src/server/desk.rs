//! What the app may ask for over HTTP, in words of its own: who performs it stands above this room.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Somebody or something the app speaks of. Exactly one of the three is said.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Whom {
    /// An address.
    pub email: Option<String>,
    /// The app's own key of a user.
    pub user_key: Option<String>,
    /// A conversation.
    pub session_id: Option<String>,
    /// Only on this website.
    pub website_id: Option<String>,
    /// Whether an erasure takes the contact, too.
    pub delete_contact: bool,
}

impl std::fmt::Debug for Whom {
    /// Names nobody.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Whom")
            .field("website_id", &self.website_id)
            .finish_non_exhaustive()
    }
}

/// Why something was not done. The texts name nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Malformed(String),
    /// Nobody knows whom or what it is about.
    #[error("{0}")]
    Unknown(String),
    /// The person was erased.
    #[error("{0}")]
    Erased(String),
    /// It could not be done now.
    #[error("{0}")]
    Unavailable(String),
}

/// Who performs it.
pub trait Desk: Send + Sync {
    /// Has a person or a conversation looked at now. Returns what was enqueued.
    fn nudge(&self, whom: Whom) -> BoxFuture<'static, Result<Json, DeskError>>;
    /// Erases a person. Returns the receipt.
    fn erase(&self, whom: Whom) -> BoxFuture<'static, Result<Json, DeskError>>;
    /// A receipt, as it stands now.
    fn receipt(&self, receipt: String) -> BoxFuture<'static, Result<Json, DeskError>>;
}
