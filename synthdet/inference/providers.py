"""What a user may ask a model to run on. Imports nothing slow, for the command lines."""

from typing import Literal, get_args

Provider = Literal["auto", "cuda", "openvino", "cpu"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
