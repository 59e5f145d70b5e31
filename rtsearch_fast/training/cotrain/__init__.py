"""Co-training of policy and reward model (STILL-1, sections on training), stage by stage.

`loop` is the order of the stages, the others are one stage each.
"""

from .loop import Pair, cotrain
from .settings import CotrainSettings

__all__ = ["CotrainSettings", "Pair", "cotrain"]
