"""What the driver makes of an engine, in virtual time: no clock of this machine is in it."""

from __future__ import annotations

from engine_model import GPU_LIKE
from engine_throughput import Simulated, compare, parse

from rtsearch_fast.engine.simulator.virtual_time import run


def test_search_when_steps_are_uneven_keeps_an_engine_as_busy_as_plain_sampling() -> None:
    arguments = ["--simulate", "gpu", "--sequences", "512", "--seconds", "120", "--warm-up", "40"]
    args = parse([*arguments, "--rounds", "1", "--modes", "best_of_n;barrier;mcts_g"])
    found = run(compare(args, Simulated(GPU_LIKE)))
    speed = {name: rounds[0].tokens_per_second for name, rounds in found.items()}
    assert speed["mcts_g"] >= 0.95 * speed["best_of_n"]
    assert speed["mcts_g"] >= 1.5 * speed["barrier"]
    assert found["mcts_g"][0].running > 500
