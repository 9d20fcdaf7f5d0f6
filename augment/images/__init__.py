"""Pictures: read defensively, kept by content, marked as generated, measured and published."""
