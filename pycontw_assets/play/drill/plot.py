"""Draw the waiting times as a picture. Only this needs matplotlib: ``pip install pycontw_assets[pictures]``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pycontw_assets.play.drill.waits import Waited, bucket_seconds
from pycontw_assets.settings import InvalidSettings

_COLOURS = {"access": "tab:blue", "invitation": "tab:orange"}


def check_plot(file: Path) -> None:
    """Raise ``InvalidSettings`` before the drill when there can be no picture after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InvalidSettings(
            "--plot: needs matplotlib: pip install 'pycontw_assets[pictures]'; without --plot they are printed as text"
        ) from None
    if not file.parent.is_dir():
        raise InvalidSettings(f"--plot: {file.parent} is no folder")


def draw(
    file: Path,
    title: str,
    waited: Sequence[Waited],
    outages: Sequence[tuple[str, float, float]],
    minute_of: Callable[[datetime], float],
) -> None:
    """Draw every ticket by the minute it was paid, failures shaded; below it how many waited how long."""
    from matplotlib.figure import Figure

    series = {
        "access": [(minute_of(ticket.paid_at), ticket.access) for ticket in waited if ticket.access is not None],
        "invitation": [(minute_of(ticket.paid_at), ticket.mail) for ticket in waited if ticket.mail is not None],
    }
    figure = Figure(figsize=(9, 7), layout="constrained")
    figure.suptitle(title)
    by_time, by_length = figure.subplots(2, 1)
    for name, start, end in outages:
        by_time.axvspan(start, end, color="tab:red", alpha=0.12)
        by_time.annotate(name, (start, 0.98), xycoords=("data", "axes fraction"), fontsize=8, rotation=90, va="top")
    for (name, points), marker in zip(series.items(), ("o", "x"), strict=True):
        by_time.scatter(*zip(*points, strict=True), s=18, marker=marker, color=_COLOURS[name], label=name)
    by_time.set(xlabel="minute of payment", ylabel="seconds until")
    by_time.legend()
    lengths = [[seconds for _, seconds in points] for points in series.values()]
    slowest = max((seconds for series in lengths for seconds in series), default=0.0)
    step = bucket_seconds(slowest)
    edges = list(range(0, int(slowest) + 2 * step, step))
    by_length.hist(lengths, bins=edges, color=list(_COLOURS.values()), label=list(_COLOURS))
    by_length.set(xlabel="seconds from payment", ylabel="tickets")
    by_length.legend()
    figure.savefig(file, format="png", dpi=120)
