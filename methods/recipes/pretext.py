"""Pretext training: a discrimination term, restoration and an adversary, added phase by phase.

DiRA §3 and App. C.1. Each phase has a fresh optimiser and its own schedule, and carries on from the whole state of
the one before. A phase's configuration names nothing of the method and nothing of later phases, so a phase that two
methods share is one item and is trained once.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

from pydantic import BaseModel, Field, field_validator, model_validator

from harness.errors import ConfigurationError
from harness.spec import Frozen, MethodEntry, MethodPlan, PhasePlan
from harness.typed import Mistakes, given
from methods.options import NO_TERM, Optimiser, PretextOptions, without_effect
from methods.profiles import Amount, Profile, load_profile, versions_of
from methods.terms import Term, build, term_class, to_json

ROLES = ("discrimination", "restoration", "adversary")
SHORT = {"discrimination": "dis", "restoration": "res", "adversary": "adv"}
PSEUDO_LABELS = ("cluster", "word")  # columns of a cohort's cases.csv that no annotator made


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
        base = self.discrimination or NO_TERM
        options = scale.pretext_options(base, entry.options)
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
        rates = options.optimiser or scale.optimisers.get(base)
        schedule = options.schedule or scale.schedules.get(base)
        problems = [
            f'profile "{profile}" names no {what} for "{base}"; give options.{what} in the entry, or add it to '
            "methods/profiles.yaml"
            for what, found in (("optimiser", rates), ("schedule", schedule))
            if found is None
        ]
        problems += without_effect(entry.options, self._needs(options, roles))
        cohort = options.cohort or scale.cohorts[entry.dimensions]
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
        if problems or rates is None or schedule is None:
            raise Mistakes(problems)

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
            optimiser = at_batch(rates, batch)
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
                "schedule": given(schedule),
                "validation": {
                    "unit": amount.unit,
                    "every": scale.validation_every,
                    "images": scale.validation_images,
                },
                "selection": options.selection,
                "precision": options.precision,
                **({"channels_last": True} if options.channels_last else {}),
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
        return MethodPlan(
            phases=tuple(phases),
            encoder=encoder,
            pretrain_seeds=scale.pretrain_seeds.get(base, 1),
            budget={"rule": amount.budget, "phases": budget},
        )

    @staticmethod
    def _needs(options: PretextOptions, roles: list[str]) -> dict[str, tuple[str, bool]]:
        """Return option → what it needs to change anything, and whether this method has it."""
        of_role = {
            "discrimination": ("term", "own_length"),
            "restoration": ("restoration_distance", "restoration_target"),
            "adversary": ("adversarial_loss", "discriminator", "adversary_batch"),
        }
        needs = {name: (f"the key {role}", role in roles) for role, names in of_role.items() for name in names}
        distorted = options.distortion == "always" or (
            options.distortion == "with_restoration" and "restoration" in roles
        )
        return needs | {
            "outer_cutout": ("distorted views", distorted),
            "start_from": ("a second phase", len(roles) > 1),
            "pair_class": ("pairs: same_class", options.pairs == "same_class"),
        }

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


def at_batch(optimiser: Optimiser, batch: int) -> dict[str, Any]:
    """Return the optimiser for a batch: rates stated ``per_batch`` grow in proportion (Goyal 2017), others stay.

    Args:
        optimiser: As a profile or an entry states it.
        batch: Images in one optimiser step.
    """
    resolved = {key: value for key, value in given(optimiser).items() if key != "per_batch"}
    if optimiser.per_batch is not None:
        for rate in ("learning_rate", "one_dimensional_rate"):
            if rate in resolved:
                resolved[rate] = resolved[rate] * batch / optimiser.per_batch
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
