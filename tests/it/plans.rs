//! How PostgreSQL goes about the ledger's daily statements while it knows nothing of the tables' contents yet: in the
//! first minute of a flood on a fresh ledger they have been counted by nobody.

use std::time::Duration;

use crisp_sync::{
    clock::millis,
    ids::{SessionId, WebsiteId},
    ledger::{
        Acceptance, Delivery, Effect, Enqueue, Ledger, LedgerSettings, Location, Outcome, Settled,
        Settlement, Trigger, Urgency, WorkKind,
    },
};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

use crate::{engines::with_database, ledger::delivery};

/// So many that the server would rather read the whole table than look a hundred rows up in an index.
const ROWS: u64 = 4_000;

fn trigger(number: u64) -> Enqueue {
    Enqueue {
        kind: WorkKind::Conversation,
        website: WebsiteId::parse("w-1").expect("an id"),
        key: format!("session_{number:06}"),
        trigger: Trigger::MessageSend,
        run_at: millis(0),
        urgency: Urgency::Normal {
            fresh_for: Duration::ZERO,
        },
        debounce: Duration::ZERO,
    }
}

fn message(number: u64) -> Acceptance {
    let trigger = trigger(number);
    Acceptance {
        delivery: Delivery {
            website: trigger.website.clone(),
            session: Some(SessionId::parse(&trigger.key).expect("an id")),
            ..delivery("message:send")
        },
        effects: vec![Effect::Enqueue(trigger)],
    }
}

/// Rows that were read by walking a table, since the database was made.
async fn walked(url: &str) -> Vec<(String, i64)> {
    let mut connection = PgConnection::connect(url).await.expect("the server");
    // A session's counts are known when it has ended.
    let others = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND application_name = 'crisp-sync'";
    let ended = async {
        while sqlx::query_scalar::<_, i64>(others)
            .fetch_one(&mut connection)
            .await
            .expect("a count")
            > 0
        {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), ended).await;
    in_time.expect("every session ends");
    connection
        .fetch_all(
            "SELECT relname::text, seq_tup_read FROM pg_stat_user_tables \
             WHERE schemaname = 'crisp_sync' AND relname IN ('work', 'deliveries') ORDER BY relname",
        )
        .await
        .expect("the counts")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

#[tokio::test]
async fn no_daily_statement_walks_a_table_that_was_never_analyzed() {
    with_database(|url| async move {
        let mut admin = PgConnection::connect(&url).await.expect("the server");
        let settings = LedgerSettings::of(Location::Server(url.clone().into()));
        let ledger = Ledger::open(settings, millis(0)).await.expect("it opens");
        // The server must not get to know them in the middle of the test.
        admin
            .execute("ALTER TABLE crisp_sync.work SET (autovacuum_enabled = off)")
            .await
            .expect("altered");
        for from in (0..ROWS).step_by(500) {
            let triggers = (from..from + 500).map(trigger).collect();
            ledger.enqueue(triggers, millis(0)).await.expect("enqueued");
        }
        for number in 0..20 {
            ledger
                .accept(message(number), millis(0))
                .await
                .expect("accepted");
            let claims = ledger.claim(8, Duration::from_mins(1), millis(0)).await;
            for claim in &claims.expect("claims") {
                let settlement = Settlement::of(Outcome::Done);
                let settled = ledger.settle(claim, settlement, millis(0)).await;
                assert_eq!(settled.expect("an answer"), Settled::Written);
            }
            ledger.next_due(millis(0)).await.expect("an instant");
        }
        ledger.close().await.expect("it closes");
        drop(admin);
        let walked = walked(&url).await;
        assert_eq!(walked.len(), 2, "both tables are counted: {walked:?}");
        for (table, rows) in walked {
            assert!(
                rows < i64::try_from(ROWS).expect("few"),
                "{rows} rows of {table} were read by walking it"
            );
        }
    })
    .await;
}
