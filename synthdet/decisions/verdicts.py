"""Logits in words, with the error that the words may have.

A model's weights carry "inconclusive" bands by stated error rate
(`synthdet.decisions.calibration`), fitted on images that are named beside them. This module picks
the band for the rate that is asked for and says in a sentence what it promises, and of which
images.
"""

import math
from dataclasses import dataclass
from typing import Literal

from synthdet.decisions import calibration
from synthdet.errors import UsageError
from synthdet.inference.weights import WeightsConfig

USUAL_ERROR = 0.05  # taken where nothing is asked for
Verdict = Literal["real", "inconclusive", "synthetic", "no answer"]
VERDICTS: tuple[Verdict, ...] = ("real", "inconclusive", "synthetic", "no answer")


@dataclass(frozen=True)
class VerdictRule:
    """How a model's logits become words.

    Attributes:
        max_error: share of the real images that may be called synthetic, and of the synthetic
            ones real; None where the weights state no error.
        band: lower and upper limit of "inconclusive" on the logit; both 0 without a stated error,
            infinite where the weights state another one than is to be kept.
        even_odds: logit of calibrated probability one half.
        holds_for: the images for which the error is stated, in words.
    """

    max_error: float | None
    band: tuple[float, float]
    even_odds: float
    holds_for: str

    def verdict(self, logit: float, status: str = "ok") -> Verdict:
        """One image's logit, and whether it is an answer at all -> what may be said of it."""
        if status != "ok":
            return "no answer"
        if self.max_error is None:  # above 0 is synthetic, as in every contest
            return "synthetic" if logit > 0 else "real"
        return calibration.verdict(logit, self.band)

    def probability(self, logit: float) -> float:
        """P(synthetic), calibrated, if both were equally frequent."""
        return float(calibration.probability(logit, self.even_odds))

    def __str__(self) -> str:
        """What the verdicts promise, in a sentence or two."""
        if self.max_error is None:
            return (
                "The weights state no error rate: a verdict is the sign of the logit, and how "
                "often it is wrong is unknown."
            )
        share = f"{100 * self.max_error:.3g} %"
        if math.isinf(self.band[1]):
            return f"The weights state no error rate of {share} or less: all is inconclusive."
        return (
            f"At most {share} of the real pictures are called synthetic, and at most {share} of "
            f"the synthetic ones real, for pictures like {self.holds_for}. Nothing is stated for "
            "others, such as pictures of generators that the model has not met."
        )


def verdict_rule(config: WeightsConfig, max_error: float | None = None) -> VerdictRule:
    """The rule that the weights carry for an error rate.

    Where there is no band for exactly this rate, the next smaller rate that has one is kept.

    Args:
        config: of a detector.
        max_error: the rate asked for; None takes `USUAL_ERROR`, or no error rate where the
            weights state none as small.

    Raises:
        UsageError: the rate is smaller than any that the weights state.
    """
    even_odds = config.thresholds.get("even_odds", 0.0)
    rates = sorted(float(rate) for rate in config.conformal)
    kept = [rate for rate in rates if rate <= (max_error or USUAL_ERROR)]
    if kept:
        low, high = config.conformal[f"{kept[-1]:g}"]
        return VerdictRule(kept[-1], (low, high), even_odds, _holds_for(config))
    if max_error is None:
        return VerdictRule(None, (0.0, 0.0), even_odds, "")
    stated = ", ".join(f"{rate:g}" for rate in rates) or "none"
    raise UsageError(
        f"--max-error {max_error:g}: the weights of {config.name} state error rates of {stated}; "
        "give one of these, or fit the band with scripts/evaluate.py calibrate"
    )


def rule_beside(config: WeightsConfig, rule: VerdictRule) -> VerdictRule:
    """The rule of a second detector, some of whose verdicts stand among those of another's rule.

    It promises no less: where the weights in ``config`` state no error as small, all is
    inconclusive.
    """
    even_odds = config.thresholds.get("even_odds", 0.0)
    if rule.max_error is None:
        return VerdictRule(None, (0.0, 0.0), even_odds, "")
    try:
        return verdict_rule(config, rule.max_error)
    except UsageError:
        return VerdictRule(rule.max_error, (-math.inf, math.inf), even_odds, "")


def _holds_for(config: WeightsConfig) -> str:
    note = config.provenance.get("calibration")
    if isinstance(note, dict) and "data" in note:
        return f"those of {note['data']}, on the calibrating half of which the band was fitted"
    return f"the validation pictures of {config.name} {config.version}, which its model card names"
