"""What the demo needs is pinned whole, for it is installed without a look at dependencies."""

from importlib.metadata import distribution

from packaging.requirements import Requirement

from tests.test_requirements import required


def closure(name: str, found: set[str]) -> set[str]:
    """The distribution and all that it requires here, in lower case with hyphens."""
    key = name.lower().replace("_", "-")
    if key not in found:
        found.add(key)
        for text in distribution(name).requires or []:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                closure(one.name, found)
    return found


def test_all_that_gradio_needs_is_pinned() -> None:
    needed = closure("gradio", set())
    assert needed == (required("requirements-demo.txt") | required("requirements.txt")) & needed
    assert required("requirements-demo.txt") <= needed
    assert "starlette" in needed  # which scripts/demo.py imports
