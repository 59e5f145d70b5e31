"""What a reward model is asked, what is read of it where, and how that becomes one score.

A format is a YAML file whose keys are the fields of `RewardSpec`; those in `specs/` have names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property

from ..engine.squash import SQUASHES
from ..engine.template import Template
from ..errors import DataError, InvalidArgumentError
from .aggregate import Aggregation, aggregation_name, check_aggregation
from .labels import check_labels
from .question import JudgeTemplate
from .spec_file import read_spec
from .stepwise import ProcessTemplate

__all__ = ["READS", "RewardSpec"]

#: What can be read, and which fields say how.
READS = {
    "label": ("labels", "max_tokens", "verdict"),
    "class": ("positive", "squash"),
    "value": ("squash",),
    "verdicts": ("labels", "max_tokens", "pattern"),
    "json": ("max_tokens", "key", "scale"),
}
#: Fields that say something of single steps.
_OF_STEPS = ("first", "tag", "clean", "pieces", "aggregation")


@dataclass(frozen=True)
class RewardSpec:
    r"""The format of a reward model.

    Attributes
    ----------
    name : str
    template : str
        The text that the model reads, to its last character, special tokens spelled out, with the
        places ``{problem}`` and ``{solution}``.
    read : {"label", "class", "value", "verdicts", "json"}
        The next token's probability; the class, or the only value, of a head; written verdicts on
        the steps; a number in written JSON.
    source : str
        The models that have this format.
    step : str
        What stands for each step in the solution, e.g. ``{step} <tag>{read}\n``. What is read at
        the mark ``{read}`` is told by the last token before it. ``{number}`` counts from 1. "" puts
        the steps as they are and reads at the end of the text.
    first : str
        The same for the first step, if that is another; it may have the place ``{problem}``.
    tag : str
        What stands in `step` before the mark. It is taken out of problems and steps.
    clean : mapping of str to str
        Regular expressions and what replaces their matches in each step.
    pieces : bool
        Whether the model was trained on steps that were tokenised apart from what is around them.
    labels : tuple of two str
        The positive and the negative one. Of "label" one token each, as they follow the text; of
        "verdicts" what the group ``verdict`` matches.
    positive : int
        Index of the class that means "right", from the end if negative.
    squash : {"auto", "none", "sigmoid", "softmax"}
        What makes probabilities of the head's numbers; "auto" is the sigmoid of one and the softmax
        of several.
    aggregation : str or callable
        How the scores of the steps become one, see `aggregate`.
    tokens : mapping of str to int
        Texts and the ids of their last tokens in the model's vocabulary, to tell a wrong model or
        tokenizer wherever one is at hand.
    max_tokens : int
        Most tokens that the model writes before it is read.
    verdict : str
        What ends a written check; the label follows it.
    pattern : str
        Regular expression of a written verdict, with the groups ``step`` (its number) and
        ``verdict``.
    key : str
        The key of the JSON object that holds the score.
    scale : tuple of two float
        The lowest and the highest score; both are scaled to [0, 1].

    Raises
    ------
    InvalidArgumentError, DataError
        Fields are wrong, or do not fit together.
    """

    name: str
    template: str
    read: str
    source: str = ""
    step: str = ""
    first: str = ""
    tag: str = ""
    clean: Mapping[str, str] = field(default_factory=dict)
    pieces: bool = False
    labels: tuple[str, ...] = ()
    positive: int = -1
    squash: str = "auto"
    aggregation: Aggregation = "last"
    tokens: Mapping[str, int] = field(default_factory=dict)
    max_tokens: int = 0
    verdict: str = ""
    pattern: str = ""
    key: str = ""
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        try:
            self._check()
        except (InvalidArgumentError, DataError) as error:
            raise type(error)(f"reward {self.name}: {error}") from None

    @classmethod
    def load(cls, name_or_file: str) -> RewardSpec:
        """Take a format by its name, or read a YAML file.

        Raises
        ------
        DataError, InvalidArgumentError
            There is no such format, or its file cannot be used.
        MissingExtraError
            PyYAML is not installed.
        """
        kinds = {f.name: str(f.type) for f in fields(cls) if f.name != "name"}
        return cls(**read_spec(name_or_file, kinds))

    @cached_property
    def identity(self) -> str:
        """The name and a hash of all that decides a score."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "source"}
        said["aggregation"] = aggregation_name(self.aggregation)
        return f"{self.name}-{hashlib.sha256(repr(said).encode()).hexdigest()[:8]}"

    @cached_property
    def question(self) -> JudgeTemplate:
        """The text that is read at its end."""
        return JudgeTemplate(Template(self.name, self.template))

    @cached_property
    def process(self) -> ProcessTemplate:
        """The text with marks behind its steps."""
        return ProcessTemplate(
            Template(self.name, self.template),
            self.step,
            self.first,
            self.tag,
            tuple(self.clean.items()),
            self.pieces,
        )

    @property
    def label_pair(self) -> tuple[str, str]:
        """The positive and the negative label."""
        return check_labels(self.labels)

    @property
    def writes(self) -> bool:
        """Whether the model is to write something before it is read."""
        return self.max_tokens > 0

    def _check(self) -> None:
        if self.read not in READS:
            raise InvalidArgumentError(f"read={self.read!r}: choose one of {', '.join(READS)}")
        self._check_used()
        for place in ("problem", "solution"):
            if f"{{{place}}}" not in self.template + self.first:
                raise DataError(f"the template has no {{{place}}}: put it in its place")
        if self.step:
            marks = self.process.step.count("{read}")
            if marks != (self.read in ("label", "class", "value")):
                raise InvalidArgumentError(
                    f"step={self.step!r}: read={self.read} needs "
                    f"{'no mark {read}' if marks else 'the mark {read} behind {step}'}"
                )
        check_aggregation(self.aggregation)
        if self.squash not in SQUASHES:
            raise InvalidArgumentError(
                f"squash={self.squash!r}: choose one of {', '.join(SQUASHES)}"
            )
        if self.read == "value" and self.squash == "softmax":
            raise InvalidArgumentError("squash='softmax' of one value is always 1: choose sigmoid")
        if "labels" in READS[self.read]:
            check_labels(self.labels)
        for text, token in self.tokens.items():
            if not text or token < 0:
                raise InvalidArgumentError(
                    f"tokens: {text!r}: {token}: give a text and its id >= 0"
                )
        if self.max_tokens < 0:
            raise InvalidArgumentError(f"max_tokens={self.max_tokens}: must be 0 or more")
        if self.read in ("verdicts", "json") and not self.writes:
            raise InvalidArgumentError(f"read={self.read} needs max_tokens: the model has to write")
        if self.read == "label":
            self._check_check()
        if self.read == "verdicts":
            self._check_pattern()
        if self.read == "json" and not (
            self.key and len(self.scale) == 2 and self.scale[0] < self.scale[1]
        ):
            raise InvalidArgumentError(
                f"key={self.key!r}, scale={self.scale!r}: read=json needs the key of the score and "
                "the lowest and the highest one, such as key: score, scale: [0, 10]"
            )

    def _check_used(self) -> None:
        """Refuse fields that would not be looked at."""
        other = {name for names in READS.values() for name in names} - set(READS[self.read])
        for f in fields(self):
            default = f.default if f.default is not MISSING else {}
            if getattr(self, f.name) == default:
                continue
            if f.name in other:
                raise InvalidArgumentError(
                    f"{f.name}={getattr(self, f.name)!r} says nothing where read is {self.read}: "
                    "remove it"
                )
            if f.name in _OF_STEPS and not self.step:
                raise InvalidArgumentError(
                    f"{f.name}={getattr(self, f.name)!r} is of single steps: give `step`, or "
                    "remove it"
                )

    def _check_check(self) -> None:
        if self.writes != bool(self.verdict.strip()):
            raise InvalidArgumentError(
                f"max_tokens={self.max_tokens}, verdict={self.verdict!r}: a written check needs "
                "both, a bare label neither"
            )
        if self.writes and self.step:
            raise InvalidArgumentError(
                f"max_tokens={self.max_tokens}: a check is written of a whole solution: remove "
                "`step`, or read verdicts"
            )

    def _check_pattern(self) -> None:
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise InvalidArgumentError(f"pattern={self.pattern!r}: {error}") from None
        if not {"step", "verdict"} <= groups or not self.step:
            raise InvalidArgumentError(
                f"pattern={self.pattern!r}: read=verdicts needs `step` and a pattern with the "
                "groups (?P<step>...) and (?P<verdict>...)"
            )
