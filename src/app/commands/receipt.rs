//! A receipt of an erasure, as it is printed and as it is read again.

use serde_json::{Value as Json, json};

use crate::{
    ledger::Receipt,
    server::command::{Answer, Table, instant},
};

/// What no receipt can speak for.
const OUT_OF_REACH: [&str; 8] = [
    "what the person wrote in chats and e-mails: Crisp holds it, and deletes it when the conversation is deleted there",
    "the contact itself, its card, notes and timeline, unless it was deleted with `--delete-contact`",
    "the contact at an address that the person left longer ago than the longest `max_age`, and never chatted from: what is ours stays on it; erase every former address that you know as well",
    "the logs of e-mail campaigns, and what they sent",
    "the app's own database",
    "copies of the ledger made before: backups, `<ledger>.before-<schema>`, a file that was moved to a server; `erase --replay` erases again after a restore",
    "a PostgreSQL ledger's dead rows until its vacuum, its archived log and its standbys' backups",
    "log lines: they hold a keyed hash, which leads to nobody without the ledger's secret",
];

/// A receipt with what it cannot speak for.
pub(super) fn as_json(receipt: &Receipt) -> Json {
    let mut json = serde_json::to_value(receipt).unwrap_or_default();
    json["done"] = receipt.owed.is_empty().into();
    json["out_of_reach"] = json!(OUT_OF_REACH);
    json
}

/// Receipts one after another, or in lists.
pub(super) fn receipts_in(text: &str) -> serde_json::Result<Vec<Receipt>> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Kept {
        Many(Vec<Receipt>),
        One(Receipt),
    }
    let mut receipts = Vec::new();
    for kept in serde_json::Deserializer::from_str(text).into_iter::<Kept>() {
        match kept? {
            Kept::Many(many) => receipts.extend(many),
            Kept::One(one) => receipts.push(one),
        }
    }
    Ok(receipts)
}

/// A receipt, for a person.
pub(super) fn told(receipt: &Receipt) -> Answer {
    let mut lines = vec![format!(
        "receipt {} · erased {} · {}",
        receipt.receipt,
        instant(receipt.erased_at),
        receipt.website_id.as_deref().unwrap_or("every website"),
    )];
    if let Some(at) = receipt.lifted_at {
        lines.push(format!("lifted {}", instant(at)));
    }
    let codes: Vec<String> = receipt
        .tombstones
        .iter()
        .map(|code| format!("{} {}", code.kind, code.mac))
        .collect();
    lines.push(format!("tombstones: {}", codes.join(", ")));
    if receipt.owed.is_empty() {
        lines.push("nothing is owed".to_owned());
    } else {
        lines.push("still owed, and tried until it is done:".to_owned());
    }
    for owed in &receipt.owed {
        let mut line = format!("  {} on {}", owed.what, owed.website_id);
        if let Some(session) = &owed.session_id {
            line = format!("{line}, {session}");
        }
        if let Some(at) = owed.not_before {
            line = format!("{line}, looked at once more after {}", instant(at));
        }
        if let Some(error) = &owed.last_error {
            line = format!("{line}: {}", error.lines().next().unwrap_or_default());
        }
        lines.push(line);
    }
    lines.push("out of reach:".to_owned());
    lines.extend(OUT_OF_REACH.iter().map(|what| format!("  {what}")));
    let rows: Vec<Vec<String>> = receipt
        .deleted
        .iter()
        .map(|(what, rows)| vec![what.clone(), rows.to_string()])
        .collect();
    Answer {
        ok: true,
        lines,
        json: as_json(receipt),
        table: Some(Table {
            headings: ["deleted here", "rows"].map(str::to_owned).to_vec(),
            rows,
            below: None,
        }),
    }
}
