"""Figures to learn from: regular grids under bold letters, sans-serif; five kinds of panel."""

from collections.abc import Sequence

import cv2
import numpy as np

from synthdet.preprocessing.resizing import Image
from training.data.copymove.figures.base import (
    BLACK,
    Box,
    Floats,
    Panel,
    Style,
    clouds,
    font,
    grain,
    to_pixels,
    write,
)

_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSans-Oblique")
_WORDS = ("Actin", "p53", "GAPDH", "Ctrl", "siRNA", "WT", "KO", "Tubulin", "Akt", "Mock", "IgG")
_INKS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (90, 90, 90), BLACK)


# Panels -------------------------------------------------------------------------------------------


def blot(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Strips of a western blot: dark bands on light film, a strip for each protein."""
    image = np.full((height, width, 3), 255, np.uint8)
    lanes, strips = int(rng.integers(3, 8)), int(np.clip(height // rng.integers(22, 50), 1, 5))
    pitch = height / strips
    objects, rooms = [], []
    doses = rng.uniform(0.1, 1.0, lanes)
    for strip in range(strips):
        box = Box(0, round(strip * pitch), width, max(8, round(pitch) - int(rng.integers(2, 6))))
        box = Box(0, box.y, width, min(box.height, height - box.y))
        film, bands = _strip(box.height, width, lanes, np.roll(doses, strip), rng)
        image[box.cut] = film
        objects += [band.moved(0, box.y) for band in bands]
        rooms.append(box)
    return Panel(image, "blot", objects, rooms)


def gel(height: int, width: int, rng: np.random.Generator) -> Panel:
    """An agarose gel: bright bands that run down dark lanes, a ladder at one side."""
    light = 28 + 10 * clouds(height, width, 0.7 * width, rng)
    light += np.linspace(0, rng.uniform(-20, 30), height, dtype=np.float32)[:, None]
    lanes = int(rng.integers(4, 10))
    pitch = width / lanes
    objects, rooms = [], []
    steps = np.sort(rng.uniform(0.12, 0.95, int(rng.integers(5, 9))))
    for lane in range(lanes):
        left, wide = round((lane + 0.15) * pitch), max(6, round(0.7 * pitch))
        rooms.append(Box(left, 0, min(wide, width - left), height))
        light[rooms[-1].cut] += rng.uniform(0, 10)
        places = steps if lane == 0 else rng.uniform(0.12, 0.95, int(rng.integers(1, 5)))
        for place in places:
            tall = int(rng.integers(5, 9 + height // 20))
            box = Box(left, min(int(place * height), height - tall), rooms[-1].width, tall)
            light[box.cut] += rng.uniform(40, 190) * _band(tall, box.width, rng)
            objects.append(box)
    stain = int(rng.integers(3))
    tint = ((1, 1, 1), (1, 0.62, 0.45), (0.55, 0.75, 1.0))[stain]
    return Panel(_exposed(light, tint, rng), f"gel {stain}", objects, rooms)


def fluorescence(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Stained cells under a fluorescence microscope: textured ellipses on black."""
    light = 12 + 5 * clouds(height, width, 30, rng)
    size = rng.uniform(7, 16)
    objects = []
    for _ in range(int(rng.uniform(0.12, 0.4) * height * width / (4 * size**2)) + 2):
        cell = _cell(size * rng.uniform(0.7, 1.4), rng)
        side = cell.shape[0]
        box = Box(int(rng.integers(0, max(1, width - side))),
                  int(rng.integers(0, max(1, height - side))), side, side)  # fmt: skip
        if side > min(height, width):
            continue
        light[box.cut] = np.maximum(light[box.cut], rng.uniform(90, 235) * cell)
        objects.append(box)
    stain = int(rng.integers(4))
    tint = ((0.35, 0.45, 1.0), (0.3, 1.0, 0.35), (1.0, 0.3, 0.3), (1, 1, 1))[stain]
    room = Box(0, 0, width, height)
    return Panel(_exposed(light, tint, rng), f"fluorescence {stain}", objects, [room])


def tissue(height: int, width: int, rng: np.random.Generator) -> Panel:
    """A stained section: pink fibres, purple nuclei of many forms, pale gaps."""
    fibres = _along(clouds(height, width, 3, rng), rng.uniform(0, np.pi))
    depth = 0.5 * clouds(height, width, 22, rng) + 0.9 * fibres
    colour = np.stack([232 - 14 * depth, 170 - 32 * depth, 200 - 18 * depth], 2)
    colour[clouds(height, width, 26, rng) > 1.3] = (244, 240, 243)
    for _ in range(int(height * width * rng.uniform(0.002, 0.006))):
        centre = rng.uniform(0, [width, height]).tolist()
        axes = (2 * rng.uniform(2.0, 5.5, 2)).tolist()
        shade = (np.array([96, 62, 140]) + rng.uniform(-28, 40)).tolist()
        nucleus = (centre, axes, float(rng.uniform(0, 180)))
        cv2.ellipse(colour, nucleus, shade, cv2.FILLED, cv2.LINE_AA)
    colour = cv2.GaussianBlur(colour, (0, 0), rng.uniform(0.5, 0.9))
    colour += grain(height, width, rng.uniform(2, 5), rng)[..., None]
    return Panel(to_pixels(colour), "tissue", (), [Box(0, 0, width, height)])


def bars(height: int, width: int, rng: np.random.Generator) -> Panel:
    """A bar chart with error bars: repetition that nobody forged."""
    image = np.full((height, width, 3), 255, np.uint8)
    frame = _axes(image, rng)
    count, series = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    pitch = frame.width / count
    for group in range(count):
        for number in range(series):
            wide = max(2, int(0.8 * pitch / series))
            tall = int(frame.height * rng.uniform(0.15, 0.85))
            x = frame.x + int((group + 0.1) * pitch) + number * wide
            foot = frame.y + frame.height
            ink = _INKS[(number + count) % len(_INKS)]
            cv2.rectangle(image, (x, foot - tall), (x + wide - 2, foot), ink, -1)
            middle, spread = x + wide // 2 - 1, int(rng.integers(2, 3 + height // 16))
            cv2.line(image, (middle, foot - tall - spread), (middle, foot - tall), BLACK)
            cv2.line(image, (middle - 2, foot - tall - spread),
                     (middle + 2, foot - tall - spread), BLACK)  # fmt: skip
    return Panel(image)


def lines(height: int, width: int, rng: np.random.Generator) -> Panel:
    """Curves with a marker at each point: the same symbol again and again, never copied."""
    image = np.full((height, width, 3), 255, np.uint8)
    frame = _axes(image, rng)
    points = int(rng.integers(4, 10))
    for number in range(int(rng.integers(1, 4))):
        x = np.linspace(frame.x + 4, frame.x + frame.width - 4, points)
        y = frame.y + frame.height * (0.5 - 0.16 * rng.standard_normal(points).cumsum() / 1.5)
        y = y.clip(frame.y, frame.y + frame.height)
        track = np.stack([x, y], 1).round().astype(np.int32)
        ink = _INKS[(number + points) % len(_INKS)]
        cv2.polylines(image, [track], False, ink, 1, cv2.LINE_AA)
        for place in track:
            if number % 2:
                cv2.circle(image, place.tolist(), 2, ink, -1, cv2.LINE_AA)
            else:
                cv2.rectangle(image, (place - 2).tolist(), (place + 2).tolist(), ink, -1)
    return Panel(image)


# Layout and lettering -----------------------------------------------------------------------------


def grid(height: int, width: int, rng: np.random.Generator) -> list[Box]:
    """Rows and columns of equal panels, with room for letters above each."""
    rows, columns = (int(rng.choice((1, 2, 3), p=(0.3, 0.5, 0.2))) for _ in range(2))
    gap, head = int(rng.integers(4, 12)), int(rng.integers(12, 20))
    tall = (height - gap) // rows - head - gap // 2
    wide = (width - gap) // columns - gap
    return [
        Box(gap + column * (wide + gap), head + row * (tall + head + gap // 2), wide, tall)
        for row in range(rows)
        for column in range(columns)
    ]


def capitals(image: Image, boxes: Sequence[Box], rng: np.random.Generator) -> None:
    """A bold letter above the left corner of each panel, a word above its middle; scale bars."""
    face = font("DejaVuSans-Bold", int(rng.integers(11, 15)))
    small = font(_FONTS[rng.integers(len(_FONTS))], int(rng.integers(7, 11)))
    for number, box in enumerate(boxes):
        write(image, "ABCDEFGHI"[number], (box.x - 2, box.y - 13), face)
        if rng.random() < 0.6:
            word = _WORDS[rng.integers(len(_WORDS))]
            write(image, word, (box.x + box.width / 2, box.y - 10), small)
        if rng.random() < 0.3:
            x, y = box.x + box.width - 26, box.y + box.height - 8
            ink = (255, 255, 255) if image[y, x].mean() < 128 else BLACK
            cv2.rectangle(image, (x, y), (x + 18, y + 2), ink, -1)


STYLE = Style(
    panels={blot: 4, gel: 2, fluorescence: 3, tissue: 3, bars: 1, lines: 1},
    layout=grid,
    letters=capitals,
)


# Parts --------------------------------------------------------------------------------------------


def _strip(
    height: int, width: int, lanes: int, doses: Floats, rng: np.random.Generator
) -> tuple[Image, list[Box]]:
    light = rng.uniform(195, 240) + 7 * clouds(height, width, 0.4 * width, rng)
    pitch = width / lanes
    bands = []
    for lane in range(lanes):
        wide = max(6, int(pitch * rng.uniform(0.7, 0.98)))
        tall = max(6, int(height * rng.uniform(0.4, 0.8)))
        x = int(np.clip((lane + 0.5) * pitch - wide / 2, 0, width - wide))
        y = int(np.clip((height - tall) / 2 + rng.normal(0, 0.05 * height), 0, height - tall))
        box = Box(x, y, wide, tall)
        light[box.cut] -= 190 * doses[lane] * _band(tall, wide, rng)
        if doses[lane] > 0.25:
            bands.append(box)
    return _exposed(light, (1, 1, 1), rng), bands


def _band(height: int, width: int, rng: np.random.Generator) -> Floats:
    """float32 HxW, 0 to 1: one band, with its own outline, bend and unevenness."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    x = x + 0.06 * clouds(height, width, 5, rng)
    y = y - rng.uniform(-0.35, 0.35) * (x**2 - 0.4) - rng.uniform(-0.3, 0.3) * x
    y = y + 0.09 * clouds(height, width, 7, rng)
    thick = rng.uniform(0.25, 0.5) * (1 + 0.25 * clouds(1, width, 0.4 * width, rng))
    across = np.exp(-((np.abs(y) / np.maximum(thick, 0.1)) ** rng.uniform(1.7, 3.0)))
    along = 1 / (1 + np.exp((np.abs(x) - rng.uniform(0.7, 0.88)) / rng.uniform(0.04, 0.1)))
    uneven = 1 + 0.18 * clouds(height, width, 3, rng)
    return np.asarray((across * along * uneven).clip(0, 1), np.float32)


def _cell(radius: float, rng: np.random.Generator) -> Floats:
    """float32 SxS, 0 to 1: one nucleus with chromatin of its own."""
    side = int(2 * radius) + 5
    y, x = np.mgrid[:side, :side].astype(np.float32) - side / 2
    angle, squeeze = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = (y * np.cos(angle) - x * np.sin(angle)) / squeeze
    bulge = 0.12 * clouds(side, side, radius, rng)
    inside = 1 / (1 + np.exp((np.hypot(u, v) / radius - 0.85 - bulge) / 0.06))
    texture = 0.75 + 0.2 * clouds(side, side, 3, rng) + 0.12 * clouds(side, side, 6, rng)
    return np.asarray((inside * texture).clip(0, 1), np.float32)


def _along(noise: Floats, angle: float) -> Floats:
    """Smear noise along a direction, at unit variance: fibres."""
    kernel = np.zeros((15, 15), np.float32)
    step = 7 * np.array([np.cos(angle), np.sin(angle)])
    ends = (7 - step).round().astype(int).tolist(), (7 + step).round().astype(int).tolist()
    cv2.line(kernel, ends[0], ends[1], 1.0)
    smeared = cv2.filter2D(noise, -1, kernel / kernel.sum())
    return np.asarray(smeared / max(float(smeared.std()), 1e-6), np.float32)


def _exposed(light: Floats, tint: Sequence[float], rng: np.random.Generator) -> Image:
    """Optics and grain: softened a little, under noise of its own."""
    height, width = light.shape
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 0.9))
    return to_pixels(light + grain(height, width, rng.uniform(2.0, 6.0), rng), tint)


def _axes(image: Image, rng: np.random.Generator) -> Box:
    """Axes with ticks and numbers -> the box that is left for the data."""
    height, width = image.shape[:2]
    frame = Box(24, 4, max(8, width - 28), max(8, height - 20))
    foot, face = frame.y + frame.height, font("DejaVuSans", 7)
    cv2.line(image, (frame.x, frame.y), (frame.x, foot), BLACK)
    cv2.line(image, (frame.x, foot), (frame.x + frame.width, foot), BLACK)
    ticks, step = int(rng.integers(3, 6)), int(rng.choice((1, 2, 5, 10, 20, 25)))
    for tick in range(ticks):
        y = round(foot - tick * frame.height / ticks)
        cv2.line(image, (frame.x - 3, y), (frame.x, y), BLACK)
        write(image, str(tick * step), (4, y - 3), face)
        x = round(frame.x + (tick + 0.5) * frame.width / ticks)
        cv2.line(image, (x, foot), (x, foot + 3), BLACK)
        write(image, str(tick), (x - 2, foot + 5), face)
    return frame
