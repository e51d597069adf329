"""The HTTP API: alerts come in here, guarded, and nothing is answered with 200 that is not in the stream."""
