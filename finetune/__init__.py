"""Fine-tuning and evaluation over a curated run."""
