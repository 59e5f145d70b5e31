"""Training of policies and reward models: thin layers over TRL and transformers.

Nothing here imports torch before a training begins.
"""

from __future__ import annotations
