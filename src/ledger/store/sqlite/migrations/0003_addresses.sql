-- What went to an address is asked before each event, whether Crisp answered or not.
DROP INDEX outbox_address;
CREATE INDEX outbox_address ON outbox (website, email_mac, event) WHERE email_mac IS NOT NULL;
-- The address of a person where the app's database cannot be asked by key.
CREATE INDEX conversations_user ON conversations (website, user_key) WHERE user_key IS NOT NULL;
