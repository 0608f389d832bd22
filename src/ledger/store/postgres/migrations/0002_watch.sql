-- How far each website was listened to, and the look through its conversations that is under way.
CREATE TABLE listening (
    website      text COLLATE "C" NOT NULL PRIMARY KEY,
    since        bigint NOT NULL,
    heard_at     bigint,
    checked_to   bigint,
    scan_from    bigint,
    scan_to      bigint,
    scan_page    bigint,
    unheard_at   bigint,
    silent_since bigint
);

-- Conditions that ask for a person, from when one is first seen until somebody was told that it is over.
CREATE TABLE conditions (
    kind    text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    detail  text NOT NULL,
    since   bigint NOT NULL,
    seen_at bigint NOT NULL,
    told_at bigint,
    PRIMARY KEY (kind, subject)
);

-- What waits for a person is counted twice a minute, however long the outbox is.
CREATE INDEX outbox_waiting ON outbox (state) WHERE state IN ('held', 'unsure');
