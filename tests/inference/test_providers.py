"""Every program that runs a model offers the same providers."""

import argparse
from collections.abc import Callable

import pytest

from scripts import benchmark, demo, score_dataset
from synthdet import cli
from synthdet.contest import arguments
from synthdet.inference.providers import PROVIDERS

PARSERS = [
    arguments.build_parser,
    cli.build_parser,
    demo.build_parser,
    score_dataset._parser,
    benchmark._parser,
]


@pytest.mark.parametrize("build", PARSERS, ids=lambda build: build.__module__)
def test_every_program_offers_all(build: Callable[[], argparse.ArgumentParser]) -> None:
    (option,) = (one for one in build()._actions if "--provider" in one.option_strings)
    assert tuple(option.choices or ()) == PROVIDERS
