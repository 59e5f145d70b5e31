"""What can be told of a recipe without a model or a server: the lines of `rtsearch doctor`."""

from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from inspect import BoundArguments
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cyclopts import App, CycloptsError

from ..engine.checks import Check
from ..engine.server.settings import ServerOptions
from ..errors import DataError, InvalidArgumentError, SearchError
from ..evaluation.data import Item
from ..policy.prompt import PromptTemplate
from ..reward.question import JudgeTemplate
from ..search.options import Budget, SearchOptions
from .engine import EngineFlags, start
from .eval import evaluate, graded_problems, method_names
from .models import SEQUENCES, Models
from .problems import is_generated
from .reader import Setting, unknown_key
from .recipe import EngineDefaults, Recipe, RecipeDefaults
from .rewards import reward_spec
from .settings import SMOLLM2, BudgetFlags, ModelFlags, check_search
from .study_recipe import StudyRecipe, is_study

__all__ = ["check_recipe"]

_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


def check_recipe(path: Path) -> list[Check]:
    """Check a recipe: that it can be read, that its options are valid, and that they go together.

    Returns
    -------
    list of Check
        A detail that begins with "warning" does not keep the recipe from running.
    """
    if is_study(path):
        return _check_study(path)
    try:
        recipe = Recipe.load(path)
    except SearchError as error:
        return [Check("recipe", False, str(error))]
    engines: dict[str, _Engine] = {}
    checks = [Check("recipe", True, f"{path}: {_sections(recipe)}")]
    for name, settings in recipe.engines.items():
        try:
            engines[name] = _Engine.of(name, settings)
        except SearchError as error:
            checks.append(Check("engine", False, str(error)))
        else:
            checks.append(Check("engine", True, engines[name].describe()))
    whole = len(engines) == len(recipe.engines)  # no complaint that only follows from another
    if whole:
        together = [*_check_ports(engines), *_check_memory(engines)]
        checks += together
        whole = all(check.ok for check in together)
    if recipe.eval:
        evaluation, found = _check_eval(recipe)
        checks += found
        if evaluation is not None and whole and all(check.ok for check in found):
            checks += _check_fit(evaluation, engines)
    return checks


def _check_study(path: Path) -> list[Check]:
    try:
        plan = StudyRecipe.load(path)
    except SearchError as error:
        return [Check("study", False, str(error))]
    cells = len(plan.study.cells())
    return [
        Check(
            "study",
            True,
            f"{path}: {len(plan.study.comparisons)} comparisons of "
            f"{', '.join(plan.study.problems)}; {cells} cells, {len(plan.study.seeds)} seeds",
        )
    ]


def _sections(recipe: Recipe) -> str:
    engines = f"engines {', '.join(recipe.engines)}" if recipe.engines else "no engines"
    return f"{engines}; {len(recipe.eval)} options of eval"


def _parse(
    command: Callable[..., Any], name: str, tokens: tuple[str, ...], defaults: Callable[..., None]
) -> BoundArguments:
    """Let the parser of the command line read options, the recipe's among them."""
    app = App(config=defaults)
    app.command(command, name=name)
    try:
        _, bound, _ = app.parse_args([name, *tokens], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise DataError(" ".join(str(error).split())) from None
    bound.apply_defaults()
    return bound


# --- engines -----------------------------------------------------------------------------


#: Options of vLLM, besides those of `rtsearch engine start`, that recipes are likely to use: for
#: telling them from slips of the pen.
_VLLM = (
    *(
        "calculate-kv-scales",
        "convert",
        "cpu-offload-gb",
        "data-parallel-size",
        "disable-log-stats",
    ),
    *("enable-chunked-prefill", "enable-expert-parallel", "enable-lora", "enable-prefix-caching"),
    *("generation-config", "hf-overrides", "kv-cache-dtype", "limit-mm-per-prompt", "load-format"),
    *("lora-modules", "max-cudagraph-capture-size", "max-logprobs", "max-num-batched-tokens"),
    *("pipeline-parallel-size", "pooler-config", "quantization", "reasoning-parser", "revision"),
    *("runner", "scheduling-policy", "seed", "speculative-config", "swap-space", "tokenizer"),
    *("tokenizer-mode", "trust-remote-code"),
)
#: vLLM's own, where a recipe gives none.
_MEMORY_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class _Engine:
    """An engine as `rtsearch engine start` understands the recipe."""

    name: str
    model: str
    port: int
    options: ServerOptions
    settings: Mapping[str, Setting]
    unchecked: tuple[str, ...]

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Setting]) -> _Engine:
        defaults = EngineDefaults(settings)
        try:
            arguments = _parse(start, "start", (), defaults).arguments
            for setting in defaults.others:
                words = [*defaults.known, *_VLLM]
                if setting.key not in words and get_close_matches(setting.key, words, 1):
                    raise DataError(f"{setting.where}: {unknown_key(setting.key, words, '')}")
            port = arguments["port"]
            if not 0 < port <= 65535:
                raise InvalidArgumentError(f"port={port}: must be in [1, 65535]")
            extra = tuple(
                f"--{setting.key}={','.join(setting.values)}" for setting in defaults.others
            )
            flags = arguments["flags"] or EngineFlags()
            options = ServerOptions(**asdict(flags), extra=extra)
        except SearchError as error:
            raise DataError(f"engine {name}: {defaults.explain(error)}") from None
        model = arguments["model"] or SMOLLM2
        unchecked = tuple(setting.key for setting in defaults.others)
        return cls(name, model, port, options, settings, unchecked)

    def describe(self) -> str:
        further = f"; vLLM's, not checked: {', '.join(self.unchecked)}" if self.unchecked else ""
        return f"{self.name}: {self.model} at port {self.port}{further}"

    @property
    def served_name(self) -> str:
        """The name that requests have to use."""
        folder = Path(self.model)
        return self.options.served_model_name or (
            folder.resolve().name if folder.is_dir() else self.model
        )

    def where(self, key: str) -> str:
        """Where an option is given, or the name of the engine if it is not."""
        setting = self.settings.get(key)
        return f"engine {self.name}" if setting is None else setting.where


def _check_ports(engines: Mapping[str, _Engine]) -> Iterator[Check]:
    at: dict[int, _Engine] = {}
    for engine in engines.values():
        other = at.setdefault(engine.port, engine)
        if other is not engine:
            yield Check(
                "ports",
                False,
                f"{engine.where('port')}: {other.name} and {engine.name} both listen at port "
                f"{engine.port}: give each engine a port of its own",
            )


def _check_memory(engines: Mapping[str, _Engine]) -> Iterator[Check]:
    """Engines share GPUs: those of `gpus`, else all take the first that they need."""
    on: defaultdict[str, list[_Engine]] = defaultdict(list)
    for engine in engines.values():
        if engine.options.device != "cpu":
            count = engine.options.tensor_parallel_size or 1
            gpus = engine.options.gpus or ",".join(map(str, range(count)))
            for gpu in gpus.split(","):
                on[gpu.strip()].append(engine)
    for gpu, sharing in on.items():
        if len(sharing) < 2:
            continue
        shares = [e.options.gpu_memory_utilization or _MEMORY_SHARE for e in sharing]
        parts = " + ".join(f"{e.name} {s:g}" for e, s in zip(sharing, shares, strict=True))
        total = round(sum(shares), 6)
        fits = total <= 1
        remedy = "" if fits else " > 1: lower gpu-memory-utilization, or set gpus apart"
        yield Check(f"GPU {gpu}", fits, f"memory: {parts} = {total:g}{remedy}")


# --- eval --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Evaluation:
    """The options of `rtsearch eval`, as its parser understands the recipe."""

    recipe: Recipe
    methods: tuple[str, ...]
    models: ModelFlags
    budget: Budget
    options: SearchOptions
    arguments: Mapping[str, Any]

    def where(self, key: str) -> str:
        setting = self.recipe.eval.get(key)
        return "eval" if setting is None else setting.where

    @cached_property
    def items(self) -> list[Item] | None:
        """The problems; None if they are not named, or not there."""
        data = self.arguments["data"]
        if "data" not in self.recipe.eval or not (is_generated(data) or data.exists()):
            return None
        return graded_problems(data, limit=self.arguments["limit"], start=self.arguments["start"])

    @property
    def problems(self) -> int | None:
        """How many problems there are, if that is known."""
        limit: int | None = self.arguments["limit"]
        return limit if self.items is None else len(self.items)

    @property
    def trees(self) -> int:
        """Problems under search at once."""
        trees = int(self.arguments["concurrency"])
        return trees if self.problems is None else min(trees, self.problems)


def _check_eval(recipe: Recipe) -> tuple[_Evaluation | None, list[Check]]:
    defaults = RecipeDefaults(recipe)
    try:
        evaluation = _read_eval(recipe, defaults)
    except SearchError as error:
        return None, [Check("eval", False, defaults.explain(error))]
    checks = [Check("eval", True, _describe(evaluation))]
    for name, check in (("data", _check_data), ("models", _check_models)):
        try:
            checks.append(Check(name, True, check(evaluation)))
        except SearchError as error:
            checks.append(Check(name, False, defaults.explain(error)))
    return evaluation, checks


def _read_eval(recipe: Recipe, defaults: RecipeDefaults) -> _Evaluation:
    """Let the parser of the command line read the recipe, and check what can be checked there."""
    # a recipe may leave the data to the command line
    data = () if "data" in recipe.eval else ("demo",)
    arguments = _parse(evaluate, "eval", data, defaults).arguments
    models = arguments["models"] or ModelFlags()
    budget = (arguments["budget"] or BudgetFlags()).to_budget(models.default_tokens)
    options = arguments["options"] or SearchOptions()
    methods = method_names(arguments["methods"])
    check_search(methods, budget, options, arguments["splitter"])
    if arguments["concurrency"] < 1:
        raise InvalidArgumentError(f"concurrency={arguments['concurrency']}: must be at least 1")
    return _Evaluation(recipe, tuple(methods), models, budget, options, arguments)


def _describe(evaluation: _Evaluation) -> str:
    budget, options = evaluation.budget, evaluation.options
    limits = [f"{getattr(budget, name)} {name}" for name in Budget.__slots__]
    given = [limit for limit in limits if not limit.startswith("None")]
    return (
        f"{', '.join(evaluation.methods)} at {', '.join(given)} a problem; width {options.width}, "
        f"{options.in_flight} in flight, {evaluation.arguments['concurrency']} problems at once"
    )


def _check_data(evaluation: _Evaluation) -> str:
    data = evaluation.arguments["data"]
    if "data" not in evaluation.recipe.eval:
        return "not named: to be given on the command line"
    if evaluation.items is None:
        return (
            f"warning: {evaluation.where('data')}: there is no {data} in the current folder: put "
            "it there, or name another on the command line"
        )
    return f"{len(evaluation.items)} problems of {data}"


def _check_models(evaluation: _Evaluation) -> str:
    flags = evaluation.models
    served = flags.reward_base_url is not None or not Path(flags.reward_model or "?").is_dir()
    if flags.base_url is not None and served:
        models = Models(flags)  # asks no server before it is used
        asyncio.run(models.aclose())
        return "templates, labels and addresses are valid"
    # models in this process would be loaded
    if flags.template is not None:
        PromptTemplate.load(flags.template)
    if flags.reward is not None:
        reward_spec(flags)
    elif flags.reward_template is not None and flags.reward_kind != "process":
        JudgeTemplate.load(flags.reward_template)
    return "templates are valid; the models are loaded in the process of the search"


# --- both together -----------------------------------------------------------------------


def _check_fit(evaluation: _Evaluation, engines: Mapping[str, _Engine]) -> Iterator[Check]:
    flags = evaluation.models
    policy = None
    if engines:
        policy, check = _asked(evaluation, engines, "base-url", flags.base_url, flags.model)
        if check is not None:
            yield check
        if flags.reward_base_url is not None:
            _, check = _asked(
                evaluation, engines, "reward-base-url", flags.reward_base_url, flags.reward_model
            )
            if check is not None:
                yield check
    if policy is not None:
        yield from _check_sequences(evaluation, policy)
        yield from _check_length(evaluation, policy)


def _asked(
    evaluation: _Evaluation,
    engines: Mapping[str, _Engine],
    key: str,
    url: str | None,
    model: str | None,
) -> tuple[_Engine | None, Check | None]:
    """The engine behind a URL, and what there is to say of both."""
    if url is None:
        port = next(iter(engines.values())).port
        return None, Check(
            "address",
            False,
            f"{evaluation.recipe.name}: eval has no {key}, so the engines are not asked: add "
            f"{key}: http://127.0.0.1:{port}/v1",
        )
    parts = urlsplit(url)
    if parts.hostname not in _LOCAL:
        return None, None  # on another machine
    port = parts.port or (443 if parts.scheme == "https" else 80)
    engine = next((engine for engine in engines.values() if engine.port == port), None)
    if engine is None:
        ports = ", ".join(f"{engine.name} {engine.port}" for engine in engines.values())
        text = f"no engine listens at port {port}: take one of theirs ({ports})"
        return None, Check("address", False, f"{evaluation.where(key)}: {key}: {text}")
    if model is not None and model != engine.served_name:
        name = "model" if key == "base-url" else "reward-model"
        text = f"{name} is {model!r}, but engine {engine.name} serves {engine.served_name!r}"
        remedy = f"name that, or leave {name} out"
        return engine, Check("model", False, f"{evaluation.where(name)}: {text}: {remedy}")
    return engine, Check("address", True, f"{key} is that of engine {engine.name}")


def _check_sequences(evaluation: _Evaluation, engine: _Engine) -> Iterator[Check]:
    """Whether the search asks for as many sequences at once as the engine can generate."""
    room = engine.options.max_num_seqs
    if room is None:
        return
    options, trees = evaluation.options, evaluation.trees
    each = options.width * options.in_flight
    wanted = trees * each
    product = f"trees x width x in_flight = {trees} x {options.width} x {options.in_flight} = "
    if wanted >= room:
        detail = f"{product}{wanted} >= max-num-seqs {room}: fills the engine"
    elif trees == evaluation.problems:  # more than there are cannot be searched at once
        detail = (
            f"warning: {product}{wanted} < max-num-seqs {room}: raise --in-flight to "
            f"{ceil(room / trees / options.width)}, or take more problems"
        )
    else:
        detail = (
            f"warning: {product}{wanted} < max-num-seqs {room}: raise --concurrency to "
            f"{ceil(room / each)}"
        )
    yield Check("sequences", True, detail)
    target = evaluation.models.sequences or SEQUENCES
    if target < room:
        yield Check(
            "sequences",
            True,
            f"warning: the search keeps {target} in flight < max-num-seqs {room}: raise "
            f"--sequences to {room}",
        )


def _check_length(evaluation: _Evaluation, engine: _Engine) -> Iterator[Check]:
    """Whether a solution fits the context, and what the sequences in flight hold of KV states."""
    length, most = engine.options.max_model_len, evaluation.options.max_solution_tokens
    if length is not None:
        fits = most < length
        yield Check(
            "context",
            fits,
            f"max-solution-tokens {most} of max-model-len {length}: {length - most} for the prompt"
            if fits
            else f"{engine.where('max-model-len')}: max-solution-tokens {most} >= max-model-len "
            f"{length}: no room for the prompt; raise max-model-len",
        )
    each = _kv_bytes(Path(engine.model), engine.options.dtype or "auto")
    if each is not None and length is not None:
        options = evaluation.options
        in_flight = evaluation.trees * options.width * options.in_flight
        rows = min(in_flight, engine.options.max_num_seqs or in_flight)
        yield Check(
            "KV cache",
            True,
            f"{each / 1024:g} KiB a token; {rows} sequences of {length} tokens = "
            f"{rows * length * each / 2**30:.1f} GiB at most (shared prefixes count once)",
        )


def _kv_bytes(folder: Path, dtype: str) -> int | None:
    """Bytes of a token's keys and values, if the model is a folder of this machine."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        heads = config["num_attention_heads"]
        size = config.get("head_dim") or config["hidden_size"] // heads
        shared = config.get("num_key_value_heads") or heads
        width = 4 if re.fullmatch(r"float(32)?", dtype) else 2
        return int(2 * config["num_hidden_layers"] * shared * size * width)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None
