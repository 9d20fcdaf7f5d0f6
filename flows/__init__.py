"""Prefect flows: the outermost ring, and the only one that may import Prefect."""
