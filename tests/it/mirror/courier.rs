//! Who carries Crisp's webhooks: late, twice, out of order, or not at all, as a schedule says.

use crisp_sync::{crisp::signature, sandbox::State};

use crate::world::{SIGNING_SECRET, World};

/// A webhook on its way.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) event: String,
    body: String,
}

/// What waits to be delivered.
pub(super) struct Courier {
    http: reqwest::Client,
    waiting: Vec<Letter>,
    collected: u64,
    pub(super) delivered: usize,
    pub(super) lost: usize,
}

impl Courier {
    /// Only what comes from now on.
    pub(super) fn new(world: &World) -> Self {
        Self {
            http: World::http(),
            waiting: Vec::new(),
            collected: world.sandbox.look(State::hook_marker),
            delivered: 0,
            lost: 0,
        }
    }

    /// Takes in what Crisp has to say.
    fn collect(&mut self, world: &World) {
        let collected = self.collected;
        let letters = world.sandbox.look(|state| {
            let new = state.hooks().iter().filter(|hook| hook.number > collected);
            new.map(|hook| Letter {
                event: hook.event.clone(),
                body: hook.body.clone(),
            })
            .collect::<Vec<_>>()
        });
        self.collected += u64::try_from(letters.len()).expect("few");
        self.waiting.extend(letters);
    }

    /// Delivers the next in order. Says whether there was one.
    pub(super) async fn next(&mut self, world: &World) -> bool {
        self.one(world, 0, false).await
    }

    /// Delivers one of those that wait.
    pub(super) async fn one(&mut self, world: &World, which: usize, again: bool) -> bool {
        self.collect(world);
        if self.waiting.is_empty() {
            return false;
        }
        let place = which % self.waiting.len();
        let letter = if again {
            self.waiting[place].clone()
        } else {
            self.waiting.remove(place)
        };
        self.post(world, &letter).await;
        true
    }

    /// Loses one of those that wait.
    pub(super) fn lose(&mut self, world: &World, which: usize) {
        self.collect(world);
        if !self.waiting.is_empty() {
            self.waiting.remove(which % self.waiting.len());
            self.lost += 1;
        }
    }

    async fn post(&mut self, world: &World, letter: &Letter) {
        let timestamp = world.now().as_millisecond().to_string();
        let signature = signature::sign(SIGNING_SECRET, &timestamp, letter.body.as_bytes());
        let answer = self
            .http
            .post(world.webhook_url())
            .header("content-type", "application/json")
            .header("x-crisp-request-timestamp", &timestamp)
            .header("x-crisp-signature", signature)
            .body(letter.body.clone())
            .send()
            .await
            .expect("the service answers");
        assert_eq!(answer.status(), 200, "{}", letter.event);
        self.delivered += 1;
    }
}
