"""Subject-driven training: a diffusion model learns one thing from a few pictures, and a word that stands for it."""
