"""execute: the only stage that changes the world; once for each approval, never on the word of an event."""
