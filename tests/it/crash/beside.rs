//! What people do beside the service: they remove contacts in Crisp, erase users, and decide about what is held.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::{
    acts::{Decision, Order},
    app::as_booked,
    play::Play,
    stage::Stage,
    twists::Twist,
    weather::{Decided, Erasure, Removal},
};

impl<S: Stage> Play<'_, S> {
    /// Somebody removes a contact in Crisp. What stood on its timeline is kept in these books.
    pub(super) async fn removes(&mut self, who: usize) {
        self.stage.ticks().await;
        if self.is_removed(who) {
            self.stage.works().await;
            self.stage.ticks().await;
        }
    }

    /// The same, and another one is made before the service has anything to do. No webhook says so.
    pub(super) async fn replaces(&mut self, who: usize) {
        self.stage.ticks().await;
        let webhook = self.stage.sandbox().set_webhook(None);
        if self.is_removed(who) {
            self.stage.ticks().await;
            let address = self.address(who);
            self.appears(&address);
            self.stage.sandbox().create_contact(&address, "Kim");
        }
        self.stage.sandbox().set_webhook(webhook);
    }

    fn is_removed(&mut self, who: usize) -> bool {
        let who = self.app.who(who);
        let address = self.address(who);
        let at = self.stage.now();
        let sandbox = self.stage.sandbox();
        let contact = sandbox.look(|state| {
            let contact = state.contact(&address)?;
            let people = contact.people_id.clone();
            Some((people, contact.created_at, contact.events.clone()))
        });
        let Some((people, made_at, events)) = contact else {
            return false;
        };
        sandbox.remove_contact(&address).expect("it is there");
        self.weather.removals.push(Removal {
            who,
            address,
            people,
            made_at: Timestamp::from_millisecond(made_at).expect("an instant"),
            at,
            events,
            back: None,
            made_before: false,
        });
        true
    }

    /// Somebody else than the service is about to make a contact, if there is none.
    pub(super) fn appears(&mut self, address: &str) {
        let now = self.stage.now();
        let is_there = (self.stage.sandbox()).look(|state| state.contact(address).is_some());
        for removal in &mut self.weather.removals {
            if removal.address == address && removal.back.is_none() {
                removal.back = Some(now);
                removal.made_before = is_there;
            }
        }
    }

    /// An agent makes a contact.
    pub(super) async fn returns(&mut self, who: usize) {
        let address = self.address(who);
        self.appears(&address);
        self.stage.sandbox().create_contact(&address, "Kim");
        self.stage.works().await;
    }

    /// Somebody wants to be told from now on, or does not, where the definition asks.
    pub(super) async fn opts(&mut self, who: usize, in_or_out: bool) {
        let who = self.app.who(who);
        if self.rules.twist != Twist::Guarded || self.weather.is_shut(who) != in_or_out {
            return;
        }
        self.stage.ticks().await;
        let id = &self.app.people[who].id;
        let statement =
            format!("UPDATE users SET marketing_opt_in = {in_or_out} WHERE id = '{id}'");
        self.stage.sql(statement).await;
        self.weather.opts(who, in_or_out, self.stage.now());
        // Whatever leaves from now on leaves later.
        self.stage.ticks().await;
    }

    /// The service starts with other names for its rules, once.
    pub(super) async fn renames(&mut self) {
        if !self.app.is_renamed {
            self.app.is_renamed = self.stage.renames().await;
        }
    }

    pub(super) async fn erases(&mut self, who: usize) {
        let who = self.app.who(who);
        if self.weather.is_erased(who) {
            return;
        }
        self.stage.ticks().await;
        let at = self.stage.now();
        let address = self.address(who);
        self.stage.performs(&Order::Erase(address)).await;
        self.weather.erasures.push(Erasure {
            who,
            at,
            lifted: None,
        });
        // Whatever leaves from now on leaves later.
        self.stage.ticks().await;
    }

    pub(super) async fn lifts(&mut self, who: usize) {
        let who = self.app.who(who);
        if !self.weather.is_erased(who) {
            return;
        }
        self.stage.ticks().await;
        let key = self.app.people[who].id.clone();
        self.stage.performs(&Order::Lift(key)).await;
        let now = self.stage.now();
        for one in &mut self.weather.erasures {
            if one.who == who {
                one.lifted.get_or_insert(now);
            }
        }
        self.stage.ticks().await;
    }

    /// What has to be known of erasures before the ledger is rolled back.
    pub(super) async fn receipts(&mut self) -> Option<Json> {
        if self.weather.erasures.is_empty() {
            return None;
        }
        Some(self.stage.performs(&Order::Receipts).await)
    }

    /// A person decides about everything that is held, where there is a brake.
    pub(super) async fn decides(&mut self, how: Decision) {
        if self.rules.brake.is_none() {
            return;
        }
        self.stage.ticks().await;
        let mut books = self.stage.books().await;
        let braked: Vec<(String, i64)> = books
            .ask("SELECT event, updated_at FROM outbox WHERE state = 'held' AND reason = 'brake'")
            .await;
        drop(books);
        let instant = |at| jiff::Timestamp::from_millisecond(at).expect("an instant");
        self.weather.decisions.push(Decided {
            at: self.stage.now(),
            how,
            braked: (braked.into_iter())
                .map(|(event, at)| (as_booked(&event).to_owned(), instant(at)))
                .collect(),
        });
        self.stage.performs(&Order::Decide(how)).await;
        self.stage.works().await;
    }
}
