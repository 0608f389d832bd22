//! The columns that are read of the tables that several statements read.
//!
//! Each is named, never `*`: a process of the version before, which runs on while another upgrades the schema, would see a
//! column more than it prepared for, and PostgreSQL refuses that ("cached plan must not change result type").

/// The columns of a table, for `concat!`.
macro_rules! columns {
    (conversations) => {
        "website, session, email, user_key, people, trust, channel, session_layer, crisp_form, written_for, dirty, \
         email_since, read_at, refreshed_at"
    };
    (deliveries) => {
        "id, received_at, website, event, session, people, hook, origin, attempt, signed_at, event_at, bytes"
    };
    (outbox) => {
        "website, user_key, key, event, subject, instant, state, reference, due_at, not_before, attempts, attempted_at, \
         sent_at, absent_reads, first_absent_at, reason, email_mac, data, color, created_at, updated_at"
    };
    (persons) => {
        "website, user_key, email_mac, people, contact, contact_layer, profile_done, pushed_at, assert_at, edges, former"
    };
    (work) => {
        "kind, website, key, want_gen, done_gen, run_at, not_before, attempts, crashes, lease_until, state, trigger, \
         priority, first_triggered_at, done_at, unsettled, dead_at, last_error"
    };
}

pub(super) use columns;
