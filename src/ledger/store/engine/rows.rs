//! Statements that take many rows at once.
//!
//! The template is one text for both engines; only what stands for `{rows}` differs. PostgreSQL selects the rows from one
//! JSON text, `$1`, so that there is one statement for any number of rows. SQLite reads JSON slowly: there the rows are
//! `VALUES` with a parameter for each value, in statements of a few sizes, and rows that are too few for theirs are filled
//! up with NULLs, which it passes over. Every text is written once, and so stays prepared.

use super::{
    Transaction,
    query::{Query, Value},
};

/// The sizes of statements. 256 rows of twelve columns are 3,072 parameters; SQLite takes 32,766.
const SIZES: [usize; 16] = [
    1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, LARGEST,
];
const LARGEST: usize = 256;

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
    /// For up to so many rows.
    sqlite: [(usize, String); SIZES.len()],
}

impl RowsStatement {
    /// In the template `{rows}` stands where rows of these columns are selected, and a name of `singles` in braces for a
    /// number that all rows share. The first column is never NULL.
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
        let sqlite = SIZES.map(|size| {
            let values = format!(
                "SELECT * FROM (VALUES {}) WHERE column1 IS NOT NULL",
                vec![row.as_str(); size].join(",")
            );
            // A parameter without a number takes the next one; those with a number come behind.
            (size, written(&values, size * width + 1))
        });
        Self {
            width,
            sqlite,
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
        if tx.is_shared() {
            let rows: Vec<_> = values.chunks(self.width).collect();
            let rows =
                serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
            let query = Query::new(&self.postgres, vec![rows.into()]);
            bound(query, singles).execute(&mut *tx).await?;
            return Ok(());
        }
        while !values.is_empty() {
            let count = (values.len() / self.width).min(LARGEST);
            let rest = values.split_off(count * self.width);
            let at = self.sqlite.partition_point(|(size, _)| *size < count);
            let (size, text) = &self.sqlite[at];
            values.resize_with(size * self.width, || Value::Int(None));
            bound(Query::new(text, values), singles)
                .execute(&mut *tx)
                .await?;
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
        let of = |at: usize| statement.sqlite[at].1.as_str();
        assert_eq!(
            of(0),
            "INSERT INTO t SELECT * FROM (VALUES (?,?)) WHERE column1 IS NOT NULL -- $3"
        );
        assert_eq!(
            of(1),
            "INSERT INTO t SELECT * FROM (VALUES (?,?),(?,?)) WHERE column1 IS NOT NULL -- $5"
        );
    }
}
