//! Which lifecycle events are due.

macro_rules! states {
    ($($(#[$doc:meta])* $state:ident = $text:literal,)*) => {
        /// Where an occurrence stands in the outbox.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum OutboxState { $($(#[$doc])* $state,)* }

        impl OutboxState {
            /// The state in tables, logs and commands.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$state => $text,)* }
            }

            /// Takes a state back from a table.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$state),)* _ => None }
            }
        }
    };
}

states! {
    /// Its time has not come.
    Scheduled = "scheduled",
    /// To be sent.
    Due = "due",
    /// On its way, or nobody knows.
    Sending = "sending",
    /// Crisp has it.
    Sent = "sent",
    /// It happened before the rule was armed.
    Baseline = "baseline",
    /// Too old.
    Expired = "expired",
    /// A later one took its place.
    Superseded = "superseded",
    /// Somebody else sent it.
    AlreadyInCrisp = "already_in_crisp",
    /// The user did not agree.
    NoConsent = "no_consent",
    /// The user is excluded.
    Excluded = "excluded",
    /// The brake holds it.
    Held = "held",
    /// There is no contact.
    Parked = "parked",
    /// Nobody can tell whether Crisp has it.
    Unsure = "unsure",
}
