-- People who are not to be looked up, written or told of again, by code. The website is empty where it is every website.
CREATE TABLE tombstones (
    kind      text COLLATE "C" NOT NULL CHECK (kind IN ('email', 'user')),
    mac       text COLLATE "C" NOT NULL,
    website   text COLLATE "C" NOT NULL,
    receipt   text COLLATE "C" NOT NULL,
    at        bigint NOT NULL,
    lifted_at bigint,
    PRIMARY KEY (kind, mac, website)
);

-- Each erasure, without the person: its codes, and how many rows went.
CREATE TABLE erasures (
    receipt        text COLLATE "C" NOT NULL PRIMARY KEY,
    website        text COLLATE "C" NOT NULL,
    at             bigint NOT NULL,
    delete_contact bigint NOT NULL,
    codes          text NOT NULL,
    deleted        text NOT NULL,
    lifted_at      bigint
);

-- What an erasure still has to do. The subject of a contact is an address or an id, and goes when it is done.
CREATE TABLE erasure_debts (
    receipt    text COLLATE "C" NOT NULL,
    website    text COLLATE "C" NOT NULL,
    what       text COLLATE "C" NOT NULL CHECK (what IN ('conversation', 'contact', 'look')),
    subject    text COLLATE "C" NOT NULL,
    generation bigint NOT NULL,
    final_at   bigint,
    PRIMARY KEY (receipt, website, what, subject)
);

CREATE INDEX erasure_debts_subject ON erasure_debts (website, what, subject);
