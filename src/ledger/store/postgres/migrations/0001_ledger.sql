-- The ledger. Instants are milliseconds since the epoch; JSON is text; flags are 0 or 1. Keys are compared byte by byte,
-- so that every process locks rows in the same order.

-- What SQLite has and PostgreSQL lacks, so that most statements are one text for both. None of a row's numbers may be
-- missing, or the result is.
CREATE FUNCTION json_each(items text) RETURNS TABLE (value jsonb)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 100
    AS 'SELECT item FROM jsonb_array_elements(items::jsonb) AS elements (item)';
CREATE FUNCTION max(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT CASE WHEN $1 IS NULL OR $2 IS NULL THEN NULL ELSE greatest($1, $2) END';
CREATE FUNCTION min(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT CASE WHEN $1 IS NULL OR $2 IS NULL THEN NULL ELSE least($1, $2) END';
CREATE FUNCTION max(bigint, bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT CASE WHEN $1 IS NULL OR $2 IS NULL OR $3 IS NULL THEN NULL ELSE greatest($1, $2, $3) END';
CREATE FUNCTION min(bigint, bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT CASE WHEN $1 IS NULL OR $2 IS NULL OR $3 IS NULL THEN NULL ELSE least($1, $2, $3) END';
CREATE FUNCTION max(bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT CASE WHEN $1 IS NULL OR $2 IS NULL OR $3 IS NULL OR $4 IS NULL OR $5 IS NULL OR $6 IS NULL
            OR $7 IS NULL OR $8 IS NULL THEN NULL ELSE greatest($1, $2, $3, $4, $5, $6, $7, $8) END';

-- Facts about the ledger itself, by name.
CREATE TABLE meta (
    key   text COLLATE "C" NOT NULL PRIMARY KEY,
    value text NOT NULL
);

-- Receipts of verified webhooks: ids, times and sizes.
CREATE TABLE deliveries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at bigint NOT NULL,
    website     text COLLATE "C" NOT NULL,
    event       text COLLATE "C" NOT NULL CHECK (length(event) BETWEEN 1 AND 128),
    session     text COLLATE "C",
    people      text COLLATE "C",
    hook        text NOT NULL,
    origin      text CHECK (length(origin) <= 128),
    attempt     bigint,
    signed_at   bigint,
    event_at    bigint,
    bytes       bigint NOT NULL
);

-- One row per thing to be worked. A trigger raises want_gen, a settlement sets done_gen.
CREATE TABLE work (
    kind               text COLLATE "C" NOT NULL,
    website            text COLLATE "C" NOT NULL,
    key                text COLLATE "C" NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    want_gen           bigint NOT NULL,
    done_gen           bigint NOT NULL DEFAULT 0,
    run_at             bigint NOT NULL,
    not_before         bigint NOT NULL DEFAULT 0,
    due_at             bigint NOT NULL GENERATED ALWAYS AS (greatest(run_at, not_before)) STORED,
    attempts           bigint NOT NULL DEFAULT 0,
    crashes            bigint NOT NULL DEFAULT 0,
    lease_until        bigint,
    lease_token        text COLLATE "C",
    claimed_gen        bigint,
    state              text COLLATE "C" NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'dead')),
    trigger            text NOT NULL,
    priority           bigint NOT NULL,
    first_triggered_at bigint NOT NULL,
    -- The shortest freshness that the triggers of the running lease ask for.
    fresh_ms           bigint NOT NULL DEFAULT 0,
    done_at            bigint,
    unsettled          bigint NOT NULL DEFAULT 0,
    -- How often the mirror became dirty, and how often it had when the row was claimed: a settlement must not clean
    -- what it cannot have seen.
    dirt               bigint NOT NULL DEFAULT 0,
    claimed_dirt       bigint NOT NULL DEFAULT 0,
    urgent_since       bigint,
    urgent_count       bigint NOT NULL DEFAULT 0,
    probe              bigint NOT NULL DEFAULT 0,
    dead_at            bigint,
    revived_at         bigint,
    last_error         text,
    PRIMARY KEY (kind, website, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX work_due ON work (priority, due_at)
    WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL;
CREATE INDEX work_leased ON work (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX work_dead ON work (dead_at) WHERE state = 'dead';

-- What Crisp held when we last looked, as far as it is ours.
CREATE TABLE conversations (
    website       text COLLATE "C" NOT NULL,
    session       text COLLATE "C" NOT NULL,
    email         text COLLATE "C",
    user_key      text COLLATE "C",
    people        text COLLATE "C",
    trust         text,
    channel       text,
    session_layer text NOT NULL,
    crisp_form    text,
    corrections   text,
    written_for   text,
    dirty         bigint NOT NULL,
    email_since   bigint,
    read_at       bigint,
    refreshed_at  bigint,
    PRIMARY KEY (website, session)
) WITH (fillfactor = 85);

-- The address of a person where the app's database cannot be asked by key.
CREATE INDEX conversations_user ON conversations (website, user_key) WHERE user_key IS NOT NULL;

CREATE TABLE persons (
    website       text COLLATE "C" NOT NULL,
    user_key      text COLLATE "C" NOT NULL,
    email_mac     text COLLATE "C",
    people        text COLLATE "C",
    contact       text NOT NULL,
    contact_layer text NOT NULL,
    profile_done  bigint NOT NULL,
    pushed_at     bigint,
    assert_at     bigint,
    edges         text NOT NULL,
    PRIMARY KEY (website, user_key)
) WITH (fillfactor = 85);

CREATE INDEX persons_email ON persons (website, email_mac) WHERE email_mac IS NOT NULL;
CREATE INDEX persons_people ON persons (website, people) WHERE people IS NOT NULL;

-- What Crisp said it holds while the conversation was being worked: judged when the result is settled, because most of
-- it is the echo of that very work.
CREATE TABLE held (
    website  text COLLATE "C" NOT NULL,
    session  text COLLATE "C" NOT NULL,
    data     text,
    segments text,
    PRIMARY KEY (website, session)
);

-- What we owe people's timelines.
CREATE TABLE outbox (
    website         text COLLATE "C" NOT NULL,
    user_key        text COLLATE "C" NOT NULL,
    key             text COLLATE "C" NOT NULL,
    event           text COLLATE "C" NOT NULL,
    subject         text COLLATE "C" NOT NULL,
    instant         bigint,
    state           text COLLATE "C" NOT NULL,
    reference       text COLLATE "C" NOT NULL,
    due_at          bigint NOT NULL,
    not_before      bigint,
    attempts        bigint NOT NULL,
    attempted_at    bigint,
    sent_at         bigint,
    absent_reads    bigint NOT NULL,
    first_absent_at bigint,
    reason          text COLLATE "C" NOT NULL,
    email_mac       text COLLATE "C",
    data            text NOT NULL,
    color           text NOT NULL,
    created_at      bigint NOT NULL,
    updated_at      bigint NOT NULL,
    PRIMARY KEY (website, user_key, key)
);

CREATE INDEX outbox_event ON outbox (website, event, state, attempted_at);
-- What went to an address is asked before each event, whether Crisp answered or not.
CREATE INDEX outbox_address ON outbox (website, email_mac, event) WHERE email_mac IS NOT NULL;
CREATE INDEX outbox_reference ON outbox (reference);
CREATE INDEX outbox_newest ON outbox (created_at);

-- Older instants are superseded for ever.
CREATE TABLE high_water (
    website  text COLLATE "C" NOT NULL,
    user_key text COLLATE "C" NOT NULL,
    event    text COLLATE "C" NOT NULL,
    subject  text COLLATE "C" NOT NULL,
    instant  bigint NOT NULL,
    PRIMARY KEY (website, user_key, event, subject)
);

CREATE TABLE armings (
    website   text COLLATE "C" NOT NULL,
    rule      text COLLATE "C" NOT NULL,
    watermark bigint NOT NULL,
    armed_at  bigint NOT NULL,
    PRIMARY KEY (website, rule)
);

-- Names that are or were ours. Only ever added.
CREATE TABLE owned_names (
    side text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (side, kind, name)
);

CREATE TABLE verified_seen (
    website text COLLATE "C" NOT NULL PRIMARY KEY,
    at      bigint NOT NULL
);

-- The website of a pause of the token is the empty text.
CREATE TABLE pauses (
    scope       text COLLATE "C" NOT NULL,
    website     text COLLATE "C" NOT NULL,
    reason      text NOT NULL,
    since       bigint NOT NULL,
    until       bigint NOT NULL,
    probe_every bigint NOT NULL,
    probing     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, website)
);

CREATE TABLE traces (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind    text COLLATE "C" NOT NULL,
    website text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    at      bigint NOT NULL,
    trigger text NOT NULL,
    attempt bigint NOT NULL,
    outcome text NOT NULL,
    detail  text NOT NULL
);

CREATE INDEX traces_key ON traces (kind, website, key, id);

CREATE TABLE quota (
    day     text COLLATE "C" NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    calls   bigint NOT NULL,
    PRIMARY KEY (day, purpose)
) WITH (fillfactor = 50);

-- Every definition this ledger was worked with; the newest has the highest number.
CREATE TABLE definitions (
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash     text COLLATE "C" NOT NULL UNIQUE,
    noted_at bigint NOT NULL
);

-- The processes that work this ledger, while they live: the newest definition among them is the one in force.
CREATE TABLE processes (
    id           text COLLATE "C" NOT NULL PRIMARY KEY,
    hash         text COLLATE "C" NOT NULL,
    heartbeat_at bigint NOT NULL
);
