-- Every request to the language model: the budget that several processes share, the answers that are used again, and what its critic
-- said. `tokens` is the most that the request can cost until its answer tells what it did; `answer` is kept only where it was valid.
CREATE TABLE model_calls (
    id text PRIMARY KEY,
    incident text NOT NULL,
    purpose text NOT NULL,
    evidence text NOT NULL,
    provider text NOT NULL,
    at timestamptz NOT NULL,
    tokens bigint NOT NULL CHECK (tokens >= 0),
    outcome text NOT NULL DEFAULT 'asked',
    seconds double precision,
    answer text
);
CREATE INDEX model_calls_at ON model_calls (at);
CREATE INDEX model_calls_incident ON model_calls (incident);
CREATE INDEX model_calls_answered ON model_calls (evidence, at) WHERE answer IS NOT NULL;
