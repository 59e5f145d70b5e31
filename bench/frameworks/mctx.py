"""A random tabular environment searched by mctx and by ours: the same result, and ratios of time.

Prints, for both policies and 1 and 64 trees, milliseconds a call of the policy with mctx (compiled,
its compilation apart) and with ours (NumPy), medians taken in turn, and the largest difference of
action weights, values and Q.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtsearch_fast.adapters import mctx as ours

ACTIONS, STATES, SIMULATIONS, DISCOUNT = 4, 300, 64, 0.97


class Environment(NamedTuple):
    """Tables [STATES, ACTIONS] of a small world, and what a poor model thinks of it."""

    next_state: Any
    reward: Any
    prior_logits: Any
    value: Any  # [STATES]


def environment() -> Environment:
    rng = np.random.default_rng(3)
    shape = (STATES, ACTIONS)
    return Environment(
        rng.integers(STATES, size=shape, dtype=np.int32),
        rng.normal(size=shape).astype(np.float32),
        rng.normal(size=shape).astype(np.float32),
        rng.normal(size=STATES).astype(np.float32),
    )


def policy(mctx: Any, name: str, batch: int, world: Any, rng_key: Any) -> Any:
    """The same text for the original and the twin; noise off, so that results can be compared."""

    def recurrent_fn(world: Any, rng_key: Any, action: Any, state: Any) -> Any:
        reached = world.next_state[state, action]
        step = mctx.RecurrentFnOutput(
            reward=world.reward[state, action],
            discount=world.value[:batch] * 0 + DISCOUNT,
            prior_logits=world.prior_logits[reached],
            value=world.value[reached],
        )
        return step, reached

    state = world.next_state[:batch, 0]
    root = mctx.RootFnOutput(
        prior_logits=world.prior_logits[state], value=world.value[state], embedding=state
    )
    if name == "muzero_policy":
        return mctx.muzero_policy(
            world, rng_key, root, recurrent_fn, SIMULATIONS, dirichlet_fraction=0.0, temperature=0.0
        )
    return mctx.gumbel_muzero_policy(
        world, rng_key, root, recurrent_fn, SIMULATIONS, gumbel_scale=0.0
    )


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    sys.path.remove(str(Path(__file__).parent))  # where this file has the name of that package
    import jax
    import mctx

    world = environment()
    on_device = Environment(*map(jax.numpy.asarray, world))
    key = jax.random.PRNGKey(0)
    print(f"ms a policy of {SIMULATIONS} simulations, {ACTIONS} actions")
    print("                               mctx    ours  ratio  compiled in  largest difference")
    for name in ("muzero_policy", "gumbel_muzero_policy"):
        for batch in (1, 64):
            compiled = jax.jit(functools.partial(policy, mctx, name, batch))

            def theirs(compiled: Any = compiled) -> Any:
                return jax.block_until_ready(compiled(on_device, key))

            twin = functools.partial(policy, ours, name, batch, world, 0)
            compilation = seconds_of(theirs)
            their_seconds, our_seconds = [], []
            for _ in range(15):
                their_seconds.append(seconds_of(theirs))
                our_seconds.append(seconds_of(twin))
            their, our = theirs(), twin()
            pairs = [(their.action_weights, our.action_weights)]
            for field in ("value", "qvalues"):
                pairs.append([getattr(o.search_tree.summary(), field) for o in (their, our)])
            difference = max(float(np.abs(np.asarray(a) - b).max()) for a, b in pairs)
            their_ms, our_ms = (
                statistics.median(seconds) * 1e3 for seconds in (their_seconds, our_seconds)
            )
            print(
                f"{name:20} {batch:2} trees {their_ms:8.2f} {our_ms:7.2f} {their_ms / our_ms:6.2f}"
                f"  {compilation:9.1f} s  {difference:.1e}"
            )


if __name__ == "__main__":
    main()
