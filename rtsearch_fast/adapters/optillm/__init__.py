"""Our searches as a plugin of optillm, chosen by the model name ``rtsearch-MODEL``.

A file of one line in optillm's folder of plugins loads it::

    from rtsearch_fast.adapters.optillm import SLUG, run
"""

from __future__ import annotations

from ..versions import require_version

require_version("optillm", "0.4", "0.5")

from .plugin import SLUG, run  # noqa: E402 - a version that is unknown is refused first

__all__ = ["SLUG", "run"]
