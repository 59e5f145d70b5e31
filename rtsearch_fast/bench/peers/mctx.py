"""DeepMind's mctx (JAX), its MuZero policy, compiled beforehand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any


def prepare(children: int, simulations: int, trees: int) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp
    import mctx

    def recurrent(_: Any, key: Any, action: Any, embedding: Any) -> Any:
        state = (embedding * 1_664_525 + action + 1_013_904_223) & 0x7FFFFFFF
        value = (state & 0xFFFF).astype(jnp.float32) / 65536
        output = mctx.RecurrentFnOutput(
            reward=jnp.zeros(trees),
            discount=jnp.ones(trees),
            prior_logits=jnp.zeros((trees, children)),
            value=value,
        )
        return output, state

    root = mctx.RootFnOutput(
        prior_logits=jnp.zeros((trees, children)),
        value=jnp.full(trees, 0.5),
        embedding=jnp.zeros(trees, jnp.int32),
    )
    policy = jax.jit(
        partial(
            mctx.muzero_policy,
            recurrent_fn=recurrent,
            num_simulations=simulations,
            dirichlet_fraction=0.0,
        )
    )

    def search() -> None:
        policy(params=(), rng_key=jax.random.PRNGKey(0), root=root).action.block_until_ready()

    search()
    return search
