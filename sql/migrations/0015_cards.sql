-- Where the card of an incident is at each channel, so that an edit finds it after a restart. `message` is the channel's own id of it,
-- empty until it was posted; `shown` a hash of what it shows. Whoever writes it holds it until `held_until`, as its `turn`.
CREATE TABLE cards (
    incident   text        NOT NULL,
    channel    text        NOT NULL,
    message    text        NOT NULL DEFAULT '',
    shown      text        NOT NULL DEFAULT '',
    turn       bigint      NOT NULL DEFAULT 1,
    held_until timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (incident, channel)
);
CREATE INDEX cards_changed ON cards (changed_at);

-- The newest news of each kind about an incident that no other table has in full: how an execution ended, what its verification said
-- (`about` is the approval), and what people were asked. `body` is the event in JSON.
CREATE TABLE card_news (
    incident text        NOT NULL,
    kind     text        NOT NULL,
    about    text        NOT NULL,
    event    text        NOT NULL,
    at       timestamptz NOT NULL,
    body     text        NOT NULL,
    PRIMARY KEY (incident, kind, about)
);
CREATE INDEX card_news_at ON card_news (at);

-- Presses of buttons that were taken: the same one is never taken twice.
CREATE TABLE presses (
    nonce text        PRIMARY KEY,
    at    timestamptz NOT NULL
);
CREATE INDEX presses_at ON presses (at);
