//! Acting, waiting until everything has come to rest, and noting what had to be true.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::{
    super::{sample, stage::Stage},
    sight::{Sight, Turn},
};
use crate::{
    cli::output,
    clock::Clock,
    ids::{UserKey, WebsiteId},
    sandbox::{
        Author, DEFAULT_WEBSITE, Hook, HookState, LabelEdit, OpenChat, PATIENCE, Sandbox, State,
    },
};

/// Work that is due within this time is waited for: it is more than `triggers.debounce` of the demo, and less than the age
/// at which an address may be marked as unverified.
const SOON: SignedDuration = SignedDuration::from_secs(1);

/// Between two looks at the ledger, which rings no bell when it comes to rest.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// No webhook is on its way, or rests before it is tried again.
fn is_quiet(state: &State) -> bool {
    let rests = |hook: &Hook| hook.state == HookState::Failed;
    state.hooks_idle() && !state.hooks().iter().any(rests)
}

/// The script while it is played.
pub(super) struct Play<'a> {
    pub(super) stage: &'a Stage,
    people: Vec<sample::Person>,
    website: WebsiteId,
    started: Timestamp,
    act: usize,
    met: usize,
    failed: Vec<String>,
}

impl<'a> Play<'a> {
    pub(super) async fn new(stage: &'a Stage) -> anyhow::Result<Self> {
        let started = Clock::System.now();
        Ok(Self {
            stage,
            people: sample::people(&stage.app, started).await?,
            website: WebsiteId::parse(DEFAULT_WEBSITE)?,
            started,
            act: 0,
            met: 0,
            failed: Vec::new(),
        })
    }

    // What happens.

    /// Something happens in the app, `minutes` before the script began, and nobody tells Crisp.
    pub(super) async fn app(&self, person: &str, action: &str, minutes: i64) -> anyhow::Result<()> {
        let at = self.started - SignedDuration::from_mins(minutes);
        let done = sample::act(&self.stage.app, person, action, at).await?;
        output::line(&format!("\n   in the app, {minutes} min ago: {done}"));
        Ok(())
    }

    /// A person opens a chat; `chat` makes it from their address.
    pub(super) async fn opens(
        &mut self,
        person: &str,
        what: &str,
        chat: impl FnOnce(&str) -> OpenChat,
    ) -> anyhow::Result<(String, Turn)> {
        let person = self.person(person)?.clone();
        let open = OpenChat {
            nickname: Some(person.name.clone()),
            ..chat(&person.email)
        };
        let mut opened = String::new();
        let turn = self
            .turn(&person.name, what, None, &person.email, |sandbox| {
                opened = sandbox.open_chat(open);
                Ok(opened.clone())
            })
            .await?;
        Ok((opened, turn))
    }

    /// The visitor writes again in a conversation.
    pub(super) async fn writes_again(
        &mut self,
        who: &str,
        session: &str,
        what: &str,
    ) -> anyhow::Result<Turn> {
        self.turn(who, what, Some(session), "", |sandbox| {
            Ok(sandbox.open_chat(OpenChat::default().again_in(session)))
        })
        .await
    }

    /// An agent opens a conversation in the inbox.
    pub(super) async fn agent_opens(
        &mut self,
        who: &str,
        session: &str,
        what: &str,
    ) -> anyhow::Result<Turn> {
        self.turn(who, what, Some(session), "", |sandbox| {
            sandbox.operator_opens(session)?;
            Ok(session.to_owned())
        })
        .await
    }

    /// Somebody changes labels of a conversation by hand.
    pub(super) async fn edits(
        &mut self,
        who: &str,
        session: &str,
        author: Author,
        what: &str,
        edit: LabelEdit,
    ) -> anyhow::Result<Turn> {
        self.turn(who, what, Some(session), "", |sandbox| {
            sandbox.edit_session(session, author, edit)?;
            Ok(session.to_owned())
        })
        .await
    }

    /// An agent changes labels of a contact by hand.
    pub(super) async fn edits_contact(
        &mut self,
        who: &str,
        session: &str,
        what: &str,
        edit: LabelEdit,
    ) -> anyhow::Result<Turn> {
        let email = self.person_named(who)?.email.clone();
        self.turn(who, what, Some(session), "", |sandbox| {
            sandbox.edit_contact(&email, Author::Agent, edit)?;
            Ok(session.to_owned())
        })
        .await
    }

    /// The visitor of a conversation claims an address without proof.
    pub(super) async fn claims(
        &mut self,
        who: &str,
        session: &str,
        person: &str,
        what: &str,
    ) -> anyhow::Result<Turn> {
        let email = self.person(person)?.email.clone();
        self.turn(who, what, Some(session), "", |sandbox| {
            let open = OpenChat::by(&email).again_in(session);
            Ok(sandbox.open_chat(open))
        })
        .await
    }

    /// Waits for something that comes by itself; not seeing it is a failed expectation.
    pub(super) async fn awaits(
        &mut self,
        who: &str,
        session: &str,
        what: &str,
        test: impl Fn(&State) -> bool,
    ) -> anyhow::Result<Turn> {
        let came = self.stage.sandbox.wait_until(what, test).await;
        let turn = self
            .turn(who, what, Some(session), "", |_| Ok(session.to_owned()))
            .await?;
        self.expect(what, came.is_ok());
        Ok(turn)
    }

    /// One act: look, act, wait, look again, and tell.
    async fn turn(
        &mut self,
        who: &str,
        what: &str,
        session: Option<&str>,
        email: &str,
        act: impl FnOnce(&Sandbox) -> Result<String, crate::sandbox::Missing>,
    ) -> anyhow::Result<Turn> {
        let sandbox = &self.stage.sandbox;
        let before = sandbox.look(|state| Sight::of(state, session, email));
        let marker = sandbox.call_marker();
        let session = act(sandbox)?;
        self.wait_for_rest().await?;
        let turn = sandbox.look(|state| Turn {
            before,
            after: Sight::of(state, Some(&session), email),
            calls: state
                .calls_of_opening(&session)
                .into_iter()
                .filter(|call| call.number > marker)
                .map(|call| call.name)
                .collect(),
        });
        self.act += 1;
        output::line(&format!("\n{:>2} {who}: {what}", self.act));
        output::line(&turn.table());
        Ok(turn)
    }

    /// Waits until no webhook is on its way and the service has nothing to do soon.
    async fn wait_for_rest(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.stage.sandbox.hooks_idle().await?;
            let seen = self.stage.sandbox.look(State::hook_marker);
            let idle = self.is_idle().await?;
            // What the work wrote may have come back as webhooks, which may ask for more.
            let quiet = self
                .stage
                .sandbox
                .look(|state| is_quiet(state) && state.hook_marker() == seen);
            if idle && quiet {
                return Ok(());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "the service did not come to rest within {} s",
                PATIENCE.as_secs()
            );
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The ledger is read in parts: what is claimed after the first of them is still under way at the last.
    async fn is_idle(&self) -> anyhow::Result<bool> {
        let ledger = &self.stage.service.ledger;
        let now = Clock::System.now();
        let before = ledger.health(now).await?;
        let next = ledger.next_due(now).await?;
        let after = ledger.health(now).await?;
        let works = [before, after]
            .iter()
            .any(|health| health.leased + health.due > 0);
        Ok(!works && next.is_none_or(|at| at > now + SOON))
    }

    // Who.

    fn person(&self, id: &str) -> anyhow::Result<&sample::Person> {
        let found = self.people.iter().find(|person| person.id == id);
        found.with_context(|| format!("the sample has no `{id}`"))
    }

    fn person_named(&self, name: &str) -> anyhow::Result<&sample::Person> {
        let found = self.people.iter().find(|person| person.name == name);
        found.with_context(|| format!("the sample has no {name}"))
    }

    /// What became of a user's events, as `name state`.
    pub(super) async fn outbox(&self, user: &str) -> anyhow::Result<Vec<String>> {
        let rows = self
            .stage
            .service
            .ledger
            .outbox(&self.website, &UserKey::parse(user)?)
            .await?;
        let mut states: Vec<String> = rows
            .into_iter()
            .map(|row| format!("{} {}", row.event, row.state.as_str()))
            .collect();
        states.sort_unstable();
        Ok(states)
    }

    // What had to be true.

    /// Notes whether something is as it has to be.
    pub(super) fn expect(&mut self, what: &str, holds: bool) {
        if holds {
            self.met += 1;
            output::line(&format!("   ok      {what}"));
        } else {
            self.fail(what);
        }
    }

    /// Notes whether two things are the same, and what was there instead.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a script reads better without ampersands"
    )]
    pub(super) fn same<T: PartialEq<U> + Debug, U: Debug>(
        &mut self,
        what: &str,
        actual: T,
        expected: U,
    ) {
        if actual == expected {
            self.expect(what, true);
        } else {
            self.fail(&format!("{what}: not {expected:?}, but {actual:?}"));
        }
    }

    fn fail(&mut self, what: &str) {
        output::line(&format!("   FAILED  {what}"));
        self.failed.push(format!("act {}: {what}", self.act));
    }

    pub(super) fn met(&self) -> usize {
        self.met
    }

    pub(super) fn failed(&self) -> &[String] {
        &self.failed
    }
}
