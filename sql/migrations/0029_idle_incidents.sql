-- Open incidents in which nothing happens, as they were last found: since when, whether people were told of each, and when they were
-- last told of all of them together.
CREATE TABLE idle_incidents (
    incident   text        PRIMARY KEY,
    since      timestamptz NOT NULL,
    at         timestamptz NOT NULL,
    told       boolean     NOT NULL DEFAULT false,
    grouped_at timestamptz
);
