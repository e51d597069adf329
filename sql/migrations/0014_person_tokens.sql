-- Tokens that let people into the API. Of a token only its id, which is no secret, and a salted hash are kept: whoever reads this table
-- cannot come in with it. A revoked one stays, for the audit trail names it.
CREATE TABLE person_tokens (
    id         text PRIMARY KEY,
    person     text        NOT NULL,
    roles      text[]      NOT NULL,
    salt       bytea       NOT NULL,
    hash       bytea       NOT NULL,
    made_at    timestamptz NOT NULL,
    made_by    text        NOT NULL,
    revoked_at timestamptz,
    revoked_by text        NOT NULL DEFAULT ''
);
