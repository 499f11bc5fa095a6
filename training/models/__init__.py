"""MODELS: every network by name. A new one is a file beside this one and a line in the dict.

A network is an `nn.Module` with

    Options               its settings, a `Strict` class whose ``name`` is the key below
    task, outputs         what its graph answers, and the names of the graph's outputs
    Network(options, classes)
    any_size              whether the graph may leave height and width open
    forward(images)       uint8 NxHxWx3 RGB -> what the task's loss wants
    deployed(images)      uint8 NxHxWx3 RGB -> one tensor for each of ``outputs``, as exported
    depth_groups()        parameters from the stem to the head, for training the last ones alone
"""

from typing import Any

from torch import nn

from synthdet.errors import UsageError
from training.models.attention_unet import AttentionUNet
from training.models.combined import Combined
from training.models.detector import PooledFeatures, TimmDetector
from training.models.instance_query import InstanceQuery
from training.models.intermediate_features import IntermediateFeatures
from training.schema import Strict, suggest

MODELS: dict[str, Any] = {
    "timm_detector": TimmDetector,
    "pooled_features": PooledFeatures,
    "intermediate_features": IntermediateFeatures,
    "instance_query": InstanceQuery,
    "combined": Combined,
    "attention_unet": AttentionUNet,
}


def parse_options(settings: Any) -> Strict:
    """Settings with a ``name`` of MODELS -> that model's options.

    Raises:
        ValueError: no such model, or options that do not fit it.
    """
    name = settings.get("name") if isinstance(settings, dict) else settings
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}, {suggest(str(name), MODELS)}")
    options: Strict = MODELS[name].Options.model_validate(settings)
    return options


def build_model(options: Any, classes: list[str]) -> nn.Module:
    """Options -> the network they describe, with pretrained weights where they ask for them.

    Args:
        options: an ``Options`` object of one of MODELS.
        classes: "real" first, then what is told from it.

    Raises:
        UsageError: a backbone or its weights that cannot be had.
    """
    if classes[:1] != ["real"] or len(classes) < 2:
        raise UsageError(f"classes are {classes}, expected 'real' first and one or more after it")
    network: nn.Module = MODELS[options.name](options, classes)
    return network
