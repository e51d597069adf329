"""The demo: three stories on a real pipeline and a simulated cluster, told as they happen."""
