"""Recipes: the same options as on the command line, from a file that is looked at closely."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rtsearch_fast.errors import DataError

recipe = pytest.importorskip("rtsearch_fast.cli.recipe")
pytest.importorskip("yaml")

#: Those of searches; trainings and studies have recipes of their own.
SHIPPED = [
    path
    for path in sorted(Path(__file__).parents[3].glob("recipes/*/*.yaml"))
    if "\neval:" in path.read_text()
]
DRY = "6 problems, 1 methods, Budget(tokens={tokens}, simulations=None, nodes=None, seconds=None)\n"


@pytest.fixture
def write(tmp_path):
    """Write a recipe; returns its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("RTSEARCH_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def parsed(monkeypatch):
    """What `rtsearch eval` and `solve` would be called with."""
    app = pytest.importorskip("rtsearch_fast.cli.app").app
    monkeypatch.setattr(app, "config", app.config)

    def parse(*arguments: object):
        app.config = recipe.RecipeDefaults()
        _, bound, _ = app.parse_args(
            [str(argument) for argument in arguments], exit_on_error=False, print_error=False
        )
        bound.apply_defaults()
        bound.arguments.pop("recipe")
        return bound.arguments

    return parse


# --- shipped -----------------------------------------------------------------------------


def test_recipes_when_shipped_are_at_least_four():
    assert len(SHIPPED) >= 4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_doctor_when_given_a_shipped_recipe_finds_no_fault(rtsearch, path):
    outcome = rtsearch("doctor", "--recipe", path)
    assert (outcome.code, outcome.err) == (0, ""), outcome.out
    serves = "\nengines:" in path.read_text()
    of_engines = ("engine", "address", "sequences", "context") if serves else ()
    for name in ("recipe", "eval", "data", "models", *of_engines):
        assert f"\n  ok  {name} " in f"\n{outcome.out}", name


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recipe_when_shipped_says_what_it_needs_and_how_to_run_it(path):
    head = re.split(r"\n(?:engines|eval):", path.read_text())[0]
    assert all(line.startswith("#") or not line for line in head.splitlines())
    for words in ("Hardware: ", "pip install ", "rtsearch eval --recipe "):
        assert words in head
    assert ("rtsearch engine start" in head) == ("\nengines:" in path.read_text())
    if path.parent.name not in ("puzzles", "smollm2-135m"):  # these were run on a CPU
        assert "# Untested: this recipe was not run on a GPU" in head
    assert head.count(f"recipes/{path.parent.name}/{path.name}") >= 2


# --- defaults ----------------------------------------------------------------------------

EVAL = """
eval:
  data: demo
  methods: [mcts_g]
  budget-tokens: 800
"""


def test_eval_when_given_a_recipe_is_called_as_if_its_keys_were_typed(parsed, write):
    path = write("""
eval:
  data: demo
  methods: [best_of_n, mcts_g]
  limit: 5
  base_url: http://127.0.0.1:8000/v1
  labels: [Yes, No]
  budget-tokens: 800
  budget_seconds: 1e3
  calculator: false
  c-puct: 0.5
  width: 3
  vote: path
  splitter: 'string:\\n'
  resume: true
""")
    typed = (
        "eval demo --methods best_of_n,mcts_g --limit 5 --base-url http://127.0.0.1:8000/v1 "
        "--labels Yes No --budget-tokens 800 --budget-seconds 1e3 --no-calculator "
        "--exploration 0.5 --width 3 --vote path --splitter string:\\n --resume"
    )
    assert parsed("eval", "--recipe", path) == parsed(*typed.split())


def test_eval_when_dry_says_the_same_as_with_typed_flags(rtsearch, write):
    path = write(EVAL)
    typed = rtsearch("eval", "demo", "--methods", "mcts_g", "--budget-tokens", 800, "--dry-run")
    assert typed.out == DRY.format(tokens=800)
    assert rtsearch("eval", "--recipe", path, "--dry-run") == typed


def test_eval_when_flags_are_given_prefers_them_to_variables_and_those_to_the_recipe(
    rtsearch, write, monkeypatch
):
    run = ("eval", "--recipe", write(EVAL), "--dry-run")
    assert rtsearch(*run).out == DRY.format(tokens=800)
    monkeypatch.setenv("RTSEARCH_BUDGET_TOKENS", "700")
    assert rtsearch(*run).out == DRY.format(tokens=700)
    assert rtsearch(*run, "--budget-tokens", 600).out == DRY.format(tokens=600)


def test_eval_when_data_are_given_takes_them_instead_of_the_recipe_s(rtsearch, write, problems):
    outcome = rtsearch("eval", problems, "--recipe", write(EVAL), "--dry-run")
    assert outcome.out.startswith("4 problems, 1 methods")


def test_eval_when_a_variable_names_the_recipe_takes_it(rtsearch, write, monkeypatch):
    monkeypatch.setenv("RTSEARCH_RECIPE", str(write(EVAL)))
    assert rtsearch("eval", "--dry-run").out == DRY.format(tokens=800)


def test_eval_when_a_flag_is_bad_does_not_blame_the_recipe(rtsearch, write):
    outcome = rtsearch("eval", "--recipe", write(EVAL + "  width: 0\n"), "--width", -1)
    assert outcome.error == "rtsearch: width=-1: must be at least 1\n"


def test_eval_when_values_look_like_variables_takes_them_literally(parsed, write, monkeypatch):
    monkeypatch.setenv("HERE", "there")
    assert parsed("eval", "--recipe", write("eval: {data: $HERE}"))["data"] == Path("$HERE")


def test_solve_when_given_a_recipe_takes_how_to_search_and_not_what(parsed, write):
    path = write(EVAL + "  limit: 2\n  output: out\n  resume: true\n  width: 3\n")
    typed = parsed("solve", "1 2", "--method", "mcts_g", "--budget-tokens", 800, "--width", 3)
    assert parsed("solve", "1 2", "--recipe", path) == typed


def test_solve_when_the_recipe_has_several_methods_wants_one(rtsearch, parsed, write):
    path = write(EVAL.replace("[mcts_g]", "[cot, mcts]"))
    outcome = rtsearch("solve", "1 2", "--recipe", path)
    assert f"{path}, line 4: methods names cot, mcts: choose one by --method" in outcome.error
    assert parsed("solve", "1 2", "--recipe", path, "--method", "cot")["method"] == "cot"


def test_recipe_when_run_solves(rtsearch, write, start_server, toy_flags, problems, tmp_path):
    path, server = write(EVAL), start_server()
    flags = [*toy_flags(server), "-o", tmp_path / "out"]
    outcome = rtsearch("eval", problems, "--recipe", path, *flags)
    assert (outcome.code, outcome.err) == (0, "")
    assert "at 800 tokens each" in outcome.out


# --- engines -----------------------------------------------------------------------------


def test_engine_options_when_read_are_texts_by_their_names(write):
    path = write("""
engines:
  policy: {model: a/b, port: 8000, max_num_seqs: 0256, enforce-eager: yes}
  reward:
    pooler-config: '{"step_tag_id": 1}'
""")
    options = recipe.engine_options(path)
    assert list(options) == ["policy", "reward"]
    assert options["policy"] == {
        "model": ("a/b",), "port": ("8000",), "max-num-seqs": ("0256",), "enforce-eager": ("yes",)
    }  # fmt: skip
    assert options["reward"] == {"pooler-config": ('{"step_tag_id": 1}',)}


def test_engine_options_when_there_are_none_are_empty(write):
    assert recipe.engine_options(write(EVAL)) == {}


# --- bad recipes -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A recipe, and words of the one line about it; {file} is its name."""

    text: str | bytes
    words: tuple[str, ...]


NEST = "eval: {data: " + "[" * 5000 + "]" * 5000 + "}"
BAD = {
    "empty": Case("", ("{file}: the recipe is empty", "write lines `key: value`")),
    "comments alone": Case("# nothing\n", ("the recipe is empty",)),
    "a list": Case("- a\n", ("line 1: the recipe is a list", "write lines")),
    "a text": Case("mcts_g\n", ("line 1: the recipe is the text 'mcts_g'",)),
    "not YAML": Case("eval:\n  data: [demo\n", ("{file}, line 3: not YAML (", "into quotes")),
    "a tab": Case("eval:\n\tdata: demo\n", ("line 2: not YAML (",)),
    "two colons": Case("eval:\n  splitter: a: b\n", ("line 2: not YAML (mapping values",)),
    "two documents": Case("eval: {}\n---\neval: {}\n", ("line 2: not YAML (",)),
    "control character": Case("eval: \x00\n", ("{file}: not YAML (",)),
    "not UTF-8": Case(b"eval: {data: \xff}", ("byte 13 is not UTF-8", "save the file")),
    "nested too deeply": Case(NEST, ("{file}",)),
    "Python object": Case(
        "eval:\n  data: !!python/object/apply:os.getcwd []\n", ("line 2", "python/object", "tag")
    ),
    "own tag": Case("eval:\n  data: !env HOME\n", ("line 2: the tag '!env'", "plain value")),
    "unknown section": Case("evil:\n  data: demo\n", ("line 1: unknown key 'evil'", "'eval'?")),
    "section a list": Case("eval: [data, demo]\n", ("line 1: eval is a list",)),
    "section without anything": Case("eval:\n", ("eval is nothing",)),
    "duplicate section": Case("eval: {}\neval: {}\n", ("line 2", "'eval' twice", "in line 1")),
    "duplicate key": Case(
        "eval:\n  width: 3\n  data: demo\n  width: 4\n",
        ("{file}, line 4: eval has the key 'width' twice, first in line 2: keep one",),
    ),
    "duplicate spelling": Case(
        "eval:\n  base-url: a\n  base_url: b\n", ("line 3", "'base-url' twice")
    ),
    "duplicate alias": Case(
        "eval:\n  exploration: 1\n  c-puct: 1\n", ("line 3", "'c-puct'", "'exploration'")
    ),
    "key a list": Case("eval:\n  ? [a, b]\n  : 3\n", ("line 2", "a list as a key of eval")),
    "value missing": Case("eval:\n  width:\n", ("line 2", "'width' has no value", "remove")),
    "value null": Case("eval:\n  confidence: null\n", ("'confidence' has no value",)),
    "value a mapping": Case(
        "eval:\n  width: {a: 3}\n", ("line 2", "'width' holds a mapping", "give a value")
    ),
    "value nested": Case("eval:\n  labels: [[a], b]\n", ("line 2", "'labels' holds a list")),
    "merged": Case("x: &x {width: 3}\neval:\n  <<: *x\n", ("line 3", "the alias *x is not taken")),
    "unknown key": Case("eval:\n  data: demo\n  widht: 3\n", ("line 3", "did you mean 'width'?")),
    "unlike any key": Case(
        "eval: {data: demo, zzzzzz: 3}\n", ("'zzzzzz'", "the options of rtsearch eval")
    ),
    "negated": Case(
        "eval: {data: demo, no-calculator: true}", ("'no-calculator'", "calculator: false")
    ),
    "recipe in a recipe": Case("eval: {data: demo, recipe: a.yaml}\n", ("unknown key 'recipe'",)),
    "word for a number": Case(
        "eval:\n  data: demo\n  width: many\n", ("width", "{file}, line 3", "many", "int")
    ),
    "boolean for a number": Case("eval: {data: demo, width: true}", ("width", "true", "int")),
    "word for a boolean": Case("eval: {data: demo, calculator: 7}", ("calculator", "7", "bool")),
    "list for a number": Case("eval: {data: demo, width: [3, 4]}", ("width", "3,4", "int")),
    "choice": Case("eval: {data: demo, value: best}", ("value", "line 1", "best", "rollout")),
    "out of range": Case("eval:\n  data: demo\n  width: 0\n", ("{file}, line 3: width=0", "least")),
    "budget": Case("eval: {data: demo, budget-tokens: 0}", ("{file}, line 1: budget tokens=0",)),
    "method": Case("eval: {data: demo, methods: [mtcs]}", ("{file}, line 1", "'mtcs'", "out of")),
    "splitter": Case("eval: {data: demo, splitter: words}", ("{file}, line 1: splitter 'words'",)),
    "one label": Case("eval: {data: demo, labels: Yes}", ("line 1: labels takes 2 values, got 1",)),
    "secret": Case(
        "eval:\n  api-key: sk-1234\n",
        ("line 2", "'api-key' is a secret", "environment variable named by api-key-env"),
    ),
    "secret of an engine": Case(
        "eval: {data: demo}\nengines: {p: {hf_token: sk-1234}}\n", ("line 2", "'hf-token'")
    ),
    "secret for its name": Case(
        "eval:\n  api-key-env: sk-1234\n", ("line 2", "the name of an environment variable")
    ),
}


def test_bad_recipes_are_at_least_thirty():
    assert len(BAD) >= 30


@pytest.mark.parametrize("name", BAD)
def test_recipe_when_bad_is_answered_by_one_line(rtsearch, write, name):
    case, path = BAD[name], write(BAD[name].text)
    for command in (("eval", "--dry-run"), ("doctor",)):
        outcome = rtsearch(*command, "--recipe", path)
        assert outcome.code in (1, 2)
        if command == ("doctor",):
            assert outcome.err == "" and "\n  NO  " in f"\n{outcome.out}"
        else:
            outcome.error  # one line  # noqa: B018
        text = outcome.out + outcome.err
        missing = [w for w in case.words if w.replace("{file}", str(path)) not in text]
        assert not missing, text
        assert "sk-1234" not in text


def test_recipe_when_missing_is_answered_by_one_line(rtsearch, tmp_path):
    outcome = rtsearch("eval", "--recipe", tmp_path / "none.yaml")
    assert "none.yaml: No such file or directory: give a recipe" in outcome.error
    assert "directory: give a recipe" in rtsearch("eval", "--recipe", tmp_path).error


def test_recipe_when_pyyaml_is_missing_says_what_to_install(rtsearch, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    outcome = rtsearch("eval", "--recipe", write(EVAL))
    assert outcome.error == 'rtsearch: recipes need PyYAML: pip install "rtsearch-fast[cli]"\n'


def test_engine_options_when_an_engine_is_no_mapping_is_refused(write):
    with pytest.raises(DataError, match=r"line 2: engine policy is the text 'a/b': write lines"):
        recipe.engine_options(write("engines:\n  policy: a/b\n"))


# --- doctor: what does not go together -----------------------------------------------------

TWO = """
engines:
  policy: {model: a/b, port: 8000, gpu-memory-utilization: 0.5}
  reward: {model: c/d, port: 8001, gpu-memory-utilization: 0.4}
eval:
  data: demo
  methods: mcts_g
  base-url: http://127.0.0.1:8000/v1
  reward-base-url: http://127.0.0.1:8001/v1
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.4}", "0.6}", ("GPU 0", "policy 0.5 + reward 0.6 = 1.1 > 1", "lower")),
        ("0.4}", "1.4}", ("line 4: gpu_memory_utilization=1.4", "(0, 1]")),
        ("0.4}", "0.4, max-num-seqs: 0}", ("line 4: max_num_seqs=0", "at least 1")),
        ("0.4}", "0.4, max-num-seqs: many}", ("max-num-seqs", "recipe.yaml, line 4", "int")),
        ("0.4}", "0.4, task: judge}", ("task", "recipe.yaml, line 4", "judge", "process-reward")),
        ("0.4}", "0.4, ssl-keyfile: k}", ("engine reward: --ssl-keyfile", "a proxy in front")),
        ("port: 8001", "port: 8000", ("policy and reward both listen at port 8000",)),
        ("port: 8001", "port: 80000", ("line 4: port=80000: must be in [1, 65535]",)),
        ("port: 8001", "prot: 8001", ("engine reward: ", "line 4: unknown key 'prot'", "'port'?")),
        ("8001/v1", "8002/v1", ("line 9: reward-base-url: no engine listens at port 8002",)),
        ("  base-url: http://127.0.0.1:8000/v1\n", "", ("has no base-url", "8000/v1")),
        ("data: demo", "data: demo\n  model: x", ("'x', but engine policy serves 'a/b'",)),
        ("0.5}", "0.5, max-model-len: 384}", ("384 >= max-model-len 384: no room",)),
        ("data: demo", "data: demo\n  template: t.txt", ("line 7: template 't.txt'",)),
        ("data: demo", "data: demo\n  labels: [a, a]", ("labels=('a', 'a')", "different")),
        ("data: demo", "data: demo\n  concurrency: 0", ("concurrency=0", "at least 1")),
        ("data: demo", "data: demo\n  vote: path\n  method: 1", ("did you mean 'methods'?",)),
        ("mcts_g", "'cot,mcts'\n  vote: path", ("vote='path' needs a tree",)),
    ],
)
def test_doctor_when_parts_of_a_recipe_disagree_says_how(rtsearch, write, old, new, words):
    assert rtsearch("doctor", "--recipe", write(TWO)).code == 0
    assert TWO.count(old) >= 1
    outcome = rtsearch("doctor", "--recipe", write(TWO.replace(old, new, 1)))
    assert (outcome.code, outcome.err) == (1, "")
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("  NO  ")]
    assert [word for word in words if word not in line] == [], line


@pytest.mark.parametrize("apart", ["device: cpu", "gpus: 1"])
def test_doctor_when_engines_are_apart_adds_nothing_up(rtsearch, write, apart):
    text = TWO.replace("0.4}", f"0.9, {apart}}}")
    outcome = rtsearch("doctor", "--recipe", write(text))
    assert outcome.code == 0 and "GPU" not in outcome.out


def test_doctor_when_an_engine_has_options_of_vllm_says_that_they_are_not_checked(rtsearch, write):
    outcome = rtsearch("doctor", "--recipe", write(TWO.replace("0.4}", "0.4, seed: 1, qqq: 2}")))
    assert outcome.code == 0
    assert "reward: c/d at port 8001; vLLM's, not checked: seed, qqq\n" in outcome.out


def test_doctor_when_the_search_cannot_fill_the_engine_warns(rtsearch, write, tmp_path):
    data = "".join(f'{{"id": {i}, "problem": "{i}", "answer": "1"}}\n' for i in range(99))
    (tmp_path / "data.jsonl").write_text(data)
    text = TWO.replace("0.5}", "0.5, max-num-seqs: 256}").replace("demo", f"{tmp_path}/data.jsonl")
    text += "  width: 4\n  in-flight: 1\n  concurrency: 16\n"
    outcome = rtsearch("doctor", "--recipe", write(text))
    assert outcome.code == 0
    assert (
        "  ok  sequences    warning: trees x width x in_flight = 16 x 4 x 1 = 64 < max-num-seqs 256"
        ": raise --concurrency to 64\n"
    ) in outcome.out
    outcome = rtsearch("doctor", "--recipe", write(text.replace("y: 16", "y: 64")))
    assert "64 x 4 x 1 = 256 >= max-num-seqs 256: fills the engine" in outcome.out
    outcome = rtsearch("doctor", "--recipe", write(text + "  limit: 8\n"))
    assert "8 x 4 x 1 = 32 < max-num-seqs 256: raise --in-flight to 8" in outcome.out


def test_doctor_when_the_model_is_a_folder_works_out_its_kv_cache(rtsearch, write, tmp_path):
    (tmp_path / "config.json").write_text(
        '{"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, '
        '"hidden_size": 4096}'
    )
    text = TWO.replace("a/b", str(tmp_path))
    text = text.replace("0.5}", "0.5, max-model-len: 4096, max-num-seqs: 32}")
    outcome = rtsearch("doctor", "--recipe", write(text))
    assert outcome.code == 0
    assert "128 KiB a token; 32 sequences of 4096 tokens = 16.0 GiB at most" in outcome.out


def test_doctor_when_data_are_not_there_warns(rtsearch, write, tmp_path):
    outcome = rtsearch("doctor", "--recipe", write(TWO.replace("demo", "none.jsonl")))
    assert outcome.code == 0
    assert "warning: " in outcome.out and "there is no none.jsonl" in outcome.out
