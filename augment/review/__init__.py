"""A person's verdict on sampled rows: asked for on a local page, kept on disk, counted, heeded by later versions."""
