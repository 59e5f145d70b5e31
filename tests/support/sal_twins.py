"""Our twins of search-and-learn's approaches against its own: ``python sal_twins.py FOLDER``.

FOLDER has its ``src``. Prints how many problems were the same; exit status 1 if one differed.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from sal_restated import LLM, PRM, SamplingParams

from rtsearch_fast.adapters.search_and_learn import APPROACHES, load_recipe


def original(folder: str) -> Any:
    """``sal.search``, with vLLM's place taken by the double: no weights are at hand here."""
    vllm = ModuleType("vllm")
    vllm.LLM, vllm.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    sys.modules["vllm"] = vllm
    os.environ["TQDM_DISABLE"] = "1"
    sys.path.insert(0, str(Path(folder) / "src"))
    importlib.import_module("sal.config")
    return importlib.import_module("sal.search")


def main() -> int:
    search = original(sys.argv[1])
    recipes = sorted((Path(sys.argv[1]) / "recipes").glob("*/*.yaml"))
    problems = [f"What is {i} + {i}?" for i in range(20)]
    compared = total = 0
    for recipe in recipes:
        config = load_recipe(recipe)
        if config.approach == "dvts":
            continue
        for changes in ({}, {"n": 8, "beam_width": 2, "agg_strategy": "min", "num_iterations": 4}):
            config = load_recipe(recipe, **changes)
            approach = APPROACHES[f"rtsearch_{config.approach}"]
            ours = approach({"problem": problems}, config, LLM(), PRM())
            for i, problem in enumerate(problems):
                x = {"problem": [problem]}
                theirs = getattr(search, config.approach)(x, config, LLM(), PRM())
                total += any(
                    ours[name][i] != theirs[name][0] for name in ("completions", "scores", "pred")
                )
                compared += 1
    print(f"search-and-learn's own source: {compared} searches compared, {total} differ")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
