"""The exams as tasks of lm-evaluation-harness.

`lm_eval --include_path "$(augment evaluate harness)" --tasks chbench --apply_chat_template --model hf --model_args …`
"""

from __future__ import annotations

from pathlib import Path

PATH = Path(__file__).parent
"""What `--include_path` wants."""
