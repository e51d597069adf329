"""One module per section of the benchmark; each has `async def measure() -> Section`."""
