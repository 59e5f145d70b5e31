"""Bad settings are refused when they are made, by field and value."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from rtsearch_fast import Budget, SearchOptions
from rtsearch_fast.errors import InvalidArgumentError, SearchError

BAD_OPTIONS = [
    *[
        (name, value)
        for name in (
            "width",
            "max_depth",
            "max_step_tokens",
            "max_solution_tokens",
            "in_flight",
            "beam_width",
        )
        for value in (0, -1, math.nan)
    ],
    ("rollouts", -1),
    ("rollouts", 0),  # unless value="prefix"
    ("pre_expand", -1),
    ("seed", -1),
    ("seed", 2**63),
    *[(name, v) for name in ("mix", "self_consistency") for v in (-0.1, 1.1, 2, math.nan)],
    *[(name, v) for name in ("exploration", "temperature") for v in (-1, math.nan, math.inf)],
    *[("top_p", value) for value in (0, -0.5, 1.5, 2, math.nan)],
    *[("confidence", value) for value in (0, -1, 1.5, math.nan)],
    *[("value", value) for value in ("best", "", None)],
    *[("vote", value) for value in ("loudest", "", "Path")],
]


@pytest.mark.parametrize(("name", "value"), BAD_OPTIONS)
def test_options_when_one_is_bad_name_field_and_value(name, value):
    with pytest.raises(InvalidArgumentError) as caught:
        SearchOptions(**{name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: ")
    assert "must" in str(caught.value) or "choose" in str(caught.value)
    assert isinstance(caught.value, SearchError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["tokens", "simulations", "nodes", "seconds"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_budget_when_a_limit_is_bad_names_field_and_value(name, value):
    with pytest.raises(InvalidArgumentError, match=f"{name}={value}.*positive"):
        Budget(**{name: value})


def test_budget_when_it_has_no_limit_names_the_limits():
    with pytest.raises(InvalidArgumentError, match="tokens, simulations, nodes or seconds"):
        Budget()


GOOD_OPTIONS = [
    {},
    {"rollouts": 0, "value": "prefix"},
    {"temperature": 0, "exploration": 0},
    {"mix": 0, "self_consistency": 1},
    {"top_p": 1e-9, "confidence": 1},
    {"vote": "path", "seed": 2**63 - 1},
]


@pytest.mark.parametrize("options", GOOD_OPTIONS)
def test_options_when_at_the_ends_of_their_ranges_are_taken(options):
    made = SearchOptions(**options)
    assert {name: getattr(made, name) for name in options} == options


def test_options_when_made_cannot_be_changed():
    for made in (SearchOptions(), Budget(tokens=1)):
        for field in fields(made):
            with pytest.raises(AttributeError):
                setattr(made, field.name, 1)
