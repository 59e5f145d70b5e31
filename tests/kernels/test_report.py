"""The audit's verdict: each thing that is wrong, or missing, is a failure."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from rtsearch_fast.kernels.audit.cases import CASES, TRAFFIC_CASES
from rtsearch_fast.kernels.audit.matrix import KNOWN_BAD, TARGETS, builds
from rtsearch_fast.kernels.audit.mutants import MUTANTS, PLANTED
from rtsearch_fast.kernels.audit.report import failures
from rtsearch_fast.kernels.audit.workers import Results

GOOD: Results = {
    "errors": [],
    "values": [{"case": case.name, "passed": True, "detail": ""} for case in CASES],
    "mutants": [{"mutant": mutant.name, "killed_by": "a case"} for mutant in MUTANTS],
    "traffic": [
        *({"case": case.name, "complaints": []} for case in TRAFFIC_CASES),
        *({"planted": mutant.name, "reported": "a text"} for mutant, _, _ in PLANTED),
    ],
    "code": [
        *(
            {"target": target, "build": build.name, "faults": []}
            for target in TARGETS
            for build in builds(target)
        ),
        *(
            {"target": target, "build": build.name, "faults": [f"{known}: 9"]}
            for target, build, known in KNOWN_BAD
        ),
    ],
    "roofline": [{"what": "step_reward"}],
}


def test_failures_when_all_is_well_are_none() -> None:
    assert failures(GOOD) == []


BROKEN: dict[str, Callable[[Results], object]] = {
    "did not run": lambda results: results["values"].pop(),
    "off by": lambda results: results["values"][3].update(passed=False, detail="off by 1"),
    "survived": lambda results: results["mutants"][0].update(killed_by=None),
    "mutant": lambda results: results["mutants"].pop(),
    "is read 2 times": lambda results: results["traffic"][0].update(complaints=["is read 2 times"]),
    "traffic, step_reward: did not run": lambda results: results["traffic"].pop(0),
    "not reported": lambda results: results["traffic"][-1].update(reported=None),
    "spills: 8": lambda results: results["code"][0].update(faults=["spills: 8"]),
    "was not compiled": lambda results: results["code"].pop(0),
    "were not reported": lambda results: results["code"][-1].update(faults=[]),
    "ended with an error": lambda results: results["errors"].append({"program": "x", "text": "y"}),
    "roofline": lambda results: results["roofline"].clear(),
}


@pytest.mark.parametrize("text", BROKEN)
def test_failures_when_one_thing_is_wrong_name_it(text: str) -> None:
    results = deepcopy(GOOD)
    BROKEN[text](results)
    (failure,) = failures(results)
    assert text in failure
