"""Strict settings: an unknown key or a wrong type stops the run and names the near miss.

recipe = read_yaml(Path("training/configs/detector_compact.yaml"))
settings = override(recipe, ["optimiser.lr=3e-4", "model.pretrained=false"])
config = validate(DetectorConfig, settings)
"""

import copy
import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthdet.errors import UsageError

Model = TypeVar("Model", bound="Strict")
Share = Annotated[float, Field(ge=0, le=1)]
_LISTED = 40  # names that an error lists


class Strict(BaseModel):
    """Base of all settings: no unknown keys, no silent conversion of types, no later change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_near_miss(cls, settings: Any) -> Any:
        for key in settings if isinstance(settings, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"unknown key {key!r}, {suggest(key, cls.model_fields)}")
        return settings


def suggest(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not among ``known``: the near miss, or what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f", … ({len(known)} in all)" if len(known) > _LISTED else ""
    return f"expected one of {', '.join(known[:_LISTED])}{more}"


def validate(schema: type[Model], settings: dict[str, Any]) -> Model:
    """Settings -> a checked configuration.

    Raises:
        UsageError: an unknown key, a wrong type or a value out of range; names each.
    """
    try:
        return schema.model_validate(settings)
    except ValidationError as error:
        faults = "; ".join(_say(fault) for fault in error.errors(include_url=False))
        raise UsageError(f"configuration: {faults}") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file with a mapping at its top -> dict.

    Raises:
        UsageError: missing, unreadable, not YAML or not a mapping.
    """
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): give a file of training/configs"
        ) from error
    except yaml.YAMLError as error:
        place = " ".join(str(error).split())
        raise UsageError(f"{path} is not YAML ({place}): correct the file") from error
    if not isinstance(settings, dict):
        raise UsageError(f"{path} holds a {type(settings).__name__}, expected 'key: value' lines")
    return settings


def override(settings: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """A copy of the settings with ``a.b=value`` assignments applied; values are read as YAML.

    Raises:
        UsageError: an assignment without ``=``, with a value that is not YAML, or below a value
            that is not a mapping.
    """
    settings = copy.deepcopy(settings)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UsageError(f"{assignment!r} is no setting: expected key=value, such as seed=1")
        try:
            put(settings, name, yaml.load(text, _Loader))
        except yaml.YAMLError as error:
            raise UsageError(f"{assignment!r} has a value that is not YAML: quote it") from error
    return settings


def put(settings: Any, name: str, value: Any) -> None:
    """Set ``settings["a"]["b"]`` for the name ``a.b``, in place; a number picks from a list.

    Raises:
        UsageError: something on the way is neither a group nor a list with that place.
    """
    *parents, last = name.split(".")
    for parent in parents:
        settings = settings[_place(settings, parent, name)]
    settings[_place(settings, last, name)] = value


def _place(settings: Any, key: str, name: str) -> str | int:
    if isinstance(settings, dict):
        settings.setdefault(key, {})
        return key
    if isinstance(settings, list) and key.isdigit() and int(key) < len(settings):
        return int(key)
    raise UsageError(f"{name!r} cannot be set: there is no place {key!r} in {settings!r}")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but 3e-4 is a number, as everyone who writes it means."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _say(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{place}: {message}, found {fault['input']!r}"
