-- When people were last asked a question of a kind, and how often it would have been asked again since: a storm is told once.
CREATE TABLE questions (
    kind     text PRIMARY KEY,
    asked_at timestamptz NOT NULL,
    silent   bigint      NOT NULL
);

-- What this installation can never change while it has data, such as the number of partitions.
CREATE TABLE installation (
    name  text PRIMARY KEY,
    value text NOT NULL
);
