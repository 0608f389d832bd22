//! Conditions that ask for a person, as rows.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    super::alerts::{Condition, ConditionRow, Teller, Waiting},
    LedgerError, Source, Store, Writers, begin,
    cells::{Cells, failed, json, ms},
    engine::query,
    facts::{instant_fact, set_fact},
    turn::turn,
};

impl Store {
    pub(in super::super) async fn waiting(&self) -> Result<Waiting, LedgerError> {
        const WHAT: &str = "count what waits for a person";
        // The condition is the index's own, word for word: otherwise SQLite would read the whole outbox.
        let states = query(
            "SELECT state, count(*) AS rows FROM outbox WHERE state IN ('held', 'unsure') AND reason <> 'dropped' \
             GROUP BY state",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed(WHAT))?;
        let dead = query("SELECT count(*) AS rows FROM work WHERE state = 'dead'")
            .fetch_one(&self.readers)
            .await
            .map_err(failed(WHAT))?;
        let mut waiting = Waiting {
            dead: Cells::of(&dead, "a count").total("rows")?,
            ..Waiting::default()
        };
        for row in &states {
            let cells = Cells::of(row, "a count");
            let rows = cells.total("rows")?;
            match cells.text("state")?.as_str() {
                "held" => waiting.held = rows,
                _ => waiting.unsure = rows,
            }
        }
        Ok(waiting)
    }

    pub(in super::super) async fn see_conditions(
        &self,
        seen: &[Condition],
        now: Timestamp,
    ) -> Result<Vec<Condition>, LedgerError> {
        const WHAT: &str = "note what asks for a person";
        let rows: Vec<_> = seen
            .iter()
            .map(|one| (&one.kind, &one.subject, &one.detail))
            .collect();
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        turn(&mut tx, &["conditions"]).await?;
        let known = query("SELECT kind, subject FROM conditions")
            .fetch_all(&mut tx)
            .await
            .map_err(failed(WHAT))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "a condition");
                Ok((cells.text("kind")?, cells.text("subject")?))
            })
            .collect::<Result<BTreeSet<_>, LedgerError>>()?;
        query(
            "INSERT INTO conditions (kind, subject, detail, since, seen_at) \
             SELECT value ->> 0, value ->> 1, value ->> 2, $2, $2 FROM json_each($1) WHERE TRUE \
             ON CONFLICT (kind, subject) DO UPDATE SET detail = excluded.detail, seen_at = excluded.seen_at",
        )
        .bind(json(&rows))
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        let is_new = |one: &&Condition| !known.contains(&(one.kind.clone(), one.subject.clone()));
        Ok(seen.iter().filter(is_new).cloned().collect())
    }

    pub(in super::super) async fn takes_writes(&self) -> Result<(), LedgerError> {
        const WHAT: &str = "look whether the ledger takes writes";
        if let Writers::Only { .. } = &self.writers {
            return Ok(());
        }
        let mut writer = self.writer().await?;
        let does = query("SELECT current_setting('transaction_read_only') = 'off'")
            .fetch_number(&mut *writer)
            .await
            .map_err(failed(WHAT))?;
        if does == Some(1) {
            return Ok(());
        }
        Err(LedgerError::ReadOnly {
            what: WHAT,
            source: Source::told("the server says that it takes none".to_owned()),
        })
    }

    pub(in super::super) async fn teller_of_fault(&self) -> Teller {
        match &self.writers {
            Writers::Only { .. } => Teller::This,
            Writers::Pool {
                server, telling, ..
            } => telling.teller(server).await,
        }
    }

    pub(in super::super) async fn fault_is_over(&self) {
        if let Writers::Pool { telling, .. } = &self.writers {
            telling.done().await;
        }
    }

    pub(in super::super) async fn note_told(
        &self,
        told: &Condition,
        since: Timestamp,
        seen_at: Timestamp,
    ) -> Result<(), LedgerError> {
        const WHAT: &str = "note what a person was told";
        let mut writer = self.writer().await?;
        query(
            "INSERT INTO conditions (kind, subject, detail, since, seen_at, told_at) VALUES ($1, $2, $3, $4, $5, $5) \
             ON CONFLICT (kind, subject) DO UPDATE SET \
               since = min(conditions.since, excluded.since), seen_at = max(conditions.seen_at, excluded.seen_at), \
               told_at = coalesce(conditions.told_at, excluded.told_at)",
        )
        .bind(&told.kind)
        .bind(&told.subject)
        .bind(&told.detail)
        .bind(ms(since))
        .bind(ms(seen_at))
        .execute(&mut *writer)
        .await
        .map_err(failed(WHAT))?;
        Ok(())
    }

    pub(in super::super) async fn conditions(&self) -> Result<Vec<ConditionRow>, LedgerError> {
        query("SELECT kind, subject, detail, since, seen_at, told_at FROM conditions ORDER BY since, kind, subject")
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read what asks for a person"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "a condition");
                Ok(ConditionRow {
                    kind: cells.text("kind")?,
                    subject: cells.text("subject")?,
                    detail: cells.text("detail")?,
                    since: cells.instant("since")?,
                    seen_at: cells.instant("seen_at")?,
                    told_at: cells.instant_if("told_at")?,
                })
            })
            .collect()
    }

    pub(in super::super) async fn take_alert_turn(
        &self,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        const WHAT: &str = "take the turn to tell a person";
        const TURN: &str = "alerts_turn";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        turn(&mut tx, &[TURN]).await?;
        let taken_until = instant_fact(&mut tx, TURN).await?.unwrap_or(0);
        // Nobody takes a turn this long: it was taken before the clock was set back.
        let stale = taken_until > ms(now) + 3_600_000;
        if taken_until > ms(now) && !stale {
            return Ok(false);
        }
        set_fact(&mut tx, TURN, &ms(until).to_string()).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(true)
    }

    pub(in super::super) async fn conditions_told(
        &self,
        begun: &[ConditionRow],
        over: &[ConditionRow],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        const WHAT: &str = "note what a person was told";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let names = |rows: &[ConditionRow]| {
            let names: Vec<_> = rows
                .iter()
                .map(|row| (&row.kind, &row.subject, ms(row.seen_at)))
                .collect();
            json(&names)
        };
        query(
            "UPDATE conditions SET told_at = $2 \
             WHERE (kind, subject) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
        )
        .bind(names(begun))
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        for statement in [
            "DELETE FROM conditions WHERE (kind, subject, seen_at) IN \
               (SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT) FROM json_each($1))",
            // Seen again since it was read: it begins anew.
            "UPDATE conditions SET told_at = NULL, since = seen_at WHERE (kind, subject) IN \
               (SELECT value ->> 0, value ->> 1 FROM json_each($1))",
        ] {
            query(statement)
                .bind(names(over))
                .execute(&mut tx)
                .await
                .map_err(failed(WHAT))?;
        }
        tx.commit().await.map_err(failed(WHAT))
    }
}
