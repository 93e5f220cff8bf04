"""Learning from images without labels while a training runs."""
