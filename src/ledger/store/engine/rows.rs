//! Statements that take many rows at once.
//!
//! The template is one text for both engines; only what stands for `{rows}` differs. PostgreSQL selects the rows from one
//! JSON text, `$1`, so that there is one statement for any number of rows. SQLite reads JSON slowly: there the rows are
//! `VALUES` with a parameter for each value, in statements for 1, 2, 4 … rows, and a batch is run in at most one statement
//! of each size but the largest. Every text is written once, and so stays prepared.

use super::{
    Through, Transaction,
    query::{Query, Value},
};

/// 2^8 rows of eleven columns are 2,816 parameters. SQLite takes 32,766.
const SIZES: u32 = 9;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Column {
    Int,
    Text,
}

/// A statement for many rows.
#[derive(Debug)]
pub(in super::super) struct RowsStatement {
    width: usize,
    /// For any number of rows.
    postgres: String,
    /// For 1, 2, 4 … rows.
    sqlite: Vec<String>,
}

impl RowsStatement {
    /// In the template `{rows}` stands where rows of these columns are selected, and a name of `singles` in braces for a
    /// number that all rows share.
    pub(in super::super) fn new(template: &str, columns: &[Column], singles: &[&str]) -> Self {
        let width = columns.len();
        let written = |rows: &str, first: usize| {
            let mut text = template.replace("{rows}", rows);
            for (single, number) in singles.iter().zip(first..) {
                text = text.replace(&format!("{{{single}}}"), &format!("${number}"));
            }
            text
        };
        let selected: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| match column {
                Column::Int => format!("CAST(value ->> {at} AS BIGINT)"),
                Column::Text => format!("value ->> {at}"),
            })
            .collect();
        let selected = format!("SELECT {} FROM json_each($1)", selected.join(", "));
        let row = format!("({})", vec!["?"; width].join(","));
        let sqlite = (0..SIZES).map(|size| {
            let rows = 1 << size;
            let values = format!("VALUES {}", vec![row.as_str(); rows].join(","));
            // A parameter without a number takes the next one; those with a number come behind.
            written(&values, rows * width + 1)
        });
        Self {
            width,
            sqlite: sqlite.collect(),
            postgres: written(&selected, 2),
        }
    }

    /// Runs it for rows that stand one after another in `values`.
    pub(in super::super) async fn execute(
        &'static self,
        tx: &mut Transaction<'_>,
        mut values: Vec<Value<'_>>,
        singles: &[i64],
    ) -> Result<(), sqlx::Error> {
        if let Through::Postgres(connection) = Through::from(&mut *tx) {
            let rows: Vec<_> = values.chunks(self.width).collect();
            let rows =
                serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
            let query = Query::new(&self.postgres, vec![rows.into()]);
            bound(query, singles)
                .execute(Through::Postgres(connection))
                .await?;
            return Ok(());
        }
        while !values.is_empty() {
            let rows = values.len() / self.width;
            let size = rows.ilog2().min(SIZES - 1);
            let rest = values.split_off((1 << size) * self.width);
            let query = Query::new(&self.sqlite[size as usize], values);
            bound(query, singles).execute(&mut *tx).await?;
            values = rest;
        }
        Ok(())
    }
}

fn bound<'q>(query: Query<'q>, singles: &[i64]) -> Query<'q> {
    singles
        .iter()
        .fold(query, |query, single| query.bind(*single))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_gets_the_rows_its_own_way() {
        let columns = [Column::Text, Column::Int];
        let statement = RowsStatement::new("INSERT INTO t {rows} -- {now}", &columns, &["now"]);
        assert_eq!(
            statement.postgres,
            "INSERT INTO t SELECT value ->> 0, CAST(value ->> 1 AS BIGINT) FROM json_each($1) -- $2"
        );
        assert_eq!(statement.sqlite[0], "INSERT INTO t VALUES (?,?) -- $3");
        assert_eq!(
            statement.sqlite[1],
            "INSERT INTO t VALUES (?,?),(?,?) -- $5"
        );
        assert_eq!(statement.sqlite.len(), 9);
    }
}
