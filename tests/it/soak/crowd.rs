//! Visitors, agents, the app and the weather: who does something next, and what.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crisp_sync::sandbox::{Author, Fault, FaultBody, LabelEdit, OpenChat, Reset};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, json};
use sqlx::{ConnectOptions as _, Executor as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::binary::site::Site;

/// People with an account.
const PEOPLE: usize = 300;
/// The most subscriptions that are canceled: fewer than the brake lets through in an hour.
const CANCELED: usize = 15;
/// Conversations that somebody still looks at.
pub(super) const RECENT: usize = 150;
const PLANS: [&str; 3] = ["pro", "starter", "team"];
/// Routes that go wrong.
const ROUTES: [&str; 8] = [
    "conversation.get",
    "metas.update",
    "metas.update",
    "people_data.update",
    "profile.get",
    "profile.update",
    "people_event.add",
    "people_events.list",
];

/// Everybody.
pub(crate) struct Crowd {
    random: StdRng,
    app: SqliteConnection,
    /// Acts left until the app's database is back.
    outage: u32,
    pub(super) plans: Vec<&'static str>,
    pub(super) canceled: BTreeMap<usize, String>,
    pub(super) sessions: Vec<String>,
    acts: BTreeMap<&'static str, u64>,
}

pub(super) fn address(person: usize) -> String {
    format!("person{person}@northwind.example")
}

/// Their key in the app.
pub(super) fn key(person: usize) -> String {
    (person + 100).to_string()
}

impl Crowd {
    pub(crate) async fn gather(site: &Site, seed: u64) -> Self {
        let mut app = SqliteConnectOptions::new()
            .filename(site.path("app.db"))
            .connect()
            .await
            .expect("the app's database");
        app.execute("BEGIN").await.expect("a transaction");
        for person in 0..PEOPLE {
            sqlx::query("INSERT INTO users (id, email, name, plan) VALUES (?1, ?2, 'Kim', 'pro')")
                .bind(i64::try_from(person + 100).expect("few"))
                .bind(address(person))
                .execute(&mut app)
                .await
                .expect("a user");
        }
        app.execute("COMMIT").await.expect("a commit");
        Self {
            random: StdRng::seed_from_u64(seed),
            app,
            outage: 0,
            plans: vec!["pro"; PEOPLE],
            canceled: BTreeMap::new(),
            sessions: Vec::new(),
            acts: BTreeMap::new(),
        }
    }

    fn chance(&mut self, of: usize) -> usize {
        self.random.random_range(0..of)
    }

    fn session(&mut self) -> Option<String> {
        let recent = self.sessions.len().min(RECENT);
        if recent == 0 {
            return None;
        }
        let place = self.sessions.len() - 1 - self.chance(recent);
        Some(self.sessions[place].clone())
    }

    /// Somebody does something.
    pub(crate) async fn acts(&mut self, site: &Site) {
        if self.outage > 0 {
            self.outage -= 1;
            if self.outage == 0 {
                self.app.execute("COMMIT").await.expect("it comes back");
            }
        }
        let act = match self.chance(100) {
            0..20 => self.opens(site),
            20..45 => self.writes(site),
            45..60 => self.looks(site),
            60..70 => self.types(site, Author::Agent),
            70..78 => self.types(site, Author::Visitor),
            78..82 => self.becomes_another(site),
            82..90 => self.changes_plan().await,
            90..91 => self.cancels(site).await,
            91..98 => self.goes_wrong(site),
            98..99 => self.goes_down().await,
            _ => "nothing",
        };
        *self.acts.entry(act).or_default() += 1;
    }

    fn opens(&mut self, site: &Site) -> &'static str {
        let person = self.chance(PEOPLE + 20);
        let chat = OpenChat {
            verified: self.chance(10) < 7,
            ..OpenChat::by(&address(person))
        };
        self.sessions.push(site.sandbox.open_chat(chat));
        "open"
    }

    fn writes(&mut self, site: &Site) -> &'static str {
        if let Some(session) = self.session() {
            let written = site.sandbox.message(&session, "And another thing …");
            written.expect("it is there");
        }
        "message"
    }

    fn looks(&mut self, site: &Site) -> &'static str {
        if let Some(session) = self.session() {
            let opened = site.sandbox.operator_opens(&session);
            opened.expect("it is there");
        }
        "look"
    }

    fn types(&mut self, site: &Site, author: Author) -> &'static str {
        let (key, segment) = if author == Author::Agent {
            ("note", "vip")
        } else {
            ("plan", "plan-gold")
        };
        let edit = if self.chance(2) == 0 {
            LabelEdit {
                data: Map::from_iter([(key.to_owned(), json!(format!("x{}", self.chance(9))))]),
                ..LabelEdit::default()
            }
        } else {
            LabelEdit {
                segments: vec![segment.to_owned()],
                ..LabelEdit::default()
            }
        };
        if let Some(session) = self.session() {
            let typed = site.sandbox.edit_session(&session, author, edit);
            typed.expect("it is there");
        }
        if author == Author::Agent {
            "edit"
        } else {
            "forgery"
        }
    }

    fn becomes_another(&mut self, site: &Site) -> &'static str {
        let (person, proven) = (self.chance(PEOPLE), self.chance(2) == 0);
        if let Some(session) = self.session() {
            let changed = site
                .sandbox
                .change_identity(&session, Some(&address(person)), proven);
            changed.expect("it is there");
        }
        "identity"
    }

    async fn changes_plan(&mut self) -> &'static str {
        let (person, plan) = (self.chance(PEOPLE), PLANS[self.chance(PLANS.len())]);
        self.plans[person] = plan;
        self.update(person, "plan", plan).await;
        "plan"
    }

    /// Somebody leaves, and writes why.
    pub(crate) async fn cancels(&mut self, site: &Site) -> &'static str {
        let person = self.chance(PEOPLE);
        if self.canceled.len() < CANCELED && !self.canceled.contains_key(&person) {
            let now = crisp_sync::clock::Clock::System.now();
            let at = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
            self.update(person, "canceled_at", &at).await;
            self.canceled.insert(person, at);
            let chat = OpenChat::by(&address(person)).proven();
            self.sessions.push(site.sandbox.open_chat(chat));
        }
        "cancel"
    }

    async fn update(&mut self, person: usize, column: &str, value: &str) {
        let statement = format!("UPDATE users SET {column} = ?1 WHERE id = ?2");
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(value)
            .bind(i64::try_from(person + 100).expect("few"))
            .execute(&mut self.app)
            .await
            .expect("the app writes");
    }

    fn goes_wrong(&mut self, site: &Site) -> &'static str {
        let route = ROUTES[self.chance(ROUTES.len())];
        let fault = match self.chance(10) {
            0 => Fault::status(route, 500),
            1 => Fault::status(route, 502).body(FaultBody::Html),
            2 => Fault::status(route, 503).body(FaultBody::Empty),
            3 => Fault::status(route, 500).but_applied(),
            4 => Fault::reset(route, Reset::Before),
            5 => Fault::reset(route, Reset::After),
            6 => Fault::applied_late(route, std::time::Duration::from_secs(1)),
            7 => Fault::status(route, 429).retry_after("1"),
            8 => Fault {
                route: Some(route.to_owned()),
                delay_ms: 400,
                ..Fault::default()
            },
            _ => Fault {
                route: Some(route.to_owned()),
                delay_ms: 3_600,
                ..Fault::default()
            },
        };
        let times = u32::try_from(1 + self.chance(3)).expect("few");
        site.sandbox.fault(fault.times(times));
        "fault"
    }

    async fn goes_down(&mut self) -> &'static str {
        if self.outage == 0 {
            self.app.execute("BEGIN EXCLUSIVE").await.expect("it goes");
            self.outage = 10 + u32::try_from(self.chance(20)).expect("few");
        }
        "outage"
    }

    /// The weather clears up.
    pub(crate) async fn goes_home(&mut self, site: &Site) {
        if self.outage > 0 {
            self.outage = 0;
            self.app.execute("COMMIT").await.expect("it comes back");
        }
        site.sandbox.clear_faults();
    }

    /// Agents open what they last had to do with, and people who left write once more.
    pub(crate) fn looks_once_more(&mut self, site: &Site) {
        let left: Vec<usize> = self.canceled.keys().copied().collect();
        for person in left {
            let chat = OpenChat::by(&address(person)).proven();
            self.sessions.push(site.sandbox.open_chat(chat));
        }
        for session in self.recent() {
            let opened = site.sandbox.operator_opens(&session);
            opened.expect("it is there");
        }
    }

    /// The conversations that were looked at in the end.
    pub(super) fn recent(&self) -> BTreeSet<String> {
        let recent = self.sessions.iter().rev().take(RECENT);
        recent.cloned().collect()
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "acts {:?}, {} conversations",
            self.acts,
            self.sessions.len()
        )
    }
}
