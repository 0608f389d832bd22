//! The condition that the ledger cannot be used, which most of the time it cannot remember.
//!
//! Where only a part of it is at fault, it remembers all the same, and the condition is one like any other. Where it takes
//! nothing but answers, as a server does that is full, read-only or a standby, one process tells: whoever holds a lock
//! there. Where it cannot be asked nobody knows of the others, and each process tells for itself. Once it works again it is
//! told who told: so the end is told once, after the usual calm, and what comes and goes within is one.

use jiff::Timestamp;

use super::{CALM, Memory, Told, Watch, conditions::LEDGER_FAULT, raised};
use crate::ledger::{Condition, LedgerError, Teller};

/// What is told where the ledger, or its server, can be asked.
const DETAIL: &str = "the ledger cannot be used: webhooks are answered with 503 and nothing is worked; the log says why (`worker.fault`)";
/// What is told where it cannot.
const DETAIL_OF_EACH: &str = "the ledger's server cannot be asked: webhooks are answered with 503 and nothing is worked; the log says why (`worker.fault`). Nobody knows here how the others fare, so each process says so for itself";

/// The ledger cannot be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    since: Timestamp,
    /// When it was last found to be so.
    seen_at: Timestamp,
    /// What this process told a person, which the ledger does not know.
    told: Option<&'static str>,
    /// Whether the ledger knows by now.
    is_handed_over: bool,
    /// Whether the log says that it began.
    is_logged: bool,
}

fn condition(detail: &str) -> Condition {
    Condition {
        kind: LEDGER_FAULT.to_owned(),
        subject: String::new(),
        detail: detail.to_owned(),
    }
}

impl Watch {
    /// A look through the ledger failed.
    pub(super) async fn ledger_fails(&self, memory: &mut Memory, now: Timestamp) {
        if self.remember(memory, now).await.is_ok() {
            return;
        }
        let mut fault = memory.fault.unwrap_or(Fault {
            since: now,
            seen_at: now,
            told: None,
            is_handed_over: false,
            is_logged: false,
        });
        fault.seen_at = now;
        fault.is_handed_over = false;
        memory.fault = Some(fault);
        if fault.told.is_some() {
            return;
        }
        let detail = match self.ledger.teller_of_fault().await {
            Teller::Another => return,
            Teller::This => DETAIL,
            Teller::Each => DETAIL_OF_EACH,
        };
        if !fault.is_logged {
            raised(&condition(detail));
        }
        let begun = Told {
            condition: LEDGER_FAULT,
            subject: "",
            detail,
            since: fault.since,
            until: None,
        };
        let may_try = memory.not_before.is_none_or(|at| at <= now);
        let is_told = may_try && self.tell(memory, &[begun], now).await;
        memory.fault = Some(Fault {
            told: is_told.then_some(detail),
            is_logged: true,
            ..fault
        });
    }

    /// A part of the ledger is at fault, and the rest remembers that it is.
    async fn remember(&self, memory: &mut Memory, now: Timestamp) -> Result<(), LedgerError> {
        self.hand_over(memory).await?;
        self.see(&[condition(DETAIL)], now).await?;
        // Of everything else nobody knows how it stands: it is not over because nobody could look.
        let mut owed = self.ledger.conditions().await?;
        owed.retain(|row| row.kind == LEDGER_FAULT);
        self.tell_owed(memory, owed, now).await
    }

    /// A look through the ledger came to its end.
    pub(super) async fn ledger_works(&self, memory: &mut Memory, now: Timestamp) {
        let Some(fault) = memory.fault else {
            return;
        };
        // What cannot be written down now is so at the next look.
        if self.hand_over(memory).await.is_err() {
            return;
        }
        // Until then it may come back, and is the same one.
        if now.duration_since(fault.seen_at).unsigned_abs() >= CALM {
            memory.fault = None;
            self.ledger.fault_is_over().await;
        }
    }

    /// Has the ledger know what a person was told while it could not remember: once, or an end that another process has
    /// told since would be told again.
    async fn hand_over(&self, memory: &mut Memory) -> Result<(), LedgerError> {
        let Some(fault) = memory.fault.as_mut().filter(|fault| !fault.is_handed_over) else {
            return Ok(());
        };
        if let Some(detail) = fault.told {
            let told = condition(detail);
            let (since, seen_at) = (fault.since, fault.seen_at);
            self.ledger.note_told(&told, since, seen_at).await?;
        }
        fault.is_handed_over = true;
        Ok(())
    }
}
