"""Sifting what exists already: a finished run by other thresholds, or anybody's file; nothing is generated."""
