//! One page of everybody: what would become of their events. Nothing is written, and Crisp is not asked.

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        Service,
        everyone::{Everyone, Somebody, Who},
    },
    refresh::command,
};
use crate::{
    ids::{Email, WebsiteId},
    ledger::{Enqueue, Trigger, WorkKind},
    lifecycle::{Forecast, OutboxState},
    reconcile::{Surveyed, Watermarks, Whom},
    server::{
        command::Answer,
        survey::{EventLine, PersonLine, Question, Room, SiteLine, SurveyPage, SurveyRequest},
    },
};

/// The most people of one page.
const LONGEST_PAGE: u32 = 500;
/// People looked at beside each other: a few, because the app's database has others to serve.
const BESIDE: usize = 4;
/// No brake lets more go.
const MOST_ROOM: u64 = 1_000_000;

impl Service {
    pub(super) async fn survey(&self, request: SurveyRequest) -> anyhow::Result<Answer> {
        let websites = self.named_websites()?;
        let only = request.question.event();
        if let Some(event) = only {
            self.known_rules(Some(event))?;
        }
        let typed = request.emails.iter().map(|email| Email::parse(email));
        let everyone = Everyone {
            ledger: &self.ledger,
            users: &self.users,
            reconciler: &self.reconciler,
            websites,
            typed: typed.collect::<Result<_, _>>()?,
        };
        let limit = request.limit.clamp(1, LONGEST_PAGE);
        let page = everyone.page(request.after.as_ref(), limit).await?;
        let watermarks = self.watermarks_of(&request.question).await?;
        let definition = self.definition_mark();
        let people = stream::iter(page.people)
            .map(|somebody| self.look_at(somebody, &request.question, &watermarks, &definition))
            .buffered(BESIDE)
            .try_collect()
            .await?;
        let rooms = match page.next {
            Some(_) => Vec::new(),
            None => self.rooms(websites, only).await?,
        };
        let page = SurveyPage {
            people,
            next: page.next,
            total: everyone.total().await?,
            rooms,
        };
        Ok(Answer {
            ok: true,
            lines: Vec::new(),
            table: None,
            json: serde_json::to_value(page)?,
        })
    }

    async fn watermarks_of(&self, question: &Question) -> anyhow::Result<Watermarks> {
        let mut watermarks = Watermarks::default();
        match question {
            Question::Arm { event } => {
                let now = self.watermark_now().await?;
                let names = self.known_rules(event.as_deref())?;
                watermarks.unarmed = names.into_iter().map(|name| (name, now)).collect();
            }
            Question::Backfill {
                event,
                since,
                put_to_work: false,
            } => {
                let earliest = self.reconciler.earliest_watermark(event, self.clock.now());
                watermarks.earlier = [(event.clone(), earliest.max(*since))].into();
            }
            Question::Backfill { .. } | Question::Refresh => {}
        }
        Ok(watermarks)
    }

    async fn look_at(
        &self,
        somebody: Somebody,
        question: &Question,
        watermarks: &Watermarks,
        definition: &str,
    ) -> anyhow::Result<PersonLine> {
        let now = self.clock.now();
        let whom = match &somebody.who {
            Who::Typed(email) => Whom::Email(email),
            Who::Key(key) => Whom::Key(key),
        };
        let with_calls = *question == Question::Refresh;
        let mut line = PersonLine {
            cursor: somebody.cursor.clone(),
            definition: definition.to_owned(),
            user: None,
            user_ref: None,
            sites: Vec::new(),
        };
        for website in &somebody.websites {
            let found = self
                .reconciler
                .survey(website, whom, watermarks, with_calls, now)
                .await;
            let found = match found {
                Err(error) if error.may_be_of_one() => Surveyed::failed(&error),
                found => found.context("somebody could not be looked at")?,
            };
            if let Some(user) = &found.user {
                line.user = Some(user.as_str().to_owned());
                let reference = self.ledger.pseudonyms().user(user);
                line.user_ref = Some(reference.as_str().to_owned());
            }
            line.sites
                .push(self.site_line(website, found, question).await?);
        }
        Ok(line)
    }

    async fn site_line(
        &self,
        website: &WebsiteId,
        found: Surveyed,
        question: &Question,
    ) -> anyhow::Result<SiteLine> {
        let only = question.event();
        let events: Vec<Forecast> = found
            .events
            .into_iter()
            .filter(|forecast| only.is_none_or(|only| only == forecast.event))
            .collect();
        let wanted = matches!(
            question,
            Question::Backfill {
                put_to_work: true,
                ..
            }
        );
        let put_to_work = wanted && events.iter().any(goes_out);
        if let (true, Some(user)) = (put_to_work, &found.user) {
            let now = self.clock.now();
            // As whom the sweep finds: nobody waits for it, and it leaves the day's calls to those who chat.
            let work = Enqueue {
                trigger: Trigger::Sweep,
                ..command(WorkKind::Person, website, user.as_str(), now)
            };
            self.ledger.enqueue(vec![work], now).await?;
        }
        Ok(SiteLine {
            website: website.as_str().to_owned(),
            events: events.into_iter().map(event_line).collect(),
            calls: found.calls,
            failures: found.failures,
            put_to_work,
        })
    }

    /// How many of each event the brake would let go now.
    async fn rooms(&self, websites: &[WebsiteId], only: Option<&str>) -> anyhow::Result<Vec<Room>> {
        let now = self.clock.now();
        let mut rooms = Vec::new();
        for website in websites {
            for event in self.rule_names() {
                if only.is_some_and(|only| only != event) {
                    continue;
                }
                let room = self
                    .reconciler
                    .room(website, &event, MOST_ROOM, now)
                    .await?;
                rooms.push(Room {
                    website: website.as_str().to_owned(),
                    event,
                    room,
                });
            }
        }
        Ok(rooms)
    }

    /// By which definition something was found: another one must not go on where this one stopped.
    fn definition_mark(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.definition_hash);
        hash.update(format!("{:?}", self.rules));
        hex::encode(&hash.finalize()[..6])
    }
}

impl Question {
    /// The one event that is asked about.
    fn event(&self) -> Option<&str> {
        match self {
            Self::Refresh => None,
            Self::Arm { event } => event.as_deref(),
            Self::Backfill { event, .. } => Some(event),
        }
    }
}

/// Whether it would be on its way to Crisp.
fn goes_out(forecast: &Forecast) -> bool {
    forecast.is_new
        && [OutboxState::Due, OutboxState::Scheduled]
            .map(OutboxState::as_str)
            .contains(&forecast.state)
}

fn event_line(forecast: Forecast) -> EventLine {
    EventLine {
        event: forecast.event,
        state: forecast.state.to_owned(),
        reason: forecast.reason.to_owned(),
        happened_at: forecast.happened_at,
        due_at: forecast.due_at,
    }
}
