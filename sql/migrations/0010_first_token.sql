-- The fencing token under which an operation's side effect was first begun; 0 while it was not. No mark on a target that it left can
-- have a lower one. Of what was begun before, it is not known: 1 is the lowest there is.
ALTER TABLE operations ADD COLUMN first_token bigint NOT NULL DEFAULT 0;
UPDATE operations SET first_token = 1 WHERE started_at IS NOT NULL;
