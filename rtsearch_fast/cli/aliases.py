"""Names that people know from other programs of the field."""

from __future__ import annotations

__all__ = ["ALIASES", "translate"]

#: Their name -> ours, on the command line and in recipes.
ALIASES = {
    "--c-puct": "--exploration",
    "--max-tokens": "--max-solution-tokens",
    "--model-path": "--model",
    "--n": "--budget-simulations",
    "--num-iterations": "--budget-simulations",
    "--prm": "--reward-model",
}


def translate(name: str) -> str:
    """Our name of an option; any other text stays as it is."""
    return ALIASES.get(name.replace("_", "-"), name)
