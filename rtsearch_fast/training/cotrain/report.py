"""The account of a co-training, as Markdown: what its stages measured on held-out problems."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evaluation.section import markdown_table

__all__ = ["last_measured", "read_account", "render_report"]

_Found = Mapping[str, Any]
_FORMS = ("bare label", "written check", "head")


def render_report(folder: Path) -> str:
    """Render the tables of a finished co-training.

    Parameters
    ----------
    folder : Path
        With ``cotrain.json`` and, if other reward models were compared, ``compare.json``.

    Raises
    ------
    DataError
        The folder holds none.
    """
    told = read_account(folder / "cotrain.json")
    rounds = list(_rounds(told["stages"]))
    last = rounds[-1]
    judges = {"active data": last}
    if (folder / "compare.json").exists():
        judges |= read_account(folder / "compare.json")["metrics"]
    parts = [
        _cost(told),
        f"**The policy**, before and after each preference optimisation\n\n{_policy(rounds)}",
        f"**The reward model, round by round, on the policy's samples**\n\n{_reward(rounds)}",
        f"**Judging steps**, by the bare label\n\n{_steps(rounds)}",
        f"**Wrong solutions made on purpose**: share called wrong, in %\n\n{_traps(last)}",
        f"**Reward models of the last round**\n\n{_judges(judges)}",
    ]
    return "\n\n".join(parts)


def _rounds(stages: _Found) -> Iterator[_Found]:
    number = 0
    while (name := f"round{number}-measure") in stages:
        yield stages[name]
        number += 1


def _cost(told: _Found) -> str:
    trained = [(name, m) for name, m in told["stages"].items() if "tokens_per_second" in m]
    speeds = ", ".join(
        f"{name} {m['seconds'] / 60:.1f} min at {m['tokens_per_second']:,.0f} tokens/s"
        for name, m in trained
    )
    return (
        f"{told['seconds'] / 60:.1f} minutes, {told['tokens']:,} tokens read or generated; of "
        f"these: {speeds}."
    )


def _policy(rounds: list[_Found]) -> str:
    lines = [["round", "problems", "greedy, %", "one sample, %", "any of several, %", "tokens"]]
    for number, found in enumerate(rounds):
        for family, m in found["policy"].items():
            some = next(name for name in m if name.startswith("any of"))
            lines.append(
                [
                    str(number),
                    family,
                    _percent(m["greedy"]),
                    _percent(m["sample"]),
                    f"{_percent(m[some])} ({some.removeprefix('any of ')})",
                    f"{m['tokens']:.0f}",
                ]
            )
    return markdown_table(lines, "rlrrrr")


def _reward(rounds: list[_Found]) -> str:
    lines = [["round", "problems", "form", "AUC, finished", "accuracy, %", "tokens a judgement"]]
    for number, found in enumerate(rounds):
        for form in _FORMS:
            for family, m in found.get(form, {}).items():
                row = [str(number), family, form, f"{m['auc']:.3f}", _percent(m["accuracy"])]
                lines.append([*row, f"{m['tokens']:.0f}"])
    return markdown_table(lines, "rllrrr")


def _steps(rounds: list[_Found]) -> str:
    outcome = "AUC: right in the end, after step 1, 2, ..."
    lines = [["round", "problems", "AUC: right so far", outcome, "first error found, %"]]
    for number, found in enumerate(rounds):
        for family, m in found.get("bare label", {}).items():
            by_step = " ".join(
                f"{value:.2f}" for value in m["auc outcome by step"] if value == value
            )
            step = f"{m['auc step']:.3f}" if "auc step" in m else ""
            first = _percent(m["first error"]) if "first error" in m else ""
            lines.append([str(number), family, step, by_step, first])
    return markdown_table(lines, "rlrlr")


def _traps(judge: _Found) -> str:
    columns = [
        (f"{family}, {form}", m)
        for form in _FORMS
        for family, m in judge.get(f"{form}, adversarial", {}).items()
    ]
    kinds = list(dict.fromkeys(kind for _, m in columns for kind in m))
    lines = [["kind", *(title for title, _ in columns)]]
    for kind in kinds:
        name = "right solutions, called right" if kind == "right solutions" else kind
        lines.append([name, *(_percent(m[kind]) if kind in m else "" for _, m in columns)])
    return markdown_table(lines, "l" + "r" * len(columns))


def _judges(judges: Mapping[str, _Found]) -> str:
    lines = [
        ["trained on", "form", "problems", "AUC, finished", "AUC, steps", "worst kind of trap, %"]
    ]
    for name, found in judges.items():
        for form in _FORMS:
            for family, m in found.get(form, {}).items():
                traps = found.get(f"{form}, adversarial", {}).get(family, {})
                wrong = {k: v for k, v in traps.items() if k != "right solutions"}
                worst = min(wrong, key=lambda k: wrong[k]) if wrong else None
                step = f"{m['auc step']:.3f}" if "auc step" in m else ""
                row = ["active data" if name == "discriminative" else name, form, family]
                hard = f"{_percent(wrong[worst])} ({worst})" if worst else ""
                lines.append([*row, f"{m['auc']:.3f}", step, hard])
    return markdown_table(lines, "lllrrr")


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def last_measured(folder: Path) -> _Found:
    """What the last round of a finished co-training measured."""
    return list(_rounds(read_account(folder / "cotrain.json")["stages"]))[-1]


def read_account(path: Path) -> dict[str, Any]:
    """Read what a stage or a whole co-training left of itself.

    Raises
    ------
    DataError
        There is none.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: no account of a co-training ({error}): give the folder that `rtsearch train "
            "cotrain` wrote to"
        ) from None
    return dict(found)
