"""Charts of lines and panels of bars in one style, each as SVG and PNG."""

import io
import math
import re
from dataclasses import dataclass
from html import escape
from textwrap import wrap

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from text import number

# After Okabe and Ito: colour-blind people can tell them apart.
COLOURS = ["#0072b2", "#d98200", "#009e73", "#b5558f", "#3fa3db", "#d55e00", "#7a5c2e", "#333333", "#8a939c"]
MARKERS = "os^DvPXph"
INK, SOFT, GRID, PAPER = "#1b1f24", "#57606a", "#e3e7eb", "#ffffff"
WIDTH, EDGE, PLOT_HEIGHT = 640, 14, 290
"""In points: a point is one unit of an SVG and two pixels of a PNG."""
CHARACTER, DIGIT = 0.54, 0.64
"""Mean widths of a character and a digit, relative to the font size."""
STEPS = [1, 2, 5, 10]
STYLES = {
    "measured": {"linewidth": 2.4, "markersize": 10, "markeredgecolor": PAPER},
    "ideal": {"linewidth": 1.8, "color": SOFT, "linestyle": (0, (4, 3))},
    "predicted": {"linewidth": 2.2, "linestyle": (0, (0.1, 2.3)), "dash_capstyle": "round"},
}
LOGARITHMIC = 12
"""From this ratio of the largest to the least bar a linear axis would hide the small ones."""
matplotlib.rcParams |= {
    **{"svg.fonttype": "none", "svg.hashsalt": "primepool", "text.parse_math": False, "text.color": INK},
    **{"font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "legend.frameon": False, "legend.fontsize": 13},
    **{f"axes.spines.{side}": False for side in ("left", "right", "top")},
    **{"axes.edgecolor": SOFT, "axes.linewidth": 1.2, "axes.axisbelow": True, "grid.color": GRID, "grid.linewidth": 1},
    **{"xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelsize": 13, "ytick.labelsize": 13, "xtick.major.size": 5},
    **{"ytick.major.size": 0, "ytick.major.pad": 8, "errorbar.capsize": 4, "lines.solid_capstyle": "butt"},
}


@dataclass
class Line:
    """Points are (x, y) or (x, y, least, most). A line without a name is not in the legend."""

    name: str
    points: list
    style: str = "measured"
    colour: int = 0


@dataclass
class Chart:
    """Lines over axes that begin at zero, or over logarithmic ones."""

    title: str
    subtitle: str
    x_label: str
    y_label: str
    lines: list
    ticks: tuple = ()  # of the x axis; round numbers without
    x_end: float = 0  # the axes go as far at least
    y_end: float = 0
    mark: tuple = ()  # a place on the x axis and its label
    is_logarithmic: bool = False

    def draw(self):
        """Returns SVG and PNG."""
        named = sorted((line for line in self.lines if line.name), key=lambda line: line.style != "measured")
        longest = max((len(line.name) for line in named), default=0)
        columns = min(len(named), max(1, int((WIDTH + EDGE) / (50 + 13 * CHARACTER * longest))))
        rows = math.ceil(len(named) / columns) if len(named) > 1 else 0
        values = [value for line in self.lines for point in line.points for value in point[1:]]
        y_ticks = powers(min(values), max(values)) if self.is_logarithmic else ticks_to(max([self.y_end, *values]) or 1)
        page = Page(self.title, self.subtitle, WIDTH, PLOT_HEIGHT + 82 + 18 * rows)
        top, left = page.bottom + 24 + 18 * rows, 44 + 13 * DIGIT * max(len(number(tick)) for tick in y_ticks)
        length = WIDTH - 22 - left
        axes = page.axes(left, top, length, PLOT_HEIGHT)
        drawn = {id(line): draw_line(axes, place, line) for place, line in enumerate(self.lines)}
        if rows:
            # matplotlib fills columns first; this order is by rows.
            named = [line for column in range(columns) for line in named[column::columns]]
            page.figure.legend(
                [drawn[id(line)] for line in named], [line.name for line in named], ncols=columns, loc="upper left",
                bbox_to_anchor=page.place(EDGE, page.bottom + 8), borderpad=0, borderaxespad=0, handlelength=28 / 13,
                handletextpad=6 / 13, columnspacing=16 / 13, labelspacing=5 / 13,
            )
        x_start, x_end = 0, 1.03 * max([self.x_end, *(point[0] for line in self.lines for point in line.points)]) or 1
        if self.is_logarithmic:
            axes.loglog()
            axes.minorticks_off()
            x_start, x_end = self.ticks[0] / 1.15, self.ticks[-1] * 1.15
        axes.set(xlim=(x_start, x_end), ylim=(y_ticks[0], y_ticks[-1]), yticks=y_ticks)
        axes.xaxis.set_major_locator(MaxNLocator(9, steps=STEPS))
        if self.ticks:
            axes.set_xticks(self.ticks if self.is_logarithmic else apart(self.ticks, x_end / 18))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: number(value))
        axes.grid(axis="y")
        page.text(left + length / 2, top + PLOT_HEIGHT + 43, self.x_label, 14, ha="center")
        page.text(22, top + PLOT_HEIGHT / 2, self.y_label, 14, ha="center", va="center", rotation=90)
        if self.mark:
            (x, label), is_left = self.mark, self.mark[0] > x_end / 2
            axes.axvline(x, color=SOFT, linewidth=1.2, linestyle=(0, (2, 3)))
            annotate(axes, label, (x, 0), (-6 if is_left else 6, 10), ha="right" if is_left else "left")
        return page.save()


@dataclass
class Panel:
    """Bars are name, index of the colour, opacity, and (median, least, most)."""

    title: str
    note: str
    bars: list
    end: float = 0  # the axis goes as far at least

    def draw(self, page, left, top, width):
        page.text(left, top + 14, self.title, 14.5, weight="bold")
        page.text(left + width, top + 14, self.note, 11.5, SOFT, ha="right")
        axes = page.axes(left + 150, top + 26, width - 242, 25 * len(self.bars))
        medians, leasts, mosts = zip(*(bar[-1] for bar in self.bars))
        start, end = 0, max(self.end, *mosts) or 1
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        if not self.end and min(leasts) > 0 and max(medians) > LOGARITHMIC * min(medians):
            axes.set_xscale("log")
            axes.minorticks_off()
            # A power of ten below the shortest, so that each has a bar.
            ticks = powers(min(leasts) / 2, end)
            start, end = ticks[0], ticks[-1]
            axes.set_xticks(ticks[:: math.ceil((len(ticks) - 1) / 4)])
        for place, (_, colour, opacity, (median, least, most)) in enumerate(self.bars):
            axes.barh(place, median - start, 16 / 25, start, color=COLOURS[colour], alpha=opacity)
            if least < most:
                span = [[median - least], [most - median]]
                axes.errorbar(median, place, xerr=span, fmt="none", ecolor=INK, elinewidth=1.3, capthick=1.3)
            annotate(axes, number(median), (most, place), (7, 0), va="center_baseline", weight="bold")
        axes.set(xlim=(start, end), ylim=(len(self.bars) - 0.5, -0.5))
        axes.xaxis.set_major_formatter(lambda value, _: short(value))
        axes.set_yticks(range(len(self.bars)), [bar[0] for bar in self.bars], fontsize=12.5, color=INK)
        axes.tick_params(axis="x", length=0, labelsize=11)
        axes.spines["left"].set_visible(True)
        axes.spines["bottom"].set_visible(False)
        axes.grid(axis="x")


def draw_panels(title, subtitle, panels):
    """Returns SVG and PNG of panels in two columns."""
    page_width, gap = 1040, 36
    width = (page_width - 2 * EDGE - gap) / 2
    pairs = [panels[place : place + 2] for place in range(0, len(panels), 2)]
    heights = [70 + 25 * max(len(panel.bars) for panel in pair) for pair in pairs]
    page = Page(title, subtitle, page_width, 22 + sum(heights))
    for row, pair in enumerate(pairs):
        for column, panel in enumerate(pair):
            panel.draw(page, EDGE + column * (width + gap), page.bottom + 22 + sum(heights[:row]), width)
    return page.save()


class Page:
    """A figure with title and subtitle, whose places are points from its upper left corner."""

    def __init__(self, title, subtitle, width, height):
        size = 17 if width == WIDTH else 20
        rows = [(row, size, INK, "bold", size + 3) for row in wrap(title, int((width - EDGE) / (DIGIT * size)))]
        rows += [(row, 12.5, SOFT, "normal", 17) for row in wrap(subtitle, int((width - EDGE) / (CHARACTER * 12.5)))]
        self.label, self.bottom = escape(f"{title}. {subtitle}"), EDGE + sum(row[-1] for row in rows)
        self.width, self.height, y = width, math.ceil(self.bottom + height), EDGE
        self.figure = Figure(figsize=(width / 72, self.height / 72), dpi=72, facecolor=PAPER)
        for text, size, colour, weight, row_height in rows:
            y += row_height
            self.text(EDGE, y, text, size, colour, weight=weight)

    def place(self, x, y):
        return x / self.width, 1 - y / self.height

    def text(self, x, y, text, size, colour=INK, **more):
        self.figure.text(*self.place(x, y), text, fontsize=size, color=colour, **more)

    def axes(self, left, top, width, height):
        size = width / self.width, height / self.height
        return self.figure.add_axes((*self.place(left, top + height), *size), facecolor="none")

    def save(self):
        svg, png = io.StringIO(), io.BytesIO()
        # Without date and version, so that the same figures give the same bytes.
        self.figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        self.figure.savefig(png, format="png", dpi=144, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
        text = svg.getvalue().replace("<svg ", f'<svg role="img" aria-label="{self.label}" ', 1)
        text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", " ", text)  # XML does not allow these
        # A hundredth of a point is fine enough.
        text = re.sub(r' d="[^"]+"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
        return text, png.getvalue()


def write_pictures(folder, pictures):
    """Writes each SVG and PNG under its path in the folder."""
    for path, (svg, png) in pictures.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{path}.svg").write_text(svg, encoding="utf-8")
        (folder / f"{path}.png").write_bytes(png)


def in_page(svg, place):
    """The SVG for a page that may be dark and holds others: unique ids, the page's colours."""
    names = {colour: f"c{index}" for index, colour in enumerate(COLOURS)}
    for colour, name in (names | {INK: "ink", SOFT: "soft", GRID: "grid", PAPER: "page"}).items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r"(?s).*?(<svg [^>]+>)\s*<defs>\s*<style.*?</defs>", r"\1", svg, count=1)
    svg = re.sub(r'(?<=<g) id="[\w.]+_\d+"', "", svg)
    return re.sub(r'(id="|#)([a-z][0-9a-f]{10})\b', rf"\1\2-{place}", svg)


def draw_line(axes, place, line):
    colour, layer = COLOURS[line.colour % len(COLOURS)], {"zorder": 2 + place / 100, "clip_on": False}
    ranged = [point for point in line.points if len(point) == 4 and point[2] < point[3]]
    if ranged:
        x, y, least, most = zip(*ranged)
        spans = [[a - b for a, b in zip(y, least)], [b - a for a, b in zip(y, most)]]
        axes.errorbar(x, y, spans, fmt="none", ecolor=colour, elinewidth=1.6, capthick=1.6, **layer)
    style = {"color": colour, "marker": MARKERS[line.colour % len(MARKERS)] if line.style == "measured" else ""}
    x, y = [point[0] for point in line.points], [point[1] for point in line.points]
    return axes.plot(x, y, **layer, **style | STYLES[line.style])[0]


def annotate(axes, text, at, offset, **more):
    axes.annotate(text, at, offset, textcoords="offset points", fontsize=12.5, color=INK, **more)


def ticks_to(end):
    """Round numbers from 0 to the first that is at least `end`."""
    ticks = [float(tick) for tick in MaxNLocator(6, steps=STEPS).tick_values(0, end)]
    return ticks[: 1 + next(place for place, tick in enumerate(ticks) if tick >= end * (1 - 1e-9))]


def powers(least, most):
    """The powers of ten from the last one below to the first one above."""
    first, last = math.floor(math.log10(least) + 1e-9), math.ceil(math.log10(most) - 1e-9)
    return [10.0**power for power in range(first, last + 1)]


def apart(ticks, distance):
    """Zero and the ticks whose labels do not touch; keeps the largest."""
    kept = [0]
    for tick in sorted(ticks, reverse=True):
        kept += [tick] if all(abs(tick - other) >= distance for other in kept) else []
    return kept


def short(value):
    unit, per = ("M", 1e6) if value >= 1e6 else ("k", 1e3) if value >= 1e4 else ("", 1)
    return f"{number(value / per)} {unit}".strip()
