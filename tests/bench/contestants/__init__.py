"""One module per contestant: each reads a stream, awaits the trivial handler, emits its answer and acknowledges."""
