//! `check` tries the sweep's query: a few rows tell more than its text.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    UserDirectory,
    error::UsersError,
    inspect::{Survey, UsersFault},
    lookup::Inner,
    page::{SweepPage, Swept, SweptPage},
    query_name::QueryName,
    statement::Statement,
    sweep::{AT, SELECT_AT, fault},
};

/// Rows that are asked for.
const FEW: u32 = 50;

impl UserDirectory {
    /// Adds everything that a few rows of `lifecycle.query` show to be wrong with it; `window` is how far back it is asked.
    pub async fn try_sweep(&self, survey: &mut Survey, window: Duration) {
        let Some(statement) = &self.inner.sweep else {
            return;
        };
        if !survey.columns.contains_key(&statement.name) {
            return;
        }
        let before = survey.faults.len();
        let key = (
            &self.inner.naming.key,
            "select the key, the same as in `users.query`",
        );
        let at = (&AT.to_owned(), SELECT_AT);
        survey.demand(&statement.name, &[key, at]);
        if survey.faults.len() == before
            && let Err(error) = self.inner.tried(statement, window).await
        {
            survey.faults.push(told(&error));
        }
    }
}

impl Inner {
    async fn tried(&self, statement: &Statement, window: Duration) -> Result<(), UsersError> {
        let now = self.main.now().await?;
        let back = SignedDuration::try_from(window).unwrap_or(SignedDuration::MAX);
        let page = |since, until, limit| SweepPage {
            since,
            until,
            after: None,
            limit,
        };
        // Few of the rows changed of late; nearly all did at some time, and the index has to find the few among them.
        let recent = now.checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH);
        self.page(statement, &page(recent, now, FEW)).await?;
        let ever = page(Timestamp::UNIX_EPOCH, now, FEW);
        let all = self.page(statement, &ever).await?;
        if all.rows.iter().any(|row| row.at > now) {
            return Err(fault(
                "a row lies behind `:until`".to_owned(),
                "write `WHERE at >= :since AND at < :until`",
            ));
        }
        self.since(statement, &all).await?;
        self.goes_on(statement, &ever, &all).await
    }

    /// Whether `:since` is obeyed: what happened earlier is not asked for.
    async fn since(&self, statement: &Statement, all: &SweptPage) -> Result<(), UsersError> {
        let Some(last) = all.rows.last() else {
            return Ok(());
        };
        let second = SignedDuration::from_secs(1);
        let since = last.at.checked_add(second).unwrap_or(last.at);
        let until = since.checked_add(second).unwrap_or(since);
        let later = SweepPage {
            since,
            until,
            after: None,
            limit: FEW,
        };
        let later = self.page(statement, &later).await?;
        if later.rows.iter().any(|row| row.at < since) {
            return Err(fault(
                "a row lies before `:since`".to_owned(),
                "write `WHERE at >= :since AND at < :until`",
            ));
        }
        Ok(())
    }

    /// Whether a page that begins behind a row holds what follows it, in the order of the whole.
    async fn goes_on(
        &self,
        statement: &Statement,
        page: &SweepPage,
        all: &SweptPage,
    ) -> Result<(), UsersError> {
        // Behind a row that shares its instant with the next one, where there is such a pair: there the key decides.
        let ties = all
            .rows
            .windows(2)
            .position(|pair| pair[0].at == pair[1].at);
        let at = ties.unwrap_or(0);
        let (Some(behind), Some(wanted)) = (all.rows.get(at), all.rows.get(at + 1..)) else {
            return Ok(());
        };
        let next = SweepPage {
            after: Some(behind.mark.clone()),
            ..page.clone()
        };
        let next = self.page(statement, &next).await?;
        let marks = |rows: &[Swept]| -> Vec<_> {
            let ties = rows.iter().take_while(|row| row.at == behind.at);
            ties.map(|row| row.mark.clone()).collect()
        };
        // The table may have grown meanwhile, but what shares the instant of an old row stays.
        let (wanted, got) = (marks(wanted), marks(&next.rows));
        if wanted.len() <= got.len() && got.starts_with(&wanted)
            || next.rows.is_empty() && wanted.is_empty()
        {
            return Ok(());
        }
        Err(fault(
            "behind a row at the same instant, the query does not go on with the next key"
                .to_owned(),
            "write `WHERE (at, <key>) > (:since, :after) AND at < :until ORDER BY at, <key> LIMIT :limit`",
        ))
    }
}

fn told(error: &UsersError) -> UsersFault {
    let name = QueryName::Sweep;
    match error {
        UsersError::Timeout { .. } => UsersFault::of(
            &name,
            error.to_string(),
            Some(
                "it needs an index on what `at` is made of: put the condition on the columns themselves, and join parts with UNION ALL",
            ),
        ),
        UsersError::Query { message, hint, .. } => UsersFault::of(&name, message.clone(), *hint),
        other => UsersFault::of(&name, other.to_string(), other.hint()),
    }
}
