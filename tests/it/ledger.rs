//! The ledger's semantics, each as a story over a real file.

use std::{collections::BTreeSet, time::Duration};

use crisp_sync::{
    clock::millis,
    context::Layer,
    data::{DataMap, DataValue},
    ids::{Email, PeopleId, SessionId, UserKey, WebsiteId},
    ledger::{
        Acceptance, Begun, Claim, ContactState, ConversationMirror, Delivery, DeliveryFilter,
        DeliveryId, Effect, Enqueue, Lane, Ledger, LedgerError, LedgerSettings, Location,
        OutboxFilter, OutboxRow, Outcome, OwnedKind, OwnedName, PauseScope, PersonBy, PersonMirror,
        SendLimits, Settled, Settlement, Side, Standing, SweepCounts, SweepLook, Sweeping,
        SweptPage, Trace, Trigger, Urgency, WorkKind, WorkRow, WorkState, Write,
    },
    lifecycle::OutboxState,
    pseudonym::OccurrenceRef,
};
use jiff::Timestamp;
use serde_json::json;

use crate::engines::{execute, with_database};

const LEASE: Duration = Duration::from_mins(1);

/// Milliseconds after the start of the story.
fn at(milliseconds: i64) -> Timestamp {
    millis(1_763_700_000_000 + milliseconds)
}

fn secs(seconds: i64) -> Timestamp {
    at(seconds * 1_000)
}

fn website() -> WebsiteId {
    WebsiteId::parse("w-1").expect("an id")
}

fn session(name: &str) -> SessionId {
    SessionId::parse(&format!("session_{name}")).expect("an id")
}

fn user() -> UserKey {
    UserKey::parse("42").expect("a key")
}

/// A webhook that names nobody.
pub(crate) fn delivery(event: &str) -> Delivery {
    Delivery {
        website: website(),
        event: event.to_owned(),
        session: None,
        people: None,
        hook: "plugin",
        origin: None,
        attempt: Some(1),
        signed_at: None,
        event_at: None,
        bytes: 3,
    }
}

fn acceptance(effects: Vec<Effect>) -> Acceptance {
    Acceptance {
        delivery: delivery("message:send"),
        effects,
    }
}

fn conversation(name: &str, trigger: Trigger, urgency: Urgency, now: Timestamp) -> Enqueue {
    Enqueue {
        kind: WorkKind::Conversation,
        website: website(),
        key: session(name).as_str().to_owned(),
        trigger,
        run_at: now,
        urgency,
        debounce: Duration::ZERO,
    }
}

const FRESH: Urgency = Urgency::Normal {
    fresh_for: Duration::from_mins(1),
};

fn message(name: &str, now: Timestamp) -> Enqueue {
    conversation(name, Trigger::MessageSend, FRESH, now)
}

fn person(trigger: Trigger, now: Timestamp) -> Enqueue {
    Enqueue {
        kind: WorkKind::Person,
        website: website(),
        key: user().as_str().to_owned(),
        trigger,
        run_at: now,
        urgency: FRESH,
        debounce: Duration::ZERO,
    }
}

/// A ledger of a story's own: a file in a folder, or a database on a server.
struct Home {
    place: Place,
    ledger: Ledger,
}

enum Place {
    File(tempfile::TempDir),
    Server(String),
}

impl Place {
    async fn open(&self, now: Timestamp) -> Result<Ledger, LedgerError> {
        Ledger::open(self.settings(), now).await
    }

    fn settings(&self) -> LedgerSettings {
        match self {
            Self::File(folder) => LedgerSettings::at(folder.path().join("ledger.db")),
            Self::Server(url) => LedgerSettings::of(Location::Server(url.clone().into())),
        }
    }
}

/// Each story twice: over a file, and over a server.
macro_rules! on_both_engines {
    ($($story:ident,)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $story() { super::$story(super::Home::new().await).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $story() {
                super::with_database(|url| async { super::$story(super::Home::on(url).await).await; }).await;
            })*
        }
    };
}

impl Home {
    async fn new() -> Self {
        Self::at(Place::File(tempfile::tempdir().expect("a folder"))).await
    }

    async fn on(url: String) -> Self {
        Self::at(Place::Server(url)).await
    }

    async fn at(place: Place) -> Self {
        let ledger = place.open(at(0)).await.expect("a ledger");
        Self { place, ledger }
    }

    fn folder(&self) -> &tempfile::TempDir {
        match &self.place {
            Place::File(folder) => folder,
            Place::Server(_) => panic!("the story is told over a file"),
        }
    }

    async fn reopened(self, now: Timestamp) -> Self {
        let Self { place, ledger } = self;
        drop(ledger);
        let ledger = place.open(now).await.expect("the ledger again");
        Self { place, ledger }
    }

    /// Another program's statement.
    async fn behind_its_back(&self, statement: &str) {
        match &self.place {
            Place::File(folder) => {
                let mut file = connect(&folder.path().join("ledger.db")).await;
                let statement = sqlx::AssertSqlSafe(statement.to_owned());
                sqlx::query(statement)
                    .execute(&mut file)
                    .await
                    .expect("done");
            }
            Place::Server(url) => {
                execute(url, &format!("SET search_path TO crisp_sync; {statement}")).await;
            }
        }
    }

    async fn effect(&self, effect: Effect, now: Timestamp) {
        self.ledger
            .accept(acceptance(vec![effect]), now)
            .await
            .expect("accepted");
    }

    async fn enqueue(&self, enqueue: Enqueue, now: Timestamp) {
        self.effect(Effect::Enqueue(enqueue), now).await;
    }

    async fn claims(&self, now: Timestamp) -> Vec<Claim> {
        self.ledger.claim(10, LEASE, now).await.expect("a claim")
    }

    /// The one row that is due.
    async fn claim(&self, now: Timestamp) -> Claim {
        let mut claims = self.claims(now).await;
        assert_eq!(claims.len(), 1, "{claims:?}");
        claims.remove(0)
    }

    async fn settle(&self, claim: &Claim, outcome: Outcome, now: Timestamp) {
        self.write(claim, outcome, Vec::new(), now).await;
    }

    async fn write(&self, claim: &Claim, outcome: Outcome, writes: Vec<Write>, now: Timestamp) {
        let settlement = Settlement {
            writes,
            ..Settlement::of(outcome)
        };
        let settled = self
            .ledger
            .settle(claim, settlement, now)
            .await
            .expect("settled");
        assert_eq!(settled, Settled::Written);
    }

    /// Works the one due row and settles it done.
    async fn refresh(&self, now: Timestamp) {
        let claim = self.claim(now).await;
        self.settle(&claim, Outcome::Done, now).await;
    }

    async fn row(&self, name: &str) -> WorkRow {
        self.ledger
            .work(WorkKind::Conversation, &website(), session(name).as_str())
            .await
            .expect("a read")
            .expect("a row")
    }

    async fn mirror(&self, name: &str) -> ConversationMirror {
        self.ledger
            .conversation(&website(), &session(name))
            .await
            .expect("a read")
            .expect("a mirror")
    }

    async fn person(&self) -> PersonMirror {
        self.ledger
            .person(&website(), &user())
            .await
            .expect("a read")
            .expect("a person")
    }

    /// Refreshes a conversation so that its clean mirror holds this layer.
    async fn written(&self, name: &str, layer: Layer, now: Timestamp) {
        self.enqueue(
            conversation(name, Trigger::SetOpened, Urgency::Timer, now),
            now,
        )
        .await;
        let claim = self.claim(now).await;
        let mirror = mirror(name, layer);
        self.write(
            &claim,
            Outcome::Done,
            vec![Write::Conversation(mirror)],
            now,
        )
        .await;
    }
}

async fn open(folder: &tempfile::TempDir, now: Timestamp) -> Result<Ledger, LedgerError> {
    Ledger::open(LedgerSettings::at(folder.path().join("ledger.db")), now).await
}

fn layer(plan: &str) -> Layer {
    Layer {
        data: DataMap::from([("plan".to_owned(), DataValue::from(plan))]),
        segments: BTreeSet::from([format!("plan-{plan}")]),
    }
}

fn mirror(name: &str, layer: Layer) -> ConversationMirror {
    ConversationMirror {
        session_layer: layer,
        dirty: false,
        ..ConversationMirror::unknown(website(), session(name))
    }
}

fn held(name: &str, data: serde_json::Value) -> Effect {
    let serde_json::Value::Object(data) = data else {
        panic!("an object")
    };
    Effect::HeldData {
        website: website(),
        session: session(name),
        data,
    }
}

fn occurrence(key: &str, state: OutboxState, now: Timestamp) -> OutboxRow {
    OutboxRow {
        website: website(),
        user_key: user(),
        key: key.to_owned(),
        event: "user:trial:ended".to_owned(),
        subject: String::new(),
        instant: Some(now),
        state,
        reference: OccurrenceRef::from_stored(format!("ref-{key}")),
        due_at: now,
        not_before: None,
        attempts: 0,
        attempted_at: None,
        sent_at: None,
        absent_reads: 0,
        first_absent_at: None,
        reason: "new".to_owned(),
        email_mac: None,
        data: json!({"plan": "pro"}),
        color: "green".to_owned(),
        created_at: now,
        updated_at: now,
    }
}

on_both_engines! {
    ten_webhooks_are_one_row,
    a_planned_run_covers_a_trigger_but_a_running_one_does_not,
    a_trigger_may_run_earlier_but_never_before_the_backoff,
    debounce_is_fixed_from_the_first_trigger_and_only_while_identity_is_unsettled,
    a_fresh_conversation_is_looked_at_when_it_is_no_longer_fresh,
    urgent_runs_at_once_five_times_per_window,
    urgent_triggers_that_fold_into_one_run_count_once,
    a_trigger_revives_a_dead_row_once_in_fifteen_minutes,
    every_way_to_a_later_claim_makes_its_stamp_larger,
    an_operator_revives_what_is_dead,
    a_persons_row_is_enqueued_only_if_the_person_is_known,
    rows_are_claimed_by_priority_and_by_one_holder,
    a_trigger_that_arrives_while_leased_leaves_the_row_due_again,
    who_is_watched_leads_over_who_is_not,
    what_is_owed_goes_before_what_a_stranger_asked_for_meanwhile,
    again_runs_at_its_time_or_at_an_earlier_trigger,
    a_lost_lease_writes_nothing,
    an_expired_lease_is_a_crash_and_makes_the_mirror_dirty,
    a_longer_lease_is_not_taken_over,
    a_settlement_does_not_clean_what_became_dirty_after_its_claim,
    a_forgotten_conversation_takes_its_work_along,
    the_last_traces_are_kept,
    a_paused_token_lets_one_probe_through_and_spends_no_attempts,
    an_unanswered_probe_is_followed_by_another_when_its_row_would_go,
    a_pause_of_one_website_ends_with_its_subscription,
    a_pause_for_contacts_leaves_conversations_alone,
    a_website_that_is_paused_for_contacts_too_is_probed_by_either,
    an_operator_ends_a_pause,
    a_clock_set_back_pulls_what_it_had_planned,
    a_clock_set_back_between_two_starts_is_noticed_by_the_heartbeat,
    who_only_looks_at_the_ledger_hides_no_silence,
    the_first_look_at_a_ledger_is_where_a_silence_begins,
    who_only_looks_at_the_ledger_notices_a_clock_set_back,
    a_silence_is_a_gap_and_makes_cautious,
    a_silence_ends_nothing_that_an_earlier_one_put_in_doubt,
    gaps_are_read_as_they_were_at_one_moment,
    a_clock_that_was_ahead_leaves_no_gap_that_is_not_over,
    a_gap_takes_back_what_a_person_answered_for,
    a_lease_longer_than_any_was_given_by_a_wrong_clock,
    an_older_definition_claims_nothing,
    what_crisp_holds_before_there_is_a_mirror_means_nothing,
    an_echo_and_an_edit_beside_ours_do_nothing,
    what_is_ours_and_was_overwritten_is_written_once_more,
    a_forged_segment_that_bears_our_name_is_overwritten,
    two_equal_corrections_in_a_row_make_crisps_form_ours,
    a_correction_that_failed_is_no_correction,
    the_echo_of_the_work_under_way_is_judged_when_it_is_settled,
    a_removed_contact_leaves_a_tombstone_until_it_is_created_again,
    an_event_is_on_its_way_only_under_a_lease_and_only_once,
    what_a_person_dropped_meanwhile_is_not_sent_and_leaves_no_mark,
    one_address_gets_one_event_at_a_time_whoever_asks,
    sent_stays_sent,
    the_high_water_never_falls,
    held_occurrences_are_released_and_dropped_by_a_person,
    what_a_person_may_release_and_drop_is_what_the_states_say,
    a_row_goes_where_its_state_may_and_leaves_from_due_alone,
    a_clock_set_back_pulls_the_sweep_and_the_outbox_along,
    what_nobody_can_decide_is_given_up_and_stays_in_doubt,
    occurrences_are_chosen_by_time_and_states,
    a_rule_is_armed_from_a_watermark,
    a_row_that_cannot_be_stored_does_not_poison_its_neighbours,
    a_row_that_meets_an_unreadable_one_does_not_poison_its_neighbours,
    acceptances_come_from_other_runtimes,
    deliveries_are_listed_shown_and_pruned_by_age,
    work_that_was_done_long_ago_goes_however_much_it_is,
    what_names_a_person_is_not_printed,
}

// ---- Enqueue ----

async fn ten_webhooks_are_one_row(home: Home) {
    let all = (0..10).map(|_| home.enqueue(message("a", at(0)), at(0)));
    futures_util::future::join_all(all).await;
    let row = home.row("a").await;
    // How many of them a commit gathers is chance; what comes after the first commit is covered by its run.
    assert!((1..=10).contains(&row.want_generation), "{row:?}");
    assert_eq!(row.done_generation, 0);
    let claim = home.claim(at(0)).await;
    assert_eq!(claim.generation, row.want_generation);
    home.settle(&claim, Outcome::Done, at(5)).await;
    assert!(home.claims(secs(600)).await.is_empty());
    let deliveries = home
        .ledger
        .deliveries(&DeliveryFilter::default())
        .await
        .expect("a list");
    assert_eq!(deliveries.len(), 10);
}

async fn a_planned_run_covers_a_trigger_but_a_running_one_does_not(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let planned = home.row("a").await;
    home.enqueue(message("a", at(5)), at(5)).await;
    assert_eq!(home.row("a").await, planned, "nothing is written");
    let urgent = conversation("a", Trigger::SetOpened, Urgency::Urgent, at(6));
    home.enqueue(urgent, at(6)).await;
    let led = home.row("a").await;
    assert_eq!((led.priority, led.trigger), (0, Trigger::SetOpened));

    let claim = home.claim(at(10)).await;
    home.enqueue(message("a", at(20)), at(20)).await;
    let urgent = conversation("a", Trigger::UpdateVerify, Urgency::Urgent, at(21));
    home.enqueue(urgent, at(21)).await;
    assert!(home.row("a").await.want_generation > claim.generation);
    home.settle(&claim, Outcome::Done, at(30)).await;
    assert_eq!(
        home.row("a").await.run_at,
        at(30),
        "the urgent one does not wait until what was read is old"
    );
}

#[tokio::test]
async fn any_number_of_triggers_is_enqueued_at_once() {
    // As many as take every size of statement, and the largest more than once.
    const COUNT: u32 = 2 * 256 + 255;
    let home = Home::new().await;
    let triggers = (0..COUNT)
        .map(|number| message(&format!("{number:04}"), at(i64::from(number))))
        .collect();
    home.ledger
        .enqueue(triggers, at(0))
        .await
        .expect("enqueued");
    for number in 0..COUNT {
        let row = home.row(&format!("{number:04}")).await;
        assert_eq!(row.run_at, at(i64::from(number)));
        assert_eq!(row.want_generation, 1);
    }
}

async fn a_trigger_may_run_earlier_but_never_before_the_backoff(home: Home) {
    home.enqueue(
        conversation("a", Trigger::FollowUp, Urgency::Timer, secs(600)),
        at(0),
    )
    .await;
    assert_eq!(home.row("a").await.run_at, secs(600));
    home.enqueue(message("a", secs(1)), secs(1)).await;
    assert_eq!(home.row("a").await.run_at, secs(1));
    home.enqueue(message("a", secs(2)), secs(2)).await;
    assert_eq!(
        home.row("a").await.run_at,
        secs(1),
        "later asks nothing more"
    );

    let claim = home.claim(secs(2)).await;
    let retry = Outcome::Retry {
        at: secs(100),
        error: "no answer".to_owned(),
    };
    home.settle(&claim, retry, secs(2)).await;
    home.enqueue(
        conversation("a", Trigger::SetOpened, Urgency::Urgent, secs(3)),
        secs(3),
    )
    .await;
    assert_eq!(home.row("a").await.not_before, secs(100));
    assert!(home.claims(secs(99)).await.is_empty());
    assert_eq!(home.claim(secs(100)).await.attempt, 2);
}

async fn debounce_is_fixed_from_the_first_trigger_and_only_while_identity_is_unsettled(home: Home) {
    let debounced = |now| Enqueue {
        debounce: Duration::from_secs(1),
        ..message("a", now)
    };
    home.enqueue(debounced(at(0)), at(0)).await;
    home.enqueue(debounced(at(900)), at(900)).await;
    assert_eq!(home.row("a").await.run_at, at(1_000), "it does not slide");
    assert!(home.claims(at(999)).await.is_empty());
    home.refresh(at(1_000)).await;

    // Settled: the freshness counts, the debounce does not.
    home.enqueue(debounced(secs(90)), secs(90)).await;
    assert_eq!(home.row("a").await.run_at, secs(90));
    home.refresh(secs(90)).await;

    home.effect(
        Effect::IdentityChanged {
            website: website(),
            session: session("a"),
        },
        secs(91),
    )
    .await;
    home.enqueue(debounced(secs(91)), secs(91)).await;
    assert_eq!(home.row("a").await.run_at, secs(92));
    home.refresh(secs(92)).await;
    assert!(!home.row("a").await.unsettled);
}

async fn a_fresh_conversation_is_looked_at_when_it_is_no_longer_fresh(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    home.refresh(secs(1)).await;
    home.enqueue(message("a", secs(10)), secs(10)).await;
    let row = home.row("a").await;
    assert!(row.is_pending(), "moved, not dropped");
    assert_eq!(row.run_at, secs(61));
    assert!(home.claims(secs(60)).await.is_empty());
    assert_eq!(home.claim(secs(61)).await.first_triggered_at, secs(10));
}

async fn urgent_runs_at_once_five_times_per_window(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    home.refresh(at(0)).await;
    for second in 1..=5 {
        let now = secs(second);
        home.enqueue(
            conversation("a", Trigger::SetEmail, Urgency::Urgent, now),
            now,
        )
        .await;
        home.refresh(now).await;
    }
    let now = secs(6);
    home.enqueue(
        conversation("a", Trigger::SetEmail, Urgency::Urgent, now),
        now,
    )
    .await;
    assert_eq!(home.row("a").await.run_at, secs(601), "the window's end");
    assert!(home.claims(secs(600)).await.is_empty());
    home.refresh(secs(601)).await;
    let now = secs(602);
    home.enqueue(
        conversation("a", Trigger::SetEmail, Urgency::Urgent, now),
        now,
    )
    .await;
    assert_eq!(home.row("a").await.run_at, now, "another window");
}

async fn urgent_triggers_that_fold_into_one_run_count_once(home: Home) {
    for second in 0..20 {
        let now = secs(second);
        home.enqueue(
            conversation("a", Trigger::SetEmail, Urgency::Urgent, now),
            now,
        )
        .await;
    }
    assert_eq!(home.row("a").await.run_at, at(0));
    home.refresh(secs(20)).await;
    let now = secs(21);
    home.enqueue(
        conversation("a", Trigger::SetEmail, Urgency::Urgent, now),
        now,
    )
    .await;
    assert_eq!(home.row("a").await.run_at, now);
}

async fn a_trigger_revives_a_dead_row_once_in_fifteen_minutes(home: Home) {
    let bury = |error: &str| Outcome::Buried {
        error: error.to_owned(),
    };
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.settle(&claim, bury("first"), at(0)).await;
    assert_eq!(home.row("a").await.state, WorkState::Dead);
    assert!(home.claims(secs(60)).await.is_empty());

    home.enqueue(message("a", secs(60)), secs(60)).await;
    let claim = home.claim(secs(60)).await;
    assert_eq!(claim.attempt, 1, "a revived row starts again");
    assert_eq!(claim.first_triggered_at, at(0), "nobody looked since");
    home.settle(&claim, bury("second"), secs(60)).await;
    home.enqueue(message("a", secs(61)), secs(61)).await;
    home.enqueue(message("a", secs(959)), secs(959)).await;
    assert_eq!(home.row("a").await.state, WorkState::Dead);
    home.enqueue(message("a", secs(960)), secs(960)).await;
    let row = home.row("a").await;
    assert_eq!(row.state, WorkState::Ready);
    assert_eq!(row.last_error.as_deref(), Some("second"));
}

async fn every_way_to_a_later_claim_makes_its_stamp_larger(home: Home) {
    let stamp = |claim: &Claim| (claim.generation, claim.fence());
    home.enqueue(message("a", at(0)), at(0)).await;
    let mut last = (0, 0);
    let mut newer = |claim: &Claim| {
        assert!(stamp(claim) > last, "{:?} after {last:?}", stamp(claim));
        last = stamp(claim);
    };
    // A failure, a lease that ran out, another failure.
    let claim = home.claim(at(0)).await;
    newer(&claim);
    let retry = || Outcome::Retry {
        at: at(1),
        error: "no answer".to_owned(),
    };
    home.write(&claim, retry(), Vec::new(), at(1)).await;
    newer(&home.claim(at(1)).await);
    let claim = home.claim(secs(100)).await;
    newer(&claim);
    home.write(&claim, retry(), Vec::new(), secs(100)).await;
    // It dies, and a person revives it.
    let claim = home.claim(secs(101)).await;
    newer(&claim);
    let buried = Outcome::Buried {
        error: "too often".to_owned(),
    };
    home.write(&claim, buried, Vec::new(), secs(102)).await;
    assert_eq!(home.ledger.revive_all(secs(103)).await.expect("revived"), 1);
    let claim = home.claim(secs(103)).await;
    newer(&claim);
    // Done, and triggered anew.
    home.write(&claim, Outcome::Done, Vec::new(), secs(104))
        .await;
    home.enqueue(message("a", secs(300)), secs(300)).await;
    newer(&home.claim(secs(300)).await);
}

async fn an_operator_revives_what_is_dead(home: Home) {
    for name in ["a", "b", "c"] {
        home.enqueue(message(name, at(0)), at(0)).await;
    }
    for claim in home.claims(at(0)).await {
        let invalid = Outcome::Invalid {
            error: "refused".to_owned(),
        };
        home.settle(&claim, invalid, at(0)).await;
    }
    assert_eq!(home.ledger.dead(10).await.expect("a list").len(), 3);
    let key = session("a");
    let one = home
        .ledger
        .revive(WorkKind::Conversation, &website(), key.as_str(), secs(1))
        .await;
    assert_eq!(one.expect("revived"), 1);
    let claim = home.claim(secs(1)).await;
    assert_eq!(claim.trigger, Trigger::Command);
    assert_eq!(claim.first_triggered_at, at(0), "nobody looked since");
    assert_eq!(home.ledger.revive_all(secs(2)).await.expect("revived"), 2);
    assert_eq!(home.claims(secs(2)).await.len(), 2);
}

async fn a_persons_row_is_enqueued_only_if_the_person_is_known(home: Home) {
    let mac = home
        .ledger
        .pseudonyms()
        .email(&Email::parse("ada@example.org").expect("an address"));
    let ask = || Effect::EnqueuePerson {
        website: website(),
        by: PersonBy::Email(mac.clone()),
        trigger: Trigger::BindSession,
        run_at: at(0),
    };
    home.effect(ask(), at(0)).await;
    assert!(home.claims(at(0)).await.is_empty());
    know(
        &home,
        PersonMirror {
            email_mac: Some(mac.clone()),
            ..PersonMirror::unknown(website(), user())
        },
    )
    .await;
    home.effect(ask(), secs(5)).await;
    let claim = home.claim(secs(60)).await;
    assert_eq!((claim.kind, claim.key.as_str()), (WorkKind::Person, "42"));
}

/// Writes a person down as the settlement of their own row.
async fn know(home: &Home, person_mirror: PersonMirror) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.write(
        &claim,
        Outcome::Done,
        vec![Write::Person(person_mirror)],
        at(0),
    )
    .await;
}

// ---- Claim and settle ----

async fn rows_are_claimed_by_priority_and_by_one_holder(home: Home) {
    let sweep = Enqueue {
        kind: WorkKind::Sweep,
        key: "all".to_owned(),
        ..person(Trigger::FollowUp, at(0))
    };
    home.enqueue(sweep, at(0)).await;
    home.enqueue(person(Trigger::Conversation, at(0)), at(0))
        .await;
    home.enqueue(message("late", at(5)), at(5)).await;
    home.enqueue(message("early", at(4)), at(5)).await;
    home.enqueue(
        conversation("opened", Trigger::SetOpened, Urgency::Urgent, at(9)),
        at(9),
    )
    .await;
    home.enqueue(message("future", secs(50)), at(9)).await;
    let first = home.ledger.claim(1, LEASE, at(10)).await.expect("a claim");
    assert_eq!(first[0].key, session("opened").as_str());
    let keys: Vec<_> = home
        .claims(at(10))
        .await
        .into_iter()
        .map(|claim| claim.key)
        .collect();
    assert_eq!(keys, ["session_early", "session_late", "42", "all"]);
    assert!(home.claims(at(10)).await.is_empty(), "all of it is leased");
}

async fn what_is_owed_goes_before_what_a_stranger_asked_for_meanwhile(home: Home) {
    let stranger = |now| person(Trigger::Unproven, now);
    home.enqueue(stranger(at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.enqueue(stranger(secs(1)), secs(1)).await;
    home.settle(&claim, Outcome::Again { at: secs(500) }, secs(2))
        .await;
    let claim = home.claim(secs(500)).await;
    assert_eq!(claim.trigger, Trigger::FollowUp);
}

async fn a_trigger_that_arrives_while_leased_leaves_the_row_due_again(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.enqueue(message("a", secs(1)), secs(1)).await;
    assert!(home.claims(secs(2)).await.is_empty(), "it is still leased");
    home.settle(&claim, Outcome::Done, secs(3)).await;
    let row = home.row("a").await;
    assert!(row.is_pending());
    assert_eq!(row.run_at, secs(63), "fresh for a minute, then once more");

    let claim = home.claim(secs(63)).await;
    home.enqueue(
        conversation("a", Trigger::SetOpened, Urgency::Urgent, secs(64)),
        secs(64),
    )
    .await;
    home.settle(&claim, Outcome::Done, secs(65)).await;
    assert_eq!(home.claim(secs(65)).await.trigger, Trigger::SetOpened);
}

/// What a run does depends on who asked: of several whom one run serves, it is done for the one to whom it matters most.
async fn who_is_watched_leads_over_who_is_not(home: Home) {
    let timer = |trigger, now| Enqueue {
        urgency: Urgency::Timer,
        ..person(trigger, now)
    };
    home.enqueue(timer(Trigger::Conversation, at(0)), at(0))
        .await;
    let claim = home.claim(at(0)).await;
    home.settle(&claim, Outcome::Again { at: secs(10) }, at(0))
        .await;
    // The timer is overdue when a chat comes, and another look for its own sake after that.
    home.enqueue(timer(Trigger::Conversation, secs(20)), secs(20))
        .await;
    home.enqueue(timer(Trigger::Rescan, secs(21)), secs(21))
        .await;
    let claim = home.claim(secs(22)).await;
    assert_eq!(
        (claim.trigger, claim.priority),
        (Trigger::Conversation, 2),
        "an overdue timer"
    );

    // The chat was put off, and a sweep brings its run forward.
    let put_off = Outcome::PutOff {
        at: secs(900),
        reason: "quota".to_owned(),
    };
    home.settle(&claim, put_off, secs(22)).await;
    home.enqueue(timer(Trigger::Sweep, secs(30)), secs(30))
        .await;
    let claim = home.claim(secs(30)).await;
    assert_eq!(
        (claim.trigger, claim.priority),
        (Trigger::Conversation, 2),
        "a sweep that comes sooner"
    );
    home.settle(&claim, Outcome::Done, secs(30)).await;

    // In one delivery, in either order.
    for both in [
        [Trigger::Conversation, Trigger::Sweep],
        [Trigger::Sweep, Trigger::Conversation],
    ] {
        let effects = both.map(|trigger| Effect::Enqueue(timer(trigger, secs(40))));
        let accepted = home
            .ledger
            .accept(acceptance(effects.to_vec()), secs(40))
            .await;
        accepted.expect("accepted");
        let claim = home.claim(secs(40)).await;
        assert_eq!(claim.trigger, Trigger::Conversation, "{both:?}");
        home.settle(&claim, Outcome::Done, secs(40)).await;
    }

    // A visitor writes again, and a moment later it turns out that nobody listened for a while.
    home.enqueue(message("a", secs(50)), secs(50)).await;
    home.refresh(secs(50)).await;
    home.enqueue(message("a", secs(51)), secs(51)).await;
    let gap = conversation("a", Trigger::Gap, Urgency::Timer, secs(52));
    home.enqueue(gap, secs(52)).await;
    let claim = home.claim(secs(52)).await;
    assert_eq!((claim.trigger, claim.priority), (Trigger::MessageSend, 1));
}

async fn again_runs_at_its_time_or_at_an_earlier_trigger(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.settle(&claim, Outcome::Again { at: secs(500) }, at(0))
        .await;
    assert_eq!(
        home.ledger.next_due(at(0)).await.expect("a read"),
        Some(secs(500))
    );
    let claim = home.claim(secs(500)).await;
    assert_eq!(
        (claim.trigger, claim.attempt, claim.first_triggered_at),
        (Trigger::FollowUp, 1, secs(500))
    );
    home.enqueue(message("a", secs(501)), secs(501)).await;
    home.settle(&claim, Outcome::Again { at: secs(9_000) }, secs(502))
        .await;
    assert_eq!(home.row("a").await.run_at, secs(562));
}

async fn a_lost_lease_writes_nothing(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let lost = home.claim(at(0)).await;
    let taken = home.claim(secs(61)).await;
    assert_eq!(taken.crashes, 1);
    let settlement = Settlement {
        outcome: Outcome::Done,
        writes: vec![Write::Conversation(mirror("a", layer("pro")))],
        trace: Some(Trace {
            outcome: "patched".to_owned(),
            detail: json!({}),
        }),
        calls: vec![("refresh", 2)],
    };
    let settled = home
        .ledger
        .settle(&lost, settlement.clone(), secs(62))
        .await;
    assert_eq!(settled.expect("an answer"), Settled::LeaseLost);
    let checkpoint = home
        .ledger
        .checkpoint(&lost, settlement.writes.clone(), secs(62))
        .await;
    assert_eq!(checkpoint.expect("an answer"), Settled::LeaseLost);
    let ledger = &home.ledger;
    let nothing = ledger.conversation(&website(), &session("a")).await;
    assert_eq!(nothing.expect("a read"), None);
    let day = "2025-11-21".parse().expect("a day");
    assert!(ledger.quota(day).await.expect("a read").is_empty());

    let settled = ledger.settle(&taken, settlement, secs(63)).await;
    assert_eq!(settled.expect("an answer"), Settled::Written);
    assert_eq!(home.mirror("a").await.session_layer, layer("pro"));
    let counted = ledger.quota(day).await.expect("a read");
    assert_eq!(
        (counted[0].purpose.as_str(), counted[0].calls),
        ("refresh", 2)
    );
    let traces = ledger
        .traces(WorkKind::Conversation, &website(), "session_a")
        .await
        .expect("a read");
    assert_eq!(traces[0].trace.outcome, "patched");
}

async fn an_expired_lease_is_a_crash_and_makes_the_mirror_dirty(home: Home) {
    home.written("a", layer("pro"), at(0)).await;
    assert!(!home.mirror("a").await.dirty);
    home.enqueue(message("a", secs(100)), secs(100)).await;
    let mut now = 100;
    // In seconds, what a row waits after its first crash, its second, …
    for (crash, wait) in (0..).zip([0, 60, 120, 240, 480, 960, 960]) {
        let claim = home.claim(secs(now)).await;
        assert_eq!(claim.crashes, crash);
        assert_eq!(claim.attempt, 1, "a crash is no failed attempt");
        now += 60;
        if wait > 0 {
            let early = home.claims(secs(now)).await;
            assert!(early.is_empty(), "after crash {crash}");
            now += wait;
        }
    }
    assert!(home.mirror("a").await.dirty);
    let last = home.claim(secs(now)).await;
    assert_eq!(last.crashes, 7);
    now += 60;
    assert!(home.claims(secs(now)).await.is_empty());
    let row = home.row("a").await;
    assert_eq!((row.state, row.crashes), (WorkState::Dead, 8));
}

async fn a_longer_lease_is_not_taken_over(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let extended = home.ledger.extend(&claim, LEASE, secs(50)).await;
    assert!(extended.expect("an answer"));
    assert!(home.claims(secs(61)).await.is_empty());
    assert_eq!(home.claim(secs(110)).await.crashes, 1);
}

async fn a_settlement_does_not_clean_what_became_dirty_after_its_claim(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.effect(
        Effect::LowerTrust {
            website: website(),
            session: session("a"),
        },
        secs(1),
    )
    .await;
    let clean = vec![Write::Conversation(mirror("a", layer("pro")))];
    home.write(&claim, Outcome::Done, clean, secs(2)).await;
    assert!(home.mirror("a").await.dirty);
}

async fn a_forgotten_conversation_takes_its_work_along(home: Home) {
    home.written("a", layer("pro"), at(0)).await;
    home.enqueue(message("a", secs(90)), secs(90)).await;
    let claim = home.claim(secs(90)).await;
    home.effect(
        Effect::ForgetConversation {
            website: website(),
            session: session("a"),
        },
        secs(91),
    )
    .await;
    let settled = home
        .ledger
        .settle(&claim, Settlement::of(Outcome::Done), secs(92))
        .await;
    assert_eq!(settled.expect("an answer"), Settled::LeaseLost);
    let mirror = home.ledger.conversation(&website(), &session("a")).await;
    assert_eq!(mirror.expect("a read"), None);
}

async fn the_last_traces_are_kept(home: Home) {
    for run in 0..25 {
        home.enqueue(
            conversation("a", Trigger::Command, Urgency::Timer, secs(run)),
            secs(run),
        )
        .await;
        let claim = home.claim(secs(run)).await;
        let settlement = Settlement {
            trace: Some(Trace {
                outcome: run.to_string(),
                detail: json!(null),
            }),
            ..Settlement::of(Outcome::Done)
        };
        let settled = home.ledger.settle(&claim, settlement, secs(run)).await;
        assert_eq!(settled.expect("an answer"), Settled::Written);
    }
    let traces = home
        .ledger
        .traces(WorkKind::Conversation, &website(), "session_a")
        .await
        .expect("a read");
    assert_eq!(traces.len(), 20);
    assert_eq!(traces[0].trace.outcome, "24");
}

// ---- Pauses ----

fn pause_token(until: Timestamp) -> Outcome {
    Outcome::PauseToken {
        until,
        probe_every: Duration::from_mins(5),
        reason: "throttled".to_owned(),
    }
}

fn called(outcome: Outcome) -> Settlement {
    Settlement {
        calls: vec![("refresh", 1)],
        ..Settlement::of(outcome)
    }
}

async fn a_paused_token_lets_one_probe_through_and_spends_no_attempts(home: Home) {
    for name in ["a", "b", "c"] {
        home.enqueue(message(name, at(0)), at(0)).await;
    }
    let prune = Enqueue {
        kind: WorkKind::Prune,
        key: "all".to_owned(),
        ..person(Trigger::FollowUp, secs(1))
    };
    home.enqueue(prune, at(0)).await;
    let claims = home.ledger.claim(1, LEASE, at(0)).await.expect("a claim");
    home.settle(&claims[0], pause_token(secs(60)), at(0)).await;
    assert_eq!(
        home.ledger.next_due(at(0)).await.expect("a read"),
        Some(secs(1))
    );
    let other = home.claim(secs(1)).await;
    assert_eq!(other.kind, WorkKind::Prune, "it calls nobody");
    home.settle(&other, Outcome::Done, secs(1)).await;
    assert_eq!(
        home.ledger.next_due(secs(1)).await.expect("a read"),
        Some(secs(60))
    );

    let probe = home.claim(secs(60)).await;
    assert!(probe.probe);
    assert_eq!(probe.attempt, 1);
    assert!(home.claims(secs(61)).await.is_empty(), "one is enough");
    home.settle(&probe, pause_token(secs(200)), secs(62)).await;
    assert!(home.claims(secs(199)).await.is_empty());

    // A probe that calls nobody proves nothing; the next may go at once.
    let probe = home.claim(secs(200)).await;
    home.settle(&probe, Outcome::Done, secs(201)).await;
    let probe = home.claim(secs(201)).await;
    let settled = home
        .ledger
        .settle(&probe, called(Outcome::Done), secs(202))
        .await;
    assert_eq!(settled.expect("an answer"), Settled::Written);
    assert!(home.ledger.pauses().await.expect("a read").is_empty());
    assert_eq!(home.claim(secs(203)).await.attempt, 1);
}

async fn an_unanswered_probe_is_followed_by_another_when_its_row_would_go(home: Home) {
    for name in ["a", "b"] {
        home.enqueue(message(name, at(0)), at(0)).await;
    }
    let claims = home.ledger.claim(1, LEASE, at(0)).await.expect("a claim");
    home.settle(&claims[0], pause_token(secs(10)), at(0)).await;
    let probe = home.claim(secs(10)).await;
    let retry = Outcome::Retry {
        at: secs(40),
        error: "no answer".to_owned(),
    };
    home.settle(&probe, retry, secs(10)).await;
    assert!(home.claims(secs(39)).await.is_empty());
    assert!(home.claim(secs(40)).await.probe);
}

#[tokio::test]
async fn a_probe_whose_holder_died_costs_only_its_lease() {
    let home = Home::new().await;
    for name in ["a", "b", "c"] {
        home.enqueue(message(name, at(0)), at(0)).await;
    }
    let claims = home.ledger.claim(1, LEASE, at(0)).await.expect("a claim");
    home.settle(&claims[0], pause_token(secs(10)), at(0)).await;
    assert!(home.claim(secs(10)).await.probe);
    // Nobody ever says what came of it.
    assert!(home.claims(secs(69)).await.is_empty());
    assert!(home.claim(secs(70)).await.probe);
    // A restart ends leases at once.
    let home = home.reopened(secs(80)).await;
    let probe = home.claim(secs(80)).await;
    assert!(probe.probe);
    // The conversation is removed while it is the probe.
    let session = SessionId::parse(&probe.key).expect("an id");
    let website = website();
    home.effect(Effect::ForgetConversation { website, session }, secs(81))
        .await;
    assert!(home.claim(secs(81)).await.probe);
}

async fn a_pause_of_one_website_ends_with_its_subscription(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let pause = Outcome::PauseWebsite {
        until: secs(3_600),
        probe_every: Duration::from_hours(1),
        reason: "not subscribed".to_owned(),
    };
    home.settle(&claim, pause, at(0)).await;
    let elsewhere = Enqueue {
        website: WebsiteId::parse("w-2").expect("an id"),
        ..message("b", secs(1))
    };
    home.enqueue(elsewhere, secs(1)).await;
    assert_eq!(home.claim(secs(1)).await.website.as_str(), "w-2");
    let pauses = home.ledger.pauses().await.expect("a read");
    assert_eq!(pauses[0].scope, PauseScope::Website);
    assert_eq!(pauses[0].website, Some(website()));

    home.effect(Effect::Resume { website: website() }, secs(2))
        .await;
    assert_eq!(home.claim(secs(2)).await.website, website());
}

fn pause_people(until: Timestamp) -> Outcome {
    Outcome::PausePeople {
        until,
        probe_every: Duration::from_mins(1),
        reason: "forbidden".to_owned(),
    }
}

async fn a_pause_for_contacts_leaves_conversations_alone(home: Home) {
    let somebody = |name: &str, at| Enqueue {
        key: name.to_owned(),
        ..person(Trigger::Command, at)
    };
    home.enqueue(somebody("u1", at(0)), at(0)).await;
    home.enqueue(somebody("u2", at(0)), at(0)).await;
    let claims = home.ledger.claim(1, LEASE, at(0)).await.expect("a claim");
    home.settle(&claims[0], pause_people(secs(60)), at(0)).await;
    assert_eq!(
        home.ledger.next_due(at(0)).await.expect("a read"),
        Some(secs(60))
    );
    let elsewhere = Enqueue {
        website: WebsiteId::parse("w-2").expect("an id"),
        ..somebody("u1", secs(1))
    };
    home.enqueue(elsewhere, secs(1)).await;
    home.enqueue(message("a", secs(1)), secs(1)).await;
    let claims = home.claims(secs(2)).await;
    let free: Vec<_> = claims.iter().map(|claim| claim.kind).collect();
    assert_eq!(free, [WorkKind::Conversation, WorkKind::Person]);
    assert_eq!(claims[1].website.as_str(), "w-2");
    for claim in &claims {
        assert!(!claim.probe);
        let done = called(Outcome::Done);
        let settled = home.ledger.settle(claim, done, secs(3)).await;
        assert_eq!(settled.expect("an answer"), Settled::Written);
    }
    let pauses = home.ledger.pauses().await.expect("a read");
    assert_eq!(pauses.len(), 1, "a chat proves nothing about contacts");
    assert_eq!(
        (pauses[0].scope, &pauses[0].website),
        (PauseScope::People, &Some(website()))
    );

    let probe = home.claim(secs(60)).await;
    assert!(probe.probe && probe.kind == WorkKind::Person);
    assert!(home.claims(secs(61)).await.is_empty(), "one is enough");
    home.settle(&probe, pause_people(secs(120)), secs(61)).await;
    assert!(home.claims(secs(119)).await.is_empty());
    let probe = home.claim(secs(120)).await;
    let settled = home
        .ledger
        .settle(&probe, called(Outcome::Done), secs(121))
        .await;
    assert_eq!(settled.expect("an answer"), Settled::Written);
    assert!(home.ledger.pauses().await.expect("a read").is_empty());
    assert_eq!(home.claims(secs(122)).await.len(), 1);
}

/// Whatever is due first: none of the two pauses waits for a probe that the other holds back.
async fn a_website_that_is_paused_for_contacts_too_is_probed_by_either(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.settle(&claim, pause_people(secs(60)), at(0)).await;
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(secs(1)).await;
    let pause = Outcome::PauseWebsite {
        until: secs(30),
        probe_every: Duration::from_mins(1),
        reason: "not_subscribed".to_owned(),
    };
    home.settle(&claim, pause, secs(1)).await;
    let gone = Effect::ForgetConversation {
        website: website(),
        session: session("a"),
    };
    home.effect(gone, secs(2)).await;
    assert!(home.claims(secs(30)).await.is_empty(), "contacts wait");
    assert_eq!(
        home.ledger.next_due(secs(30)).await.expect("a read"),
        Some(secs(60))
    );
    let probe = home.claim(secs(60)).await;
    assert!(probe.probe && probe.kind == WorkKind::Person);
    // Refused for contacts: whether the website is paused still, a conversation may find out at once.
    home.settle(&probe, pause_people(secs(600)), secs(61)).await;
    home.enqueue(message("b", secs(61)), secs(61)).await;
    let probe = home.claim(secs(62)).await;
    assert!(probe.probe && probe.kind == WorkKind::Conversation);
    let settled = home
        .ledger
        .settle(&probe, called(Outcome::Done), secs(63))
        .await;
    assert_eq!(settled.expect("an answer"), Settled::Written);
    let pauses = home.ledger.pauses().await.expect("a read");
    assert_eq!(pauses.len(), 1);
    assert_eq!(pauses[0].scope, PauseScope::People);
    home.effect(Effect::Resume { website: website() }, secs(64))
        .await;
    assert!(home.ledger.pauses().await.expect("a read").is_empty());
}

async fn an_operator_ends_a_pause(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.settle(&claim, pause_token(secs(3_600)), at(0)).await;
    assert!(home.ledger.resume(None).await.expect("an answer"));
    assert!(!home.ledger.resume(None).await.expect("an answer"));
    assert!(!home.claim(secs(1)).await.probe);
}

// ---- Clock, heartbeat, definition ----

async fn a_clock_set_back_pulls_what_it_had_planned(home: Home) {
    home.enqueue(message("leased", at(0)), at(0)).await;
    home.enqueue(message("waits", secs(7_230)), secs(7_200))
        .await;
    let claim = home.ledger.claim(1, LEASE, secs(7_200)).await;
    assert_eq!(claim.expect("a claim").len(), 1);
    let beat = home.ledger.heartbeat(secs(7_200)).await;
    assert_eq!(beat.expect("a beat"), None);
    // Two hours back: the lease has 60 s to run, the other 30 s to wait.
    assert!(home.claims(at(0)).await.is_empty());
    assert_eq!(home.row("waits").await.run_at, secs(30));
    assert_eq!(home.claim(secs(30)).await.key, session("waits").as_str());
    let taken = home.ledger.claim(10, LEASE, secs(60)).await;
    assert_eq!(taken.expect("a claim")[0].crashes, 1);
}

/// What the wrong clock planned comes when it was meant to. When a request without an answer left stays as it was noted: a
/// list that does not show it has to reach back to then.
async fn a_clock_set_back_pulls_the_sweep_and_the_outbox_along(home: Home) {
    let look = SweepLook {
        since: at(0),
        until: at(0),
        after: None,
        began_at: secs(7_200),
        counts: SweepCounts::default(),
    };
    let swept = |lane, look| {
        Write::Swept(SweptPage {
            sweeping: Sweeping {
                look,
                covered_at: Some(secs(7_100)),
                finished_at: Some(secs(7_150)),
                ..Sweeping::fresh(lane)
            },
            known: Vec::new(),
            forget_before: None,
        })
    };
    let row = |key: &str, state, reason: &str| OutboxRow {
        reason: reason.to_owned(),
        ..occurrence(key, state, at(0))
    };
    let writes = vec![
        swept(Lane::Changes, None),
        swept(Lane::Rescan, Some(look)),
        Write::Outbox(OutboxRow {
            not_before: Some(secs(7_500)),
            ..row("due", OutboxState::Due, "timeline_cached")
        }),
        Write::Outbox(OutboxRow {
            due_at: secs(10_800),
            ..row("when", OutboxState::Scheduled, "when")
        }),
        Write::Outbox(OutboxRow {
            due_at: secs(10_800),
            ..row("released", OutboxState::Scheduled, "released_over_cap")
        }),
        Write::Outbox(OutboxRow {
            attempted_at: Some(secs(7_200)),
            ..row("unsure", OutboxState::Unsure, "no_proof")
        }),
        Write::Outbox(OutboxRow {
            due_at: secs(10_800),
            ..row("ahead", OutboxState::Scheduled, "not_due")
        }),
        Write::Outbox(OutboxRow {
            attempted_at: Some(secs(7_200)),
            not_before: Some(secs(8_100)),
            ..row("sending", OutboxState::Sending, "no_answer")
        }),
        Write::Outbox(OutboxRow {
            attempted_at: Some(secs(7_200)),
            sent_at: Some(secs(7_201)),
            ..row("sent", OutboxState::Sent, "confirmed")
        }),
    ];
    home.enqueue(person(Trigger::Command, secs(7_200)), secs(7_200))
        .await;
    let claim = home.claim(secs(7_200)).await;
    home.write(&claim, Outcome::Done, writes, secs(7_200)).await;
    let beat = home.ledger.heartbeat(secs(7_200)).await;
    assert_eq!(beat.expect("a beat"), None);
    // Two hours back.
    let beat = home.ledger.heartbeat(at(0)).await;
    assert_eq!(beat.expect("a beat"), None);
    for sweep in home.ledger.sweeps().await.expect("a read") {
        assert_eq!(sweep.covered_at, Some(at(0)));
        assert_eq!(sweep.finished_at, Some(at(0)));
        assert!(sweep.look.is_none_or(|look| look.began_at == at(0)));
    }
    let lags = home.ledger.sweep_lags(at(0)).await.expect("a read");
    assert!(lags.iter().all(|lag| lag.since <= at(0)), "{lags:?}");
    assert_eq!(outbox(&home, "due").await.not_before, Some(secs(300)));
    assert_eq!(outbox(&home, "when").await.due_at, secs(3_600));
    assert_eq!(outbox(&home, "released").await.due_at, secs(3_600));
    assert_eq!(outbox(&home, "unsure").await.attempted_at, Some(at(0)));
    assert_eq!(outbox(&home, "ahead").await.due_at, secs(10_800));
    let sending = outbox(&home, "sending").await;
    assert_eq!(sending.not_before, Some(secs(900)));
    assert_eq!(sending.attempted_at, Some(secs(7_200)));
    let sent = outbox(&home, "sent").await;
    let instants = (sent.attempted_at, sent.sent_at);
    assert_eq!(instants, (Some(at(0)), Some(at(0))));
}

async fn a_lease_longer_than_any_was_given_by_a_wrong_clock(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let extended = home.ledger.extend(&claim, LEASE, secs(7_200)).await;
    assert!(extended.expect("an answer"));
    let due = home.ledger.next_due(secs(61)).await.expect("a read");
    assert_eq!(due, Some(secs(61)));
    assert_eq!(home.claim(secs(61)).await.crashes, 1);
}

async fn a_clock_set_back_between_two_starts_is_noticed_by_the_heartbeat(home: Home) {
    let beat = home.ledger.heartbeat(secs(7_200)).await;
    assert_eq!(beat.expect("a beat"), None);
    home.enqueue(message("a", secs(7_260)), secs(7_200)).await;
    let home = home.reopened(at(0)).await;
    let beat = home.ledger.heartbeat(at(0)).await;
    assert_eq!(beat.expect("a beat"), None);
    assert_eq!(home.row("a").await.run_at, secs(60));
}

async fn who_only_looks_at_the_ledger_hides_no_silence(home: Home) {
    let beat = home.ledger.heartbeat(secs(0)).await;
    assert_eq!(beat.expect("a beat"), None);
    let mut home = home;
    for minute in 1..=10 {
        home = home.reopened(secs(60 * minute)).await;
        home.ledger
            .notice_silence(secs(60 * minute))
            .await
            .expect("noticed");
        let gap = home.ledger.last_gap().await.expect("a read");
        let expected = (minute > 5).then_some((secs(0), secs(60 * minute)));
        assert_eq!(gap.map(|gap| (gap.from, gap.to)), expected, "{minute}");
    }
    let gap = home.ledger.heartbeat(secs(620)).await.expect("a beat");
    let gap = gap.expect("a gap");
    assert_eq!((gap.from, gap.to), (secs(0), secs(620)));
}

/// Whoever comes first begins to count: what was armed then may have been told when a copy of that ledger is put back.
async fn the_first_look_at_a_ledger_is_where_a_silence_begins(home: Home) {
    home.ledger.notice_silence(secs(0)).await.expect("noticed");
    let gap = home.ledger.heartbeat(secs(600)).await.expect("a beat");
    let gap = gap.expect("a gap");
    assert_eq!((gap.from, gap.to), (secs(0), secs(600)));
}

async fn who_only_looks_at_the_ledger_notices_a_clock_set_back(home: Home) {
    let beat = home.ledger.heartbeat(secs(7_200)).await;
    assert_eq!(beat.expect("a beat"), None);
    home.enqueue(message("a", secs(7_260)), secs(7_200)).await;
    let home = home.reopened(at(0)).await;
    for second in [0, 20] {
        home.ledger
            .notice_silence(secs(second))
            .await
            .expect("noticed");
        assert_eq!(home.row("a").await.run_at, secs(60));
    }
}

async fn a_silence_is_a_gap_and_makes_cautious(home: Home) {
    for second in [0, 30, 60, 360] {
        let beat = home.ledger.heartbeat(secs(second)).await;
        assert_eq!(beat.expect("a beat"), None, "{second}");
    }
    assert_eq!(home.ledger.cautious_until().await.expect("a read"), None);
    let home = home.reopened(secs(700)).await;
    let gap = home.ledger.heartbeat(secs(700)).await.expect("a beat");
    let gap = gap.expect("a gap");
    assert_eq!((gap.from, gap.to), (secs(360), secs(700)));
    assert_eq!(
        home.ledger.cautious_until().await.expect("a read"),
        Some(secs(700))
    );
}

async fn a_silence_ends_nothing_that_an_earlier_one_put_in_doubt(home: Home) {
    let mut home = home;
    for second in [0, 360, 700, 1_100, 1_120] {
        home = home.reopened(secs(second)).await;
        home.ledger.heartbeat(secs(second)).await.expect("a beat");
    }
    let gaps = home.ledger.gaps().await.expect("a read");
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.from, gap.until)).collect();
    let expected = [(0, 360), (360, 700), (700, 1_100)];
    assert_eq!(gaps, expected.map(|(from, to)| (secs(from), secs(to))));
    let last = home.ledger.last_gap().await.expect("a read");
    assert_eq!(last.map(|gap| gap.from), Some(secs(700)));
}

/// A reader sees what was known before or after, and nothing in between: a gap from the beginning of one to the end of another
/// would put months in doubt.
async fn gaps_are_read_as_they_were_at_one_moment(home: Home) {
    const SILENCES: i64 = 60;
    let silence = |number: i64| secs(number * 3600);
    let writes = async {
        for number in 1..=SILENCES {
            let noted = home.ledger.heartbeat(silence(number)).await;
            noted.expect("a beat");
        }
    };
    let reads = async {
        loop {
            let gaps = home.ledger.gaps().await.expect("a read");
            let [.., before, last] = gaps.as_slice() else {
                continue;
            };
            assert!(before.until <= last.from, "{before:?} {last:?}");
            if last.until == silence(SILENCES) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
}

/// Of a gap that ends ahead of the clock everything would lie in it, and wait for it to end.
async fn a_clock_that_was_ahead_leaves_no_gap_that_is_not_over(home: Home) {
    for second in [0, 7_200, 7_600] {
        home.ledger.heartbeat(secs(second)).await.expect("a beat");
    }
    assert_eq!(home.ledger.gaps().await.expect("a read").len(), 2);
    home.ledger.heartbeat(secs(100)).await.expect("a beat");
    let gaps = home.ledger.gaps().await.expect("a read");
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.from, gap.until)).collect();
    // The second one began 7,500 s before it was noticed that the clock was wrong.
    let expected = [(0, 100), (-300, 100)];
    assert_eq!(gaps, expected.map(|(from, to)| (secs(from), secs(to))));
}

/// Who let an event go that nobody could prove knew nothing of a time that came after.
async fn a_gap_takes_back_what_a_person_answered_for(home: Home) {
    home.ledger.heartbeat(at(0)).await.expect("a beat");
    let row = |key: &str, state, reason: &str| {
        Write::Outbox(OutboxRow {
            reason: reason.to_owned(),
            ..occurrence(key, state, at(0))
        })
    };
    let writes = vec![
        row("due", OutboxState::Due, "released_unsure"),
        row("over", OutboxState::Scheduled, "released_unsure_over_cap"),
        row("sent", OutboxState::Sent, "released_unsure"),
    ];
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    home.write(&claim, Outcome::Done, writes, at(0)).await;
    home.ledger.heartbeat(secs(200)).await.expect("a beat");
    assert_eq!(outbox(&home, "due").await.reason, "released_unsure");
    let gap = home.ledger.heartbeat(secs(700)).await.expect("a beat");
    assert!(gap.is_some());
    assert_eq!(outbox(&home, "due").await.reason, "released");
    assert_eq!(outbox(&home, "over").await.reason, "released_over_cap");
    assert_eq!(outbox(&home, "sent").await.reason, "released_unsure");
}

#[tokio::test]
async fn a_copied_ledger_is_cautious_and_keeps_its_pseudonyms() {
    let home = Home::new().await;
    home.enqueue(message("a", at(0)), at(0)).await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let copy = elsewhere.path().join("ledger.db");
    home.ledger.backup(&copy).await.expect("a backup");
    let copied = open(&elsewhere, secs(9)).await.expect("the copy");
    assert_eq!(
        copied.cautious_until().await.expect("a read"),
        Some(secs(9))
    );
    let ada = Email::parse("ada@example.org").expect("an address");
    assert_eq!(
        copied.pseudonyms().email(&ada),
        home.ledger.pseudonyms().email(&ada)
    );
    let again = home.ledger.backup(&copy).await;
    assert!(
        matches!(again, Err(LedgerError::Backup { .. })),
        "{again:?}"
    );
    assert_eq!(
        home.ledger.cautious_until().await.expect("a read"),
        None,
        "the original is none"
    );
}

async fn an_older_definition_claims_nothing(home: Home) {
    let ledger = &home.ledger;
    home.enqueue(message("a", at(0)), at(0)).await;
    for (hash, standing) in [
        ("one", Standing::Current),
        ("one", Standing::Current),
        ("two", Standing::Current),
        ("one", Standing::Older),
    ] {
        let noted = ledger.note_definition(hash, at(0)).await;
        assert_eq!(noted.expect("noted"), standing, "{hash}");
    }
    assert!(home.claims(at(0)).await.is_empty());
    assert_eq!(ledger.next_due(at(0)).await.expect("a read"), None);
    ledger
        .adopt_definition("one", at(0))
        .await
        .expect("adopted");
    home.claim(at(0)).await;
    let noted = ledger.note_definition("two", at(0)).await;
    assert_eq!(noted.expect("noted"), Standing::Older);
}

// ---- What Crisp holds ----

async fn what_crisp_holds_before_there_is_a_mirror_means_nothing(home: Home) {
    home.effect(held("a", json!({"plan": "free"})), at(0)).await;
    assert!(home.claims(secs(60)).await.is_empty());
}

async fn an_echo_and_an_edit_beside_ours_do_nothing(home: Home) {
    home.written("a", layer("pro"), at(0)).await;
    home.effect(
        held("a", json!({"plan": "pro", "note": "call back"})),
        at(0),
    )
    .await;
    home.effect(
        Effect::HeldSegments {
            website: website(),
            session: session("a"),
            segments: vec!["vip".to_owned(), "plan-pro".to_owned()],
        },
        at(0),
    )
    .await;
    assert!(!home.row("a").await.is_pending());
    assert!(!home.mirror("a").await.dirty);
}

async fn what_is_ours_and_was_overwritten_is_written_once_more(home: Home) {
    home.written("a", layer("pro"), at(0)).await;
    home.effect(held("a", json!({"plan": "enterprise"})), secs(1))
        .await;
    assert!(home.mirror("a").await.dirty);
    let claim = home.claim(secs(1)).await;
    assert_eq!(claim.trigger, Trigger::Overwritten);
}

async fn a_forged_segment_that_bears_our_name_is_overwritten(home: Home) {
    home.enqueue(message("a", at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let writes = vec![
        Write::Conversation(mirror("a", layer("pro"))),
        Write::Own(vec![OwnedName {
            side: Side::Session,
            kind: OwnedKind::SegmentPrefix,
            name: "plan-".to_owned(),
        }]),
    ];
    home.write(&claim, Outcome::Done, writes, at(0)).await;
    home.effect(
        Effect::HeldSegments {
            website: website(),
            session: session("a"),
            segments: vec!["plan-pro".to_owned(), "plan-gold".to_owned()],
        },
        secs(1),
    )
    .await;
    assert_eq!(home.claim(secs(1)).await.trigger, Trigger::Overwritten);
}

async fn two_equal_corrections_in_a_row_make_crisps_form_ours(home: Home) {
    home.written("a", layer("pro"), at(0)).await;
    let said = json!({"plan": "PRO"});
    for second in [10, 20] {
        home.effect(held("a", said.clone()), secs(second)).await;
        let claim = home.claim(secs(second)).await;
        let same = vec![Write::Conversation(mirror("a", layer("pro")))];
        home.write(&claim, Outcome::Done, same, secs(second)).await;
    }
    home.effect(held("a", said.clone()), secs(30)).await;
    assert!(!home.row("a").await.is_pending(), "it stops here");
    let known = home.mirror("a").await;
    assert!(!known.dirty);
    let form = known.crisp_form.expect("Crisp's form");
    assert_eq!(form.data["plan"], DataValue::from("PRO"));
    assert_eq!(
        known.session_layer,
        layer("pro"),
        "what we want stays known"
    );
    home.effect(held("a", said), secs(40)).await;
    assert!(!home.row("a").await.is_pending());
    home.effect(held("a", json!({"plan": "free"})), secs(50))
        .await;
    assert!(home.row("a").await.is_pending(), "another form is an edit");
}

async fn a_correction_that_failed_is_no_correction(home: Home) {
    home.written("a", layer("pro"), at(0)).await;
    let doubt = || Write::Doubt {
        website: website(),
        sessions: vec![session("a")],
    };
    for second in [10, 20, 30, 40] {
        home.effect(held("a", json!({"plan": "forged"})), secs(second))
            .await;
        assert!(home.row("a").await.is_pending(), "after {second} s");
        let claim = home.claim(secs(second)).await;
        home.write(&claim, Outcome::Done, vec![doubt()], secs(second))
            .await;
        assert!(home.mirror("a").await.dirty);
    }
    assert_eq!(home.mirror("a").await.crisp_form, None);
}

async fn the_echo_of_the_work_under_way_is_judged_when_it_is_settled(home: Home) {
    home.written("a", layer("free"), at(0)).await;
    for (second, said, pending) in [(100, "pro", false), (300, "forged", true)] {
        let now = secs(second);
        home.enqueue(message("a", now), now).await;
        let claim = home.claim(now).await;
        home.effect(held("a", json!({ "plan": said })), now).await;
        assert!(!home.mirror("a").await.dirty, "not judged yet");
        let writes = vec![Write::Conversation(mirror("a", layer("pro")))];
        home.write(&claim, Outcome::Done, writes, now).await;
        assert_eq!(home.row("a").await.is_pending(), pending, "{said}");
        assert_eq!(home.mirror("a").await.dirty, pending, "{said}");
    }
}

// ---- Contacts ----

async fn a_removed_contact_leaves_a_tombstone_until_it_is_created_again(home: Home) {
    let mac = home
        .ledger
        .pseudonyms()
        .email(&Email::parse("ada@example.org").expect("an address"));
    let people = |id: &str| PeopleId::parse(id).expect("an id");
    know(
        &home,
        PersonMirror {
            email_mac: Some(mac.clone()),
            people: Some(people("p-1")),
            contact: ContactState::Exists,
            contact_layer: layer("pro"),
            ..PersonMirror::unknown(website(), user())
        },
    )
    .await;
    let removed = |id: &str| Effect::ContactRemoved {
        website: website(),
        people: people(id),
        email: Some(mac.clone()),
    };
    home.effect(removed("p-other"), secs(1)).await;
    assert_eq!(home.person().await.contact, ContactState::Exists);
    home.effect(removed("p-1"), secs(2)).await;
    let gone = home.person().await;
    assert_eq!(gone.contact, ContactState::Removed);
    assert_eq!(gone.contact_layer, Layer::default());
    assert!(home.claims(secs(100)).await.is_empty());

    // That it was created is old news: the webhook was sent again, or came late.
    let created = Effect::ContactCreated {
        website: website(),
        people: people("p-1"),
        email: Some(mac.clone()),
    };
    home.effect(created, secs(100)).await;
    assert_eq!(home.person().await.contact, ContactState::Removed);
    assert!(home.claims(secs(100)).await.is_empty());

    home.effect(
        Effect::ContactCreated {
            website: website(),
            people: people("p-2"),
            email: Some(mac.clone()),
        },
        secs(101),
    )
    .await;
    let back = home.person().await;
    assert_eq!(back.contact, ContactState::Exists);
    assert_eq!(back.people, Some(people("p-2")));
    let claim = home.claim(secs(101)).await;
    assert_eq!(claim.trigger, Trigger::ProfileCreated);

    // What the attempt read before the webhook is older than the webhook.
    home.effect(removed("p-2"), secs(102)).await;
    home.write(&claim, Outcome::Done, vec![Write::Person(back)], secs(103))
        .await;
    assert_eq!(home.person().await.contact, ContactState::Removed);
}

// ---- Outbox ----

async fn outbox(home: &Home, key: &str) -> OutboxRow {
    let rows = home.ledger.outbox(&website(), &user()).await;
    let mut rows = rows.expect("a read");
    rows.retain(|row| row.key == key);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

async fn an_event_is_on_its_way_only_under_a_lease_and_only_once(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let writes = vec![Write::Outbox(occurrence("one", OutboxState::Due, at(0)))];
    let written = home.ledger.checkpoint(&claim, writes, at(0)).await;
    assert_eq!(written.expect("an answer"), Settled::Written);
    let begin = |claim: Claim, now| {
        let ledger = home.ledger.clone();
        async move {
            ledger
                .begin_send(
                    &claim,
                    &occurrence("one", OutboxState::Due, at(0)),
                    &SendLimits::default(),
                    now,
                )
                .await
                .expect("an answer")
        }
    };
    let over = begin(claim.clone(), secs(60)).await;
    assert_eq!(over, Begun::LeaseLost, "the lease is over");
    assert!(marks(&home).await.is_empty());
    assert_eq!(begin(claim.clone(), secs(1)).await, Begun::Yes);
    assert!(marks(&home).await.is_empty(), "it may yet be refused");
    let sending = outbox(&home, "one").await;
    assert_eq!(sending.state, OutboxState::Sending);
    assert_eq!((sending.attempts, sending.attempted_at), (1, Some(secs(1))));
    let twice = begin(claim.clone(), secs(2)).await;
    assert_eq!(twice, Begun::Moved, "it is on its way");

    // The caller read the row before it began: the attempt stays counted.
    let sent = OutboxRow {
        sent_at: Some(secs(2)),
        ..occurrence("one", OutboxState::Sent, at(0))
    };
    home.write(&claim, Outcome::Done, vec![Write::Outbox(sent)], secs(2))
        .await;
    let sent = outbox(&home, "one").await;
    assert_eq!((sent.attempts, sent.attempted_at), (1, Some(secs(1))));
    let after = begin(claim, secs(3)).await;
    assert_eq!(after, Begun::LeaseLost, "the lease was given back");
}

async fn marks(home: &Home) -> Vec<Timestamp> {
    let marks = home.ledger.high_water(&website(), &user()).await;
    marks.expect("a read").into_values().collect()
}

async fn what_a_person_dropped_meanwhile_is_not_sent_and_leaves_no_mark(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let due = occurrence("one", OutboxState::Due, at(0));
    let writes = vec![Write::Outbox(due.clone())];
    let written = home.ledger.checkpoint(&claim, writes, at(0)).await;
    assert_eq!(written.expect("an answer"), Settled::Written);
    let all = OutboxFilter::default();
    let dropped = home.ledger.drop_occurrences(&all, secs(1)).await;
    assert_eq!(dropped.expect("dropped"), 1);
    let begun = home
        .ledger
        .begin_send(&claim, &due, &SendLimits::default(), secs(2))
        .await;
    assert_eq!(begun.expect("an answer"), Begun::Moved);
    assert_eq!(outbox(&home, "one").await.state, OutboxState::Expired);
    assert!(marks(&home).await.is_empty());
}

async fn one_address_gets_one_event_at_a_time_whoever_asks(home: Home) {
    let pseudonyms = home.ledger.pseudonyms();
    let mac = pseudonyms.email(&Email::parse("ada@example.org").expect("an address"));
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let to_ada = |key: &str, who: &str| OutboxRow {
        user_key: UserKey::parse(who).expect("a key"),
        email_mac: Some(mac.clone()),
        ..occurrence(key, OutboxState::Due, at(0))
    };
    // Another account on the same address is being told at this moment.
    let other = OutboxRow {
        state: OutboxState::Sending,
        attempted_at: Some(secs(1)),
        ..to_ada("one", "43")
    };
    let due = to_ada("two", "42");
    let writes = vec![Write::Outbox(other), Write::Outbox(due.clone())];
    let written = home.ledger.checkpoint(&claim, writes, at(0)).await;
    assert_eq!(written.expect("an answer"), Settled::Written);
    let last = home.ledger.last_sent_to(&website(), &mac).await;
    assert_eq!(last.expect("a read")["user:trial:ended"], secs(1));
    let spacing = |second| SendLimits {
        events: vec!["user:trial:ended".to_owned()],
        spaced_since: Some(secs(second)),
        ..SendLimits::default()
    };
    let begin = async |limits: &SendLimits| {
        let begun = home.ledger.begin_send(&claim, &due, limits, secs(2));
        begun.await.expect("an answer")
    };
    assert_eq!(begin(&spacing(0)).await, Begun::TooSoon);
    assert!(marks(&home).await.is_empty());
    assert_eq!(begin(&spacing(1)).await, Begun::Yes);
}

#[tokio::test]
async fn a_contact_that_is_gone_proves_nothing_any_more() {
    for (removes, state) in [
        (true, OutboxState::Unsure),
        // The same contact, told again.
        (false, OutboxState::Sending),
    ] {
        let home = Home::new().await;
        let people = PeopleId::parse("p-1").expect("an id");
        know(
            &home,
            PersonMirror {
                people: Some(people.clone()),
                contact: ContactState::Exists,
                ..PersonMirror::unknown(website(), user())
            },
        )
        .await;
        home.enqueue(person(Trigger::Command, secs(200)), secs(200))
            .await;
        let claim = home.claim(secs(200)).await;
        let row = occurrence("one", OutboxState::Sending, at(0));
        let written = home
            .ledger
            .checkpoint(&claim, vec![Write::Outbox(row.clone())], secs(200))
            .await;
        assert_eq!(written.expect("an answer"), Settled::Written);
        let (website, email) = (website(), None);
        let effect = if removes {
            Effect::ContactRemoved {
                website,
                people,
                email,
            }
        } else {
            Effect::ContactCreated {
                website,
                people,
                email,
            }
        };
        home.effect(effect, secs(201)).await;
        assert_eq!(outbox(&home, "one").await.state, state);
        // Who waited for the answer hears it all the same.
        let sent = OutboxRow {
            state: OutboxState::Sent,
            ..row
        };
        home.write(&claim, Outcome::Done, vec![Write::Outbox(sent)], secs(202))
            .await;
        assert_eq!(outbox(&home, "one").await.state, OutboxState::Sent);
    }
}

async fn sent_stays_sent(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let states = [OutboxState::Sent, OutboxState::Due, OutboxState::Expired];
    let writes = states.map(|state| Write::Outbox(occurrence("one", state, at(0))));
    home.write(&claim, Outcome::Done, writes.to_vec(), at(0))
        .await;
    assert_eq!(outbox(&home, "one").await.state, OutboxState::Sent);
}

async fn the_high_water_never_falls(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let writes = [5, 9, 7].map(|second| Write::HighWater {
        website: website(),
        user_key: user(),
        event: "user:trial:ended".to_owned(),
        subject: String::new(),
        instant: secs(second),
    });
    home.write(&claim, Outcome::Done, writes.to_vec(), at(0))
        .await;
    let high = home.ledger.high_water(&website(), &user()).await;
    let high = high.expect("a read");
    assert_eq!(
        high[&("user:trial:ended".to_owned(), String::new())],
        secs(9)
    );
}

async fn held_occurrences_are_released_and_dropped_by_a_person(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let writes = [
        ("held-1", OutboxState::Held),
        ("held-2", OutboxState::Held),
        ("parked", OutboxState::Parked),
        ("unsure", OutboxState::Unsure),
        ("sent", OutboxState::Sent),
    ]
    .map(|(key, state)| {
        Write::Outbox(OutboxRow {
            reason: if key == "held-1" { "brake" } else { "min_gap" }.to_owned(),
            ..occurrence(key, state, at(0))
        })
    });
    home.write(&claim, Outcome::Done, writes.to_vec(), at(0))
        .await;
    let counts = home
        .ledger
        .send_count(&website(), &["user:trial:ended".to_owned()], at(0))
        .await
        .expect("a count");
    assert_eq!(counts.held, 1, "what the brake holds");
    let one = OutboxFilter {
        state: Some(OutboxState::Held),
        limit: 1,
        ..OutboxFilter::default()
    };
    let ledger = &home.ledger;
    assert_eq!(ledger.release(&one, secs(5)).await.expect("released"), 1);
    assert_eq!(outbox(&home, "held-1").await.state, OutboxState::Due);
    assert_eq!(outbox(&home, "held-2").await.state, OutboxState::Held);
    assert_eq!(home.claim(secs(5)).await.trigger, Trigger::Command);

    let all = OutboxFilter::default();
    assert_eq!(ledger.release(&all, secs(6)).await.expect("released"), 2);
    assert_eq!(outbox(&home, "unsure").await.state, OutboxState::Unsure);
    let unsure = OutboxFilter {
        state: Some(OutboxState::Unsure),
        ..OutboxFilter::default()
    };
    assert_eq!(ledger.release(&unsure, secs(7)).await.expect("released"), 1);
    let dropped = ledger.drop_occurrences(&all, secs(8)).await;
    assert_eq!(dropped.expect("dropped"), 4);
    assert_eq!(outbox(&home, "sent").await.state, OutboxState::Sent);
    let expired = OutboxFilter {
        state: Some(OutboxState::Expired),
        ..OutboxFilter::default()
    };
    let listed = ledger.outbox_list(&expired).await.expect("a list");
    assert_eq!(listed.len(), 4);
}

async fn what_a_person_may_release_and_drop_is_what_the_states_say(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let writes =
        OutboxState::ALL.map(|state| Write::Outbox(occurrence(state.as_str(), state, at(0))));
    home.write(&claim, Outcome::Done, writes.to_vec(), at(0))
        .await;
    let of = |state| OutboxFilter {
        state: Some(state),
        ..OutboxFilter::default()
    };
    for state in OutboxState::ALL {
        // What was released before is due by now, and no more than one of them is `due` by itself.
        let own = OutboxFilter {
            reference: Some(outbox(&home, state.as_str()).await.reference),
            ..of(state)
        };
        if state.is_released() {
            let released = home.ledger.release(&own, secs(5)).await;
            assert_eq!(released.expect("released"), 1, "{state}");
            let row = outbox(&home, state.as_str()).await;
            let reason = if state == OutboxState::Unsure {
                "released_unsure"
            } else {
                "released"
            };
            assert_eq!((row.state, row.reason.as_str()), (OutboxState::Due, reason));
            continue;
        }
        assert_eq!(
            home.ledger.release(&own, secs(5)).await.expect("an answer"),
            0,
            "{state}"
        );
        let dropped = home.ledger.drop_occurrences(&own, secs(6)).await;
        assert_eq!(
            dropped.expect("an answer"),
            u64::from(state.is_dropped()),
            "{state}"
        );
    }
    let all = OutboxFilter::default();
    let dropped = home.ledger.drop_occurrences(&all, secs(7)).await;
    assert_eq!(
        dropped.expect("an answer"),
        3,
        "the three that were released"
    );
}

async fn what_nobody_can_decide_is_given_up_and_stays_in_doubt(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let unsure = Write::Outbox(occurrence("unsure", OutboxState::Unsure, at(0)));
    home.write(&claim, Outcome::Done, vec![unsure], at(0)).await;
    let ledger = &home.ledger;
    let all = OutboxFilter::default();
    let named = OutboxFilter {
        state: Some(OutboxState::Unsure),
        ..OutboxFilter::default()
    };
    assert_eq!(ledger.waiting().await.expect("counted").unsure, 1);
    let dropped = ledger.drop_occurrences(&all, secs(1)).await;
    assert_eq!(dropped.expect("dropped"), 0, "it has to be named");
    let dropped = ledger.drop_occurrences(&named, secs(1)).await;
    assert_eq!(dropped.expect("dropped"), 1);
    // Crisp may have it, so it still counts as if it had.
    let row = outbox(&home, "unsure").await;
    assert_eq!(
        (row.state, row.reason.as_str()),
        (OutboxState::Unsure, "dropped")
    );
    assert_eq!(ledger.waiting().await.expect("counted").unsure, 0);
    assert_eq!(ledger.release(&named, secs(2)).await.expect("released"), 0);
    let dropped = ledger.drop_occurrences(&named, secs(2)).await;
    assert_eq!(dropped.expect("dropped"), 0);
}

/// Every pair of states through the ledger's own write, and every state through the moment before a request leaves.
async fn a_row_goes_where_its_state_may_and_leaves_from_due_alone(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let pairs = || OutboxState::ALL.map(|from| OutboxState::ALL.map(|to| (from, to)));
    let key = |from: OutboxState, to: OutboxState| format!("{from}-{to}");
    for is_second in [false, true] {
        let writes = pairs().concat().into_iter().map(|(from, to)| {
            let state = if is_second { to } else { from };
            Write::Outbox(occurrence(&key(from, to), state, at(0)))
        });
        let written = home
            .ledger
            .checkpoint(&claim, writes.collect(), at(0))
            .await;
        assert_eq!(written.expect("an answer"), Settled::Written);
    }
    for (from, to) in pairs().concat() {
        let expected = if from.may_become(to) { to } else { from };
        let row = outbox(&home, &key(from, to)).await;
        assert_eq!(row.state, expected, "{from} → {to}");
    }
    for state in OutboxState::ALL {
        let row = outbox(&home, &key(state, state)).await;
        let begun = home
            .ledger
            .begin_send(&claim, &row, &SendLimits::default(), secs(1))
            .await
            .expect("an answer");
        let expected = if state == OutboxState::Due {
            Begun::Yes
        } else {
            Begun::Moved
        };
        assert_eq!(begun, expected, "{state}");
        // Nor does it leave for somebody who read it as due, and it is something else by now.
        if state != OutboxState::Due {
            let as_due = OutboxRow {
                state: OutboxState::Due,
                ..row
            };
            let limits = SendLimits::default();
            let begun = home.ledger.begin_send(&claim, &as_due, &limits, secs(1));
            assert_eq!(begun.await.expect("an answer"), Begun::Moved, "{state}");
        }
    }
}

async fn occurrences_are_chosen_by_time_and_states(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    let writes = [
        ("one", OutboxState::Held, secs(1)),
        ("two", OutboxState::Parked, secs(2)),
        ("three", OutboxState::Sent, secs(3)),
    ]
    .map(|(key, state, updated_at)| {
        Write::Outbox(OutboxRow {
            updated_at,
            ..occurrence(key, state, at(0))
        })
    });
    home.write(&claim, Outcome::Done, writes.to_vec(), at(0))
        .await;
    let ledger = &home.ledger;
    let both = vec![OutboxState::Held, OutboxState::Sent];
    for (since, until, states, expected) in [
        (None, None, vec![], vec!["one", "three", "two"]),
        (Some(secs(2)), None, vec![], vec!["three", "two"]),
        (None, Some(secs(2)), vec![], vec!["one"]),
        (None, None, both.clone(), vec!["one", "three"]),
        (Some(secs(2)), Some(secs(3)), both, vec![]),
    ] {
        let filter = OutboxFilter {
            states,
            since,
            until,
            ..OutboxFilter::default()
        };
        let rows = ledger.outbox_list(&filter).await.expect("a list");
        let mut keys: Vec<_> = rows.iter().map(|row| row.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected, "{filter:?}");
        let totals = ledger.outbox_totals(&filter).await.expect("counts");
        let total: u64 = totals.iter().map(|total| total.rows).sum();
        assert_eq!(total, expected.len() as u64, "{filter:?}");
    }
    let early = OutboxFilter {
        until: Some(secs(2)),
        ..OutboxFilter::default()
    };
    assert_eq!(ledger.release(&early, secs(4)).await.expect("released"), 1);
    assert_eq!(outbox(&home, "one").await.state, OutboxState::Due);
    assert_eq!(outbox(&home, "two").await.state, OutboxState::Parked);
}

async fn a_rule_is_armed_from_a_watermark(home: Home) {
    let ledger = &home.ledger;
    ledger
        .arm(&website(), "trial", secs(1), secs(2))
        .await
        .expect("armed");
    ledger
        .arm(&website(), "trial", at(0), secs(3))
        .await
        .expect("moved back");
    let armings = ledger.armings(&website()).await.expect("a list");
    assert_eq!(armings.len(), 1);
    assert_eq!(
        (armings[0].watermark, armings[0].armed_at),
        (at(0), secs(2))
    );
    assert!(ledger.disarm(&website(), "trial").await.expect("disarmed"));
    assert!(!ledger.disarm(&website(), "trial").await.expect("disarmed"));
}

// ---- The file ----

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_drop_without_a_close() {
    let home = Home::new().await;
    let all = (0..200).map(|number| {
        let ledger = home.ledger.clone();
        async move {
            let effect = Effect::Enqueue(message(&number.to_string(), at(0)));
            ledger.accept(acceptance(vec![effect]), at(0)).await
        }
    });
    for accepted in futures_util::future::join_all(all).await {
        accepted.expect("accepted");
    }
    let leased = home.ledger.claim(1, LEASE, at(0)).await.expect("a claim");
    let home = home.reopened(secs(1)).await;
    let health = home.ledger.health(secs(1)).await.expect("a read");
    assert_eq!(health.pending, 200);
    // Only one process can have the file, so the lease of the one before is over.
    let all = home.ledger.claim(1_000, LEASE, secs(1)).await;
    let all = all.expect("a claim");
    assert_eq!(all.len(), 200);
    let taken = all.iter().find(|claim| claim.key == leased[0].key);
    assert_eq!(taken.expect("the row").crashes, 1);
    home.ledger.close().await.expect("closed");
    let late = home.ledger.accept(acceptance(Vec::new()), secs(2)).await;
    assert!(matches!(late, Err(LedgerError::Closed)), "{late:?}");
}

async fn a_row_that_cannot_be_stored_does_not_poison_its_neighbours(home: Home) {
    let bad = Acceptance {
        delivery: delivery(&"x".repeat(129)),
        effects: vec![Effect::Enqueue(message("bad", at(0)))],
    };
    let all = (0..101).map(|number| {
        let one = if number == 37 {
            bad.clone()
        } else {
            acceptance(vec![Effect::Enqueue(message(&number.to_string(), at(0)))])
        };
        home.ledger.accept(one, at(0))
    });
    let answers = futures_util::future::join_all(all).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), number != 37, "{number}: {answer:?}");
    }
    assert!(matches!(answers[37], Err(LedgerError::Refused { .. })));
    let health = home.ledger.health(at(0)).await.expect("a read");
    assert_eq!((health.pending, health.quarantined), (100, 1));
}

async fn a_row_that_meets_an_unreadable_one_does_not_poison_its_neighbours(home: Home) {
    home.written("torn", layer("pro"), at(0)).await;
    home.behind_its_back("UPDATE conversations SET session_layer = 'torn'")
        .await;
    let all = (0..101).map(|number| {
        let effect = if number == 37 {
            held("torn", json!({ "plan": "free" }))
        } else {
            Effect::Enqueue(message(&number.to_string(), at(0)))
        };
        home.ledger.accept(acceptance(vec![effect]), at(0))
    });
    let answers = futures_util::future::join_all(all).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_ok(), number != 37, "{number}: {answer:?}");
    }
    assert!(matches!(answers[37], Err(LedgerError::Unreadable { .. })));
    let health = home.ledger.health(at(0)).await.expect("a read");
    assert_eq!((health.pending, health.quarantined), (100, 1));
}

#[tokio::test]
async fn the_log_is_folded_into_the_file_before_the_writer_has_to() {
    let home = Home::new().await;
    let file = home.folder().path().join("ledger.db");
    let length = || std::fs::metadata(&file).expect("the file").len();
    let before = length();
    for batch in 0..30 {
        let all = (0..100).map(|number| {
            let effect = Effect::Enqueue(message(&format!("{batch}-{number}"), at(0)));
            home.ledger.accept(acceptance(vec![effect]), at(0))
        });
        for accepted in futures_util::future::join_all(all).await {
            accepted.expect("accepted");
        }
    }
    // The log is far from the length at which the writer folds it: whoever does, does it beside the commits.
    let log = std::fs::metadata(home.folder().path().join("ledger.db-wal"));
    assert!(log.expect("the log").len() < 8_000 * 4_096);
    let folded = async {
        while length() == before {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), folded).await;
    in_time.expect("the file has grown");
    home.ledger.close().await.expect("closed");
    let log = home.folder().path().join("ledger.db-wal");
    assert!(!log.exists(), "the last connection removes the log");
    let home = home.reopened(at(0)).await;
    let health = home.ledger.health(at(0)).await.expect("a read");
    assert_eq!(health.pending, 3_000);
}

#[tokio::test]
async fn a_ledger_that_cannot_commit_says_so_at_once() {
    let home = Home::new().await;
    home.enqueue(message("before", at(0)), at(0)).await;
    // Another program sits on the file: the writer waits for its own timeout, not for ever.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let path = elsewhere.path().join("ledger.db");
    let ledger = Ledger::open(
        LedgerSettings {
            busy_timeout: Duration::from_millis(1),
            ..LedgerSettings::at(&path)
        },
        at(0),
    )
    .await
    .expect("a ledger");
    let mut thief = connect(&path).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut thief)
        .await
        .expect("the lock");
    let all = (0..50).map(|_| ledger.accept(acceptance(Vec::new()), at(0)));
    for answer in futures_util::future::join_all(all).await {
        assert!(
            matches!(answer, Err(LedgerError::Storage { .. })),
            "{answer:?}"
        );
    }
    sqlx::query("ROLLBACK")
        .execute(&mut thief)
        .await
        .expect("let go");
    let answer = ledger.accept(acceptance(Vec::new()), at(0)).await;
    answer.expect("it recovers by itself");
    assert_eq!(ledger.health(at(0)).await.expect("a read").quarantined, 0);
}

async fn connect(path: &std::path::Path) -> sqlx::SqliteConnection {
    use sqlx::Connection;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    sqlx::SqliteConnection::connect_with(&options)
        .await
        .expect("a connection")
}

#[tokio::test]
async fn a_full_disk_is_told_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(
        LedgerSettings {
            size_limit: Some(400_000),
            ..LedgerSettings::at(folder.path().join("ledger.db"))
        },
        at(0),
    )
    .await
    .expect("a ledger");
    let mut accepted = 0_usize;
    let error = loop {
        let all = (0..100).map(|_| ledger.accept(acceptance(Vec::new()), at(0)));
        let answers = futures_util::future::join_all(all).await;
        accepted += answers.iter().filter(|answer| answer.is_ok()).count();
        if let Some(error) = answers.into_iter().find_map(Result::err) {
            break error;
        }
    };
    assert!(matches!(error, LedgerError::Full { .. }), "{error:?}");
    assert!(error.is_transient());
    let kept = ledger
        .deliveries(&DeliveryFilter {
            limit: u32::MAX,
            ..DeliveryFilter::default()
        })
        .await
        .expect("a list");
    assert_eq!(kept.len(), accepted);
    assert_eq!(ledger.health(at(0)).await.expect("a read").quarantined, 0);
    ledger.prune(Duration::ZERO, secs(1)).await.expect("pruned");
    let answer = ledger.accept(acceptance(Vec::new()), secs(1)).await;
    answer.expect("there is room again");
}

#[tokio::test]
async fn a_power_loss_leaves_what_was_acknowledged() {
    let home = Home::new().await;
    for number in 0..20 {
        home.enqueue(message(&number.to_string(), at(0)), at(0))
            .await;
    }
    // What is on the disk now, without the shared memory that only lives in processes.
    let after = tempfile::tempdir().expect("a folder");
    for name in ["ledger.db", "ledger.db-wal"] {
        let (from, to) = (home.folder().path().join(name), after.path().join(name));
        std::fs::copy(from, to).expect("a copy");
    }
    let ledger = open(&after, secs(1)).await.expect("the ledger");
    let health = ledger.health(secs(1)).await.expect("a read");
    assert_eq!(health.pending, 20);
}

async fn acceptances_come_from_other_runtimes(home: Home) {
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let ledger = home.ledger.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .expect("a runtime");
                let effect = Effect::Enqueue(message(&number.to_string(), at(0)));
                runtime.block_on(ledger.accept(acceptance(vec![effect]), at(0)))
            })
        })
        .collect();
    let joined = tokio::task::spawn_blocking(|| {
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .collect::<Vec<_>>()
    });
    for answer in joined.await.expect("joined") {
        answer.expect("accepted");
    }
    assert_eq!(home.claims(at(0)).await.len(), 4);
}

#[tokio::test]
async fn a_second_opening_gets_an_error_with_a_hint() {
    let home = Home::new().await;
    let second = open(home.folder(), at(0)).await.expect_err("locked");
    assert!(matches!(second, LedgerError::Locked { .. }));
    assert!(second.to_string().contains("\nhint: "), "{second}");
    let _again = home.reopened(at(0)).await;
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new().await;
    home.enqueue(message("a", at(0)), at(0)).await;
    let copy = home.folder().path().join("copy.db");
    home.ledger.backup(&copy).await.expect("a backup");
    for entry in home.folder().path().read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn somebody_elses_database_is_no_ledger() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    std::fs::File::create(&path).expect("a file");
    let mut theirs = connect(&path).await;
    sqlx::query("CREATE TABLE users (id INTEGER)")
        .execute(&mut theirs)
        .await
        .expect("a table");
    sqlx::Connection::close(theirs).await.expect("closed");
    let before = std::fs::read(&path).expect("bytes");
    let mode = path.metadata().expect("metadata").permissions();
    let error = open(&folder, at(0)).await.expect_err("not ours");
    assert_eq!(std::fs::read(&path).expect("bytes"), before, "untouched");
    assert_eq!(path.metadata().expect("metadata").permissions(), mode);
    assert!(matches!(error, LedgerError::Foreign { .. }), "{error:?}");
}

async fn deliveries_are_listed_shown_and_pruned_by_age(home: Home) {
    for day in 0..4 {
        let mut one = acceptance(Vec::new());
        one.delivery.session = Some(session("a"));
        one.delivery.event = format!("event:{day}");
        home.ledger
            .accept(one, secs(day * 86_400))
            .await
            .expect("accepted");
    }
    let ledger = &home.ledger;
    let page = ledger
        .deliveries(&DeliveryFilter {
            session: Some(session("a")),
            since: Some(secs(86_400)),
            before: Some(DeliveryId(4)),
            ..DeliveryFilter::default()
        })
        .await
        .expect("a list");
    let events: Vec<_> = page.iter().map(|row| row.event.as_str()).collect();
    assert_eq!(events, ["event:2", "event:1"]);
    let one = ledger.delivery(page[0].id).await.expect("a read");
    assert_eq!(one.as_ref(), Some(&page[0]));
    let keep = Duration::from_hours(36);
    let pruned = ledger.prune(keep, secs(3 * 86_400)).await;
    assert_eq!(pruned.expect("pruned"), 2);
    let left = ledger.deliveries(&DeliveryFilter::default()).await;
    assert_eq!(left.expect("a list").len(), 2);
}

/// Removed in steps, of which each leaves what is still to be done.
async fn work_that_was_done_long_ago_goes_however_much_it_is(home: Home) {
    const DONE: usize = 4_500;
    let all = (0..DONE + 3).map(|number| message(&format!("{number:05}"), at(0)));
    let enqueued = home.ledger.enqueue(all.collect(), at(0)).await;
    enqueued.expect("enqueued");
    home.behind_its_back(
        "UPDATE work SET done_gen = want_gen, done_at = first_triggered_at \
         WHERE key NOT LIKE '%_00000' AND key NOT LIKE '%_02222' AND key NOT LIKE '%_04444'",
    )
    .await;
    let day = Duration::from_hours(24);
    let pruned = home.ledger.prune(day, secs(86_399)).await;
    assert_eq!(pruned.expect("pruned"), 0);
    let pruned = home.ledger.prune(day, secs(86_401)).await;
    assert_eq!(pruned.expect("pruned"), DONE as u64);
    assert_eq!(home.claims(secs(86_401)).await.len(), 3);
}

async fn what_names_a_person_is_not_printed(home: Home) {
    home.enqueue(person(Trigger::Command, at(0)), at(0)).await;
    let claim = home.claim(at(0)).await;
    assert!(format!("{claim:?}").contains("key: …"), "{claim:?}");
    assert!(!format!("{claim:?}").contains(&claim.token));
    let row = occurrence("one", OutboxState::Due, at(0));
    assert!(!format!("{row:?}").contains("pro"), "{row:?}");
    let mirror = mirror("a", layer("secret-plan"));
    assert!(!format!("{mirror:?}").contains("secret"), "{mirror:?}");
}
