"""Benchmarks of the product's parts. Each one runs by itself, so the threads are set before its module loads torch."""

from accel.kernels.openmp import wait_passively

wait_passively()
