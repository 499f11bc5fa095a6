"""What a run is made of. The fields here are the keys of the YAML files in `training/configs`.

python training/train.py --config training/configs/NAME.yaml optimiser.lr=3e-4 seed=1
"""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from synthdet.errors import UsageError, WeightsError
from synthdet.inference.weights import Storage
from synthdet.preprocessing.detector_views import InputSpec
from training.data.augmentation.augment import AugmentConfig
from training.data.forgery.recipe import ForgeRecipe
from training.data.readers.localization import LOCALIZATION_READERS
from training.losses.sets import Matching, Weights
from training.models import MODELS, parse_options
from training.schema import Share, Strict, override, put, read_yaml, suggest, validate

Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Condition = Literal["native", "organisers"]
Level = Literal["label", "set", "family", "source"]
MONITORED = ("auc", "balanced_accuracy")  # figures of which more is better
Names = Annotated[tuple[str, ...], Field(strict=False)]  # written as a YAML list


class SetConfig(Strict):
    """One data set.

    Attributes:
        path: a manifest CSV, or the folder of a data set.
        reader: how it is laid out, a key of `training.data.readers.manifest.READERS`.
        weight: share of its draws beside the other sets', within each class.
        source: name for pictures whose layout tells no source; without it, the folder's name.
        aligned: the set holds fakes that were made from real pictures of the others (see
            `training/data/aligned/regenerate.py`). They train and never judge, are of the class
            "unknown fake" where classes are told apart, and leave with the family or the pictures
            that they were made from.
    """

    path: str
    reader: str = "manifest"
    weight: Annotated[float, Field(gt=0)] = 1.0
    source: str | None = None
    aligned: bool = False

    @property
    def title(self) -> str:
        """What the set is called where results are told: its folder's name."""
        path = Path(self.path).absolute()
        return path.parent.name if path.suffix == ".csv" else path.name


class DataConfig(Strict):
    """Which pictures are seen, how often, and which are kept for judging.

    Attributes:
        sets: the data sets; rows of split ``train`` train, those of ``validation`` judge.
        validation: names of the splits that judge.
        conditions: under what the judging pictures are seen, keys of `dataset.CONDITIONS`.
        validation_pictures: most pictures that judge after each epoch, a fixed sample; the
            final evaluation always takes all.
        allowed_sources: with a list, a source that is not on it stops the run.
        holdout_families, holdout_sources: left out of training and validation, real and fake,
            and scored at the end; other views and copies of these pictures are left out too.
        allow_missing: go on without files that a manifest names and that are not there, however
            many they are; without it, a tenth of a set or a whole source stops the run.
        balance: levels at which groups share the draws equally, outermost first.
        balance_power: 1 gives groups of a level equal shares, 0 shares by their size.
        balance_cap: no picture is drawn more than so many times as often as the average one of
            its class; null for no limit.
        pairs: a fake of a family that has reals too is drawn together with one of these, into the
            same batch.
        samples_per_epoch: draws in one epoch; 0 takes the number of training pictures.
        classes: ``binary``, or ``family``: one class a fake family beside "real".
        min_class_pictures: fake families with fewer share the class "unknown fake".
        unknown_fake: fake families that belong to "unknown fake" whatever their size.
        stored_views: for a frozen network: how many augmented views of each picture are turned
            into features once, before training, which then draws from these. 0 makes a new view
            at each draw and sends it through the whole network.
    """

    sets: Annotated[list[SetConfig], Field(min_length=1)]
    validation: Names = ("val",)
    conditions: Annotated[tuple[Literal["native", "organisers"], ...], Field(strict=False)] = (
        "native",
        "organisers",
    )
    validation_pictures: Positive = 2000
    allowed_sources: Names | None = None
    holdout_families: Names = ()
    holdout_sources: Names = ()
    allow_missing: bool = False
    balance: Annotated[tuple[Level, ...], Field(strict=False)] = ("label", "set", "family")
    balance_power: Share = 1.0
    balance_cap: Annotated[float, Field(ge=1)] | None = None
    pairs: bool = False
    samples_per_epoch: Annotated[int, Field(ge=0)] = 0
    classes: Literal["binary", "family"] = "binary"
    min_class_pictures: Positive = 100
    unknown_fake: Names = ()
    stored_views: Annotated[int, Field(ge=0)] = 0


class ViewConfig(Strict):
    """The views that the model wants, as `InputSpec` of the run time describes them.

    Attributes:
        size, native, reduced, reduced_weight: see `InputSpec`; used when judging and running.
        enlarge: see `InputSpec`; used when training too.
        train_reduced: share of the training samples that show the reduced view, of pictures that
            have one.
    """

    size: int = 200
    native: int = 1
    reduced: int = 0
    reduced_weight: float = 0.5
    enlarge: bool = False
    train_reduced: Share = 0.0

    @model_validator(mode="after")
    def _is_spec(self) -> "ViewConfig":
        try:
            self.spec()
        except WeightsError as error:
            raise ValueError(str(error).partition(":")[0]) from error
        return self

    def spec(self) -> InputSpec:
        """The `InputSpec` that the exported model carries."""
        return InputSpec(self.size, self.native, self.reduced, self.reduced_weight, self.enlarge)


class PhaseConfig(Strict):
    """One stage of training; its best weights are saved as ``<run_name>_<name>_model.pth``.

    Attributes:
        name: of the stage and of its file.
        epochs: how often ``data.samples_per_epoch`` samples are drawn.
        trainable: ``head``, ``all``, or how many of the last backbone stages besides the head.
        lr: highest learning rate, of the head.
        backbone_lr: the backbone's, as a share of ``lr``.
    """

    name: str = "detector"
    epochs: Positive
    trainable: Literal["head", "all"] | Positive = "all"
    lr: Annotated[float, Field(gt=0)]
    backbone_lr: Annotated[float, Field(gt=0)] = 1.0


class OptimiserConfig(Strict):
    """AdamW under a cosine schedule with linear warm-up.

    Attributes:
        weight_decay: on weights of two and more dimensions.
        warmup: share of the phase's steps.
        clip: largest norm of the gradient; 0 for no limit.
        ema: decay of the moving average of the weights, which is what is judged and exported.
        label_smoothing: of the cross-entropy.
        patience: epochs without a better ``monitor`` before a phase ends early; 0 for never.
        monitor: the validation figure that chooses the best weights, higher is better.
    """

    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    warmup: Share = 0.05
    clip: Annotated[float, Field(ge=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    label_smoothing: Share = 0.0
    patience: Annotated[int, Field(ge=0)] = 0
    monitor: str = "val_organisers/auc"


class MachineConfig(Strict):
    """How the run is spread over hardware; of no effect on the sequence of samples.

    Attributes:
        batch_size: samples in one step of one device.
        accumulate: batches whose gradients make one step.
        workers: decoding processes of each device.
        accelerator, devices, nodes, precision: as Lightning's Trainer names them.
        feature_precision: what features to be stored are computed in, see ``data.stored_views``;
            bf16 is faster on CPUs and GPUs with units for it.
        feature_backend: what computes them; "openvino" is twice as fast on CPUs with bf16.
        checkpoint_every: steps between two checkpoints to resume from.
    """

    batch_size: Positive = 64
    accumulate: Positive = 1
    workers: Annotated[int, Field(ge=0)] = 2
    accelerator: str = "auto"
    devices: int | str = "auto"
    nodes: Positive = 1
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"
    feature_precision: Literal["fp32", "bf16"] = "fp32"
    feature_backend: Literal["torch", "openvino"] = "torch"
    checkpoint_every: Positive = 200


class ExportConfig(Strict):
    """What the weights folder says beside the graph.

    Attributes:
        version: of the weights, for a person.
        store: the narrowest type that large matrices are stored in, see `training.graphs.storage`.
            With int8, what a phase has trained is rounded to it before it is saved and judged.
        f1_threshold: also store the F1-best threshold on validation (MediaEval files only).
        checkpoint: a second name for the file of the last phase's network, where a contest's
            rules ask for one.
    """

    version: str = "1"
    store: Storage = "fp32"
    f1_threshold: bool = False
    checkpoint: str | None = None


class RunConfig(Strict):
    """A run of `training/train.py`, whatever its task; a class for each task adds the rest.

    Attributes:
        task: what the network answers, a key of `training.tasks.TASKS`.
        run_name: of the run's folder and files; without it, the recipe's file name.
        output: folder that holds the folders of runs.
        folds: 1 for one model; tasks that know more say so.
        start: a *_model.pth of the same model whose weights the first phase begins with, to go on
            from what others have trained.
        smoke: settings that ``--smoke`` puts over these, as ``a.b: value``.
    """

    task: str
    run_name: str
    output: str = "runs"
    seed: int = 0
    folds: Literal[1] = 1
    start: str | None = None
    model: SerializeAsAny[Strict]
    views: ViewConfig = ViewConfig()
    phases: Annotated[list[PhaseConfig], Field(min_length=1)]
    optimiser: OptimiserConfig = OptimiserConfig()
    machine: MachineConfig = MachineConfig()
    export: ExportConfig = ExportConfig()
    smoke: dict[str, Any] = Field(default_factory=dict)

    @field_validator("model", mode="before")
    @classmethod
    def _parse_model(cls, settings: Any) -> Strict:
        return settings if isinstance(settings, Strict) else parse_options(settings)

    @model_validator(mode="after")
    def _fits_its_task(self) -> "RunConfig":
        task = MODELS[self.model.name].task
        if self.views.enlarge and self.task != "detector":
            raise ValueError(
                f"views.enlarge is for detectors, and the task {self.task!r}: what sticks out of a "
                "small picture is always filled with its mirror image there"
            )
        if task != self.task:
            raise ValueError(f"model {self.model.name!r} is a {task}, and the task {self.task!r}")
        if self.optimiser.monitor not in self.measured:
            hint = suggest(self.optimiser.monitor, self.measured)
            raise ValueError(f"optimiser.monitor is {self.optimiser.monitor!r}, {hint}")
        return self

    @property
    @abstractmethod
    def measured(self) -> list[str]:
        """The validation figures that may choose the best weights; higher is better."""

    @property
    def folder(self) -> Path:
        """Where the run writes everything."""
        return Path(self.output) / self.run_name


class DetectorConfig(RunConfig):
    """A run that makes a detector.

    Attributes:
        folds: 1 for one model judged on ``data.validation``; more for as many models, each
            judged on its own share of the training pictures, exported as one average.
    """

    task: Literal["detector"] = "detector"
    folds: Positive = 1
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()

    @model_validator(mode="after")
    def _stores_what_never_changes(self) -> "DetectorConfig":
        if self.data.stored_views and not getattr(self.model, "frozen", False):
            raise ValueError(
                "data.stored_views needs a frozen network, whose features never change: set "
                "model.frozen=true, or data.stored_views=0"
            )
        return self

    @model_validator(mode="after")
    def _keeps_pairs_together(self) -> "DetectorConfig":
        if self.data.pairs and self.machine.batch_size % 2:
            raise ValueError(
                f"data.pairs puts two pictures into one batch, and machine.batch_size is "
                f"{self.machine.batch_size}: expected an even number"
            )
        return self

    @property
    def measured(self) -> list[str]:
        """The figures of `training.tasks.detector.judge` under every condition."""
        return [f"val_{name}/{key}" for name in self.data.conditions for key in MONITORED]


class PairSetConfig(Strict):
    """One data set of a localizer.

    Attributes:
        path: what the reader wants: a folder, or a CSV.
        reader: how it is laid out, a key of `LOCALIZATION_READERS` in
            `training.data.readers.localization`. Samples with a mask are used as they are; those
            without are photographs, which are forged.
        weight: share of its draws beside the other sets'.
        split: instead of what the layout says of its samples, such as ``train``.
        where: column -> value that a row must have; for the reader ``photographs`` alone.
    """

    path: str
    reader: str = "manifest"
    weight: Annotated[float, Field(gt=0)] = 1.0
    split: str | None = None
    where: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_reader(self) -> "PairSetConfig":
        if self.reader not in LOCALIZATION_READERS:
            known = suggest(self.reader, LOCALIZATION_READERS)
            raise ValueError(f"unknown reader {self.reader!r}, {known}")
        return self


class PairDataConfig(Strict):
    """Which forged pictures and photographs are seen, and how often.

    Attributes:
        sets: the data sets; samples of split ``train`` train, those of ``validation`` judge.
        validation: names of the splits that judge.
        validation_samples: how many samples judge, the same ones every time; photographs are
            forged for it as for training.
        samples_per_epoch: draws in one epoch; 0 takes the number of training samples.
        crop: side in pixels of what is learned from; without it, ``views.size``. Smaller crops
            train faster, and networks of convolutions do not mind.
        generators: networks of regenerated kinds, as NAME=WEIGHTS; see
            `training.data.forgery.synthesis`.
    """

    sets: Annotated[list[PairSetConfig], Field(min_length=1)]
    validation: Names = ("val",)
    validation_samples: Positive = 400
    samples_per_epoch: Annotated[int, Field(ge=0)] = 0
    crop: Annotated[int, Field(ge=32)] | None = None
    generators: Names = ()


class LocalizerOptimiserConfig(OptimiserConfig):
    """`OptimiserConfig` with a localizer's figure to choose the best weights by."""

    monitor: str = "val/pixel_auc"


class LocalizerConfig(RunConfig):
    """A run that makes a localizer.

    Attributes:
        forge: how photographs are forged, and how every sample is recompressed.
        mask_weight: of the masks' loss beside the pictures', see `training.losses.pixels`.
        whole: the deployed model sees the whole picture, squeezed into one square, instead of
            overlapping squares at native resolution.
        max_side: larger pictures are reduced to this long side before the deployed model sees
            them.
        submission: what ``infer_test`` prepares: masks and scores for MediaEval's task B, or the
            one ``submission.csv`` of Aaltoes.
    """

    task: Literal["localizer"]
    data: PairDataConfig
    forge: ForgeRecipe = ForgeRecipe()
    mask_weight: Annotated[float, Field(gt=0)] = 1.0
    optimiser: LocalizerOptimiserConfig = LocalizerOptimiserConfig()
    whole: bool = False
    max_side: Positive | None = None
    submission: Literal["mediaeval-b", "aaltoes"] = "mediaeval-b"

    @property
    def measured(self) -> list[str]:
        """The figures of `training.judging.mask_evaluation.judge` that may choose."""
        return [f"val/{name}" for name in ("pixel_auc", "dice", "image_auc")]


class InstanceDataConfig(Strict):
    """Which pictures with copied regions are seen, and how often.

    Attributes:
        sets: the data sets; samples of split ``train`` alone are used.
        held_out: share of the groups (photographs, figures) that judge and calibrate; none of
            their samples is learned from.
        validation_samples: most samples that judge, the same ones every time.
        samples_per_epoch: draws in one epoch; 0 takes the number of training samples.
    """

    sets: Annotated[list[PairSetConfig], Field(min_length=1)]
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    validation_samples: Positive = 400
    samples_per_epoch: Annotated[int, Field(ge=0)] = 0


class SetLossConfig(Strict):
    """The loss of queries and regions, see `training.losses.sets`.

    Attributes:
        matching: ``hungarian``, or ``fixed`` for comparison.
        auxiliary: every layer of the decoder is judged, not the last alone.
        points: on which masks are compared.
        classes, bce, dice, none: see `training.losses.sets.Weights`.
    """

    matching: Matching = "hungarian"
    auxiliary: bool = True
    points: Positive = 1024
    classes: Weight = Weights.classes
    bce: Weight = Weights.bce
    dice: Weight = Weights.dice
    none: Weight = Weights.none

    @property
    def weights(self) -> Weights:
        """Of the parts of the loss."""
        return Weights(self.classes, self.bce, self.dice, self.none)


class InstancesOptimiserConfig(OptimiserConfig):
    """`OptimiserConfig` with a figure of regions to choose the best weights by."""

    monitor: str = "val/dice"


class InstancesConfig(RunConfig):
    """A run that makes a network of copied regions."""

    task: Literal["instances"]
    data: InstanceDataConfig
    loss: SetLossConfig = SetLossConfig()
    optimiser: InstancesOptimiserConfig = InstancesOptimiserConfig()

    @property
    def measured(self) -> list[str]:
        """The figures of `training.tasks.instances.figures`."""
        return [f"val/{name}" for name in ("dice", "of1", "image_auc")]


CONFIGS: dict[str, type[RunConfig]] = {
    "detector": DetectorConfig,
    "localizer": LocalizerConfig,
    "instances": InstancesConfig,
}
"""The settings of each task; a recipe that names none is a detector's."""


def parse_config(settings: dict[str, Any]) -> Any:
    """Settings with a ``task`` of CONFIGS -> that task's checked configuration.

    Raises:
        UsageError: no such task, or settings that do not fit it.
    """
    task = settings.get("task", "detector")
    if task not in CONFIGS:
        raise UsageError(f"configuration: unknown task {task!r}, {suggest(str(task), CONFIGS)}")
    return validate(CONFIGS[task], settings)


def load_config(path: Path, assignments: list[str] | None = None, smoke: bool = False) -> Any:
    """A recipe, its smoke settings where asked for, then ``key=value`` on top -> a checked run.

    Raises:
        UsageError: the file, or what it says, cannot be used.
    """
    settings = read_yaml(path)
    settings.setdefault("run_name", path.stem)
    if smoke:
        settings["run_name"] += "_smoke"
        for name, value in (settings.get("smoke") or {}).items():
            put(settings, name, value)
    return parse_config(override(settings, assignments or []))


def save_config(config: Strict, path: Path) -> None:
    """Write every resolved value as YAML; `load_config` reads it back to an equal object."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
