//! The app: its users, what happened to them, and what it told Crisp itself. The audit goes by these books.

use crisp_sync::sandbox::{Author, Sandbox, TimelineEvent};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};

use super::acts::{Change, PEOPLE, Push};

/// The events of the definition.
pub(super) const TEXTS: [&str; 4] = [SIGNUP, PLAN, CANCELED, STARTED];
pub(super) const SIGNUP: &str = "user:signup";
pub(super) const PLAN: &str = "user:plan:changed";
pub(super) const CANCELED: &str = "user:subscription:canceled";
pub(super) const STARTED: &str = "user:subscription:started";
/// What a rule's name ends with that was renamed.
const RENAMED: &str = ":renamed";

/// The name that a rule has in these books, whatever it is called meanwhile.
pub(super) fn as_booked(name: &str) -> &str {
    name.strip_suffix(RENAMED).unwrap_or(name)
}

/// The name that a rule gets.
pub(super) fn renamed(name: &str) -> String {
    format!("{name}{RENAMED}")
}

/// Of these the later makes the earlier untrue.
pub(super) const GROUP: [&str; 2] = [CANCELED, STARTED];
/// These wait in a definition that has a delay.
pub(super) const DELAYED: [&str; 2] = [SIGNUP, CANCELED];
/// Nearer to one another two entries without a date could be taken for each other, by anybody.
const APART: SignedDuration = SignedDuration::from_hours(3);

/// A user.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: String,
    /// The last one is the present one.
    pub(super) addresses: Vec<String>,
    /// The plans that they had.
    plans: Vec<String>,
    canceled: bool,
    /// What can still be corrected: the happening's number, and its column.
    noted: Option<(usize, &'static str)>,
}

impl Person {
    pub(super) fn address(&self) -> &str {
        self.addresses.last().expect("one at least")
    }

    fn plan(&self) -> &str {
        self.plans.last().expect("one at least")
    }
}

/// Something that happened to somebody, and is worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    /// Which one of all.
    pub(super) number: usize,
    pub(super) who: usize,
    pub(super) text: &'static str,
    /// When, as the app's database has it.
    pub(super) at: Timestamp,
    /// When it was noted there: later, for a correction.
    pub(super) noted_at: Timestamp,
    /// The plan, of a change of it.
    pub(super) plan: Option<String>,
    /// Where and when the app told Crisp of it, if it did.
    pub(super) pushed: Option<(String, Timestamp)>,
    /// Since when the app's database says so no more.
    pub(super) ended: Option<Timestamp>,
    /// Since when something later of the group makes it untrue, whatever the app's database says.
    pub(super) overtaken: Option<Timestamp>,
}

/// Everything the app knows.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) people: Vec<Person>,
    pub(super) happenings: Vec<Happening>,
    /// Whether the rules have other names now.
    pub(super) is_renamed: bool,
    plans: usize,
}

pub(super) fn sql_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The whole second, as the app's database has it.
pub(super) fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).expect("an instant")
}

impl App {
    pub(super) fn who(&self, number: usize) -> usize {
        if number < self.people.len() {
            number
        } else {
            0
        }
    }

    /// The first users, who were there before the events were armed: the statements that make them.
    pub(super) fn begin(&mut self) -> Vec<String> {
        let long_ago: Timestamp = "2026-01-05T08:00:00Z".parse().expect("an instant");
        (0..PEOPLE).map(|_| self.insert(long_ago)).collect()
    }

    fn insert(&mut self, at: Timestamp) -> String {
        let number = self.people.len();
        let id = (101 + number).to_string();
        let address = format!("person{number}@northwind.example");
        let statement = format!(
            "INSERT INTO users (id, email, name, plan, status, created_at, change) \
             VALUES ('{id}', '{address}', 'Kim', 'free', 'active', '{}', '')",
            sql_time(at)
        );
        self.people.push(Person {
            id,
            addresses: vec![address],
            plans: vec!["free".to_owned()],
            canceled: false,
            noted: None,
        });
        statement
    }

    /// Somebody signs up.
    pub(super) fn signs_up(&mut self, now: Timestamp) -> String {
        let statement = self.insert(now);
        let who = self.people.len() - 1;
        let number = self.happens(who, SIGNUP, now, now, None);
        self.people[who].noted = Some((number, "created_at"));
        statement
    }

    /// The app changes a row; `None` where there is nothing to change.
    pub(super) fn changes(&mut self, who: usize, change: Change, now: Timestamp) -> Option<String> {
        let set = match change {
            Change::Plan => {
                self.plans += 1;
                let plan = format!("plan-{}", self.plans);
                self.people[who].plans.push(plan);
                self.plan_changes(who, now)
            }
            Change::PlanBack => {
                let plans = &mut self.people[who].plans;
                let former = plans.len().checked_sub(2)?;
                let former = plans[former].clone();
                plans.push(former);
                self.plan_changes(who, now)
            }
            Change::Cancels => {
                if std::mem::replace(&mut self.people[who].canceled, true) {
                    return None;
                }
                let number = self.happens(who, CANCELED, now, now, None);
                self.people[who].noted = Some((number, "canceled_at"));
                format!("status = 'canceled', canceled_at = '{}'", sql_time(now))
            }
            Change::ComesBack => {
                if !std::mem::replace(&mut self.people[who].canceled, false) {
                    return None;
                }
                self.ends(who, CANCELED, now);
                let number = self.happens(who, STARTED, now, now, None);
                self.people[who].noted = Some((number, "subscribed_at"));
                format!(
                    "status = 'active', canceled_at = NULL, subscribed_at = '{}'",
                    sql_time(now)
                )
            }
            Change::Corrects => {
                let (number, column) = self.people[who].noted.take()?;
                let wrong = &self.happenings[number];
                if wrong.ended.is_some() {
                    return None;
                }
                let (text, at) = (wrong.text, wrong.at - SignedDuration::from_secs(1));
                self.happens(who, text, at, now, None);
                format!("{column} = '{}'", sql_time(at))
            }
            Change::Moves => {
                let addresses = &mut self.people[who].addresses;
                let address = format!("person{who}@moved{}.example", addresses.len());
                addresses.push(address.clone());
                format!("email = '{address}'")
            }
        };
        let id = &self.people[who].id;
        Some(format!("UPDATE users SET {set} WHERE id = '{id}'"))
    }

    /// Which change it is stands in the row: the data of an event says it, and nobody else does.
    fn plan_changes(&mut self, who: usize, now: Timestamp) -> String {
        let plan = self.people[who].plan().to_owned();
        let number = self.happens(who, PLAN, now, now, Some(plan.clone()));
        format!("plan = '{plan}', change = '{number}'")
    }

    fn ends(&mut self, who: usize, text: &str, now: Timestamp) {
        for happening in &mut self.happenings {
            if happening.who == who && happening.text == text {
                happening.ended.get_or_insert(now);
            }
        }
    }

    fn happens(
        &mut self,
        who: usize,
        text: &'static str,
        at: Timestamp,
        now: Timestamp,
        plan: Option<String>,
    ) -> usize {
        // One column has one instant, and a plan is one value.
        self.ends(who, text, now);
        if GROUP.contains(&text) {
            for earlier in &mut self.happenings {
                if earlier.who == who && GROUP.contains(&earlier.text) && earlier.at < second(at) {
                    earlier.overtaken.get_or_insert(now);
                }
            }
        }
        let number = self.happenings.len();
        self.happenings.push(Happening {
            number,
            who,
            text,
            at: second(at),
            noted_at: now,
            plan,
            pushed: None,
            ended: None,
            overtaken: None,
        });
        number
    }

    /// The last thing that happened to somebody and is true, if the app has not told it.
    pub(super) fn untold(&self, who: usize) -> Option<usize> {
        let theirs =
            |one: &&Happening| one.who == who && one.ended.is_none() && one.overtaken.is_none();
        let last = self.happenings.iter().rfind(theirs)?;
        last.pushed.is_none().then_some(last.number)
    }

    /// The app tells Crisp of something that happened.
    pub(super) fn pushes(&mut self, sandbox: &Sandbox, number: usize, push: Push, now: Timestamp) {
        let last = self.happenings[number].clone();
        let is_apart = self
            .happenings
            .iter()
            .filter(|one| one.who == last.who && one.text == last.text)
            .all(|one| *one == last || last.at.duration_since(one.at) > APART);
        let dated = push == Push::Dated || !is_apart;
        // When a plan changed is nowhere in the app's database, so nobody could match a date.
        if push == Push::No || (dated && last.text == PLAN) {
            return;
        }
        let mut data = Map::new();
        if dated {
            data.insert("occurred_at".to_owned(), json!(last.at.to_string()));
        }
        let address = self.people[last.who].address().to_owned();
        sandbox.create_contact(&address, "Kim");
        // Not everything in an app learns another name at once.
        let text = if self.is_renamed && number.is_multiple_of(2) {
            renamed(last.text)
        } else {
            last.text.to_owned()
        };
        let event = TimelineEvent {
            text,
            data,
            color: None,
            timestamp: now.as_millisecond(),
            author: Author::Agent,
        };
        sandbox.add_event(&address, event).expect("it is there");
        self.happenings[last.number].pushed = Some((address, now));
    }

    /// Whose address it is, or was.
    pub(super) fn owner(&self, address: &str) -> Option<usize> {
        self.people
            .iter()
            .position(|person| person.addresses.iter().any(|one| one == address))
    }
}
