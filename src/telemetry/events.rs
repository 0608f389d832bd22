//! Every log line we write, by the name in its `event` field.
//!
//! Write a line as `tracing::info!(event = events::DELIVERY_ACCEPTED, "website.id" = %website, …, "a sentence")`: the
//! sentence stands alone for a reader, the fields carry what a machine needs.

/// One kind of log line.
#[derive(Debug, Clone, Copy)]
pub struct LogEvent {
    /// The value of the `event` field.
    pub name: &'static str,
    /// The level it is written at.
    pub level: &'static str,
    /// What happened, for the table in `docs/logging.md`.
    pub meaning: &'static str,
    /// The fields it may carry besides `timestamp`, `level`, `target`, `message` and `event`.
    pub fields: &'static [&'static str],
}

macro_rules! events {
    ($($constant:ident = $name:literal, $level:literal, $meaning:literal, [$($field:literal),* $(,)?];)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: &str = $name;
        )*
        /// Every kind, in the order of a delivery's life.
        pub const ALL: &[LogEvent] = &[
            $(LogEvent { name: $name, level: $level, meaning: $meaning, fields: &[$($field),*] },)*
        ];
    };
}

events! {
    SERVICE_STARTED = "service.started", "INFO", "The service listens.",
        ["listen.public", "listen.ops", "ledger", "users.engine", "mode", "definition.hash", "version"];
    CONFIG_WARNING = "config.warning", "WARN", "A setting is allowed and probably not meant.", ["place", "reason", "hint"];
    SECRET_RENEWED = "secret.renewed", "INFO", "The file of a secret changed; from now on the new one is used.", ["secret"];
    SECRET_UNUSABLE = "secret.unusable", "WARN", "The file of a secret changed and cannot be used; the old one stays.", ["place", "reason", "hint"];
    SERVICE_DRAINING = "service.draining", "INFO", "A signal arrived; nothing new is accepted.", ["signal", "deadline_ms"];
    SERVICE_STOPPED = "service.stopped", "INFO", "The service ended.", ["outcome", "duration_ms"];
    SERVICE_ABORTED = "service.aborted", "WARN", "The deadline passed or a second signal came; work in hand was dropped and its lease will expire.", ["reason"];
    DELIVERY_ACCEPTED = "delivery.accepted", "INFO", "A webhook was verified and committed.",
        ["website.id", "session.id", "people.id", "webhook.event", "webhook.origin", "attempt", "attempt_limit", "late", "duration_ms", "hook"];
    DELIVERY_IGNORED = "delivery.ignored", "DEBUG", "A genuine webhook that asks for nothing; acknowledged, not stored.",
        ["website.id", "webhook.event", "reason"];
    DELIVERY_REFUSED = "delivery.refused", "WARN", "A request that is no genuine webhook, or one that cannot be read.",
        ["reason", "status", "attempt", "attempt_limit"];
    DELIVERY_UNAVAILABLE = "delivery.unavailable", "ERROR", "The ledger could not commit; the sender was asked to try again.",
        ["website.id", "webhook.event", "error"];
    LOG_LINES_LEFT_OUT = "log.lines_left_out", "WARN", "Ten lines of one kind were written within a minute; so many more were not, and the metrics count each. Of the kind `unread`: nobody read the log, and there was no room for so many.", ["kind", "left_out"];
    CONVERSATION_REFRESHED = "conversation.refreshed", "INFO", "A conversation was looked at, and changed if it had to be.",
        ["website.id", "session.id", "user.ref", "trigger", "trust", "outcome", "reason", "changed", "crisp.calls", "attempt", "duration_ms", "hook_to_context_ms"];
    PERSON_REFRESHED = "person.refreshed", "INFO", "A contact was looked at, and changed if it had to be.",
        ["website.id", "user.ref", "trigger", "outcome", "reason", "changed", "crisp.calls", "attempt", "duration_ms"];
    GAP_LISTED = "gap.listed", "INFO", "A page of a website's conversations was looked through for those that changed while nobody listened.",
        ["website.id", "outcome", "reason", "crisp.calls", "attempt", "duration_ms"];
    ERASURE_RECORDED = "erasure.recorded", "INFO", "A person was erased from the ledger; what Crisp holds of ours is cleared next.",
        ["erasure.receipt", "website.id", "outcome"];
    ERASURE_LIFTED = "erasure.lifted", "INFO", "An erasure was ended: the person is looked up again, and told of what happens from now on.",
        ["erasure.receipt"];
    ERASURE_WORKED = "erasure.worked", "INFO", "What an erasure owed on one website was done, or looked at once more.",
        ["website.id", "erasure.receipt", "outcome", "reason", "crisp.calls", "attempt", "duration_ms"];
    SWEEP_PAGE = "sweep.page", "DEBUG", "A page of people to whom something happened was read, and they were enqueued.",
        ["lane", "outcome", "reason", "attempt", "duration_ms"];
    SWEEP_FINISHED = "sweep.finished", "INFO", "A look at everybody to whom something happened is over.",
        ["lane", "pages", "rows", "enqueued", "known", "unusable", "since", "until", "duration_ms"];
    PEOPLE_EVENT_DECIDED = "people_event.decided", "INFO", "A lifecycle event entered or changed its state in the outbox.",
        ["website.id", "user.ref", "people_event.name", "people_event.ref", "state", "reason", "due_at"];
    PEOPLE_EVENT_SENT = "people_event.sent", "INFO", "Crisp confirmed a lifecycle event.",
        ["website.id", "user.ref", "people_event.name", "people_event.ref", "attempt"];
    PEOPLE_EVENT_UNPROVEN = "people_event.unproven", "WARN", "A lifecycle event expired because Crisp's timeline came from a cache all the time.",
        ["website.id", "user.ref", "people_event.name", "people_event.ref", "hint"];
    PEOPLE_EVENT_BRAKED = "people_event.braked", "ERROR", "More of a lifecycle event came within the hour than the brake lets go; every further one is held until a person decides.",
        ["website.id", "people_event.name", "sent", "limit", "hint"];
    WORK_RETRY = "work.retry", "WARN", "An attempt failed and will be made again.",
        ["work.kind", "website.id", "session.id", "user.ref", "attempt", "retry_in_ms", "error", "hint"];
    WORK_WAITS = "work.waits", "DEBUG", "Something outside is down; the row waits for it and spends no attempt.",
        ["work.kind", "website.id", "session.id", "user.ref", "attempt", "retry_in_ms", "error", "hint"];
    WORK_BURIED = "work.buried", "ERROR", "An attempt failed for good; the row is a dead letter until it is revived.",
        ["work.kind", "website.id", "session.id", "user.ref", "attempt", "outcome", "error", "hint"];
    WORK_LEASE_LOST = "work.lease_lost", "WARN", "The lease ran out before the result was settled; nothing was written.",
        ["work.kind", "website.id", "session.id", "user.ref", "duration_ms"];
    CRISP_PAUSED = "crisp.paused", "WARN", "Crisp refused; calls with this token or for this website wait, or, with `scope` people, those for its contacts.",
        ["scope", "website.id", "reason", "until", "hint"];
    CRISP_RESUMED = "crisp.resumed", "INFO", "A probe came through; calls go on.", ["website.id"];
    CRISP_PAUSE_REMAINS = "crisp.pause_remains", "WARN", "The token was replaced, and a pause that the old one led to could not be ended at once; its probe ends it.",
        ["error", "hint"];
    BREAKER_OPENED = "breaker.opened", "WARN", "Something outside fails again and again; what needs it waits and spends no attempt.",
        ["breaker", "failures", "until", "error", "hint"];
    BREAKER_PROBED = "breaker.probed", "DEBUG", "A probe failed; the next one may go later.", ["breaker", "until", "error"];
    BREAKER_CLOSED = "breaker.closed", "INFO", "It works again; what waited goes on.", ["breaker", "duration_ms"];
    CRISP_SILENT = "crisp.silent", "WARN", "A website sends no webhook though its conversations go on.", ["website.id", "since", "hint"];
    CRISP_HEARD = "crisp.heard", "INFO", "A website that was silent sends webhooks again.", ["website.id", "since"];
    QUOTA_SHORT = "quota.short", "WARN", "At the pace since the day began, the quota will be used up before it ends.",
        ["calls", "limit", "until", "hint"];
    CRISP_CALL = "crisp.call", "DEBUG", "One request to Crisp.",
        ["purpose", "route", "status", "request.id", "duration_ms", "outcome"];
    ALERT_RAISED = "alert.raised", "WARN", "A condition that asks for a person began; it is told once.", ["condition", "subject", "reason"];
    ALERT_OVER = "alert.over", "INFO", "A condition that asked for a person is over.", ["condition", "subject", "since"];
    ALERT_UNDELIVERED = "alert.undelivered", "WARN", "The receiver of alerts did not take a message; it is sent again.",
        ["error", "retry_in_ms", "hint"];
    LEDGER_CAUTIOUS = "ledger.cautious", "WARN", "The ledger saw a gap: every lifecycle event up to now needs a complete timeline before it is sent.",
        ["reason", "until"];
    LEDGER_DISPLACED = "ledger.displaced", "ERROR", "The ledger is a copy, or was moved: no lifecycle event leaves until `crisp-sync events arm` is typed where it lies now.",
        ["hint"];
    LEDGER_UNCLEAN = "ledger.unclean", "WARN", "The ledger did not close cleanly at the end; the hint says what becomes of it.", ["error", "hint"];
    LEDGER_ROW_QUARANTINED = "ledger.row_quarantined", "ERROR", "One row of a batch could not be committed and was set aside.", ["webhook.event", "error"];
    MIRROR_NORMALISED = "mirror.normalised", "WARN", "Crisp keeps another form of what we wrote, correction after correction; its form is accepted.",
        ["website.id", "session.id"];
    WORKER_FAULT = "worker.fault", "ERROR", "The worker could not take or settle work; it tries again.", ["error", "hint"];
    COMMAND_SERVED = "command.served", "INFO", "An operator's command came over the command socket.", ["command", "outcome", "duration_ms"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fields_are_dotted_words() {
        let mut names: Vec<_> = ALL.iter().map(|event| event.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for field in ALL.iter().flat_map(|event| event.fields) {
            assert!(
                field
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte)),
                "{field}"
            );
        }
    }
}
