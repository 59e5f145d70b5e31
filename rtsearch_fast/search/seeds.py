"""Seeds of single requests, derived from where in the search a request stands."""

from __future__ import annotations

import hashlib

__all__ = ["derive_seed"]


def derive_seed(run_seed: int, unique_id: str, path: tuple[int, ...], index: int) -> int:
    """Seed of one sample: a hash of run, problem and place in the tree, plus the sample's number.

    The samples asked at one place have consecutive seeds: that is how servers count the seeds of
    ``n`` samples of one request, so they can be asked for together and be the same as if alone.

    Nothing else enters it, so a sample's seed does not depend on what was asked before it or on
    which answers arrived first.

    Parameters
    ----------
    run_seed : int
    unique_id : str
        Of the problem.
    path : tuple of int
        Child numbers from the root to the place that is continued; rollouts append their own.
    index : int
        Number of the sample among those asked there.

    Returns
    -------
    int
        In [0, 2**63).

    Examples
    --------
    >>> derive_seed(0, "gsm8k/0", (1, 2), 0) == derive_seed(0, "gsm8k/0", (1, 2), 0)
    True
    >>> derive_seed(0, "gsm8k/0", (1, 2), 0) == derive_seed(0, "gsm8k/0", (1,), 20)
    False
    """
    text = "\x1f".join([str(run_seed), ",".join(map(str, path)), unique_id])
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 2) + index
