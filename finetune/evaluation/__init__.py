"""Evaluation: an exam's questions answered by models, scored beside a floor, compared, judged."""
