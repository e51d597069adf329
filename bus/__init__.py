"""How events flow: streams, consumer groups, the stage loop, retry, delay, dead letters and the archive.

This is the only package that knows Redis.
"""
