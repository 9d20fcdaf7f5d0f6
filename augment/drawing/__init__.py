"""Diffusion models in this process: found, loaded once for every kind, called in batches that change no pixel."""
