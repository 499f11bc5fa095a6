from collections.abc import Callable

import pytest

from synthdet.inference.batch_size import BatchSize


def search(cost: Callable[[int], float], first: int = 1, most: int = 256) -> tuple[int, list[int]]:
    """The size found, and the sizes of the calls until then, with ``cost`` seconds a call."""
    batches, calls = BatchSize(first, most), []
    while not batches.settled:
        calls.append(batches.size)
        batches.observe(batches.size, cost(batches.size))
    return batches.size, calls


@pytest.mark.parametrize(
    ("cost", "found"),
    [
        (lambda size: 0.01 * size, 1),  # a larger batch gains nothing
        (lambda size: 0.01 * size**1.1, 1),  # … or costs caches
        (lambda size: 1 + 0.001 * size, 256),  # the call itself is what costs
        (lambda size: max(1.0, 0.05 * size), 32),  # a device of a certain width
    ],
)
def test_the_batch_grows_while_that_makes_a_picture_cheaper(
    cost: Callable[[int], float], found: int
) -> None:
    size, calls = search(cost)
    assert size == found
    assert len(calls) <= 3 * 9  # sizes from 1 to 256


def test_the_limit_is_kept_and_tried() -> None:
    size, calls = search(lambda size: 1 + 0.001 * size, first=8, most=28)
    assert size == 28
    assert set(calls) == {8, 16, 28}


def test_where_there_is_no_choice_there_is_no_search() -> None:
    assert search(lambda _: 1.0, first=32, most=1) == (1, [])


def test_the_first_call_of_a_size_and_a_slow_one_do_not_count() -> None:
    seconds = iter([9.0, 9.0, 1.0, 9.0, 1.2, 9.0, 9.0, 9.0, 9.0])
    assert search(lambda _: next(seconds))[0] == 2


def test_smaller_calls_say_nothing() -> None:
    batches = BatchSize(4, 8)
    for _ in range(20):
        batches.observe(3, 0.001)
    assert (batches.size, batches.settled) == (4, False)


def test_a_search_can_be_ended() -> None:
    batches = BatchSize(4, 64)
    batches.settle(2)
    for _ in range(20):
        batches.observe(2, 0.001)
    assert (batches.size, batches.settled) == (2, True)
