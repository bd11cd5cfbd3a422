"""A sheet with shapes on it, and two ways to print it: SVG for the browser, PNG for a chat. No data is known here.

The SVG costs nothing, so every load may draw one. The PNG needs matplotlib (``pip install pycontw_assets[pictures]``),
which takes a second to load and is loaded for nothing else. Coordinates are pixels from the upper left corner.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER, INK, FAINT_INK, RULE = "#ffffff", "#1f2933", "#5f6c7b", "#dde3ea"
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]
_SIDES = {"start": "left", "middle": "center", "end": "right"}
_RATIO = 0.72  # points in a pixel at 100 dots an inch
_DOTS = 150  # an inch of the PNG: readable when a phone enlarges it, and some tens of kilobytes


class NoPicture(Exception):
    """There is no library that draws a PNG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    points: Sequence[Point]
    colour: str
    width: float = 2.0
    is_dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    points: Sequence[Point]
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One line of text. ``y`` is its base line."""

    x: float
    y: float
    text: str
    size: float = 20
    colour: str = INK
    anchor: Anchor = "start"
    is_bold: bool = False


Shape = Box | Line | Area | Label


@dataclass(slots=True)
class Canvas:
    """A white sheet: it is readable on a dark page, too."""

    width: int
    height: int
    shapes: list[Shape] = field(default_factory=list)

    def svg(self) -> str:
        """Return the sheet as wide as the place for it: without a width of its own it also fits on a phone."""
        view, fonts = f"0 0 {self.width} {self.height}", "Helvetica, Arial, sans-serif"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" font-family="{fonts}">'
        sheet = f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>'
        return f"{head}{sheet}{''.join(map(_as_svg, self.shapes))}</svg>"

    def png(self) -> bytes:
        """Return the sheet as a PNG. Raise ``NoPicture`` without matplotlib."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise NoPicture("matplotlib is not installed: pip install 'pycontw_assets[pictures]'") from None
        figure = Figure(figsize=(self.width / 100, self.height / 100), facecolor=PAPER)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for order, shape in enumerate(self.shapes):
            _put(axes, shape, order)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DOTS)
        return file.getvalue()


def _as_svg(shape: Shape) -> str:
    if isinstance(shape, Box):
        return (
            f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" '
            f'fill="{shape.colour}"/>'
        )
    if isinstance(shape, Label):
        weight = ' font-weight="bold"' if shape.is_bold else ""
        return (
            f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" fill="{shape.colour}" '
            f'text-anchor="{shape.anchor}"{weight}>{escape(shape.text)}</text>'
        )
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    if isinstance(shape, Area):
        return f'<polygon points="{points}" fill="{shape.colour}"/>'
    dashes = ' stroke-dasharray="7 6"' if shape.is_dashed else ""
    return (
        f'<polyline points="{points}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}" '
        f'stroke-linejoin="round"{dashes}/>'
    )


def _put(axes: Axes, shape: Shape, order: int) -> None:
    from matplotlib.patches import Polygon, Rectangle

    if isinstance(shape, Box):
        corner = (shape.x, shape.y)
        axes.add_patch(Rectangle(corner, shape.width, shape.height, color=shape.colour, lw=0, zorder=order))
    elif isinstance(shape, Area):
        axes.add_patch(Polygon(list(shape.points), closed=True, color=shape.colour, lw=0, zorder=order))
    elif isinstance(shape, Line):
        xs, ys = zip(*shape.points, strict=True)
        style = (0, (4, 3)) if shape.is_dashed else "-"
        axes.plot(xs, ys, color=shape.colour, lw=shape.width * _RATIO, ls=style, zorder=order)
    else:
        axes.text(
            shape.x,
            shape.y,
            shape.text,
            fontsize=shape.size * _RATIO * 0.94,  # its letters are wider than those of a browser
            color=shape.colour,
            ha=_SIDES[shape.anchor],
            va="baseline",
            fontweight="bold" if shape.is_bold else "normal",
            parse_math=False,
            zorder=order,
        )
