//! Facts about the ledger itself, such as its id and its secret: one row of `meta` each.

use std::collections::BTreeMap;

use secrecy::SecretSlice;

use super::{
    LedgerError,
    cells::{Cells, failed, list},
    engine::{Through, query},
};

const ROW: &str = "a fact about the ledger";

pub(super) async fn fact(
    from: impl Into<Through<'_>>,
    key: &'static str,
) -> Result<Option<String>, LedgerError> {
    query("SELECT value FROM meta WHERE key = $1")
        .bind(key)
        .fetch_text(from)
        .await
        .map_err(failed("read a fact about the ledger"))
}

pub(super) async fn instant_fact(
    from: impl Into<Through<'_>>,
    key: &'static str,
) -> Result<Option<i64>, LedgerError> {
    instant(fact(from, key).await?)
}

/// A fact that is an instant.
pub(super) fn instant(text: Option<String>) -> Result<Option<i64>, LedgerError> {
    text.map(|text| {
        text.parse()
            .map_err(|_not_a_number: std::num::ParseIntError| LedgerError::Unreadable { what: ROW })
    })
    .transpose()
}

/// Facts that belong together, as they are at one moment.
pub(super) async fn facts<const N: usize>(
    from: impl Into<Through<'_>>,
    keys: [&'static str; N],
) -> Result<[Option<String>; N], LedgerError> {
    let rows =
        query("SELECT key, value FROM meta WHERE key IN (SELECT value ->> 0 FROM json_each($1))")
            .bind(list(&keys))
            .fetch_all(from)
            .await
            .map_err(failed("read facts about the ledger"))?;
    let mut known = BTreeMap::new();
    for row in &rows {
        let cells = Cells::of(row, ROW);
        known.insert(cells.text("key")?, cells.text("value")?);
    }
    Ok(keys.map(|key| known.remove(key)))
}

pub(super) async fn set_fact(
    to: impl Into<Through<'_>>,
    key: &'static str,
    value: &str,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(to)
    .await
    .map_err(failed("note a fact about the ledger"))?;
    Ok(())
}

/// The secret for pseudonyms, made with the ledger, beside its id.
pub(super) async fn secret<C>(writer: &mut C) -> Result<SecretSlice<u8>, LedgerError>
where
    for<'a> Through<'a>: From<&'a mut C>,
{
    let text = if let Some(text) = fact(&mut *writer, "secret").await? {
        text
    } else {
        // Nobody else is opening the ledger now. The secret comes last: with it, both are there.
        set_fact(&mut *writer, "id", &uuid::Uuid::new_v4().to_string()).await?;
        let text = hex::encode(rand::random::<[u8; 32]>());
        set_fact(&mut *writer, "secret", &text).await?;
        text
    };
    match hex::decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(SecretSlice::from(bytes)),
        _ => Err(LedgerError::Unreadable {
            what: "the ledger's secret",
        }),
    }
}
