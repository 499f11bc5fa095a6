"""Figures to measure on: uneven mosaics under small letters, serif; six other kinds of panel.

Nothing here is a variation of what `training_style` draws: bands are torn polygons with a halo,
lanes are stained blue on white, cells are spindles under phase contrast, and so on.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

from synthdet.preprocessing.resizing import Image
from training.data.copymove.figures.base import (
    BLACK,
    Box,
    Colour,
    Floats,
    Panel,
    Style,
    clouds,
    font,
    grain,
    to_pixels,
    write,
)

_WHITE: Colour = (255, 255, 255)
_SERIF = ("STIXGeneral", "STIXGeneralBol", "DejaVuSerif", "cmr10", "cmb10")
_INKS = ((141, 211, 199), (128, 0, 60), (0, 90, 110), (200, 120, 0), (70, 70, 160))


# Panels -------------------------------------------------------------------------------------------


def membrane(height: int, width: int, rng: np.random.Generator) -> Panel:
    """One tall membrane: torn bands with a halo at several weights, scratches, marker ticks."""
    light = np.full((height, width), rng.uniform(205, 235), np.float32)
    light -= 12 * np.abs(clouds(height, width, 35, rng))
    for _ in range(int(rng.integers(0, 4))):
        ends = rng.integers(0, [width, height], (2, 2)).tolist()
        cv2.line(light, ends[0], ends[1], float(rng.uniform(150, 250)), 1, cv2.LINE_AA)
    lanes, rows = int(rng.integers(4, 9)), int(rng.integers(2, 6))
    pitch, step = width / (lanes + 0.6), height / (rows + 0.5)
    objects, rooms = [], []
    for row in range(rows):
        top, tall = int((row + 0.3) * step), max(9, int(0.62 * step))
        rooms.append(Box(0, top, width, min(tall, height - top)))
        for lane in range(lanes):
            if rng.random() < 0.25:
                continue
            box = Box(int((lane + 0.55) * pitch), top, max(9, int(0.95 * pitch)), tall)
            if box.x + box.width > width or box.y + box.height > height:
                continue
            light[box.cut] -= rng.uniform(60, 185) * _torn_band(tall, box.width, rng)
            objects.append(box)
        cv2.line(light, (0, top + tall // 2), (3, top + tall // 2), 30.0, 1)
    light += grain(height, width, rng.uniform(1.5, 5), rng)
    return Panel(to_pixels(light), "membrane", objects, rooms)


def stained_gel(height: int, width: int, rng: np.random.Generator) -> Panel:
    """A stained protein gel: blue lanes of many blurred steps on white."""
    depth = np.full((height, width), 0.06, np.float32) + 0.02 * clouds(height, width, 50, rng)
    lanes = int(rng.integers(4, 9))
    pitch = width / lanes
    rooms = []
    for lane in range(lanes):
        left, wide = int((lane + 0.12) * pitch), max(6, int(0.76 * pitch))
        box = Box(left, 0, min(wide, width - left), height)
        rooms.append(box)
        y = np.arange(height, dtype=np.float32)[:, None]
        lean = rng.uniform(-2, 2) * np.linspace(-1, 1, box.width, dtype=np.float32) ** 2
        for _ in range(int(rng.integers(6, 18))):
            at, thick = rng.uniform(0.05, 0.97) * height, rng.uniform(1.0, 3.2)
            step = np.exp(-(((y - at - lean) / thick) ** 2))
            edge = 1 - np.linspace(-1, 1, box.width, dtype=np.float32) ** int(rng.choice((4, 6, 8)))
            uneven = 1 + 0.3 * clouds(height, box.width, 4, rng)
            depth[box.cut] += rng.uniform(0.1, 0.6) * step * edge * uneven
    colour = 255 * np.exp(-depth[..., None] * np.array([2.4, 1.5, 0.5], np.float32))
    colour += grain(height, width, rng.uniform(1.5, 4), rng)[..., None]
    return Panel(to_pixels(colour), "stained gel", rooms, rooms)


def phase_contrast(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Living cells: grey spindles with a bright halo, granules inside."""
    light = 128 + 6 * clouds(height, width, 45, rng) + 5 * clouds(height, width, 2.5, rng)
    objects = []
    for _ in range(int(rng.integers(4, 8) + height * width / 3500)):
        outline = _spindle(rng.uniform(9, 20), rng) + rng.uniform(0, [width, height])
        box = Box(*cv2.boundingRect(outline.astype(np.int32)))
        body = np.zeros((height, width), np.uint8)
        cv2.fillPoly(body, [outline.round().astype(np.int32)], 255)
        soft = cv2.GaussianBlur(body, (0, 0), 0.8).astype(np.float32) / 255
        halo = cv2.GaussianBlur(cv2.dilate(body, np.ones((5, 5), np.uint8)), (0, 0), 1.6) / 255.0
        granules = 14 * clouds(height, width, 2.2, rng) + 10 * clouds(height, width, 5, rng)
        light += rng.uniform(40, 85) * (halo - soft).clip(0, 1)
        light += soft * (rng.uniform(-30, 15) + granules)
        if box.x >= 0 and box.y >= 0 and box.x + box.width < width and box.y + box.height < height:
            objects.append(box)
    light += grain(height, width, rng.uniform(1.5, 4), rng)
    return Panel(to_pixels(light), "phase contrast", objects, [Box(0, 0, width, height)])


def electron_micrograph(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Membranes between compartments (the edges of a Voronoi mosaic), vesicles, heavy grain."""
    seeds = rng.uniform(0, 1, (int(height * width / rng.uniform(350, 900)) + 4, 2))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bent = np.stack([y + 2.5 * clouds(height, width, 9, rng), x + 2.5 * clouds(height, width, 9,
                     rng)], 2)  # fmt: skip
    near, _ = cKDTree(seeds * [height, width]).query(bent, k=2)
    wall = np.exp(-(((near[..., 1] - near[..., 0]) / rng.uniform(1.2, 2.4)) ** 2))
    light = 165 + 16 * clouds(height, width, 18, rng) + 10 * clouds(height, width, 3, rng)
    light -= 85 * wall.astype(np.float32)
    for _ in range(int(height * width / rng.uniform(900, 2500))):
        centre = rng.integers(0, [width, height]).tolist()
        radius = int(rng.integers(2, 6))
        cv2.circle(light, centre, radius, float(rng.uniform(60, 110)), 1, cv2.LINE_AA)
        cv2.circle(light, centre, radius - 1, float(rng.uniform(130, 200)), -1, cv2.LINE_AA)
    light = cv2.GaussianBlur(light, (0, 0), 0.7) + grain(height, width, rng.uniform(4, 9), rng)
    return Panel(to_pixels(light), "electron micrograph", (), [Box(0, 0, width, height)])


def scatter(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Clouds of open symbols around fitted lines, boxed: one stamp many times, none copied."""
    image = np.full((height, width, 3), 255, np.uint8)
    frame = _boxed(image, rng)
    for group in range(int(rng.integers(1, 4))):
        ink, symbol = _INKS[group], int(rng.integers(3))
        count = int(rng.integers(10, 60))
        x = rng.uniform(0.05, 0.95, count)
        y = 0.5 + rng.uniform(-0.6, 0.6) * (x - 0.5) + rng.normal(0, rng.uniform(0.05, 0.2), count)
        spots = np.stack(
            [frame.x + x * frame.width, frame.y + y.clip(0.03, 0.97) * frame.height], 1
        )
        for spot in spots.round().astype(int).tolist():
            if symbol == 0:
                cv2.circle(image, spot, 2, ink, 1, cv2.LINE_AA)
            elif symbol == 1:
                cv2.drawMarker(image, spot, ink, cv2.MARKER_TRIANGLE_UP, 5, 1)
            else:
                cv2.drawMarker(image, spot, ink, cv2.MARKER_TILTED_CROSS, 5, 1)
    return Panel(image)


def heat_map(height: int, width: int, rng: np.random.Generator) -> Panel:
    """A matrix in colour: cells of one size in steps of a scale."""
    rows, columns = int(rng.integers(5, 16)), int(rng.integers(4, 14))
    levels = rng.integers(0, 9, (rows, columns)).astype(np.uint8) * 30
    maps = (cv2.COLORMAP_VIRIDIS, cv2.COLORMAP_HOT, cv2.COLORMAP_COOL)
    cells = cv2.applyColorMap(levels, maps[rng.integers(3)])[..., ::-1]
    image = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        for row in range(1, rows):
            image[row * height // rows] = 255
        for column in range(1, columns):
            image[:, column * width // columns] = 255
    return Panel(np.ascontiguousarray(image))


def survival(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Falling steps with censoring ticks."""
    image = np.full((height, width, 3), 255, np.uint8)
    frame = _boxed(image, rng)
    for group in range(int(rng.integers(2, 4))):
        x, y = float(frame.x), float(frame.y + 4)
        while x < frame.x + frame.width - 6:
            further = min(x + rng.exponential(10) + 2, frame.x + frame.width - 1)
            lower = min(y + rng.exponential(6), frame.y + frame.height - 2)
            corners = np.array([(x, y), (further, y), (further, lower)]).round().astype(np.int32)
            cv2.polylines(image, [corners], False, _INKS[group + 1], 1)
            if rng.random() < 0.3:
                cv2.line(image, (corners[1] - [4, 2]).tolist(), (corners[1] - [4, -2]).tolist(),
                         _INKS[group + 1])  # fmt: skip
            x, y = further, lower
    return Panel(image)


# Layout and lettering -----------------------------------------------------------------------------


def mosaic(height: int, width: int, rng: np.random.Generator) -> list[Box]:
    """Cut the page again and again, never in the middle, down to panels of uneven sizes."""
    boxes, wanted = [Box(2, 2, width - 4, height - 4)], int(rng.integers(2, 7))
    gap = int(rng.integers(2, 6))
    while len(boxes) < wanted:
        box = boxes.pop(int(np.argmax([box.width * box.height for box in boxes])))
        share = rng.choice((0.34, 0.42, 0.58, 0.66))
        if box.width > box.height:
            left = int(share * box.width)
            boxes += [Box(box.x, box.y, left - gap, box.height),
                      Box(box.x + left, box.y, box.width - left, box.height)]  # fmt: skip
        else:
            upper = int(share * box.height)
            boxes += [Box(box.x, box.y, box.width, upper - gap),
                      Box(box.x, box.y + upper, box.width, box.height - upper)]  # fmt: skip
    return sorted(boxes, key=lambda box: (box.y, box.x))


def small_letters(image: Image, boxes: Sequence[Box], rng: np.random.Generator) -> None:
    """(a), (b), … within the panels on a plate of paper; frames; sizes upright at a side."""
    face = font(_SERIF[rng.integers(len(_SERIF))], int(rng.integers(10, 14)))
    small = font(_SERIF[rng.integers(len(_SERIF))], int(rng.integers(7, 10)))
    brackets, framed = rng.random() < 0.5, rng.random() < 0.4
    for number, box in enumerate(boxes):
        if framed:
            edge = box.inset(-1)
            cv2.rectangle(image, (edge.x, edge.y), (edge.x + edge.width, edge.y + edge.height),
                          BLACK)  # fmt: skip
        letter = "abcdefg"[number]
        text = f"({letter})" if brackets else letter
        wide = 19 if brackets else 12
        cv2.rectangle(image, (box.x, box.y), (box.x + wide, box.y + 13), _WHITE, -1)
        write(image, text, (box.x + 2, box.y + 1), face)
        if rng.random() < 0.4:
            text = f"{int(rng.integers(1, 50)) * 10} nm"
            place = (box.x + box.width - 11, box.y + box.height - 36)
            write(image, text, place, small, _WHITE if rng.random() < 0.5 else BLACK, upright=True)


STYLE = Style(
    panels={
        membrane: 4,
        stained_gel: 2,
        phase_contrast: 3,
        electron_micrograph: 3,
        scatter: 1,
        heat_map: 0.5,
        survival: 0.5,
    },
    layout=mosaic,
    letters=small_letters,
)


# Parts --------------------------------------------------------------------------------------------


def _torn_band(height: int, width: int, rng: np.random.Generator) -> Floats:
    """float32 HxW, 0 to 1: a ragged polygon, denser below, in a halo."""
    corners = int(rng.integers(14, 26))
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = 1 + rng.normal(0, 0.14, corners)
    power = rng.uniform(0.35, 0.7)  # of the superellipse
    x = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power * radii
    y = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power * radii
    bend = rng.uniform(-0.3, 0.3) * (x**2 - 0.5)
    outline = np.stack([width * (0.5 + 0.36 * x), height * (0.5 + 0.2 * y + 0.3 * bend)], 1)
    body = np.zeros((height, width), np.uint8)
    cv2.fillPoly(body, [(outline * 8).round().astype(np.int32)], 255, cv2.LINE_AA, 3)
    core = cv2.GaussianBlur(body, (0, 0), rng.uniform(0.5, 0.9)).astype(np.float32) / 255
    halo = cv2.GaussianBlur(body, (0, 0), rng.uniform(2, 4)).astype(np.float32) / 255
    shade = np.linspace(rng.uniform(0.5, 0.9), 1, height, dtype=np.float32)[:, None]
    streaks = 1 + 0.2 * clouds(1, width, 2.5, rng) + 0.12 * clouds(height, width, 2, rng)
    return np.asarray((0.25 * halo + 0.75 * core * shade * streaks).clip(0, 1), np.float32)


def _spindle(length: float, rng: np.random.Generator) -> Floats:
    """float32 Nx2 around (0, 0): a body that tapers to two to four arms."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.full(40, 0.35) + 0.05 * rng.standard_normal(40)
    for arm in rng.uniform(0, 2 * np.pi, int(rng.integers(2, 5))):
        gap = np.angle(np.exp(1j * (angles - arm)))
        radius += rng.uniform(0.4, 0.8) * np.exp(-((gap / rng.uniform(0.18, 0.4)) ** 2))
    points = np.stack([radius * np.cos(angles), radius * np.sin(angles)], 1)
    return np.asarray(length * points, np.float32)


def _boxed(image: Image, rng: np.random.Generator) -> Box:
    """A frame on all four sides, ticks inward, serif numbers -> the box for the data."""
    height, width = image.shape[:2]
    frame = Box(20, 6, max(8, width - 26), max(8, height - 24))
    right, foot = frame.x + frame.width, frame.y + frame.height
    cv2.rectangle(image, (frame.x, frame.y), (right, foot), BLACK)
    face, count = font("STIXGeneral", 8), int(rng.integers(3, 7))
    for tick in range(count):
        y = round(foot - (tick + 0.5) * frame.height / count)
        cv2.line(image, (frame.x, y), (frame.x + 3, y), BLACK)
        cv2.line(image, (right - 3, y), (right, y), BLACK)
        write(image, f"{tick / count:.1f}", (5, y - 4), face)
        x = round(frame.x + (tick + 0.5) * frame.width / count)
        cv2.line(image, (x, foot), (x, foot - 3), BLACK)
        write(image, str(tick * 6), (x - 4, foot + 3), face)
    return frame
