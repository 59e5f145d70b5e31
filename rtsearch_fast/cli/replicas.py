"""Where the searches of a command run: in this process, or in replicas of its models over Ray."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from cyclopts import Parameter

from ..errors import InvalidArgumentError
from ..runs.batch import AnySearcher
from ..runs.replicas.ray_actors import LOCAL, ray_replicas, require_ray
from ..search.options import Budget, SearchOptions
from ..search.searcher import Searcher
from .models import Models
from .settings import ModelFlags

__all__ = ["ReplicaFlags", "SearchSettings"]


@dataclass(frozen=True)
class SearchSettings:
    """All that a replica, wherever it runs, has to know."""

    models: ModelFlags
    methods: Sequence[str]
    budget: Budget
    options: SearchOptions
    splitter: str
    concurrency: int

    @asynccontextmanager
    async def searchers(self, models: Models) -> AsyncGenerator[list[Searcher], None]:
        """A searcher for each method; the models are closed in the end."""
        try:
            await models.check_reward()
            yield [
                models.searcher(method, self.budget, self.options, self.splitter, self.concurrency)
                for method in self.methods
            ]
        finally:
            await models.aclose()


@asynccontextmanager
async def _load(
    settings: SearchSettings, folder: str, replica: int
) -> AsyncGenerator[Sequence[Searcher], None]:
    """In the process of a replica: files are named as they were on the command line."""
    with suppress(OSError):  # another machine may not have it; what is missing there is named then
        os.chdir(folder)
    async with settings.searchers(Models(settings.models.of_replica(replica))) as searchers:
        yield searchers


@Parameter(name="*")
@dataclass(frozen=True)
class ReplicaFlags:
    """Replicas."""

    engine: Literal["process", "ray"] = "process"
    """Where the searches run: in this process, or in replicas over Ray, whole problems at a time.
    Each replica loads the models, or talks to its server of --base-url."""

    replicas: int | None = None
    """How many (ray). Default: one for each server that --base-url names."""

    ray_address: str = LOCAL
    """local (Ray on this machine, for this run), auto (the cluster that this machine is in) or the
    host:port of its head."""

    replica_cpus: float = 1.0
    """CPUs that Ray sets aside for a replica."""

    replica_gpus: float = 0.0
    """GPUs that Ray sets aside for a replica: for models that it loads itself."""

    def check(self, models: ModelFlags) -> None:
        """Refuse now what would fail later."""
        servers = len(models.servers)
        if self.engine == "process":
            if servers > 1:
                raise InvalidArgumentError(
                    f"--base-url names {servers} servers: add --engine ray, which gives each a "
                    "replica of its own"
                )
            if self.replicas not in (None, 1):
                raise InvalidArgumentError(f"--replicas {self.replicas}: add --engine ray")
            return
        require_ray()
        if self.replicas is not None and self.replicas < max(1, servers):
            named = f", one for each server of --base-url: {servers}" if servers > 1 else ""
            raise InvalidArgumentError(
                f"--replicas {self.replicas}: must be at least {max(1, servers)}{named}"
            )
        if models.record is not None:
            raise InvalidArgumentError(
                "--record and --engine ray: replicas cannot write one file together; record in one "
                "process, or leave --record out (the run folder has all answers that count)"
            )

    def searchers(
        self, settings: SearchSettings
    ) -> AbstractAsyncContextManager[Sequence[AnySearcher]]:
        """A searcher for each method, with models behind it.

        Models of this process are loaded at once: within an event loop Ctrl-C would wait for them.
        """
        if self.engine == "process":
            return settings.searchers(Models(settings.models.of_replica(0)))
        return self._over_ray(settings)

    @asynccontextmanager
    async def _over_ray(
        self, settings: SearchSettings
    ) -> AsyncGenerator[Sequence[AnySearcher], None]:
        async with ray_replicas(
            partial(_load, settings, os.getcwd()),
            self.replicas or max(1, len(settings.models.servers)),
            address=self.ray_address,
            num_cpus=self.replica_cpus,
            num_gpus=self.replica_gpus,
        ) as pool:
            yield await pool.searchers()
