from pathlib import Path

import pytest

from synthdet.errors import UsageError
from training.schema import Strict, override, read_yaml, suggest, validate


class Inner(Strict):
    rate: float = 0.1


class Outer(Strict):
    steps: int = 1
    fast: bool = False
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stps": 2}, "unknown key 'stps', did you mean 'steps'?"),
        ({"inner": {"rat": 1.0}}, "inner: unknown key 'rat', did you mean 'rate'?"),
        ({"zzz": 2}, "unknown key 'zzz', expected one of fast, inner, steps"),
        ({"steps": "2"}, "steps: Input should be a valid integer, found '2'"),
        ({"steps": 2.0}, "steps: Input should be a valid integer"),
        ({"fast": 1}, "fast: Input should be a valid boolean, found 1"),
        ({"inner": 3}, "inner: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_named(settings, said):
    with pytest.raises(UsageError) as caught:
        validate(Outer, settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_whole_number_is_a_number():
    assert validate(Outer, {"inner": {"rate": 1}}).inner.rate == 1.0


def test_two_faults_are_both_named():
    with pytest.raises(UsageError, match=r"steps.*fast"):
        validate(Outer, {"steps": "a", "fast": "b"})


def test_settings_do_not_change_later():
    with pytest.raises(ValueError, match="frozen"):
        Outer().steps = 3


def test_override_reads_values_as_yaml_and_leaves_the_original_alone():
    settings = {"inner": {"rate": 1.0}, "phases": [{"lr": 1.0}]}
    changed = override(settings, ["inner.rate=3e-4", "steps=7", "fast=true", "phases.0.lr=2.5"])
    assert changed == {
        "inner": {"rate": 3e-4},
        "steps": 7,
        "fast": True,
        "phases": [{"lr": 2.5}],
    }
    assert settings == {"inner": {"rate": 1.0}, "phases": [{"lr": 1.0}]}


@pytest.mark.parametrize("assignment", ["steps", "phases.1.lr=2", "phases.x=1", "steps.a=1", "a={"])
def test_an_assignment_that_cannot_be_applied(assignment):
    with pytest.raises(UsageError):
        override({"phases": [{}], "steps": 1}, [assignment])


@pytest.mark.parametrize(
    ("content", "said"), [("- 1\n- 2\n", "holds a list"), ("a: [", "is not YAML")]
)
def test_a_file_that_holds_no_settings(tmp_path: Path, content, said):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_yaml(path)


def test_a_missing_file():
    with pytest.raises(UsageError, match="cannot be read"):
        read_yaml(Path("nowhere.yaml"))


def test_suggest_lists_everything_where_nothing_is_near():
    assert suggest("quark", ["alpha", "beta"]) == "expected one of alpha, beta"
