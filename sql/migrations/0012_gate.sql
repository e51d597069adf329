-- The stop switch: one row. While it is thrown nothing is proposed, approved or begun; `last_stop` outlives the resumption, for what was
-- approved before it is not run any more.
CREATE TABLE stop_switch (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    stopped   boolean NOT NULL,
    by        text    NOT NULL,
    reason    text    NOT NULL,
    at        timestamptz,
    last_stop timestamptz
);
INSERT INTO stop_switch (stopped, by, reason) VALUES (false, '', '');

-- The switch, kept as it is until the transaction ends: who throws it waits for that, and whoever comes after sees it thrown.
CREATE FUNCTION held_switch() RETURNS SETOF stop_switch LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('stop_switch', 0));
    RETURN QUERY SELECT * FROM stop_switch;
END
$$;

-- `roles` must be among those who sign; `cooled` are the rules with a cooldown that are about the action.
ALTER TABLE approvals ADD COLUMN roles text[] NOT NULL DEFAULT '{}', ADD COLUMN cooled text[] NOT NULL DEFAULT '{}';

-- The version of the policy that was in force: a short hash of its file.
ALTER TABLE decisions ADD COLUMN policy text NOT NULL DEFAULT '';

-- Who is asked after whom: how often the time to sign was given anew, and when people were reminded within the present one.
ALTER TABLE approvals ADD COLUMN escalated int NOT NULL DEFAULT 0, ADD COLUMN reminded_at timestamptz;

-- The roles that the signer had when the vote counted.
ALTER TABLE approval_signatures ADD COLUMN roles text[] NOT NULL DEFAULT '{}';
