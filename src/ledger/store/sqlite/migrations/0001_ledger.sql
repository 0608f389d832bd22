-- The ledger. Instants are milliseconds since the epoch; JSON is text.

-- Facts about the ledger itself, by name.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Receipts of verified webhooks: ids, times and sizes.
CREATE TABLE deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    received_at INTEGER NOT NULL,
    website     TEXT NOT NULL,
    event       TEXT NOT NULL CHECK (length(event) BETWEEN 1 AND 128),
    session     TEXT,
    people      TEXT,
    hook        TEXT NOT NULL,
    origin      TEXT CHECK (length(origin) <= 128),
    attempt     INTEGER,
    signed_at   INTEGER,
    event_at    INTEGER,
    bytes       INTEGER NOT NULL
) STRICT;

-- One row per thing to be worked. A trigger raises want_gen, a settlement sets done_gen.
CREATE TABLE work (
    kind               TEXT NOT NULL,
    website            TEXT NOT NULL,
    key                TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    want_gen           INTEGER NOT NULL,
    done_gen           INTEGER NOT NULL DEFAULT 0,
    run_at             INTEGER NOT NULL,
    not_before         INTEGER NOT NULL DEFAULT 0,
    due_at             INTEGER NOT NULL GENERATED ALWAYS AS (max(run_at, not_before)) VIRTUAL,
    attempts           INTEGER NOT NULL DEFAULT 0,
    crashes            INTEGER NOT NULL DEFAULT 0,
    lease_until        INTEGER,
    lease_token        TEXT,
    claimed_gen        INTEGER,
    state              TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'dead')),
    trigger            TEXT NOT NULL,
    priority           INTEGER NOT NULL,
    first_triggered_at INTEGER NOT NULL,
    -- The shortest freshness that the triggers of the running lease ask for.
    fresh_ms           INTEGER NOT NULL DEFAULT 0,
    done_at            INTEGER,
    unsettled          INTEGER NOT NULL DEFAULT 0,
    -- How often the mirror became dirty, and how often it had when the row was claimed: a settlement must not clean
    -- what it cannot have seen.
    dirt               INTEGER NOT NULL DEFAULT 0,
    claimed_dirt       INTEGER NOT NULL DEFAULT 0,
    urgent_since       INTEGER,
    urgent_count       INTEGER NOT NULL DEFAULT 0,
    probe              INTEGER NOT NULL DEFAULT 0,
    dead_at            INTEGER,
    revived_at         INTEGER,
    last_error         TEXT,
    PRIMARY KEY (kind, website, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX work_due ON work (priority, due_at)
    WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL;
CREATE INDEX work_leased ON work (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX work_dead ON work (dead_at) WHERE state = 'dead';

-- What Crisp held when we last looked, as far as it is ours.
CREATE TABLE conversations (
    website       TEXT NOT NULL,
    session       TEXT NOT NULL,
    email         TEXT,
    user_key      TEXT,
    people        TEXT,
    trust         TEXT,
    channel       TEXT,
    session_layer TEXT NOT NULL,
    crisp_form    TEXT,
    corrections   TEXT,
    written_for   TEXT,
    dirty         INTEGER NOT NULL,
    email_since   INTEGER,
    read_at       INTEGER,
    refreshed_at  INTEGER,
    PRIMARY KEY (website, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE persons (
    website       TEXT NOT NULL,
    user_key      TEXT NOT NULL,
    email_mac     TEXT,
    people        TEXT,
    contact       TEXT NOT NULL,
    contact_layer TEXT NOT NULL,
    profile_done  INTEGER NOT NULL,
    pushed_at     INTEGER,
    assert_at     INTEGER,
    edges         TEXT NOT NULL,
    PRIMARY KEY (website, user_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX persons_email ON persons (website, email_mac) WHERE email_mac IS NOT NULL;
CREATE INDEX persons_people ON persons (website, people) WHERE people IS NOT NULL;

-- What we owe people's timelines.
CREATE TABLE outbox (
    website         TEXT NOT NULL,
    user_key        TEXT NOT NULL,
    key             TEXT NOT NULL,
    event           TEXT NOT NULL,
    subject         TEXT NOT NULL,
    instant         INTEGER,
    state           TEXT NOT NULL,
    reference       TEXT NOT NULL,
    due_at          INTEGER NOT NULL,
    not_before      INTEGER,
    attempts        INTEGER NOT NULL,
    attempted_at    INTEGER,
    sent_at         INTEGER,
    absent_reads    INTEGER NOT NULL,
    first_absent_at INTEGER,
    reason          TEXT NOT NULL,
    email_mac       TEXT,
    data            TEXT NOT NULL,
    color           TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    PRIMARY KEY (website, user_key, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX outbox_event ON outbox (website, event, state, attempted_at);
CREATE INDEX outbox_address ON outbox (website, email_mac, event) WHERE sent_at IS NOT NULL;
CREATE INDEX outbox_reference ON outbox (reference);
CREATE INDEX outbox_newest ON outbox (created_at);

-- Older instants are superseded for ever.
CREATE TABLE high_water (
    website  TEXT NOT NULL,
    user_key TEXT NOT NULL,
    event    TEXT NOT NULL,
    subject  TEXT NOT NULL,
    instant  INTEGER NOT NULL,
    PRIMARY KEY (website, user_key, event, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE armings (
    website   TEXT NOT NULL,
    rule      TEXT NOT NULL,
    watermark INTEGER NOT NULL,
    armed_at  INTEGER NOT NULL,
    PRIMARY KEY (website, rule)
) STRICT, WITHOUT ROWID;

-- Names that are or were ours. Only ever added.
CREATE TABLE owned_names (
    side TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (side, kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE verified_seen (
    website TEXT NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The website of a pause of the token is the empty text.
CREATE TABLE pauses (
    scope       TEXT NOT NULL,
    website     TEXT NOT NULL,
    reason      TEXT NOT NULL,
    since       INTEGER NOT NULL,
    until       INTEGER NOT NULL,
    probe_every INTEGER NOT NULL,
    probing     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, website)
) STRICT, WITHOUT ROWID;

CREATE TABLE traces (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    website TEXT NOT NULL,
    key     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    trigger TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    detail  TEXT NOT NULL
) STRICT;

CREATE INDEX traces_key ON traces (kind, website, key, id);

CREATE TABLE quota (
    day     TEXT NOT NULL,
    purpose TEXT NOT NULL,
    calls   INTEGER NOT NULL,
    PRIMARY KEY (day, purpose)
) STRICT, WITHOUT ROWID;

-- Every definition this ledger was worked with; the newest has the highest number.
CREATE TABLE definitions (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    hash     TEXT NOT NULL UNIQUE,
    noted_at INTEGER NOT NULL
) STRICT;
