"""TASKS: every question that a network can be trained to answer.

A new task is a class in `training.config.CONFIGS`, a file beside this one and a line in the dict.
"""

from training.tasks import detector, instances, localizer
from training.tasks.base import Task

TASKS: dict[str, Task] = {
    "detector": detector.TASK,
    "localizer": localizer.TASK,
    "instances": instances.TASK,
}
