-- Harbor, a booking desk for freight brokers: the database of a made-up SaaS, shaped as such databases are.
-- Instants are UTC text, `2026-01-31T09:00:00Z`.

CREATE TABLE tenants (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  country    TEXT NOT NULL
);

CREATE TABLE users (
  id               TEXT PRIMARY KEY,
  tenant_id        TEXT NOT NULL REFERENCES tenants (id),
  email            TEXT NOT NULL,                 -- not unique: one address may hold an account in two companies
  name             TEXT NOT NULL,
  role             TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  marketing_opt_in BOOLEAN NOT NULL,
  created_at       DATETIME NOT NULL,
  onboarded_at     DATETIME,
  deleted_at       DATETIME
);

CREATE INDEX users_by_email ON users (email COLLATE NOCASE);

CREATE TABLE subscriptions (
  id              INTEGER PRIMARY KEY,
  tenant_id       TEXT NOT NULL UNIQUE REFERENCES tenants (id),
  price_id        TEXT NOT NULL,                  -- the payment provider's id; `maps.plan` gives it a name
  billing_period  TEXT NOT NULL CHECK (billing_period IN ('month', 'year')),
  seats           INTEGER NOT NULL,
  status          TEXT NOT NULL CHECK (status IN ('trialing', 'active', 'past_due', 'canceled', 'ended')),
  trial_ends_at   DATETIME,
  plan_started_at DATETIME,                       -- when this plan was first paid for; a change of plan sets it anew
  renews_at       DATETIME,
  canceled_at     DATETIME,                       -- when they said so; access stays until `ends_at`
  ends_at         DATETIME
);

CREATE TABLE invoices (
  id           INTEGER PRIMARY KEY,
  tenant_id    TEXT NOT NULL REFERENCES tenants (id),
  amount_cents INTEGER NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('paid', 'open', 'void')),
  issued_at    DATETIME NOT NULL
);

CREATE INDEX invoices_by_tenant ON invoices (tenant_id, issued_at);

CREATE TABLE imports (
  id          INTEGER PRIMARY KEY,
  user_id     TEXT NOT NULL REFERENCES users (id),
  module      TEXT NOT NULL,
  file_name   TEXT NOT NULL,
  row_count   INTEGER NOT NULL,
  started_at  DATETIME NOT NULL,
  finished_at DATETIME                            -- still running while it is NULL
);

CREATE INDEX imports_by_user ON imports (user_id, finished_at);
