"""Pretext training: a discrimination term, restoration and an adversary, added phase by phase.

DiRA §3 and App. C.1. Each phase has a fresh optimiser and its own schedule, and carries on from the whole state of
the one before. A phase's configuration names nothing of the method and nothing of later phases, so a phase that two
methods share is one item and is trained once.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from harness.errors import ConfigurationError
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from methods.profiles import Amount, Profile, load_profile, versions_of
from methods.terms import Term, build, term_class, to_json

ROLES = ("discrimination", "restoration", "adversary")
SHORT = {"discrimination": "dis", "restoration": "res", "adversary": "adv"}
PSEUDO_LABELS = ("cluster", "word")  # columns of a cohort's cases.csv that no annotator made


class PretextOptions(Frozen):
    """Choices that paper and authors' code leave open or answer differently; each moves numbers.

    Attributes:
        budget: Overrides the profile's way to share the training among phases (``matched``, ``as_paper``, ``code``);
            the profile must hold the amounts it needs.
        adversarial_loss: ``lsgan`` (code), ``bce`` or ``log`` (paper Eq. 3).
        discriminator: ``blocks_and_output`` (code) or ``four`` (paper §4.1).
        adversary_batch: Batch of the phase with the adversary; the authors' code has 16, at an unchanged learning
            rate. None keeps the profile's batch.
        restoration_distance: ``l2`` or ``l1``.
        restoration_target: ``unflip``: the target is the crop before the flip, so the flip must be undone (code; Eq.
            2 agrees); ``aligned``: the target is flipped with the view.
        outer_cutout: Whether the distortion includes the outer cutout (code) or not (paper's text).
        distortion: In which phases views are distorted: ``with_restoration`` (code), ``always`` (the control that
            "only varies the loss", §6) or ``never``.
        start_from: State of the phase before: ``last`` (code) or ``best`` (its backbone of the lowest validation
            loss, the rest from the last).
        selection: ``lowest_total_validation_loss`` (paper and code) or ``last``. A loss against a queue is not
            comparable between steps (a young queue is easy), so the lowest may be an early one.
        norm_splits: Batch norm over so many equal parts of the batch, with keys shuffled (the authors train on 4
            GPUs without synchronised batch norm); 1 is plain batch norm over the batch on one device.
        normalisation: ``none`` (code) or ``imagenet`` mean and standard deviation at the network's input.
        precision: ``float32``, or ``bf16`` or ``fp16`` (autocast; fp16 with a loss scale that adapts).
        learning_rate: Overrides the optimiser's.
        term: Fields of the discrimination term's configuration (``queue``, ``temperature``, …).
        pairs: ``same_image``: query and key are two views of one image (every base of the paper); ``same_class``: the
            key is a view of another image of the same class, which §3.1 allows ("two samples from the same cluster").
        pair_class: For ``same_class``, the column of the cohort's ``cases.csv`` that says the class: a pseudo-label
            (``cluster`` or ``word``), or a label, which the entry must own up to in ``saw_labels_of``.
        optimiser: Overrides the profile's; needed for a term that the profile does not know.
        schedule: Likewise.
        own_length: Length of the base's own schedule in the profile's unit, under ``as_paper`` and ``code``; likewise.
    """

    budget: Literal["matched", "as_paper", "code"] | None = None
    adversarial_loss: Literal["lsgan", "bce", "log"] = "lsgan"
    discriminator: Literal["blocks_and_output", "four"] = "blocks_and_output"
    adversary_batch: int | None = Field(default=None, ge=2)
    restoration_distance: Literal["l2", "l1"] = "l2"
    restoration_target: Literal["unflip", "aligned"] = "unflip"
    outer_cutout: bool = True
    distortion: Literal["with_restoration", "always", "never"] = "with_restoration"
    start_from: Literal["last", "best"] = "last"
    selection: Literal["lowest_total_validation_loss", "last"] = "lowest_total_validation_loss"
    norm_splits: int = Field(default=1, ge=1)
    normalisation: Literal["none", "imagenet"] = "none"
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    learning_rate: float | None = Field(default=None, gt=0)
    term: dict[str, Any] = Field(default_factory=dict)
    pairs: Literal["same_image", "same_class"] = "same_image"
    pair_class: str = Field(default="cluster", min_length=1)
    optimiser: dict[str, Any] | None = None
    schedule: dict[str, Any] | None = None
    own_length: int | None = Field(default=None, ge=1)


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
        base = self.discrimination or "none"
        options = PretextOptions.model_validate({**scale.options, **scale.options_of.get(base, {}), **entry.options})
        term = None if self.discrimination is None else term_class(self.discrimination, "discrimination")
        network = {
            "name": scale.networks.get(entry.dimensions),
            "in_channels": 3,
            "zero_init_residual": bool(getattr(term, "zero_init_residual", False)),
        }
        weights = {"discrimination": 1.0, "restoration": self.restoration, "adversary": self.adversary}
        roles = [
            role
            for role in ROLES
            if (self.discrimination is not None if role == "discrimination" else weights[role] > 0)
        ]
        trains_decoder = "restoration" in roles and entry.transfer == "encoder_decoder"
        encoder = {
            "obtain": "methods.obtain:backbone",
            "network": network,
            "encoder": "trained",
            "decoder": "trained" if trains_decoder else "fresh",
            "versions": versions_of("networks", "recipes"),
        }
        if network["name"] is None:
            return MethodPlan(
                encoder=encoder, unavailable=f'profile "{profile}" has no network for {entry.dimensions} dimensions'
            )
        terms = self._terms(scale, options)
        chosen = {
            what: given if given is not None else table.get(base)
            for what, given, table in (
                ("optimiser", options.optimiser, scale.optimisers),
                ("schedule", options.schedule, scale.schedules),
            )
        }
        problems = [
            f'profile "{profile}" names no {what} for "{base}"; give options.{what} in the entry, or add it to '
            "methods/profiles.yaml"
            for what, found in chosen.items()
            if found is None
        ]
        cohort = scale.cohorts[entry.dimensions]
        unlabelled = options.pairs == "same_image" or options.pair_class in PSEUDO_LABELS
        if not unlabelled and cohort not in entry.saw_labels_of:
            problems.append(
                f'options.pair_class: found "{options.pair_class}", which is no pseudo-label '
                f"({', '.join(PSEUDO_LABELS)}); expected an entry that owns up to the labels it saw; "
                f"add saw_labels_of: [{cohort}]"
            )
        amount = scale.amount if options.budget is None else scale.amount.model_copy(update={"budget": options.budget})
        if options.own_length is not None:
            amount = amount.model_copy(update={"base": {**amount.base, base: options.own_length}})
        try:
            stages = share(amount, roles, base)
        except ConfigurationError as error:
            problems.append(str(error))
        if problems:
            raise ConfigurationError("\n".join(problems))

        phases, budget = [], []
        for position, (present, count) in enumerate(stages):
            batch = scale.batch
            if "adversary" in present and options.adversary_batch is not None:
                batch = options.adversary_batch
            if batch % options.norm_splits:
                raise ConfigurationError(
                    f"found batch {batch} and norm_splits {options.norm_splits}; expected the batch to be a multiple"
                )
            distorted = options.distortion == "always" or (
                options.distortion == "with_restoration" and "restoration" in present
            )
            optimiser = at_batch(chosen["optimiser"] or {}, batch)
            if options.learning_rate is not None:
                optimiser["learning_rate"] = options.learning_rate
            used = [terms[role] for role in present]
            configuration = {
                "network": network,
                "norm_splits": options.norm_splits,
                "normalisation": options.normalisation,
                "views": {
                    "image_px": scale.image_px,
                    "distortion": distorted,
                    "outer_cutout": options.outer_cutout,
                    "target": options.restoration_target,
                    "pairs": options.pairs,
                    **({"pair_class": options.pair_class} if options.pairs == "same_class" else {}),
                },
                "terms": [
                    {"role": role, "weight": weights[role], "configuration": to_json(terms[role])} for role in present
                ],
                "start": "fresh" if position == 0 else options.start_from,
                "budget": {"unit": amount.unit, "count": count},
                "batch": batch,
                "optimiser": optimiser,
                "schedule": dict(chosen["schedule"] or {}),
                "validation": {
                    "unit": amount.unit,
                    "every": scale.validation_every,
                    "images": scale.validation_images,
                },
                "selection": options.selection,
                "precision": options.precision,
                "threads_on_cpu": 1,
                "versions": versions_of("networks", "views", "trainer", *(term.component for term in used)),
            }
            name = "+".join(SHORT[role] for role in present)
            phases.append(
                PhasePlan(
                    name=name,
                    run="methods.pretext:run_phase",
                    configuration=configuration,
                    cohort=cohort,
                )
            )
            row: dict[str, Any] = {"phase": name, amount.unit: count, "batch": batch}
            if amount.unit == "steps":
                row["images_seen"] = count * batch
            budget.append(row)
        return MethodPlan(phases=tuple(phases), encoder=encoder, budget={"rule": amount.budget, "phases": budget})

    def _terms(self, scale: Profile, options: PretextOptions) -> dict[str, Term]:
        """Build every term that may occur, with the profile's fields and then the entry's."""
        terms: dict[str, Term] = {
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


def at_batch(optimiser: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """Return the optimiser for a batch: rates stated ``per_batch`` grow in proportion (Goyal 2017), others stay.

    Args:
        optimiser: As a profile or an entry states it.
        batch: Images in one optimiser step.
    """
    resolved = {key: value for key, value in optimiser.items() if key != "per_batch"}
    if "per_batch" in optimiser:
        for rate in ("learning_rate", "one_dimensional_rate"):
            if rate in resolved:
                resolved[rate] = resolved[rate] * batch / optimiser["per_batch"]
    return resolved


def share(amount: Amount, roles: list[str], base: str) -> list[tuple[tuple[str, ...], int]]:
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
    chain: list[tuple[str, ...]] = [("discrimination",)] if dis else []
    if res:
        chain.append((*chain[-1], "restoration") if dis else ("restoration",))
    if "adversary" in roles:
        chain.append((*chain[-1], "adversary"))

    if amount.budget == "matched":
        if amount.total is None:
            raise ConfigurationError('budget "matched" needs a total amount; add it to the profile or take another')
        quarter = Fraction(1, 4)
        shares: list[Fraction] = {
            1: [Fraction(1)],
            2: [quarter, 3 * quarter] if dis else [3 * quarter, quarter],
            3: [quarter, 2 * quarter, quarter],
        }[len(chain)]
        counts = [int(part * amount.total) for part in shares]
        counts[-1] += amount.total - sum(counts)
        return list(zip(chain, counts, strict=True))

    if base not in amount.base or amount.restoration is None or amount.adversary is None:
        raise ConfigurationError(
            f'budget "{amount.budget}" needs base.{base}, restoration and adversary amounts; '
            "add them to the profile or take another budget"
        )
    own = {"discrimination": amount.base[base], "restoration": amount.restoration, "adversary": amount.adversary}
    if amount.budget == "code" and dis and res:
        chain = chain[1:]
    return [(present, own[present[-1]]) for present in chain]
