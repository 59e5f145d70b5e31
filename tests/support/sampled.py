"""Samples of made-up questions, for tests of what is done with training data."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from rtsearch_fast.training.samples import Sampled

WORDS = ("add", "the", "sum", "of", "two", "so", "we", "get", "and", "then", "three", "is", "four")


def sample(
    text: str = "It is \\boxed{2}.", right: bool = True, question: str = "q", **fields: Any
) -> Sampled:
    return Sampled(question, f"What is {question}?", (text,), "2", right, **fields)


def made_up(seed: int, questions: int = 30, each: int = 12, longer: float = 0.0) -> list[Sampled]:
    """Samples of different lengths; wrong ones are `longer` times longer on average."""
    rng = random.Random(seed)
    samples = []
    for question in range(questions):
        base = rng.randint(30, 120)
        for number in range(each):
            right = rng.random() < 0.5
            size = int(base * rng.uniform(0.6, 1.5) * (1 if right else 1 + longer))
            text = " ".join(rng.choices(WORDS, k=size)) + f" \\boxed{{{number}}}"
            score = rng.random()
            samples.append(
                Sampled(f"q{question}", f"Q {question}", (text,), "2", right, score, size)
            )
    return samples


#: Small sets with few questions and texts, so that ties and duplicates are common.
samples_of_few = st.lists(
    st.builds(
        Sampled,
        st.sampled_from(["a", "b", "c"]),
        st.just("What?"),
        st.lists(st.sampled_from(WORDS[:4]), max_size=12).map(lambda found: (" ".join(found),)),
        st.just("2"),
        st.booleans(),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.integers(1, 9),
    ),
    max_size=40,
)
