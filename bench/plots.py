"""Two kinds of plot as SVG text: lines over a logarithmic plane, and stacked bars. Nothing but strings."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 70, 120, 40, 50
COLOURS = ("#1b6ca8", "#c0562f", "#3c8d40", "#7a4fa3", "#8a8a8a", "#b8962e")

Point = tuple[float, float]


def lines(title: str, across: str, up: str, curves: Mapping[str, Sequence[Point]]) -> str:
    """Curves with both axes logarithmic; every value must be above zero."""
    points = [point for curve in curves.values() for point in curve]
    x_low, x_high = _decades([x for x, _ in points])
    y_low, y_high = _decades([y for _, y in points])

    def place(x: float, y: float) -> Point:
        across_ = (math.log10(x) - x_low) / (x_high - x_low)
        up_ = (math.log10(y) - y_low) / (y_high - y_low)
        return LEFT + across_ * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up_ * (HEIGHT - TOP - BOTTOM)

    body = []
    for power in range(y_low, y_high + 1):
        _, y = place(10**x_low, 10**power)
        body.append(_line(LEFT, y, WIDTH - RIGHT, y, "#dddddd"))
        body.append(_text(LEFT - 8, y + 4, f"{10.0**power:g}", "end"))
    for power in range(x_low, x_high + 1):
        x, _ = place(10**power, 10**y_low)
        body.append(_line(x, TOP, x, HEIGHT - BOTTOM, "#dddddd"))
        body.append(_text(x, HEIGHT - BOTTOM + 18, f"{10.0**power:g}", "middle"))
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        spots = [place(x, y) for x, y in sorted(curve)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        body.append(_text(spots[-1][0] + 8, spots[-1][1] + 4, name, "start", colour))
    return _page(title, across, up, body)


def bars(title: str, up: str, columns: Mapping[str, Mapping[str, float]]) -> str:
    """One column a name, its parts stacked; the same parts have the same colour."""
    parts = list(dict.fromkeys(part for column in columns.values() for part in column))
    top = max(sum(column.values()) for column in columns.values()) or 1.0
    step = (WIDTH - LEFT - RIGHT) / len(columns)
    scale = (HEIGHT - TOP - BOTTOM) / top
    body = []
    for i, (name, column) in enumerate(columns.items()):
        x, y = LEFT + i * step + step / 5, float(HEIGHT - BOTTOM)
        for part, value in column.items():
            colour = COLOURS[parts.index(part) % len(COLOURS)]
            y -= value * scale
            size = f'width="{step * 3 / 5:.1f}" height="{value * scale:.1f}"'
            body.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>')
        body.append(_text(x + step * 3 / 10, y - 6, f"{sum(column.values()):.0f}", "middle"))
        body.append(_text(x + step * 3 / 10, HEIGHT - BOTTOM + 18, name, "middle"))
    for i, part in enumerate(parts):
        body.append(_text(WIDTH - RIGHT + 10, TOP + 16 * i, part, "start", COLOURS[i % len(COLOURS)]))
    return _page(title, "", up, [*body, _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "#333333")])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _page(title: str, across: str, up: str, body: Sequence[str]) -> str:
    middle = (HEIGHT + TOP - BOTTOM) / 2
    words = [
        _text(LEFT, 22, title, "start", "#111111", 15),
        _text((WIDTH + LEFT - RIGHT) / 2, HEIGHT - 10, across, "middle"),
        f'<g transform="rotate(-90 18 {middle:.0f})">{_text(18, middle, up, "middle")}</g>',
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *words,
            *body,
            "</svg>\n",
        ]
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#333333", size: int = 12) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} fill="{colour}" font-size="{size}">{escape(words)}</text>'
