"""Which versions of frameworks are taken."""

from __future__ import annotations

from importlib import metadata

import pytest

from rtsearch_fast.adapters.versions import require_version
from rtsearch_fast.errors import MissingExtraError


@pytest.mark.parametrize("found", ["1.2", "1.2.0", "1.2.9.post1", "1.10.0+cpu", "1.99"])
def test_version_when_within_the_tested_ones_is_returned(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: found)
    assert require_version("framework", "1.2", "2") == found


@pytest.mark.parametrize("found", ["1.1.9", "2.0", "2.0rc1", "10", "unknown"])
def test_version_when_another_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: found)
    with pytest.raises(MissingExtraError) as error:
        require_version("framework", "1.2", "2")
    assert str(error.value) == (
        f'framework {found} is not known to this adapter: pip install "framework>=1.2,<2"'
    )


def test_version_when_nothing_is_installed_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match="not installed: pip install"):
        require_version("no-such-framework", "1.2", "2")
