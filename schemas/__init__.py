"""What flows: one frozen struct per event and per domain type. This package imports nothing else of ours."""
