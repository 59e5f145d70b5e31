"""What all trainings have in common: from settings, a model and rows to a folder with a model."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.embedded import name_portable_tokenizer
from ..errors import InvalidArgumentError, MissingExtraError, RunStoreError, SearchError
from .batches import length_sampler
from .pooled import name_classifier
from .progress import Progress
from .settings import TrainSettings

__all__ = [
    "Job",
    "TrainResult",
    "arguments",
    "claim",
    "dataset",
    "isolated",
    "lora_config",
    "our",
    "parameters",
    "require",
    "run",
    "writing",
]

_NEEDED = ("torch", "transformers", "trl", "accelerate", "datasets")
_CONFIG = "config.json"
#: Where a model is saved before its files are moved to their places.
_PART = ".part"


@dataclass(frozen=True)
class TrainResult:
    """What a training left.

    Attributes
    ----------
    folder : Path
        With the model, its tokenizer, metrics.json and metrics.jsonl.
    metrics : dict
        As in metrics.json.
    """

    folder: Path
    metrics: dict[str, Any]


@dataclass
class Job:
    """A training that is ready to start.

    Attributes
    ----------
    name : str
    settings : TrainSettings
    tokenizer : PreTrainedTokenizerFast
    facts : dict
        What is known before, for the metrics: counts of rows and the like.
    quiet : bool
    """

    name: str
    settings: TrainSettings
    tokenizer: Any
    facts: dict[str, Any]
    quiet: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the output."""
        assert self.settings.output is not None
        return self.settings.output


def require(settings: TrainSettings) -> None:
    """Refuse now what would fail later: missing packages, no output, too few processes.

    Raises
    ------
    MissingExtraError, InvalidArgumentError
    """
    needed = [*_NEEDED, *(["peft"] if settings.lora is not None else [])]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise MissingExtraError(
            f'training needs {", ".join(missing)}: pip install "rtsearch-fast[train]"'
        )
    tracker = settings.report_to
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise MissingExtraError(f"report_to={tracker!r} needs {tracker}: pip install {tracker}")
    if settings.output is None:
        raise InvalidArgumentError("output=None: give a folder for the trained model")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.fsdp and processes != settings.fsdp:
        raise InvalidArgumentError(
            f"fsdp={settings.fsdp}: {processes} processes run: start with accelerate launch "
            f"--num-processes {settings.fsdp} $(which rtsearch) train ..."
        )
    spread = _spread()
    if not spread:
        return
    remedy = "launch without its configuration file"
    if spread == "deepspeed" and settings.fsdp:
        raise InvalidArgumentError(f"fsdp={settings.fsdp} with accelerate's deepspeed: give fsdp 0")
    if settings.lora is not None:
        raise InvalidArgumentError(
            f"lora with accelerate's {spread}: adapters fit one GPU each; {remedy}"
        )
    if settings.optimizer == "muon":
        raise InvalidArgumentError(
            f"optimizer='muon' with accelerate's {spread}: it needs whole matrices; use adamw, or "
            f"{remedy}"
        )


def claim(settings: TrainSettings) -> None:
    """Refuse an output that cannot be written or holds a model; makes its folder.

    Raises
    ------
    RunStoreError
    """
    assert settings.output is not None
    if not _is_main():
        return
    folder = settings.output
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    is_done = any((folder / name).exists() for name in (_CONFIG, "adapter_config.json"))
    if is_done or (_checkpoints(folder) and not settings.resume):
        remedy = "choose another output"
        if not is_done:
            remedy = "give --resume to go on from its last checkpoint, or choose another output"
        raise RunStoreError(f"{folder}: holds a trained model already: {remedy}")


def arguments(kind: type[Any], settings: TrainSettings, **more: Any) -> Any:
    """Return a `TrainingArguments`, or the form of it that a trainer of TRL wants."""
    import torch

    schedule: str = settings.schedule
    if schedule == "constant" and settings.warmup:
        schedule = "constant_with_warmup"
    has_gpu = torch.cuda.is_available()
    assert settings.output is not None
    fsdp: dict[str, Any] = {}
    spread = _spread()
    if spread and not has_gpu:
        raise InvalidArgumentError(
            f"accelerate's {spread}: there is no GPU here: launch without its configuration file"
        )
    if settings.fsdp and not has_gpu:
        raise InvalidArgumentError(f"fsdp={settings.fsdp}: there is no GPU here: leave it out")
    if spread == "fsdp":  # all else is said in its file
        if settings.gradient_checkpointing:
            os.environ["FSDP_ACTIVATION_CHECKPOINTING"] = "true"
    elif settings.fsdp:
        fsdp = {
            "fsdp": True,
            "fsdp_config": {
                "version": 2,
                "state_dict_type": "FULL_STATE_DICT",
                "activation_checkpointing": settings.gradient_checkpointing,
            },
        }
    return kind(
        output_dir=str(settings.output),
        max_steps=settings.max_steps or -1,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=settings.warmup,
        optim="adamw_torch",
        adam_beta2=settings.adam_beta2,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.is_mixed,
        gradient_checkpointing=settings.gradient_checkpointing
        and not (settings.fsdp or spread == "fsdp"),  # FSDP does it itself
        seed=settings.seed,
        save_strategy="steps" if settings.save_steps else "no",
        save_steps=settings.save_steps or 500,
        save_total_limit=settings.keep,
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        report_to=settings.report_to,
        run_name=settings.output.name,
        train_sampling_strategy="random",  # see _get_train_sampler
        eval_strategy="steps" if settings.eval_steps else "no",
        eval_steps=settings.eval_steps or None,
        prediction_loss_only=True,
        use_cpu=not has_gpu,
        dataloader_pin_memory=has_gpu,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
        log_level="error",
        **fsdp,
        **more,
    )


def dataset(columns: Mapping[str, list[Any]]) -> Any:
    """Return a `datasets.Dataset` that lives in memory."""
    from datasets import Dataset

    return Dataset.from_dict(dict(columns))


def lora_config(settings: TrainSettings, task: str = "CAUSAL_LM") -> Any:
    """Return PEFT's form of the adapters' settings, or None."""
    if settings.lora is None:
        return None
    from peft import LoraConfig

    lora = settings.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        task_type=task,
    )


def our(base: type[Any], job: Job) -> tuple[type[Any], Progress]:
    """Return a trainer that counts tokens and knows our optimizer, and the progress that it feeds.

    Parameters
    ----------
    base : type
        `transformers.Trainer` or a child of it.
    job : Job
    """
    from .optim import make_muon

    settings = job.settings
    progress = Progress(
        job.name,
        job.folder / "metrics.jsonl",
        quiet=job.quiet or not _is_main(),
        resumed=settings.resume,
    )

    class Ours(base):  # type: ignore[misc]
        def create_optimizer(self, model: Any = None) -> Any:
            if settings.optimizer == "muon" and self.optimizer is None:  # type: ignore[has-type]
                self.optimizer = make_muon(
                    self.model if model is None else model,
                    settings.learning_rate,
                    settings.weight_decay,
                    (0.9, settings.adam_beta2),
                )
                return self.optimizer
            return super().create_optimizer(model)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if not settings.group_by_length:
                return super()._get_train_sampler(train_dataset)
            lengths = _lengths(train_dataset or self.train_dataset)
            # a step's examples, of all processes: none is to wait for one with longer texts
            size = self.args.train_batch_size * self.args.gradient_accumulation_steps
            return length_sampler(lengths, size * self.args.world_size, settings.seed)

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            world = self.args.world_size
            mask = inputs.get("completion_mask")
            if mask is None and "labels" in inputs:
                mask = inputs["labels"] >= 0  # behind the mask of the loss
            tokens = int(inputs["attention_mask"].sum())
            progress.count(tokens * world, tokens if mask is None else int(mask.sum()) * world)
            return super().training_step(model, inputs, *args, **kwargs)

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """TRL's text about itself is not wanted in a checkpoint."""

        def _send_telemetry(self) -> None:
            """Nor does a training call home."""

    return Ours, progress


def _lengths(examples: Any) -> list[int]:
    """Tokens of the longest text of each example."""
    columns = [name for name in examples.column_names if name.endswith("_ids")]
    return [
        max(map(len, texts)) for texts in zip(*(examples[name] for name in columns), strict=True)
    ]


def run(job: Job, trainer: Any, progress: Progress) -> TrainResult:
    """Train, evaluate and save.

    Parameters
    ----------
    job : Job
    trainer : transformers.Trainer
        Of a class that `our` made, as `progress`.
    progress : Progress
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_callback(progress))
    folder, settings = job.folder, job.settings
    checkpoint = None
    if settings.resume and (found := _checkpoints(folder)):
        checkpoint = str(found[-1])
    with writing(folder):
        outcome = trainer.train(resume_from_checkpoint=checkpoint)
        _add_up(progress, trainer.accelerator)
        progress.end(trainer.state.global_step)
        metrics = {
            "trainer": job.name,
            "steps": trainer.state.global_step,
            "loss": outcome.training_loss,
            "first_loss": progress.losses[0] if progress.losses else outcome.training_loss,
            "last_loss": progress.losses[-1] if progress.losses else outcome.training_loss,
            "seconds": round(progress.seconds, 3),
            "tokens": progress.tokens,
            "tokens_trained": progress.trained,
            "tokens_per_second": round(progress.speed, 1),
            **parameters(trainer.model),
            **job.facts,
        }
        if settings.eval_data:
            metrics.update({k: v for k, v in trainer.evaluate().items() if k.startswith("eval_")})
        try:
            _save(job, trainer, metrics)
        except BaseException:
            shutil.rmtree(folder / _PART, ignore_errors=True)
            raise
        trainer.accelerator.wait_for_everyone()  # who goes on finds a whole folder
    return TrainResult(folder, metrics)


def parameters(model: Any) -> dict[str, int]:
    """Count the parameters of a model, all and trainable; shared ones once."""
    # DeepSpeed leaves weights empty where they are spread, and tells their size
    sizes = [(getattr(w, "ds_numel", w.numel()), w.requires_grad) for w in model.parameters()]
    return {
        "parameters": sum(size for size, _ in sizes),
        "trainable": sum(size for size, is_trained in sizes if is_trained),
    }


def _add_up(progress: Progress, accelerator: Any) -> None:
    """Put the tokens that all processes counted in place of this one's estimate for all."""
    import torch

    counts = torch.tensor([progress.tokens, progress.trained], device=accelerator.device)
    counts = accelerator.reduce(counts) // accelerator.num_processes
    progress.tokens, progress.trained = counts.tolist()


def _callback(progress: Progress) -> Any:
    from transformers import TrainerCallback

    class Tell(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.begin(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress.step(state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if state.is_world_process_zero and logs and "train_runtime" not in logs:
                progress.log(state.global_step, logs)

    return Tell()


def _save(job: Job, trainer: Any, metrics: Mapping[str, Any]) -> None:
    """Save the model; config.json, which makes a folder a model, comes last."""
    folder, settings = job.folder, job.settings
    part = folder / _PART
    model = trainer.model
    ends = job.tokenizer.eos_token_id
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        old = generation.eos_token_id
        old = old if isinstance(old, list) else [old]
        generation.eos_token_id = ends if ends not in old or len(old) == 1 else old
        generation.pad_token_id = job.tokenizer.pad_token_id
        generation._from_model_config = False  # else it is derived anew, without what is set here
    model.config.use_cache = True  # trainers switch it off
    if settings.lora is not None and settings.lora.merge:
        if _is_main():
            model.merge_and_unload().save_pretrained(part)
    else:
        trainer.save_model(str(part))
    if not _is_main():
        return
    job.tokenizer.save_pretrained(part)
    if (part / _CONFIG).exists():
        name_classifier(part)
    name_portable_tokenizer(part / "tokenizer_config.json")
    for name in ("training_args.bin", "README.md"):
        (part / name).unlink(missing_ok=True)
    (part / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    told = json.dumps(asdict(settings), indent=2, default=str)
    (part / "settings.json").write_text(told + "\n", encoding="utf-8")
    for path in sorted(part.iterdir(), key=lambda path: path.name == _CONFIG):
        os.replace(path, folder / path.name)
    part.rmdir()


def _checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the earliest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdecimal()]
    whole = [path for path in found if (path / "trainer_state.json").exists()]
    return sorted(whole, key=lambda path: int(path.name[11:]))


def _spread() -> str:
    """By what `accelerate launch` was told to spread weights: fsdp, deepspeed, or nothing."""
    for name in ("fsdp", "deepspeed"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "").lower() == "true":
            return name
    return ""


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


# --- side effects ------------------------------------------------------------------------


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what keeps a folder from being written into a `RunStoreError`.

    The libraries that write weights raise errors of their own, in which the system's stands.
    """
    try:
        yield
    except SearchError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise RunStoreError(_refusal(folder, error.strerror or str(error))) from error
    except Exception as error:
        reason = _system_reason(str(error))
        if reason is None:
            raise
        raise RunStoreError(_refusal(folder, reason)) from error


def _refusal(folder: Path, reason: str) -> str:
    return f"{folder}: cannot be written ({reason}): make room, or choose another output"


def _system_reason(text: str) -> str | None:
    """What the system said, in the words of safetensors and torch."""
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        reason = os.strerror(code)
        if reason in text or f"(os error {code})" in text:
            return reason
    if "PytorchStreamWriter failed writing" in text or "file write failed" in text:
        return os.strerror(errno.ENOSPC)
    return None


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Leave random numbers, environment and the libraries' logging as they were."""
    import torch
    from transformers.utils import logging as transformers_logging

    logs: Any = transformers_logging
    level, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    environment = dict(os.environ)
    state, arrays = random.getstate(), np.random.get_state()
    undo: list[Callable[[], None]] = [lambda: logs.set_verbosity(level)]
    if bars:
        undo.append(logs.enable_progress_bar)
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(state)
        np.random.set_state(arrays)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for action in undo:
            action()
