"""failure_watch: what went wrong gets its class by rule, and people get a question that they can act on."""
