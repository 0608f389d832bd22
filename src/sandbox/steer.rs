//! Steering a sandbox from the same process: what visitors and agents do, faults, looking, waiting.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::{
    Sandbox,
    emit::Happening,
    fault::Fault,
    journal::{Call, Unexpected},
    labels::LabelEdit,
    opening::OpenChat,
    settings::{Behaviour, TokenSettings, WebhookSettings},
    state::{Author, State, TimelineEvent},
};

/// How long [`Sandbox::wait_until`] waits before it says what did not happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What was waited for did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {seconds} s in vain for this: {what}")]
pub struct Waited {
    what: String,
    seconds: u64,
}

/// The conversation or contact an act names is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox has no such {0}")]
pub struct Missing(&'static str);

fn found(yes: bool, what: &'static str) -> Result<(), Missing> {
    yes.then_some(()).ok_or(Missing(what))
}

impl Sandbox {
    // What visitors do.

    /// Somebody opens a chat; the result is the conversation's session id.
    pub fn open_chat(&self, open: OpenChat) -> String {
        self.shared.act(|state, now| state.open_chat(open, now))
    }

    /// The visitor writes.
    pub fn message(&self, session: &str, text: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.visitor_message(session, text, now), "conversation"))
    }

    /// The visitor becomes somebody else, or proves to be who they said.
    pub fn change_identity(
        &self,
        session: &str,
        email: Option<&str>,
        verified: bool,
    ) -> Result<(), Missing> {
        let email = email.map(str::to_owned);
        self.shared.act(|state, now| {
            found(
                state.change_identity(session, email, verified, now),
                "conversation",
            )
        })
    }

    /// Something is proven in a conversation: `email` and an address, which need not be the conversation's.
    pub fn verify(&self, session: &str, identity: &str, of: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.verify(session, identity, of, now), "conversation"))
    }

    // What agents do.

    /// An agent opens the conversation in the inbox.
    pub fn operator_opens(&self, session: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.operator_opens(session, now), "conversation"))
    }

    /// An agent starts the conversation: `session:request:initiated`.
    pub fn operator_starts(&self, session: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.operator_starts(session, now), "conversation"))
    }

    /// An agent answers.
    pub fn agent_answers(&self, session: &str, text: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.agent_answer(session, text, now), "conversation"))
    }

    /// An agent resolves (`resolved`) or reopens (`unresolved`) the conversation.
    pub fn set_state(&self, session: &str, to: &str) -> Result<(), Missing> {
        self.shared.act(|state, now| {
            found(
                state.set_state(session, to, Author::Agent, now),
                "conversation",
            )
        })
    }

    /// Somebody changes session data and segments by hand.
    pub fn edit_session(
        &self,
        session: &str,
        author: Author,
        edit: LabelEdit,
    ) -> Result<(), Missing> {
        self.shared.act(|state, now| {
            found(
                state.edit_session(session, edit, author, now),
                "conversation",
            )
        })
    }

    /// Somebody changes contact data and segments by hand; the contact is named by id or address.
    pub fn edit_contact(
        &self,
        contact: &str,
        author: Author,
        edit: LabelEdit,
    ) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.edit_contact(contact, edit, author, now), "contact"))
    }

    /// A contact made by hand; the result is its id.
    pub fn create_contact(&self, email: &str, nickname: &str) -> String {
        self.shared
            .act(|state, now| state.make_contact(None, email, nickname, now))
    }

    /// Somebody else than the service puts an event on a timeline.
    pub fn add_event(&self, contact: &str, event: TimelineEvent) -> Result<(), Missing> {
        self.shared
            .act(|state, _| found(state.add_event(contact, event), "contact"))
    }

    /// The conversation is removed.
    pub fn remove_conversation(&self, session: &str) -> Result<(), Missing> {
        self.shared.act(|state, now| {
            found(
                state.remove_conversation(session, Author::Agent, now),
                "conversation",
            )
        })
    }

    /// The contact is removed.
    pub fn remove_contact(&self, contact: &str) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.remove_contact(contact, Author::Agent, now), "contact"))
    }

    /// The plugin is installed on a website, or taken off it.
    pub fn subscribe(&self, website: &str, bound: bool) -> Result<(), Missing> {
        self.shared
            .act(|state, now| found(state.subscribe(website, bound, now), "website"))
    }

    // Webhooks.

    /// Where webhooks go from now on; the result is where they went.
    pub fn set_webhook(&self, webhook: Option<WebhookSettings>) -> Option<WebhookSettings> {
        self.shared
            .act(|state, _| std::mem::replace(&mut state.webhook, webhook))
    }

    /// Any event at all, as Crisp would send it.
    pub fn emit(
        &self,
        event: &str,
        session: Option<&str>,
        people: Option<&str>,
        data: Map<String, Json>,
    ) {
        self.shared.act(|state, now| {
            let website = state.website_of(session, people);
            let happening = Happening {
                website: &website,
                event,
                session,
                people,
                data: Json::Object(data),
                cause: Author::Crisp,
            };
            state.emit(happening, now);
        });
    }

    /// Holds webhooks back, or lets them go.
    pub fn hold_hooks(&self, held: bool) {
        self.shared.act(|state, _| state.hooks_held = held);
    }

    /// Turns the order of the waiting webhooks around.
    pub fn reverse_hooks(&self) {
        self.shared.act(|state, _| state.reverse_queue());
    }

    /// Sends failed webhooks again; the result is how many.
    pub fn retry_hooks(&self) -> usize {
        self.shared.act(|state, _| state.retry_hooks())
    }

    /// Sends one webhook once more, whatever became of it.
    pub fn redeliver(&self, number: u64) -> Result<(), Missing> {
        self.shared
            .act(|state, _| found(state.redeliver(number), "webhook, or no receiver"))
    }

    /// Waits until no webhook is on its way.
    pub async fn hooks_idle(&self) -> Result<(), Waited> {
        self.wait_until("no webhook on its way", State::hooks_idle)
            .await
    }

    // Faults and switches.

    /// Arms a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared.act(|state, _| state.faults.push(fault));
    }

    /// Disarms what has not struck yet.
    pub fn clear_faults(&self) {
        self.shared.act(|state, _| state.faults.clear());
    }

    /// Lets held answers go.
    pub fn release(&self) {
        self.shared.act(|state, _| state.releases += 1);
    }

    /// Lets what was taken and not applied take effect now; the result is how many.
    pub fn apply_late(&self) -> usize {
        self.shared
            .act(|state, now| state.apply_late(i64::MAX, now))
    }

    /// Forgets cached lists.
    pub fn flush_cache(&self) {
        self.shared.act(|state, _| state.cache.clear());
    }

    /// Turns switches.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        self.shared.act(|state, _| change(&mut state.behaviour));
    }

    /// Changes which tokens are accepted.
    pub fn set_tokens(&self, tokens: Vec<TokenSettings>) {
        self.shared.act(|state, _| state.tokens = tokens);
    }

    // Looking and waiting.

    /// Looks at the state.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.look(look)
    }

    /// The number of the last call: see [`super::CallJournal::since`].
    pub fn call_marker(&self) -> u64 {
        self.look(|state| state.calls.marker())
    }

    /// The calls after a marker.
    pub fn calls_since(&self, marker: u64) -> Vec<Call> {
        self.look(|state| state.calls.since(marker).to_vec())
    }

    /// Requests that no correct client makes.
    pub fn unexpected(&self) -> Vec<Unexpected> {
        self.look(|state| state.calls.unexpected.clone())
    }

    /// Waits for a change after which `test` holds. `what` says in a failure what was waited for.
    pub async fn wait_until(
        &self,
        what: &str,
        test: impl Fn(&State) -> bool,
    ) -> Result<(), Waited> {
        self.wait_for(what, |state| test(state).then_some(())).await
    }

    /// Waits for something to be there.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        test: impl Fn(&State) -> Option<T>,
    ) -> Result<T, Waited> {
        tokio::time::timeout(PATIENCE, self.shared.wait_for(test))
            .await
            .map_err(|_elapsed| Waited {
                what: what.to_owned(),
                seconds: PATIENCE.as_secs(),
            })
    }
}
