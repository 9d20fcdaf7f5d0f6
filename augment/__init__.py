"""augment: a small dataset in, a larger and cleaner one that trains a better adapter out."""

__version__ = "0.1.0"
