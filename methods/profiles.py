"""What a profile changes in a method, and the versions of the components: the YAML beside this file, validated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.errors import ConfigurationError
from harness.profiles import ProfileFile
from harness.spec import Count, Frozen
from harness.typed import given, read
from harness.yaml_files import load_with_lines, load_yaml
from methods.options import (
    Autoencoder,
    Base,
    Network,
    Optimiser,
    PretextOptions,
    Schedule,
    Shapes,
    TermName,
    VolumesOptions,
    Words,
)
from methods.phases import NetworkSpec, Unit
from methods.terms import TERMS, build, load

HERE = Path(__file__).parent
Dimensions = Annotated[int, Field(ge=2, le=3)]
IN_CHANNELS = {2: 3, 3: 1}  # as the published weights have them


class Amount(Frozen):
    """How long a method pretrains, and how its phases share that.

    Attributes:
        unit: ``steps`` or ``epochs``.
        budget: ``matched``: every method sees as many images, ``total``. ``as_paper``: the base's own schedule, then
            ``restoration`` more, then ``adversary`` more. ``code``: no phase of discrimination alone before
            restoration; ``restoration``, then ``adversary``.
        total: For ``matched``.
        base: Discrimination term → its own schedule, for ``as_paper`` and ``code``.
        restoration: Length of the phase that adds restoration, for ``as_paper`` and ``code``.
        adversary: Length of the phase that adds the adversary, for ``as_paper`` and ``code``.
    """

    unit: Unit
    budget: Literal["matched", "as_paper", "code"]
    total: int | None = Field(default=None, ge=4)
    base: dict[Base, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    restoration: int | None = Field(default=None, ge=1)
    adversary: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> Amount:
        if self.budget == "matched" and self.total is None:
            raise ValueError("budget matched needs total")
        if self.budget != "matched" and (not self.base or self.restoration is None or self.adversary is None):
            raise ValueError(f"budget {self.budget} needs base, restoration and adversary")
        return self


class Supervision(Frozen):
    """How a profile trains a network on labels (recipe ``supervised``).

    Attributes:
        unit: ``steps`` or ``epochs``.
        count: How many.
        batch: Images in one optimiser step.
        optimiser: As for a phase of a pretext method.
        schedule: As for a phase of a pretext method.
        generator: Fields of the images' generator, where the images are generated (``methods.shapes``).
    """

    unit: Unit
    count: int = Field(ge=1)
    batch: int = Field(ge=2)
    optimiser: Optimiser
    schedule: Schedule
    generator: Shapes | None = None


def check_fields(name: str, fields: Mapping[str, object]) -> None:
    """Check a profile's fields of a term; those of one from outside are checked with the entry that names it.

    Raises:
        ValueError: With a sentence a mistake.
    """
    if name in TERMS:
        try:
            build(name, load(TERMS[name]).role, fields)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None


class VolumeTerms(Frozen):
    """Term of recipe ``volumes`` → fields of its configuration; restoration has none of its own there."""

    visual_words: dict[str, Any] = Field(default_factory=dict)
    adversary: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fields(self) -> VolumeTerms:
        for name in ("visual_words", "adversary"):
            check_fields(name, getattr(self, name))
        return self


class Volumes(Frozen):
    """What a profile says about pretraining in 3D (recipe ``volumes``).

    Attributes:
        cube: Sides X, Y, Z of a cube, multiples of 8, X = Y.
        batch: Cubes in one optimiser step.
        amount: How long; ``matched`` alone.
        validation_every: In units of ``amount.unit``.
        validation_cubes: So many of the validation cubes, or all (null).
        optimiser: Of backbone and heads.
        schedule: Its rate's.
        terms: Term → fields of its configuration that differ from the paper's at this scale.
        autoencoder: How the features are learnt that say which scans are alike (``methods.volumes.autoencoder``).
        words: Where and how words are drawn (``methods.volumes.words``).
        options: Defaults of the recipe's options.
    """

    cube: tuple[int, int, int]
    batch: int = Field(ge=2)
    amount: Amount
    validation_every: int = Field(ge=1)
    validation_cubes: int | None = Field(default=None, ge=2)
    optimiser: Optimiser
    schedule: Schedule
    terms: VolumeTerms = Field(default_factory=lambda: VolumeTerms())
    autoencoder: Autoencoder
    words: Words
    options: VolumesOptions = Field(default_factory=VolumesOptions)

    @model_validator(mode="after")
    def _makes_sense(self) -> Volumes:
        square = self.cube[0] == self.cube[1]  # other resolutions have one side for both
        if any(side < 8 or side % 8 for side in self.cube) or not square or self.amount.budget != "matched":
            raise ValueError(
                f"found cube {list(self.cube)}, budget {self.amount.budget}; expected multiples of 8 with X = Y, and "
                "matched"
            )
        return self


class Profile(Frozen):
    """What a profile says about methods.

    Attributes:
        networks: Dimensions → name of the backbone (``methods.networks.NETWORKS``).
        cohorts: Dimensions → task whose training images are pretrained on.
        image_px: Side of a view.
        batch: Images in one optimiser step, over all devices and micro-batches.
        amount: How long.
        validation_every: In units of ``amount.unit``.
        validation_images: The first so many validation images, or all (null).
        optimisers: Discrimination term (or ``none``) → optimiser of backbone and heads. With ``per_batch``, its rates
            are those of a batch of that size and grow in proportion to the batch.
        schedules: Discrimination term (or ``none``) → schedule.
        terms: Term → fields of its configuration that differ from the paper's at this scale.
        options: Defaults of a recipe's options under this profile.
        options_of: Discrimination term (or ``none``) → defaults that hold for that base alone.
        pretrain_seeds: Discrimination term (or ``none``) → encoders of each of its pretext methods; the larger of this
            and ``params.yaml``'s counts.
        supervised: What a supervised recipe trains on → how; what is absent cannot be had under this profile.
        volumes: How methods pretrain in 3D.
    """

    networks: dict[Dimensions, Network]
    cohorts: dict[Dimensions, str]
    image_px: int = Field(ge=32, multiple_of=32)
    batch: int = Field(ge=2)
    amount: Amount
    validation_every: int = Field(ge=1)
    validation_images: int | None = Field(default=None, ge=2)
    optimisers: dict[Base, Optimiser]
    schedules: dict[Base, Schedule]
    terms: dict[TermName, dict[str, Any]] = Field(default_factory=dict)
    options: PretextOptions = Field(default_factory=PretextOptions)
    options_of: dict[Base, PretextOptions] = Field(default_factory=dict)
    pretrain_seeds: dict[Base, Count] = Field(default_factory=dict)
    supervised: dict[str, Supervision] = Field(default_factory=dict)
    volumes: Volumes | None = None

    @model_validator(mode="after")
    def _terms(self) -> Profile:
        for name, fields in self.terms.items():
            check_fields(name, fields)
        return self

    def pretext_options(self, base: str, given_by_entry: Mapping[str, object]) -> PretextOptions:
        """Return a pretext method's options: the profile's, then those of its base, then the entry's own.

        Raises:
            Mistakes: If the entry's are malformed.
        """
        of_base = self.options_of.get(base, PretextOptions())
        usual = {**given(self.options, nulls=True), **given(of_base, nulls=True)}
        return read(PretextOptions, {**usual, **given_by_entry}, "options.")

    def network(self, dimensions: int, *, zero_init_residual: bool = False) -> NetworkSpec | None:
        """Return the network of so many dimensions, or None if the profile has none."""
        name = self.networks.get(dimensions)
        if name is None:
            return None
        return NetworkSpec(name=name, in_channels=IN_CHANNELS[dimensions], zero_init_residual=zero_init_residual)


@cache
def _file() -> ProfileFile:
    loaded, lines = load_with_lines(HERE / "profiles.yaml", "profiles")
    return ProfileFile("methods/profiles.yaml", loaded["profiles"], lines)


def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles, in the order of the file."""
    return tuple(_file().profiles)


@cache
def load_profile(name: str) -> Profile:
    """Return a profile with everything it extends merged in.

    Raises:
        UnknownName: If there is none of that name, with near names.
        ConfigurationError: If the file is malformed or a profile extends itself.
    """
    return read(Profile, _file().whole(name), f"{_file().where(name)}: ", also=("extends",))


@cache
def component_versions() -> dict[str, int]:
    """Return the version of every component of ``methods/``."""
    loaded = load_yaml(HERE / "versions.yaml")
    return {name: int(component["version"]) for name, component in loaded["components"].items()}


def versions_of(*components: str) -> dict[str, int]:
    """Return the versions of the named components; "" (a term from outside, which has none) is left out."""
    known = component_versions()
    return {name: known[name] for name in sorted(components) if name}
