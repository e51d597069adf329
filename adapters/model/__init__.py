"""A language model behind any OpenAI-compatible chat completions endpoint. It is asked for words, and has no authority over anything."""
