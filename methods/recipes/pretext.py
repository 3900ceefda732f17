"""Pretext training: a discrimination term, restoration and an adversary, added phase by phase.

DiRA §3 and App. C.1. Each phase has a fresh optimiser and its own schedule, and carries on from the whole state of
the one before. A phase's configuration names nothing of the method and nothing of later phases, so a phase that two
methods share is one item and is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from pydantic import BaseModel, Field, field_validator, model_validator

from harness.errors import ConfigurationError
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from harness.typed import Mistakes
from methods.options import NO_TERM, Optimiser, PretextOptions, Schedule, without_effect
from methods.phases import (
    Budget,
    ImageConfiguration,
    ImageViews,
    NetworkSpec,
    Role,
    TermSpec,
    ValidationSpec,
    without_nulls,
)
from methods.profiles import Amount, Profile, load_profile, versions_of
from methods.recipes.parts import Decoder, at_batch, budget_row, handed_over, no_network
from methods.terms import Term, build, term_class

ROLES: tuple[Role, ...] = ("discrimination", "restoration", "adversary")
SHORT: Mapping[Role, str] = {"discrimination": "dis", "restoration": "res", "adversary": "adv"}
PSEUDO_LABELS = ("cluster", "word")  # columns of a cohort's cases.csv that no annotator made
Stage = tuple[tuple[Role, ...], int]  # the roles of a phase's terms, and its length


@dataclass(frozen=True)
class Chosen:
    """What profile and entry say together, checked: what all phases of a method share.

    Attributes:
        scale: The profile.
        options: The profile's, then those of the base, then the entry's own.
        network: The backbone.
        cohort: Task whose training images are pretrained on.
        amount: How long.
        terms: Every term that may occur.
        weights: Of the terms.
        optimiser: Of backbone and heads, before the batch is known.
        schedule: Its rate's.
    """

    scale: Profile
    options: PretextOptions
    network: NetworkSpec
    cohort: str
    amount: Amount
    terms: Mapping[Role, Term]
    weights: Mapping[Role, float]
    optimiser: Optimiser
    schedule: Schedule


class PretextRecipe(Frozen):
    """Keys of an entry with ``recipe: pretext``.

    Attributes:
        discrimination: Short name or dotted path of the discrimination term, or null.
        restoration: Its weight (10 in the paper); 0 leaves it out.
        adversary: Its weight (0.001 in the paper); 0 leaves it out.
    """

    Options: ClassVar[type[BaseModel] | None] = PretextOptions

    discrimination: str | None = None
    restoration: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    adversary: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @field_validator("discrimination")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                term_class(value, "discrimination")
            except ConfigurationError as error:
                raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _something_to_learn(self) -> PretextRecipe:
        if self.discrimination is None and self.restoration == 0:
            raise ValueError(
                "found neither discrimination nor restoration; expected at least one; "
                'add "discrimination: moco_v2" or "restoration: 10"'
            )
        if self.adversary > 0 and self.restoration == 0:
            raise ValueError(
                f"found adversary {self.adversary} without restoration; expected restored images to judge; "
                'add "restoration: 10" or leave the adversary out'
            )
        return self

    @property
    def base(self) -> str:
        """The discrimination term, or what stands for its absence."""
        return self.discrimination or NO_TERM

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles that the method has, in the order of ``ROLES``."""
        present = {
            "discrimination": self.discrimination is not None,
            "restoration": self.restoration > 0,
            "adversary": self.adversary > 0,
        }
        return tuple(role for role in ROLES if present[role])

    def resolve(self, entry: MethodEntry, profile: str) -> MethodPlan:
        """Return the chain of phases and how a trial obtains the backbone.

        Raises:
            ConfigurationError: If options and profile do not fit together, every error at once.
        """
        if entry.dimensions != 2:
            raise ConfigurationError(
                f"dimensions: found {entry.dimensions}; expected 2 for recipe pretext; correct it or take volumes"
            )
        scale = load_profile(profile)
        options = scale.pretext_options(self.base, entry.options)
        term = None if self.discrimination is None else term_class(self.discrimination, "discrimination")
        network = scale.network(2, zero_init_residual=bool(getattr(term, "zero_init_residual", False)))
        decoder: Decoder = "trained" if self.restoration > 0 and entry.transfer == "encoder_decoder" else "fresh"
        if network is None:
            return no_network(profile, 2, decoder=decoder)
        chosen, stages = self._chosen(entry, profile, scale, options, network)
        phases, rows = [], []
        for position, stage in enumerate(stages):
            configuration = _configuration(chosen, stage, first=position == 0)
            name = "+".join(SHORT[role] for role in stage[0])
            run = "methods.pretext:run_phase"
            phases.append(PhasePlan(name=name, run=run, configuration=configuration.dump(), cohort=chosen.cohort))
            rows.append(budget_row(name, configuration.budget, configuration.batch))
        return MethodPlan(
            phases=tuple(phases),
            encoder=handed_over(network, decoder=decoder).dump(),
            pretrain_seeds=scale.pretrain_seeds.get(self.base, 1),
            budget={"rule": chosen.amount.budget, "phases": rows},
        )

    def _chosen(
        self, entry: MethodEntry, profile: str, scale: Profile, options: PretextOptions, network: NetworkSpec
    ) -> tuple[Chosen, list[Stage]]:
        """Bring profile and entry together and share the budget; every mistake at once."""
        terms = self._terms(scale, options)
        optimiser = options.optimiser or scale.optimisers.get(self.base)
        schedule = options.schedule or scale.schedules.get(self.base)
        cohort = options.cohort or scale.cohorts[entry.dimensions]
        problems = [
            f'profile "{profile}" names no {what} for "{self.base}"; give options.{what} in the entry, or add it to '
            "methods/profiles.yaml"
            for what, found in (("optimiser", optimiser), ("schedule", schedule))
            if found is None
        ]
        problems += without_effect(entry.options, self._needs(options))
        problems += _labels_seen(entry, options, cohort)
        amount, stages = _amount(scale, options, self.base), []
        try:
            stages = share(amount, self.roles, self.base)
        except ConfigurationError as error:
            problems.append(str(error))
        if problems or optimiser is None or schedule is None:
            raise Mistakes(problems)
        weights: dict[Role, float] = {
            "discrimination": 1.0,
            "restoration": self.restoration,
            "adversary": self.adversary,
        }
        return Chosen(scale, options, network, cohort, amount, terms, weights, optimiser, schedule), stages

    def _needs(self, options: PretextOptions) -> dict[str, tuple[str, bool]]:
        """Return option → what it needs to change anything, and whether this method has it."""
        of_role: dict[Role, tuple[str, ...]] = {
            "discrimination": ("term", "own_length"),
            "restoration": ("restoration_distance", "restoration_target"),
            "adversary": ("adversarial_loss", "discriminator", "adversary_batch"),
        }
        needs = {name: (f"the key {role}", role in self.roles) for role, names in of_role.items() for name in names}
        return needs | {
            "outer_cutout": ("distorted views", _distorts(options, self.roles)),
            "start_from": ("a second phase", len(self.roles) > 1),
            "pair_class": ("pairs: same_class", options.pairs == "same_class"),
        }

    def _terms(self, scale: Profile, options: PretextOptions) -> dict[Role, Term]:
        """Build every term that may occur, with the profile's fields and then the entry's."""
        terms: dict[Role, Term] = {
            "restoration": build(
                "restoration",
                "restoration",
                {"distance": options.restoration_distance, **scale.terms.get("restoration", {})},
            ),
            "adversary": build(
                "adversary",
                "adversary",
                {
                    "loss": options.adversarial_loss,
                    "layers": options.discriminator,
                    **scale.terms.get("adversary", {}),
                },
            ),
        }
        if self.discrimination is not None:
            terms["discrimination"] = build(
                self.discrimination, "discrimination", {**scale.terms.get(self.discrimination, {}), **options.term}
            )
        return terms


def _labels_seen(entry: MethodEntry, options: PretextOptions, cohort: str) -> list[str]:
    """Say that pairs are chosen by labels that the entry does not declare, if they are."""
    if options.pairs == "same_image" or options.pair_class in PSEUDO_LABELS or cohort in entry.saw_labels_of:
        return []
    return [
        f'options.pair_class: found "{options.pair_class}", which is no pseudo-label '
        f"({', '.join(PSEUDO_LABELS)}); expected an entry that declares the labels it saw; "
        f"add saw_labels_of: [{cohort}]"
    ]


def _distorts(options: PretextOptions, roles: tuple[Role, ...]) -> bool:
    """Say whether views are distorted where these roles are present."""
    return options.distortion == "always" or (options.distortion == "with_restoration" and "restoration" in roles)


def _amount(scale: Profile, options: PretextOptions, base: str) -> Amount:
    """Return how long the method trains: as the profile says, but for what the options override."""
    amount = scale.amount if options.budget is None else scale.amount.model_copy(update={"budget": options.budget})
    if options.own_length is None:
        return amount
    return amount.model_copy(update={"base": {**amount.base, base: options.own_length}})


def _batch(chosen: Chosen, roles: tuple[Role, ...]) -> int:
    """Return the batch of a phase.

    Raises:
        ConfigurationError: If it does not divide into the parts that batch norm takes.
    """
    batch, options = chosen.scale.batch, chosen.options
    if "adversary" in roles and options.adversary_batch is not None:
        batch = options.adversary_batch
    if batch % options.norm_splits:
        raise ConfigurationError(
            f"found batch {batch} and norm_splits {options.norm_splits}; expected the batch to be a multiple"
        )
    return batch


def _configuration(chosen: Chosen, stage: Stage, *, first: bool) -> ImageConfiguration:
    """Return the configuration of a phase."""
    (roles, count), scale, options = stage, chosen.scale, chosen.options
    batch, unit = _batch(chosen, roles), chosen.amount.unit
    made = ImageConfiguration(
        network=chosen.network,
        norm_splits=options.norm_splits,
        normalisation=options.normalisation,
        views=_views(chosen, roles),
        terms=tuple(TermSpec.of(role, chosen.weights[role], chosen.terms[role]) for role in roles),
        start="fresh" if first else options.start_from,
        budget=Budget(unit=unit, count=count),
        batch=batch,
        optimiser=at_batch(chosen.optimiser, batch, options.learning_rate),
        schedule=without_nulls(chosen.schedule),
        validation=ValidationSpec(unit=unit, every=scale.validation_every, images=scale.validation_images),
        selection=options.selection,
        precision=options.precision,
        threads_on_cpu=1,
        versions=versions_of("networks", "views", "trainer", *(chosen.terms[role].component for role in roles)),
    )
    usual = PretextOptions()  # what is as usual is left out of a phase, and so out of its id
    said = {name: getattr(options, name) for name in ("channels_last", "kernels")}
    return made.model_copy(update={name: value for name, value in said.items() if value != getattr(usual, name)})


def _views(chosen: Chosen, roles: tuple[Role, ...]) -> ImageViews:
    options = chosen.options
    made = ImageViews(
        image_px=chosen.scale.image_px,
        distortion=_distorts(options, roles),
        outer_cutout=options.outer_cutout,
        target=options.restoration_target,
        pairs=options.pairs,
    )
    return made.model_copy(update={"pair_class": options.pair_class}) if options.pairs == "same_class" else made


def share(amount: Amount, roles: tuple[Role, ...], base: str) -> list[Stage]:
    """Share a budget among phases.

    ``matched`` (equal images seen): discrimination 1; with restoration ¼ + ¾; with the adversary ¼ + ½ + ¼. Without a
    discrimination term the first phase's share goes to restoration. ``as_paper``: the base's own schedule, then
    more on top (DiRA App. C.1). ``code``: the authors' two stages.

    Args:
        amount: What the profile grants.
        roles: The method's roles, in the order of ``ROLES``.
        base: Name of the discrimination term, or ``none``.

    Returns:
        For each phase, the roles of its terms and its length in ``amount.unit``.

    Raises:
        ConfigurationError: If the profile lacks an amount that the rule needs.
    """
    dis, res = "discrimination" in roles, "restoration" in roles
    chain: list[tuple[Role, ...]] = [("discrimination",)] if dis else []
    if res:
        chain.append((*chain[-1], "restoration") if dis else ("restoration",))
    if "adversary" in roles:
        chain.append((*chain[-1], "adversary"))

    if amount.budget == "matched":
        return list(zip(chain, _matched(amount, len(chain), starts_alone=dis), strict=True))
    if base not in amount.base or amount.restoration is None or amount.adversary is None:
        raise ConfigurationError(
            f'budget "{amount.budget}" needs base.{base}, restoration and adversary amounts; '
            "add them to the profile or take another budget"
        )
    own: dict[Role, int] = {
        "discrimination": amount.base[base],
        "restoration": amount.restoration,
        "adversary": amount.adversary,
    }
    if amount.budget == "code" and dis and res:
        chain = chain[1:]
    return [(present, own[present[-1]]) for present in chain]


def _matched(amount: Amount, phases: int, *, starts_alone: bool) -> list[int]:
    """Share the total among phases; ``starts_alone``: the first has the discrimination term alone."""
    if amount.total is None:
        raise ConfigurationError('budget "matched" needs a total amount; add it to the profile or take another')
    quarter = Fraction(1, 4)
    shares: list[Fraction] = {
        1: [Fraction(1)],
        2: [quarter, 3 * quarter] if starts_alone else [3 * quarter, quarter],
        3: [quarter, 2 * quarter, quarter],
    }[phases]
    counts = [int(part * amount.total) for part in shares]
    counts[-1] += amount.total - sum(counts)
    return counts
