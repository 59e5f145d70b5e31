"""Several processes: the configurations for accelerate, and two real processes without a GPU."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytest.importorskip("cyclopts")
pytest.importorskip("yaml")

import yaml  # noqa: E402
from accelerate.commands.config.config_args import load_config_from_file  # noqa: E402
from accelerate.commands.launch import (  # noqa: E402
    _validate_launch_command,
    launch_command_parser,
)
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin  # noqa: E402
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env  # noqa: E402
from tiny_training import RIGHT, solutions, tiny, write  # noqa: E402
from watched_training import watched  # noqa: E402

import rtsearch_fast  # noqa: E402
from rtsearch_fast.engine.embedded import embedded_model  # noqa: E402
from rtsearch_fast.errors import InvalidArgumentError  # noqa: E402
from rtsearch_fast.training import sft  # noqa: E402
from rtsearch_fast.training.settings import Lora, SftSettings  # noqa: E402
from rtsearch_fast.training.sft import train_sft  # noqa: E402

ROOT = Path(__file__).parents[3]
FSDP = ROOT / "recipes/accelerate/fsdp.yaml"
ZERO3 = ROOT / "recipes/accelerate/deepspeed-zero3.yaml"
SHIPPED = sorted(ROOT.glob("recipes/accelerate/*.yaml"))


def accelerate(*words: str) -> str:
    """Run `accelerate launch` with two processes of one thread; what it prints."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", "0", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- configurations ----------------------------------------------------------------------


def commands(path: Path) -> list[list[str]]:
    """The commands in the head of a file, as words without `accelerate launch`."""
    text = re.sub(r"^# ?", "", path.read_text().split("\n\n")[0], flags=re.MULTILINE)
    text = text.replace("\\\n", " ").replace(" ADDRESS ", " 127.0.0.1 ")
    return [line.split()[2:] for line in text.splitlines() if "accelerate launch" in line]


def launch(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """What accelerate makes of a command, without starting it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    args, defaults, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    return args


def test_configurations_when_shipped_are_for_fsdp_and_deepspeed() -> None:
    assert {FSDP, ZERO3} <= set(SHIPPED)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_configuration_when_loaded_by_accelerate_has_no_key_that_it_ignores(path: Path) -> None:
    config = load_config_from_file(str(path))  # refuses keys of the first level
    assert config.mixed_precision == "no" and config.num_processes == 8
    known = set(vars(launch_command_parser().parse_args(["script"])))
    inner = [key for part in yaml.safe_load(path.read_text()).values() if isinstance(part, dict)
             for key in part]  # fmt: skip
    assert inner and set(inner) <= known  # accelerate itself would not complain of these


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_configuration_when_launched_as_it_says_runs_our_command(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtsearch_fast.cli.app import run

    found = commands(path)
    assert len(found) == 2
    for machines, words in enumerate(found, 1):
        args = launch(words, monkeypatch)
        assert (args.num_machines, args.num_processes) == (machines, 8 * machines)
        assert (args.use_fsdp, args.use_deepspeed) == (path == FSDP, path == ZERO3)
        prepare = prepare_multi_gpu_env if args.use_fsdp else prepare_deepspeed_cmd_env
        prepare(args)
        assert args.nproc_per_node == "8"
        if machines > 1:
            assert (args.nnodes, args.node_rank) == ("2", 0)
            assert (args.rdzv_backend, args.rdzv_endpoint) == ("static", "127.0.0.1:29500")
        assert args.module and args.training_script == "rtsearch_fast.cli"
        assert run([*args.training_script_args, "--dry-run"]) == 0


def test_fsdp_when_launched_has_the_plugin_that_the_trainer_makes_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from transformers import TrainingArguments

    args = launch(commands(FSDP)[0], monkeypatch)
    # what `fsdp: 8` gives without a file, see trainer.arguments
    ours = {"version": 2, "state_dict_type": "FULL_STATE_DICT"}
    made = TrainingArguments(str(tmp_path), fsdp=True, fsdp_config=ours, use_cpu=True)
    expected = FullyShardedDataParallelPlugin(**made.fsdp_plugin_args)
    for name, value in prepare_multi_gpu_env(args).items():
        if name.startswith("FSDP_"):
            monkeypatch.setenv(name, value)
    found = FullyShardedDataParallelPlugin()
    assert found.fsdp_version == 2
    assert dataclasses.asdict(found) == dataclasses.asdict(expected)


def test_deepspeed_when_launched_has_stage_3_and_leaves_the_rest_to_the_trainer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = {field.name for field in dataclasses.fields(DeepSpeedPlugin)}
    keys = set(yaml.safe_load(ZERO3.read_text())["deepspeed_config"])
    assert keys - fields == {"deepspeed_multinode_launcher"}  # the launcher's own
    _, environment = prepare_deepspeed_cmd_env(launch(commands(ZERO3)[0], monkeypatch))
    for name, value in environment.items():
        if name.startswith("ACCELERATE_"):
            monkeypatch.setenv(name, value)
    plugin = DeepSpeedPlugin()
    assert not plugin.zero3_init_flag
    auto = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps",
            "gradient_clipping")  # fmt: skip
    assert {plugin.deepspeed_config[name] for name in auto} == {"auto"}
    zero = plugin.deepspeed_config["zero_optimization"]
    assert zero["stage"] == 3 and zero["stage3_gather_16bit_weights_on_model_save"] is True
    assert zero["offload_optimizer"]["device"] == zero["offload_param"]["device"] == "none"


def test_fsdp_when_really_launched_starts_our_command_in_each_process() -> None:
    out = accelerate("--config_file", str(FSDP), "-m", "rtsearch_fast.cli", "--version")
    assert out.split() == [rtsearch_fast.__version__] * 2


@pytest.mark.parametrize(
    ("spread", "more", "words"),
    [
        ("FSDP", {"lora": Lora()}, "lora with accelerate's fsdp: adapters fit one GPU each"),
        ("DEEPSPEED", {"lora": Lora()}, "lora with accelerate's deepspeed: adapters fit one"),
        ("FSDP", {"optimizer": "muon"}, "optimizer='muon' with accelerate's fsdp: it needs whole"),
        ("DEEPSPEED", {"fsdp": 2}, "fsdp=2 with accelerate's deepspeed: give fsdp 0"),
        ("FSDP", {}, "accelerate's fsdp: there is no GPU here: launch without its config"),
        ("DEEPSPEED", {}, "accelerate's deepspeed: there is no GPU here: launch without its"),
    ],
)
def test_training_when_it_cannot_be_spread_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spread: str,
    more: dict[str, Any],
    words: str,
) -> None:
    if not more and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setenv(f"ACCELERATE_USE_{spread}", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    data = write(tmp_path / "data.jsonl", solutions(2))
    with pytest.raises(InvalidArgumentError, match=f"^{re.escape(words)}"):
        train_sft(SftSettings(**tiny(data, tmp_path / "out") | more), quiet=True)


# --- two processes -----------------------------------------------------------------------

STEPS = 3
TRAINED = {"random": {}, "grouped": {"group_by_length": True, "gradient_accumulation": 2}}


def common(data: Path, output: Path, batch_size: int, **more: Any) -> dict[str, Any]:
    return {
        "model": str(embedded_model("tiny-policy")),
        "data": data,
        "output": output,
        "template": "labelled",
        "max_length": 512,
        "max_steps": STEPS,
        "batch_size": batch_size,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "logging_steps": 1,
        **more,
    }


def flags(settings: dict[str, Any]) -> list[str]:
    words = ["train", "sft"]
    for name, value in settings.items():
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    return words


@dataclasses.dataclass(frozen=True)
class Run:
    """What one process or two did: metrics, losses, and of each process its batches."""

    folder: Path
    processes: list[list[tuple[int, list[tuple[int, ...]]]]]

    @classmethod
    def read(cls, folder: Path, logs: list[Path]) -> Run:
        entries = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
        return cls(folder, [
            [(step, [tuple(ids) for ids in batch]) for name, step, batch in process
             if name == folder.name] for process in entries
        ])  # fmt: skip

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "metrics.json").read_text()))

    @property
    def losses(self) -> list[float]:
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]

    def step(self, step: int) -> list[tuple[int, ...]]:
        """Examples of one step, in order."""
        return sorted(ids for process in self.processes for at, batch in process if at == step
                      for ids in batch)  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[Run, Run]], str]:
    """The folder, of each training that of two processes and that of one, and what was printed."""
    root = tmp_path_factory.mktemp("accelerate")
    rng = random.Random(0)
    rows = [{"problem": f"Add {i}." + " Add." * rng.randrange(40), "solution": RIGHT}
            for i in range(64)]  # fmt: skip
    data = write(root / "data.jsonl", rows)
    (root / "logs").mkdir()
    words = [str(ROOT / "tests/support/watched_training.py"), str(root / "logs"), str(root / "two")]
    for name, more in TRAINED.items():
        words += ["--", *flags(common(data, root / "two" / name, 4, **more))]
    words += ["--", *flags(common(data, root / "two" / "dry", 4)), "--dry-run"]
    out = accelerate("--multi_gpu", *words)  # on a machine without one, processes over gloo
    logs = [root / "logs" / f"batches-{rank}.jsonl" for rank in range(2)]
    runs = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, more in TRAINED.items():
        log = root / "logs" / f"{name}.jsonl"
        settings = common(data, root / "one" / name, 8, **more) | {"data": (data,)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sft, "our", watched(sft.our, log))
            train_sft(SftSettings(**settings), quiet=True)
        one = Run.read(root / "one" / name, [log])
        runs[name] = (Run.read(root / "two" / name, logs), one)
    torch.set_num_threads(threads)
    return root, runs, out


Both = tuple[Path, dict[str, tuple[Run, Run]], str]


@pytest.mark.parametrize("name", TRAINED)
def test_processes_when_two_train_see_different_batches_of_the_same_step(
    both: Both, name: str
) -> None:
    two, one = both[1][name]
    batches = TRAINED[name].get("gradient_accumulation", 1) * STEPS
    assert [len(process) for process in two.processes] == [batches, batches]
    for (_, first), (_, second) in zip(*two.processes, strict=True):
        assert len(first) == len(second) == 4
        assert not set(first) & set(second)
    for step in range(STEPS):  # the order does not depend on how many share it
        assert two.step(step) == one.step(step)
    seen = [ids for step in range(STEPS) for ids in two.step(step)]
    assert len(set(seen)) == len(seen) == 8 * batches


@pytest.mark.parametrize("name", TRAINED)
def test_processes_when_two_train_have_the_loss_and_tokens_of_one_with_twice_the_batch(
    both: Both, name: str
) -> None:
    two, one = both[1][name]
    assert len(two.losses) == STEPS and two.losses[-1] < 0.9 * two.losses[0]
    assert two.losses == pytest.approx(one.losses, rel=1e-4)
    for key in ("tokens", "tokens_trained", "parameters", "rows"):
        assert two.metrics[key] == one.metrics[key]


def test_processes_when_grouped_by_length_share_neighbours_in_each_step(both: Both) -> None:
    two = both[1]["grouped"][0]
    steps = sorted(sorted(map(len, two.step(step))) for step in range(STEPS))
    assert steps[0][0] < steps[-1][-1]
    # or a process would wait for one that has longer texts
    assert all(shorter[-1] <= longer[0] for shorter, longer in pairwise(steps))


def test_processes_when_two_train_one_writes_the_output_and_tells(both: Both) -> None:
    root, runs, out = both
    told = [str(root / "two" / name) for name in TRAINED] + ["train sft, dry run"]
    assert [line.split(": ")[0] for line in out.splitlines()][:3] == told
    assert out.count("dry run") == 1
    assert not (root / "logs" / "files-1.txt").exists()
    written = (root / "logs" / "files-0.txt").read_text().splitlines()
    for name, (two, one) in runs.items():
        files = sorted(path.name for path in one.folder.iterdir())
        assert sorted(path.name for path in two.folder.iterdir()) == files
        for file in set(files) - {"metrics.jsonl"}:  # that grows with each step
            assert written.count(f"{name}/{file}") == 1
