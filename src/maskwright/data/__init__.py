"""Data: reading images and masks, the index, the probability store, sampling, the synthetic playground."""
