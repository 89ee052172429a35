"""Benchmarks of the product's parts. Each one runs by itself."""
