"""`rtsearch study` over a toy server: recipes, workers, reports, and messages of their faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cyclopts")
pytest.importorskip("yaml")

from rtsearch_fast.cli.study_recipe import StudyRecipe
from rtsearch_fast.errors import DataError
from rtsearch_fast.runs.study.grid import Cell, Study

RECIPES = Path(__file__).parents[3] / "recipes"

RECIPE = """\
study: {{name: toy, seeds: [0, 1], output: {folder}/out, chunk: 2}}
settings:
  base-url: {url}
  template: {folder}/policy.txt
  reward-template: {folder}/reward.txt
  retries: 0
  max-solution-tokens: 60
  narrow: true
families:
  sums: {{data: {folder}/problems.jsonl}}
methods:
  best_of_n: {{temperature: 0.7}}
  mcts_g@200: {{width: 2}}
variants:
  no_calculator: {{calculator: false}}
comparisons:
  methods:
    methods: [cot, best_of_n, mcts_g]
    budgets: [200, 100]
    differences: [mcts_g - best_of_n]
  calculator: {{methods: [mcts_g], budgets: [200], variants: [base, no_calculator]}}
"""


@pytest.fixture
def recipe(tmp_path: Path, start_server, toy_flags, problems) -> Path:
    server = start_server()
    toy_flags(server)  # writes the templates
    path = tmp_path / "study.yaml"
    path.write_text(RECIPE.format(folder=tmp_path, url=server.base_url))
    return path


def journals(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.jsonl"))}


def test_study_when_run_in_parts_and_by_workers_is_the_same(rtsearch, recipe, tmp_path):
    outcome = rtsearch("study", "run", "--recipe", recipe)
    assert outcome.code == 0, outcome.err
    assert "sums, seed 1: 4 of 4 problems" in outcome.err
    assert f"14 cells in {tmp_path}/out: rtsearch study report {tmp_path}/out" in outcome.out
    whole = journals(tmp_path / "out")
    assert len(whole) == 14 and all(data.count(b"\n") == 4 for data in whole.values())
    other = tmp_path / "other"
    parts = [("--limit", "3"), ("--seeds", "1"), ("--families", "sums", "--workers", "2")]
    for flags in parts:
        assert rtsearch("study", "run", "--recipe", recipe, "-o", other, *flags).code == 0
    assert journals(other) == whole


def test_report_when_put_into_a_page_draws_its_plots(rtsearch, recipe, tmp_path):
    pytest.importorskip("matplotlib")
    assert rtsearch("study", "run", "--recipe", recipe).code == 0
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    page.write_text("<!-- study:toy -->\n<!-- /study:toy -->\n")
    outcome = rtsearch("study", "report", tmp_path / "out", "--into", page)
    assert outcome.out == f"{page}: rewritten; plots in {page.parent}/media\n"
    assert "(media/study-toy-methods-sums.png)" in page.read_text()
    assert (page.parent / "media" / "study-toy-methods-sums.png").is_file()
    outcome = rtsearch("study", "report", "--recipe", recipe, "--into", page)
    assert "is up to date" in outcome.out
    outcome = rtsearch("study", "report", "--recipe", recipe, "--comparisons", "methods")
    assert "### methods: sums" in outcome.out and "no-calculator" not in outcome.out
    outcome = rtsearch("study", "report", "--recipe", recipe, "--families", "sum")
    assert "--families sum: name some of sums" in outcome.error
    outcome = rtsearch("study", "report", "--recipe", recipe, "--families", "sums")
    assert "| mcts_g, no-calculator - mcts_g, base |" in outcome.out
    assert (tmp_path / "out" / "plots" / "study-toy-methods-sums.png").is_file()


def test_settings_when_layered_go_from_general_to_special(recipe):
    plan = StudyRecipe.load(recipe)
    mcts, best = plan.settings(Cell("sums", "base", "mcts_g", 200, 0)), None
    assert (mcts.options.width, mcts.options.calculator, mcts.options.narrow) == (2, True, True)
    assert plan.settings(Cell("sums", "base", "mcts_g", 100, 0)).options.width == 4
    best = plan.settings(Cell("sums", "base", "best_of_n", 100, 0))
    assert best.options.temperature == 0.7 and best.models.retries == 0
    assert not plan.settings(Cell("sums", "no-calculator", "mcts_g", 200, 0)).options.calculator
    assert plan.study.comparisons[0].budgets == (100, 200)
    assert plan.study.comparisons[0].differences == (("mcts_g", "best_of_n"),)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("study: {name", "studdy: {name", "line 1: unknown key 'studdy': did you mean 'study'?"),
        ("chunk: 2", "chunks: 2", "line 1: unknown key 'chunks': did you mean 'chunk'?"),
        ("chunk: 2", "chunk: 0", "line 1: chunk is 0: give a whole number from 1"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "line 1: seeds is 0, 0: give different whole numbers"),
        ("name: toy", "name: ../toy", "line 1: name is '../toy'"),
        ("name: toy, ", "", "`study:` has no name"),
        ("  narrow:", "  narow:", "line 8: unknown key 'narow': did you mean 'narrow'?"),
        ("narrow: true", "seed: 3", "line 8: unknown key 'seed': seeds and budgets are those of"),
        ("narrow: true", "budget-tokens: 3", "line 8: unknown key 'budget-tokens': seeds and"),
        ("width: 2", "width: two", "line 13"),
        ("width: 2", "width: 0", "line 13: width=0: must be at least 1"),
        ("mcts_g@200:", "mcts_g@300:", "line 13: no comparison has 'mcts_g@300'"),
        ("sums: {data", "sums: {date", "line 10: 'sums' is no family (countdown, chain)"),
        ("[cot, best_of_n, mcts_g]", "[cot, mctsg]", "methods: no 'mctsg': choose of cot"),
        ("budgets: [200, 100]", "budgets: [200, -1]", "budgets is 200, -1: give different whole"),
        ("    budgets: [200, 100]\n", "", "line 18: comparison methods has no budgets"),
        ("mcts_g - best_of_n", "mcts - best_of_n", "'mcts - best_of_n' is no difference"),
        ("[base, no_calculator]", "[base, none]", "variants: no 'none': choose of base, no-calc"),
        ("no_calculator: {", "base: {", "base is the variant without settings"),
        ("sums: {data", "../sums: {data", "'../sums' becomes the name of a file"),
    ],
)
def test_recipe_when_wrong_says_where_and_what(recipe: Path, old: str, new: str, text: str):
    content = recipe.read_text()
    assert old in content
    recipe.write_text(content.replace(old, new))
    with pytest.raises(DataError) as error:
        StudyRecipe.load(recipe)
    assert text in str(error.value) and str(recipe) in str(error.value)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--families", "chain"), "--families chain: name some of sums"),
        (("--seeds", "2"), "--seeds 2: name some of 0, 1"),
        (("--comparisons", "speed"), "--comparisons speed: name some of methods, "),
        (("--workers", "0"), "--workers 0: give at least 1"),
        (("--limit", "0"), "--limit 0: give at least 1"),
    ],
)
def test_run_when_flags_make_no_sense_says_so(rtsearch, recipe, flags, text):
    assert text in rtsearch("study", "run", "--recipe", recipe, *flags).error


def test_workers_when_a_shard_fails_say_how_to_go_on(rtsearch, recipe, tmp_path):
    (tmp_path / "reward.txt").unlink()
    outcome = rtsearch("study", "run", "--recipe", recipe, "--workers", "2")
    assert "some shards failed, as told above" in outcome.err and outcome.code == 1


def test_report_without_a_folder_says_so(rtsearch, tmp_path):
    assert "give the folder of a study, or its --recipe" in rtsearch("study", "report").error
    assert "no description of a study" in rtsearch("study", "report", tmp_path).error


def test_doctor_when_given_a_study_checks_it(rtsearch, recipe):
    shipped = RECIPES / "puzzles" / "study.yaml"
    outcome = rtsearch("doctor", "--recipe", shipped)
    assert outcome.code == 0 and "5 comparisons of countdown, chain" in outcome.out
    recipe.write_text(recipe.read_text().replace("chunk", "chunks"))
    outcome = rtsearch("doctor", "--recipe", recipe)
    assert outcome.code == 1 and "line 1: unknown key 'chunks'" in outcome.out


def test_weights_when_a_model_is_trained_anew_are_others(tmp_path: Path):
    from rtsearch_fast.cli.study_models import _weights

    found = set()
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(content)
        (folder / "training.log").write_text(name)
        found.add(_weights(str(folder)))
    assert len(found) == 2 and "" not in found
    assert _weights(None) == _weights("served-name") == ""


def test_shipped_recipe_is_valid():
    plan = StudyRecipe.load(RECIPES / "puzzles" / "study.yaml")
    assert plan.study.problems == ("countdown", "chain") and plan.count >= 500
    assert len(plan.study.seeds) >= 3 and len(plan.study.comparisons[0].budgets) == 4


def test_generated_families_are_graded_by_their_checks(
    rtsearch: Callable[..., object], recipe: Path, tmp_path: Path
):
    content = recipe.read_text().replace("  sums: {data: ", "  countdown: {}\n  sums: {data: ")
    recipe.write_text(content)
    plan = StudyRecipe.load(recipe)
    from rtsearch_fast.cli.study import _problems

    items = _problems(plan, "countdown")
    assert len(items) == 500 and {item.check for item in items} == {"countdown"}
    assert items[:5] == _problems(plan, "countdown")[:5]
    plan.study.save(tmp_path)
    assert Study.load(tmp_path) == plan.study
    assert json.loads((tmp_path / "study.json").read_text())["problems"] == ["countdown", "sums"]
