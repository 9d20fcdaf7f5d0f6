"""The loop: from seeds to adapters that are measured, round after round, each stage skipped when it is there."""
