"""propose: looks at what an incident is about and puts one action forward, with its reasons."""
