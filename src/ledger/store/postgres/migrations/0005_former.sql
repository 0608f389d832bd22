-- The contacts of the addresses that a person had before, as JSON; nothing where there was no other.
ALTER TABLE persons ADD COLUMN former text;
