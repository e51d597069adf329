-- The way back that people were told of when an action did not heal, as an action in JSON: one command puts it to the gate.
ALTER TABLE failures ADD COLUMN proposed text;
CREATE INDEX failures_operation ON failures (operation) WHERE proposed IS NOT NULL;
