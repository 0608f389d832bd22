-- People who are not to be looked up, written or told of again, by code. The website is empty where it is every website.
CREATE TABLE tombstones (
    kind      TEXT NOT NULL CHECK (kind IN ('email', 'user')),
    mac       TEXT NOT NULL,
    website   TEXT NOT NULL,
    receipt   TEXT NOT NULL,
    at        INTEGER NOT NULL,
    lifted_at INTEGER,
    PRIMARY KEY (kind, mac, website)
) STRICT, WITHOUT ROWID;

-- Each erasure, without the person: its codes, and how many rows went.
CREATE TABLE erasures (
    receipt        TEXT NOT NULL PRIMARY KEY,
    website        TEXT NOT NULL,
    at             INTEGER NOT NULL,
    delete_contact INTEGER NOT NULL,
    codes          TEXT NOT NULL,
    deleted        TEXT NOT NULL,
    lifted_at      INTEGER
) STRICT, WITHOUT ROWID;

-- What an erasure still has to do. The subject of a contact is an address or an id, and goes when it is done.
CREATE TABLE erasure_debts (
    receipt    TEXT NOT NULL,
    website    TEXT NOT NULL,
    what       TEXT NOT NULL CHECK (what IN ('conversation', 'contact', 'look')),
    subject    TEXT NOT NULL,
    generation INTEGER NOT NULL,
    final_at   INTEGER,
    PRIMARY KEY (receipt, website, what, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX erasure_debts_subject ON erasure_debts (website, what, subject);
