//! What changes the ledger besides an acceptance: the worker's claim and settlement, and an operator's commands.

use std::{path::Path, time::Duration};

use jiff::Timestamp;

use crate::{clock::Clock, ids::WebsiteId};

use super::{
    Begun, Claim, Enqueue, Gap, Ledger, LedgerError, OutboxFilter, OutboxRow, OwnedName,
    SendLimits, Settled, Settlement, Standing, WorkKind, Write, again::again,
};

impl Ledger {
    /// Takes up to `limit` due rows for the time of `lease`, in the order of their priority. Takes none while a newer
    /// definition is known ([`Ledger::note_definition`]).
    pub async fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, LedgerError> {
        again!(self.shared.store.claim(limit, lease, now))
    }

    /// Claims one row at once, for a command that waits for it. `None`: somebody works it, or it is a dead letter.
    pub async fn claim_key(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Option<Claim>, LedgerError> {
        again!(
            self.shared
                .store
                .claim_key((kind, website, key), lease, now)
        )
    }

    /// Remembers names that are ours from now on.
    pub async fn own(&self, names: Vec<OwnedName>) -> Result<(), LedgerError> {
        again!(self.shared.store.own(&names))
    }

    /// Ends an attempt: the row, the writes, the trace and the counted calls in one transaction, if the lease still holds.
    pub async fn settle(
        &self,
        claim: &Claim,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<Settled, LedgerError> {
        let settled = again!(self.shared.store.settle(claim, &settlement, now))?;
        self.shared.wake.notify_one();
        Ok(settled)
    }

    /// Writes something down in the middle of an attempt, if the lease still holds. The claim stays.
    pub async fn checkpoint(
        &self,
        claim: &Claim,
        writes: Vec<Write>,
        now: Timestamp,
    ) -> Result<Settled, LedgerError> {
        again!(self.shared.store.checkpoint(claim, &writes, now))
    }

    /// Lengthens the lease of a claim that takes longer than thought. `false`: it was lost.
    pub async fn extend(
        &self,
        claim: &Claim,
        lease: Duration,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        again!(self.shared.store.extend(claim, lease, now))
    }

    /// Commits that an occurrence of the claimed person is on its way, with all that may not be forgotten of it: when, and
    /// to which address. The request may be made on [`Begun::Yes`] alone.
    pub async fn begin_send(
        &self,
        claim: &Claim,
        row: &OutboxRow,
        limits: &SendLimits,
        now: Timestamp,
    ) -> Result<Begun, LedgerError> {
        again!(self.shared.store.begin_send(claim, row, limits, now))
    }

    /// Enqueues work that no webhook asked for: a command's, a sweep's.
    pub async fn enqueue(&self, enqueues: Vec<Enqueue>, now: Timestamp) -> Result<(), LedgerError> {
        again!(self.shared.store.enqueue(&enqueues, now))?;
        self.wake_all().await;
        Ok(())
    }

    /// Wakes whoever works, also in other processes: this one may be a command that ends at once.
    async fn wake_all(&self) {
        self.shared.wake.notify_one();
        self.shared.store.ring().await;
    }

    /// Revives one dead row. Returns how many were dead: 0 or 1.
    pub async fn revive(
        &self,
        kind: WorkKind,
        website: &WebsiteId,
        key: &str,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        let row = Some((kind, website, key));
        let revived = again!(self.shared.store.revive(row, now))?;
        self.wake_all().await;
        Ok(revived)
    }

    /// Revives every dead row. Returns how many.
    pub async fn revive_all(&self, now: Timestamp) -> Result<u64, LedgerError> {
        let revived = again!(self.shared.store.revive(None, now))?;
        self.wake_all().await;
        Ok(revived)
    }

    /// Arms a rule on a website: what happened before the watermark is baseline. Arming again moves the watermark.
    pub async fn arm(
        &self,
        website: &WebsiteId,
        rule: &str,
        watermark: Timestamp,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        again!(self.shared.store.arm(website, rule, watermark, now))
    }

    /// Says that the ledger belongs where it lies: what was armed elsewhere is armed here.
    pub async fn settle_in(&self) -> Result<(), LedgerError> {
        again!(self.shared.store.settle_in())
    }

    /// Disarms a rule. `false`: it was not armed.
    pub async fn disarm(&self, website: &WebsiteId, rule: &str) -> Result<bool, LedgerError> {
        again!(self.shared.store.disarm(website, rule))
    }

    /// Lets up to `filter.limit` occurrences go that are `held` or `parked`: they become `due`, and their people's rows
    /// run, where they are decided once more. Those that are `unsure` may be in Crisp already: they go only if the
    /// filter names that state. Returns how many.
    pub async fn release(&self, filter: &OutboxFilter, now: Timestamp) -> Result<u64, LedgerError> {
        let released = again!(self.shared.store.release(filter, false, now))?;
        self.wake_all().await;
        Ok(released)
    }

    /// The same, past the brake's cap.
    pub async fn release_over_cap(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        let released = again!(self.shared.store.release(filter, true, now))?;
        self.wake_all().await;
        Ok(released)
    }

    /// Gives up to `filter.limit` occurrences up that were not sent: they become `expired`. Those that are in Crisp stay.
    /// Those that may be, `unsure`, stay as they are but wait for nobody any more, and only if the filter names that state.
    /// Returns how many.
    pub async fn drop_occurrences(
        &self,
        filter: &OutboxFilter,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        again!(self.shared.store.drop_occurrences(filter, now))
    }

    /// Ends the pause of one website, or with `None` that of the token: somebody knows better than the next probe.
    pub async fn resume(&self, website: Option<&WebsiteId>) -> Result<bool, LedgerError> {
        let resumed = again!(self.shared.store.resume(website))?;
        self.wake_all().await;
        Ok(resumed)
    }

    /// Says which definition this process has. A hash that the ledger does not know becomes the newest; one that was
    /// followed by another is older, and this process claims nothing until a newer is noted or this one is adopted.
    pub async fn note_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        again!(self.shared.store.note_definition(hash, now))
    }

    /// Makes a definition the newest even if another followed it: somebody went back on purpose.
    pub async fn adopt_definition(&self, hash: &str, now: Timestamp) -> Result<(), LedgerError> {
        again!(self.shared.store.adopt_definition(hash, now))
    }

    /// Says that this process works with this definition, until it is closed. Of the processes that share a server's ledger
    /// those with the newest definition work, and the others claim nothing: a hash that the ledger does not know is the
    /// newest. A file has one process, whose definition counts, be it old or new.
    pub async fn join(&self, hash: &str, now: Timestamp) -> Result<(), LedgerError> {
        if self.shared.store.is_shared() {
            again!(self.shared.store.join(Some(hash), now))?;
            self.shared.store.listen(&self.shared.wake);
            Ok(())
        } else {
            self.adopt_definition(hash, now).await
        }
    }

    /// Says that this process only observes, until it is closed: while one lives that works, it claims nothing, because
    /// what it settles is not done. A file has no other process.
    pub async fn join_to_observe(&self, now: Timestamp) -> Result<(), LedgerError> {
        if self.shared.store.is_shared() {
            again!(self.shared.store.join(None, now))
        } else {
            Ok(())
        }
    }

    /// Says that this process listens; to be called every 30 seconds and once it does. Returns the gap since the last
    /// call, if nobody listened for long: the ledger is cautious up to now. A clock that was set back pulls what was
    /// planned by the wrong one.
    pub async fn heartbeat(&self, now: Timestamp) -> Result<Option<Gap>, LedgerError> {
        self.write_heard(now).await?;
        again!(self.shared.store.heartbeat(now))
    }

    /// Looks, as whoever opens the ledger does first, whether it was left alone for long or is a copy: from then on every
    /// command is as careful as that asks for. It says of nobody that they listen, so the silence goes on; and a clock that
    /// was set back pulls what was planned by the wrong one.
    pub async fn notice_silence(&self, now: Timestamp) -> Result<(), LedgerError> {
        again!(self.shared.store.notice_silence(now))
    }

    /// Has the clock of this process follow that of the server, if there is one: leases and pauses are agreed on between
    /// processes, so what one of them thinks of the time may not count. To be called beside each heartbeat.
    pub async fn correct(&self, clock: &Clock) -> Result<(), LedgerError> {
        let asked = clock.now();
        if let Some(theirs) = self.shared.store.server_time().await? {
            clock.follow(theirs, asked, clock.now());
        }
        Ok(())
    }

    /// Counts calls that belong to no attempt: a command's.
    pub async fn count_calls(
        &self,
        calls: &[(&'static str, u32)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        again!(self.shared.store.count_calls(calls, now))
    }

    /// Removes deliveries, traces and finished work rows older than `keep`. Returns how many rows went.
    pub async fn prune(&self, keep: Duration, now: Timestamp) -> Result<u64, LedgerError> {
        again!(self.shared.store.prune(keep, now))
    }

    /// Writes a complete copy, readable by its owner alone, while everything goes on. The file must not exist.
    pub async fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        self.shared.store.backup(to).await
    }
}
