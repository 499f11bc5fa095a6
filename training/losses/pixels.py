"""Losses of localization: pure functions of logits and masks."""

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTHING = 1.0  # pixels, so that the Dice of a region of a few pixels has a bounded slope


def pixel_cross_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy, mean over all pixels of all pictures, authentic ones too.

    Args:
        logits: floating NxHxW, > 0 means forged.
        masks: bool NxHxW, True where forged.

    Returns:
        float32 scalar, from 0.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), masks.float())


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """One minus the soft Dice coefficient, mean over the pictures in which something is forged.

    ``1 - (2 sum(p m) + s) / (sum(p) + sum(m) + s)`` with p the logistic of the logits and s
    `SMOOTHING` (Milletari et al., "V-Net", 2016). An empty mask does not count: its Dice is near 0
    whatever is predicted until nearly nothing is, so its slope vanishes where it is needed. What
    is authentic is taught by the cross-entropy.

    Args:
        logits: floating NxHxW.
        masks: bool NxHxW.

    Returns:
        float32 scalar, 0 to 1; 0 where every mask is empty.
    """
    probabilities, truth = logits.float().sigmoid().flatten(1), masks.float().flatten(1)
    both = (probabilities * truth).sum(dim=1)
    total = probabilities.sum(dim=1) + truth.sum(dim=1)
    lost = 1 - (2 * both + SMOOTHING) / (total + SMOOTHING)
    forged = (truth.amax(dim=1) > 0).float()
    return (lost * forged).sum() / forged.sum().clamp(min=1)


def localization_loss(
    logits: Tensor,
    masks: Tensor,
    scores: Tensor | None,
    labels: Tensor,
    mask_weight: float,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy of the pictures + ``mask_weight`` x (cross-entropy of pixels + Dice).

    Args:
        logits: floating NxHxW, of pixels.
        masks: bool NxHxW.
        scores: floating Nx2, of pictures; None for a network without a classification head, whose
            loss is that of the masks alone.
        labels: int64 N, 1 for a forged picture.
        mask_weight: see above.
        smoothing: of the pictures' labels.
    """
    loss = mask_weight * (pixel_cross_entropy(logits, masks) + dice_loss(logits, masks))
    if scores is None:
        return loss
    return loss + F.cross_entropy(scores.float(), labels, label_smoothing=smoothing)


def logit_counts(logits: Tensor, masks: Tensor, edges: Tensor) -> Tensor:
    """How many authentic and how many forged pixels of each picture lie in each bin of logits.

    Args:
        logits: floating NxHxW.
        masks: bool NxHxW.
        edges: float32 B-1, ascending; a logit on an edge belongs to the bin above.

    Returns:
        int64 Nx2xB, authentic pixels first.
    """
    pictures, bins = len(logits), len(edges) + 1
    place = torch.bucketize(logits.float().flatten(1), edges, right=True)
    place += bins * masks.flatten(1).long()
    place += 2 * bins * torch.arange(pictures, device=logits.device)[:, None]
    counts = torch.bincount(place.flatten(), minlength=2 * bins * pictures)
    return counts.view(pictures, 2, bins)
