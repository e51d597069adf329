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
