"""Plots as SVG text: bars (one side a row, a dot for each round) and lines (over a logarithmic axis).

Colours are chosen to be read on white and on black, and by the colour-blind.
"""

import math
from dataclasses import dataclass, field
from html import escape

OURS, OTHERS, DOT, TEXT = "#d55e00", "#56799b", "#1b1b1b", "#777777"
GRID = 'stroke="#999999" stroke-opacity="0.3"'
LINES = ("#d55e00", "#0072b2", "#009e73", "#cc79a7")
WIDTH, LABEL, ROW = 760, 190, 26
PLOT_HEIGHT, MARGIN = 300, 56


@dataclass
class Plot:
    """What is to be seen. Bars: `rows` of label and the values of each round. Lines: `lines` of label and points."""

    name: str
    title: str
    unit: str
    rows: list[tuple[str, list[float]]] = field(default_factory=list)
    lines: list[tuple[str, list[tuple[float, float]]]] = field(default_factory=list)


def svg(plot: Plot) -> str:
    """Return the plot as an SVG document."""
    height, body = _bars(plot) if plot.rows else _lines(plot)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="{TEXT}">\n<title>{escape(plot.title)}</title>\n'
        f'<text x="8" y="18" font-size="14">{escape(plot.title)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _bars(plot: Plot) -> tuple[int, list[str]]:
    top = _round_up(max(max(values) for _, values in plot.rows))
    scale = (WIDTH - LABEL - 80) / top
    height = 40 + ROW * len(plot.rows) + 30
    body = _ticks(top, scale, height, plot.unit)
    for number, (label, values) in enumerate(plot.rows):
        y = 34 + ROW * number
        middle = sorted(values)[len(values) // 2]
        colour = OURS if label.startswith("inboxd") else OTHERS
        body += [
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{middle * scale:.1f}" height="{ROW - 8}" fill="{colour}"/>',
            *(
                f'<circle cx="{LABEL + value * scale:.1f}" cy="{y + (ROW - 8) / 2:g}" r="2.5" fill="{DOT}"/>'
                for value in values
            ),
            f'<text x="{LABEL + max(values) * scale + 8:.1f}" y="{y + 14}">{figure(middle)}</text>',
        ]
    return height, body


def _ticks(top: float, scale: float, height: int, unit: str) -> list[str]:
    found = []
    for step in range(5):
        value = top * step / 4
        x = LABEL + value * scale
        found += [
            f'<path d="M{x:.1f} 28V{height - 28}" {GRID}/>',
            f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle">{figure(value)}</text>',
        ]
    return [*found, f'<text x="8" y="{height - 12}">{escape(unit)}</text>']


def _lines(plot: Plot) -> tuple[int, list[str]]:
    points = [point for _, line in plot.lines for point in line]
    low, high = (math.log10(bound(x for x, _ in points)) for bound in (min, max))
    top = _round_up(max(y for _, y in points))
    width, base = WIDTH - 2 * MARGIN - 80, PLOT_HEIGHT - 34

    def place(x: float, y: float) -> tuple[float, float]:
        return MARGIN + width * (math.log10(x) - low) / ((high - low) or 1), base - (base - 34) * y / top

    body = []
    for step in range(5):
        _, y = place(10**low, top * step / 4)
        body += [
            f'<path d="M{MARGIN} {y:.1f}H{MARGIN + width}" {GRID}/>',
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{figure(top * step / 4)}</text>',
        ]
    for x in sorted({x for x, _ in points}):
        at, _ = place(x, 0)
        body.append(f'<text x="{at:.1f}" y="{base + 18}" text-anchor="middle">{figure(x)}</text>')
    for colour, (label, line) in zip(LINES, plot.lines, strict=False):
        placed = [place(x, y) for x, y in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        body.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in placed]
        x, y = placed[-1]
        body.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(label)}</text>')
    body.append(f'<text x="8" y="{PLOT_HEIGHT - 2}">{escape(plot.unit)}</text>')
    return PLOT_HEIGHT, body


def figure(value: float) -> str:
    """Return a number as people read it: 12,300 or 4.2 or 0.031."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _round_up(value: float) -> float:
    """Return the next 1, 2, 4 or 5 times a power of ten, or 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)
