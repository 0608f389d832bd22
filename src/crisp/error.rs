//! How a call to Crisp fails, by what the caller does next.
//!
//! Two questions matter: what now ([`CrispError::verdict`]), and may Crisp have applied the request all the same
//! ([`CrispError::is_ambiguous`])? Only a connection that never came about, and a refusal that Crisp itself worded, are a
//! certain no. No text here holds an address, a token, a path or a body: routes and reasons are fixed words.

use std::time::Duration;

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
pub enum CrispError {
    /// No connection came about, so Crisp saw nothing.
    #[error("could not connect to Crisp")]
    NotSent {
        /// What the connection failed on.
        #[source]
        source: reqwest::Error,
    },
    /// The request left, and no complete answer came back: a timeout, a reset, a body cut short.
    #[error("Crisp did not answer")]
    NoAnswer {
        /// What happened to the connection.
        #[source]
        source: reqwest::Error,
    },
    /// Crisp, or something before it, failed.
    #[error("Crisp answered {status}")]
    Server {
        /// 500 to 599.
        status: u16,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Something answered with a redirect. We never follow: the token would go where it should not.
    #[error("Crisp answered {status}, a redirect, which is not followed")]
    Redirected {
        /// 300 to 399.
        status: u16,
    },
    /// The token is unknown, revoked, or used under another tier.
    #[error("Crisp refused the token")]
    Unauthorized,
    /// The quota is used up, or we are too fast.
    #[error("Crisp answered {status}: the quota or a rate limit is used up")]
    Throttled {
        /// 420, 423 or 429.
        status: u16,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The workspace's Crisp plan does not include this.
    #[error("Crisp asks for a higher plan of the workspace")]
    PlanRequired,
    /// The token lacks a scope.
    #[error("Crisp forbids this: the token needs the scope `{scope}`")]
    Forbidden {
        /// The scope that the route needs.
        scope: &'static str,
    },
    /// The plugin is not installed on the website.
    #[error("the plugin is not installed on this website")]
    NotSubscribed,
    /// There is no such contact. Crisp said so itself.
    #[error("Crisp has no such contact")]
    PeopleNotFound,
    /// There is no such conversation. Crisp said so itself.
    #[error("Crisp has no such conversation")]
    ConversationNotFound,
    /// Nothing answers at this path. That proves nothing about a contact or a conversation.
    #[error("nothing answers at this path of Crisp's API")]
    NotFound,
    /// It exists already, or another contact has that address.
    #[error("Crisp answered 409: it exists already")]
    Conflict,
    /// Crisp does not take the request as it is.
    #[error("Crisp does not take the request: {status} `{reason}`")]
    Invalid {
        /// 400 to 499.
        status: u16,
        /// Crisp's code for it: `invalid_data`.
        reason: String,
    },
    /// An answer that cannot be understood: not Crisp's JSON, or too long.
    #[error("Crisp's answer ({status}) cannot be read: {why}")]
    Unreadable {
        /// The status it came with.
        status: u16,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, after that long or at our own pace.
    Retry {
        /// How long Crisp asks us to wait.
        after: Option<Duration>,
    },
    /// No call with this token will succeed for a while.
    PauseToken {
        /// How long Crisp asks us to wait.
        after: Option<Duration>,
        /// A short code.
        reason: &'static str,
    },
    /// No call for this website will succeed until somebody changes something.
    PauseWebsite {
        /// A short code.
        reason: &'static str,
    },
    /// The same, as far as this kind of call goes: a plan or a scope that is missing for contacts says nothing about
    /// conversations.
    PauseKind {
        /// A short code.
        reason: &'static str,
    },
    /// What the call was about is no longer there.
    Gone,
    /// The same request will never succeed.
    Invalid,
}

impl CrispError {
    /// What to do next.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NotSent { .. }
            | Self::NoAnswer { .. }
            | Self::Redirected { .. }
            | Self::NotFound
            | Self::Conflict
            | Self::Unreadable { .. } => Verdict::Retry { after: None },
            Self::Server { retry_after, .. } => Verdict::Retry {
                after: *retry_after,
            },
            Self::Unauthorized => Verdict::PauseToken {
                after: None,
                reason: "unauthorized",
            },
            Self::Throttled { retry_after, .. } => Verdict::PauseToken {
                after: *retry_after,
                reason: "throttled",
            },
            Self::PlanRequired => Verdict::PauseKind {
                reason: "plan_required",
            },
            Self::Forbidden { .. } => Verdict::PauseKind {
                reason: "forbidden",
            },
            Self::NotSubscribed => Verdict::PauseWebsite {
                reason: "not_subscribed",
            },
            Self::PeopleNotFound | Self::ConversationNotFound => Verdict::Gone,
            Self::Invalid { .. } => Verdict::Invalid,
        }
    }

    /// Whether Crisp may have applied the request although it failed.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::NoAnswer { .. }
            | Self::Server { .. }
            | Self::Redirected { .. }
            | Self::NotFound
            | Self::Unreadable { .. } => true,
            Self::NotSent { .. }
            | Self::Unauthorized
            | Self::Throttled { .. }
            | Self::PlanRequired
            | Self::Forbidden { .. }
            | Self::NotSubscribed
            | Self::PeopleNotFound
            | Self::ConversationNotFound
            | Self::Conflict
            | Self::Invalid { .. } => false,
        }
    }

    /// Whether it was not Crisp that spoke, or not in a way that means anything: then the next call, whatever it is about,
    /// will probably end the same way.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::NotSent { .. }
                | Self::NoAnswer { .. }
                | Self::Server { .. }
                | Self::Redirected { .. }
                | Self::NotFound
                | Self::Unreadable { .. }
        )
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotSent { .. } => {
                "check that this machine reaches the API's address, or set a proxy"
            }
            Self::Redirected { .. } | Self::NotFound => {
                "check the API's base URL; it ends in `/v1/`, and nothing before it may redirect"
            }
            Self::Unauthorized => {
                "check identifier and key, and that the tier is the token's own (`plugin` or `website`)"
            }
            Self::Throttled { .. } => {
                "the daily quota is counted per token; others may share it, and Crisp raises it on request"
            }
            Self::PlanRequired => "upgrade the workspace's plan in Crisp",
            Self::Forbidden { .. } => {
                "add the scope to the plugin's production token in Crisp's Marketplace; development tokens ignore scopes"
            }
            Self::NotSubscribed => {
                "install the plugin on this website; a development token works on the developer's own workspace only"
            }
            Self::Unreadable { .. } => {
                "something between here and Crisp may answer in its place: a proxy or a firewall"
            }
            _ => return None,
        })
    }

    /// A short code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "not_sent",
            Self::NoAnswer { .. } => "no_answer",
            Self::Server { .. } => "server",
            Self::Redirected { .. } => "redirected",
            Self::Unauthorized => "unauthorized",
            Self::Throttled { .. } => "throttled",
            Self::PlanRequired => "plan_required",
            Self::Forbidden { .. } => "forbidden",
            Self::NotSubscribed => "not_subscribed",
            Self::PeopleNotFound => "people_not_found",
            Self::ConversationNotFound => "conversation_not_found",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid { .. } => "invalid",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}
