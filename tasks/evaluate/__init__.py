"""How good the models are, on pages none of them has seen: text prediction, answers, preferences.

`stage.py` is the stage; the measures are pure functions in `rouge.py`, `form.py`, `statistics.py`, `prediction.py`,
`answers.py` and `preferences.py`.
"""

from tasks.evaluate.stage import EvaluateParams, evaluate

__all__ = ["EvaluateParams", "evaluate"]
