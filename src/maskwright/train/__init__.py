"""Training: Lightning owns the loop, a step owns the meaning."""
