"""The whole loop in one command, on the starter model: ask, fine-tune, collect verdicts, learn from them, compare.

Every part is the one the other verbs use. Leaves out choices: for those there is `tutelage train`.
"""

from tutelage.demo.story import run_demo

__all__ = ["run_demo"]
