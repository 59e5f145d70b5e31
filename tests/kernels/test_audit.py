"""What the audit must find, case by case: values, mutants, memory traffic, machine code."""

from __future__ import annotations

from typing import Any

import pytest

from rtsearch_fast.kernels.audit.cases import CASES, TRAFFIC_CASES
from rtsearch_fast.kernels.audit.matrix import KNOWN_BAD, TARGETS, builds
from rtsearch_fast.kernels.audit.mutants import MUTANTS, PLANTED

pytest.importorskip("torch")


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_kernel_when_interpreted_agrees_with_float64(audit: Any, name: str) -> None:
    row = audit.row("values", case=name)
    assert row["passed"], row["detail"]


@pytest.mark.parametrize("name", [mutant.name for mutant in MUTANTS])
def test_mutant_when_the_cases_run_is_killed(audit: Any, name: str) -> None:
    assert audit.row("mutants", mutant=name)["killed_by"]


@pytest.mark.parametrize("name", [case.name for case in TRAFFIC_CASES])
def test_kernel_when_traced_moves_what_the_formulas_say(audit: Any, name: str) -> None:
    assert audit.row("traffic", case=name)["complaints"] == []


@pytest.mark.parametrize(
    ("name", "expected"), [(mutant.name, expected) for mutant, _, expected in PLANTED]
)
def test_fault_when_planted_is_reported_by_the_tracer(audit: Any, name: str, expected: str) -> None:
    assert expected in audit.row("traffic", planted=name)["reported"]


@pytest.mark.parametrize(
    ("target", "name"), [(target, build.name) for target in TARGETS for build in builds(target)]
)
def test_build_when_compiled_ahead_of_time_is_good(audit: Any, target: str, name: str) -> None:
    assert audit.row("code", target=target, build=name)["faults"] == []


@pytest.mark.parametrize(
    ("target", "name", "fault"), [(target, build.name, fault) for target, build, fault in KNOWN_BAD]
)
def test_build_when_known_to_be_bad_is_reported(
    audit: Any, target: str, name: str, fault: str
) -> None:
    faults = audit.row("code", target=target, build=name)["faults"]
    assert any(text.startswith(fault) for text in faults)


def test_roofline_when_printed_says_where_each_number_comes_from(audit: Any) -> None:
    rows = audit.results["roofline"]
    assert {row["source"] for row in rows} == {"floor", "measured on CPU"}
    for row in rows:
        assert row["microseconds"] > 0
        assert (row["share"] is None) == (row["source"] == "measured on CPU")
    heads = [row["share"] for row in rows if row["what"] == "step_reward"]
    assert len(heads) == 3 and all(share < 0.01 for share in heads)


def test_command_when_all_is_well_ends_with_zero_and_says_so(audit: Any) -> None:
    assert audit.exit_code == 0, audit.printed
    assert audit.printed.endswith("All is as it must be.\n")
    for part in ("registers", "killed by", "Known bad", "reported: ", "floor", "measured on CPU"):
        assert part in audit.printed
