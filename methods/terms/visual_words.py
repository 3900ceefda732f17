"""Classification of visual words, as configuration (the trained part is ``bound_visual_words``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.errors import ConfigurationError

HEADS = ("keras", "pytorch")


@dataclass(frozen=True)
class VisualWords:
    """Cross-entropy of the word that a deformed cube shows (TransVW's self-classification; DiRA §4.1).

    Attributes:
        words: Number of words, C.
        head: ``keras``: 3×3×3 convolution of as many channels as the coarsest feature map, batch norm, ReLU, mean, a
            fully connected layer with ReLU, another; ``pytorch``: a convolution to twice the channels, batch norm,
            ReLU, mean, one fully connected layer.
        hidden: Width of the Keras head's hidden layer; None takes twice the coarsest feature map's channels (1024).
    """

    words: int = 44
    head: str = "keras"
    hidden: int | None = None

    role: ClassVar[str] = "discrimination"
    needs_decoder: ClassVar[bool] = False
    bound: ClassVar[str] = "methods.terms.bound_visual_words:BoundVisualWords"
    component: ClassVar[str] = "term_visual_words"

    def __post_init__(self) -> None:
        """Refuse values with no meaning."""
        if self.words < 2 or (self.hidden is not None and self.hidden < 1):
            raise ConfigurationError(
                f"visual_words: found {self.words} words, hidden {self.hidden}; expected at least two words and a "
                "positive width"
            )
        if self.head not in HEADS:
            raise ConfigurationError(f'visual_words: found head "{self.head}"; expected keras or pytorch')
