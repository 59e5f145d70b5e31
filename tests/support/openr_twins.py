"""Our twins of OpenR's searches against OpenR's own source: ``python openr_twins.py FOLDER``.

Prints how many problems of each kind were the same; exit status 1 if one differed.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

from openr_restated import HashedModels, openr

from rtsearch_fast.adapters.openr import solve_all


def differing(peer: Any, method: str, config: Any, count: int, **settings: Any) -> int:
    """Problems whose solutions or tokens are not those of the original."""
    # few texts are cut off: the tokens of attempts that were thrown away are not counted there
    models = HashedModels(peer, cut=0.02, **settings)
    gen = peer.LMCallingConfig(temperature=0.7, max_new_tokens=300)
    problems = [{"question": f"What is {i} + {i}?", "answer": "0"} for i in range(count)]
    ours = solve_all(method, config, gen, problems, models.lm_call(), models.rm_call)
    different = 0
    for problem, found in zip(problems, ours, strict=True):
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = getattr(peer, method)(config, gen, problem, models.lm_call(), models.rm_call)
        # the fields of theirs: its best_of_n has no tokens of a tree
        different += any(getattr(found, name) != value for name, value in vars(theirs).items())
    return different


def main() -> int:
    peer = openr(sys.argv[1])
    total = compared = 0

    def compare(method: str, config: Any, count: int, **settings: Any) -> None:
        nonlocal total, compared
        total += differing(peer, method, config, count, **settings)
        compared += count

    for width, depth in ((2, 3), (3, 6), (5, 4)):
        for c in (0.0, 0.3, 1.25, 5.0):
            config = peer.VanilaMCTSConfig(
                "MATH", tree_max_width=width, tree_max_depth=depth, num_path=20, pb_c_init=c
            )
            compare("vanila_mcts", config, 25)
        for size in (1, 3, 8):
            config = peer.BeamSearchConfig(
                "MATH", tree_max_width=width, tree_max_depth=depth, beam_size=size
            )
            compare("beam_search", config, 25)
            compare("beam_search", config, 25, grain=4)
    compare("best_of_n", peer.BestOfNConfig("MATH", 8), 5)
    print(f"OpenR's own source: {compared} searches compared, {total} differ")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
