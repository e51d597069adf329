-- Which event a stage told of an end or a decision: one that says the same and has another id is a copy, by whomever.
CREATE TABLE told_events (
    type  text NOT NULL,
    about text NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (type, about)
);
