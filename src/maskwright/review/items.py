"""An item of the review: images, what is asked about them, and the labels to choose from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "conflict", "shifted", "suspect", "disagreement", "rare", "outlier", "duplicate", "objectness", "uncertain"
]
Box = tuple[int, int, int, int]

QUESTIONS: dict[Kind, str] = {
    "conflict": "The same picture with two masks: which is right?",
    "shifted": "Is this mask in the wrong place?",
    "suspect": "Is the framed part of this mask wrong?",
    "disagreement": "Two predictions of an image without a mask: which is right?",
    "rare": "No other mask holds this category: is this one right?",
    "outlier": "Does this image belong to the others?",
    "duplicate": "Do both show the same thing?",
    "objectness": "Some objects here were found with little certainty: is the prediction right?",
    "uncertain": "The networks are unsure of this image: is the prediction right?",
}
"""What is asked, by kind."""


@dataclass(frozen=True)
class Suggestion:
    """A label to choose.

    Attributes:
        name: what people read, such as `mask` or `round 1, fold 0`.
        image: whose label it is; its own mask, or that in `file`.
        file: label file with category ids, relative to the run folder; None: the mask that counts now.
        swap: (given, suggested) categories by name: inside the item's region, pixels of the first that `file` says are
            the second are changed in the mask; None: the label is taken whole.
        shift: (down, right) pixels by which the mask is moved.
        maker: of a prediction, the round and the fold of the networks that made it; fold None: those of all folds.
        digest: of its file when the queue was made, where another content is another question; else empty.
    """

    name: str
    image: str
    file: str | None = None
    swap: tuple[str, str] | None = None
    shift: tuple[int, int] | None = None
    maker: tuple[int, int | None] | None = None
    digest: str = ""

    @property
    def predicted(self) -> bool:
        """True if it is a prediction, taken as it stands."""
        return self.file is not None and self.swap is None

    @property
    def learnable(self) -> bool:
        """False for a prediction that networks of all folds made: each fold has been learned from by some of them."""
        return self.maker is None or self.maker[1] is not None

    @property
    def parts(self) -> tuple[str, ...]:
        """What tells it from others."""
        return self.file or "", self.digest, str(self.swap or ""), str(self.shift or "")


@dataclass(frozen=True)
class Item:
    """One thing to decide.

    Attributes:
        kind: what is asked (`QUESTIONS`).
        image: as the index has it.
        other_image: which it is compared with.
        transform: the flip or turn that makes `other_image` look like `image`.
        region: left, top, right and bottom in pixels of `image`; right and bottom are outside.
        score: how much it asks for a decision, by which those of one kind are ordered; any unit, higher is more.
        need: 0..1, how rare the categories are that it touches.
        detail: what is known, in words that name no file.
        suggestions: labels A and B to choose from; none, one or two.
        worth: what the queue is ordered by; 0 until it is.
    """

    kind: Kind
    image: str
    other_image: str | None = None
    transform: str | None = None
    region: Box | None = None
    score: float = 0.0
    need: float = 0.0
    detail: str = ""
    suggestions: tuple[Suggestion, ...] = ()
    worth: float = 0.0

    @property
    def images(self) -> tuple[str, ...]:
        """The one or two images."""
        return (self.image,) if self.other_image is None else (self.image, self.other_image)

    def key(self, salt: bytes) -> str:
        """Return the name by which the page knows it: 16 hex digits that tell nothing of the files without the salt."""
        parts = (self.kind, *self.images, str(self.region or ""), *(part for s in self.suggestions for part in s.parts))
        return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8, key=salt).hexdigest()

    def worth_of(self, worth: float) -> Item:
        """Return it with its place in the queue."""
        return replace(self, worth=worth)
