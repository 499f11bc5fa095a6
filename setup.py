"""What pyproject.toml cannot say: the shipped weights go into the wheel, as a part of the package.

In the repository they lie beside the package, where `Dockerfile` and `--weights` expect them.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["synthdet*"]), "synthdet.shipped"],
    package_dir={"synthdet.shipped": "weights"},
    package_data={"": ["*.json", "templates/*"], "synthdet.shipped": ["**/*"]},
)
