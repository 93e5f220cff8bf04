"""Measurements: each module makes one JSON file under `results/`. `python -m benchmarks NAME --help`."""
