//! Pauses: what may not call Crisp now, and the probe that finds out whether it may again.

use jiff::Timestamp;

use crate::ids::{SessionId, WebsiteId};

use super::{
    super::{
        quota::{Pause, PauseScope},
        work::WorkKind,
    },
    LedgerError, Store, begin,
    cells::{Cells, failed, ms, span},
    engine::{Readers, Transaction, query},
};

/// What a claim has to know.
pub(super) struct State {
    pub(super) token_paused: bool,
    pub(super) token_probe: bool,
    /// Websites that wait.
    pub(super) blocked: Vec<String>,
    /// Websites that may send one probe.
    pub(super) probes: Vec<String>,
    /// Websites whose work on people waits.
    pub(super) people_blocked: Vec<String>,
    /// Websites that may send one probe of it.
    pub(super) people_probes: Vec<String>,
}

pub(super) async fn state(tx: &mut Transaction<'_>, now: i64) -> Result<State, LedgerError> {
    let rows = query("SELECT scope, website, until FROM pauses")
        .fetch_all(tx)
        .await
        .map_err(failed("read the pauses"))?;
    let mut state = State {
        token_paused: false,
        token_probe: false,
        blocked: Vec::new(),
        probes: Vec::new(),
        people_blocked: Vec::new(),
        people_probes: Vec::new(),
    };
    for row in &rows {
        let cells = Cells::of(row, "a pause");
        let over = cells.int("until")? <= now;
        match (cells.parsed("scope", PauseScope::parse)?, over) {
            (PauseScope::Token, over) => {
                state.token_paused = true;
                state.token_probe = over;
            }
            (PauseScope::Website, true) => state.probes.push(cells.text("website")?),
            (PauseScope::Website, false) => state.blocked.push(cells.text("website")?),
            (PauseScope::People, true) => state.people_probes.push(cells.text("website")?),
            (PauseScope::People, false) => state.people_blocked.push(cells.text("website")?),
        }
    }
    Ok(state)
}

/// Notes that a probe of a scope goes: the next may only follow after the interval that the pause was given. `false`: another
/// process has just sent one.
pub(super) async fn probe(
    tx: &mut Transaction<'_>,
    website: &str,
    asked_for: PauseScope,
    now: i64,
) -> Result<bool, LedgerError> {
    let sent = query(
        "UPDATE pauses SET until = $1 + probe_every, probing = 1 \
         WHERE until <= $1 AND ((scope = 'token' AND $3 = 'token') OR (website = $2 AND scope = 'website' AND $3 <> 'people') \
           OR (website = $2 AND scope = 'people' AND $3 = 'people')) \
         RETURNING scope",
    )
    .bind(now)
    .bind(website)
    .bind(asked_for.as_str())
    .fetch_texts(tx)
    .await
    .map_err(failed("send a probe"))?;
    // A website's own pause may be over as well; that alone is no leave to try the token.
    Ok(sent.iter().any(|scope| scope == asked_for.as_str()))
}

/// Begins or prolongs a pause.
pub(super) async fn pause(
    tx: &mut Transaction<'_>,
    (scope, website): (PauseScope, &str),
    until: Timestamp,
    probe_every: std::time::Duration,
    reason: &str,
    now: i64,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO pauses (scope, website, reason, since, until, probe_every) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (scope, website) DO UPDATE SET \
           reason = excluded.reason, until = max(CASE WHEN pauses.probing = 0 THEN pauses.until ELSE 0 END, excluded.until), \
           probe_every = excluded.probe_every, probing = 0",
    )
    .bind(scope.as_str())
    .bind(website)
    .bind(reason)
    .bind(now)
    .bind(ms(until))
    .bind(span(probe_every).max(1_000))
    .execute(tx)
    .await
    .map_err(failed("pause"))?;
    Ok(())
}

/// Which pauses a probe may have probed. A conversation says nothing about contacts.
macro_rules! probed_by {
    ($statement:literal) => {
        concat!(
            $statement,
            " WHERE probing = 1 AND (scope = 'token' OR (website = $1 AND (scope = 'website' OR $3 = 1)))"
        )
    };
}

/// A probe came back. With an answer the pauses it probed are over; without a single call it proved nothing, and the
/// next row may try at once.
pub(super) async fn probed(
    tx: &mut Transaction<'_>,
    website: &str,
    kind: WorkKind,
    called: bool,
    now: i64,
) -> Result<(), LedgerError> {
    let statement = if called {
        concat!(probed_by!("DELETE FROM pauses"), " AND $2 = $2")
    } else {
        probed_by!("UPDATE pauses SET until = $2, probing = 0")
    };
    query(statement)
        .bind(website)
        .bind(now)
        .bind(i64::from(kind.is_about_people()))
        .execute(tx)
        .await
        .map_err(failed("end a pause"))?;
    Ok(())
}

/// A probe failed for a reason of its own: the next goes when its row would, at the latest. A pause of a second is not to
/// become one of the interval because Crisp stumbled.
pub(super) async fn unanswered(
    tx: &mut Transaction<'_>,
    website: &str,
    kind: WorkKind,
    at: Timestamp,
) -> Result<(), LedgerError> {
    query(probed_by!(
        "UPDATE pauses SET until = min(until, $2), probing = 0"
    ))
    .bind(website)
    .bind(ms(at))
    .bind(i64::from(kind.is_about_people()))
    .execute(tx)
    .await
    .map_err(failed("send another probe"))?;
    Ok(())
}

/// A conversation is removed: if it is the probe, nobody will say what came of it, and the next may go.
pub(super) async fn forget_probe(
    tx: &mut Transaction<'_>,
    website: &WebsiteId,
    session: &SessionId,
) -> Result<(), LedgerError> {
    query(
        "UPDATE pauses SET until = since, probing = 0 \
         WHERE probing = 1 AND (scope = 'token' OR (scope = 'website' AND website = $1)) AND EXISTS (SELECT 1 FROM work \
           WHERE kind = 'conversation' AND website = $1 AND key = $2 AND lease_token IS NOT NULL AND probe = 1)",
    )
    .bind(website.as_str())
    .bind(session.as_str())
    .execute(tx)
    .await
    .map_err(failed("forget a probe"))?;
    Ok(())
}

/// Ends the pauses of a website, or that of the token, without a probe.
pub(super) async fn end(
    tx: &mut Transaction<'_>,
    website: Option<&str>,
) -> Result<bool, LedgerError> {
    let done = query("DELETE FROM pauses WHERE website = $1")
        .bind(website.unwrap_or_default())
        .execute(tx)
        .await
        .map_err(failed("end a pause"))?;
    Ok(done > 0)
}

pub(super) async fn list(readers: &Readers) -> Result<Vec<Pause>, LedgerError> {
    query("SELECT scope, website, reason, since, until FROM pauses ORDER BY scope, website")
        .fetch_all(readers)
        .await
        .map_err(failed("list the pauses"))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, "a pause");
            let scope = cells.parsed("scope", PauseScope::parse)?;
            Ok(Pause {
                scope,
                website: match scope {
                    PauseScope::Token => None,
                    PauseScope::Website | PauseScope::People => {
                        Some(cells.parsed("website", |text| WebsiteId::parse(text).ok())?)
                    }
                },
                reason: cells.text("reason")?,
                since: cells.instant("since")?,
                until: cells.instant("until")?,
            })
        })
        .collect()
}

impl Store {
    pub(in super::super) async fn pauses(&self) -> Result<Vec<Pause>, LedgerError> {
        list(&self.readers).await
    }

    pub(in super::super) async fn resume(
        &self,
        website: Option<&WebsiteId>,
    ) -> Result<bool, LedgerError> {
        const WHAT: &str = "end a pause";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let ended = end(&mut tx, website.map(WebsiteId::as_str)).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(ended)
    }
}
