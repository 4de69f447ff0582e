"""A figure of matplotlib's as a page with hover and zoom, by plotly: the same numbers."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
_MARKERS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond"}
_PIXELS = 110  # an inch


def interactive_page(figure: Figure, title: str) -> bytes:
    """One file that loads nothing: plotly's program, some 4.8 MB, is in it."""
    from plotly.io import to_html

    figure.draw_without_rendering()  # lays it out
    axes = [axis for axis in figure.axes if axis.get_visible()]
    places = {axis: "" if n == 1 else str(n) for n, axis in enumerate(axes, 1)}
    size = figure.get_size_inches() * _PIXELS
    layout: dict[str, Any] = {
        "title": {"text": _text(figure.get_suptitle()), "x": 0.5, "y": 0.99, "yanchor": "top",
                  "font": {"size": 14}},
        "height": int(size[1]), "hovermode": "x unified", "plot_bgcolor": "white",
        "margin": dict.fromkeys("lrtb", 4), "annotations": [],
        "legend": {"orientation": "h", "x": 0.5, "y": 0, "xanchor": "center", "yanchor": "bottom"},
    }  # fmt: skip
    traces: list[dict[str, Any]] = []
    for axis, place in places.items():
        _add_axes(layout, axis, places)
        for artist in sorted(axis.get_children(), key=lambda artist: artist.get_zorder()):
            at = {"xaxis": f"x{place}", "yaxis": f"y{place}"}
            traces += ({**trace, **at} for trace in _traces(axis, artist))
    named = set()
    for trace in traces:  # one entry in the legend shows and hides a curve in all panels
        label, name = trace["name"], trace["name"].lstrip("_")
        trace["showlegend"] = bool(name) and label == name and name not in named
        trace["legendgroup"] = trace["name"] = name
        named.add(label)
    drawn = to_html(
        {"data": traces, "layout": layout}, {"displaylogo": False, "responsive": True},
        include_plotlyjs=True, full_html=False, div_id="imagine", validate=False,
    )  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n</head>\n"
        f'<body style="margin: 1em auto; max-width: {int(size[0])}px">\n{drawn}\n</body>\n</html>\n'
    ).encode()


def _add_axes(layout: dict[str, Any], axis: Any, places: dict[Any, str]) -> None:
    """Where a panel is, what is written at it, and which axes are zoomed with its own."""
    box, place = axis.get_position(), places[axis]
    for letter, other, ends, own, shared, side in (
        ("x", "y", (box.x0, box.x1), axis.xaxis, axis.get_shared_x_axes(), "labelbottom"),
        ("y", "x", (box.y0, box.y1), axis.yaxis, axis.get_shared_y_axes(), "labelleft"),
    ):
        first = next(it for it in places if it is axis or shared.joined(it, axis))
        layout[f"{letter}axis{place}"] = {
            "domain": ends, "anchor": f"{other}{place}", "range": own.get_view_interval().tolist(),
            "title": {"text": _text(own.get_label_text()), "standoff": 4},
            "showticklabels": own.get_tick_params().get(side, True), "zeroline": False,
            "gridcolor": "#dddddd", "linecolor": "black", "mirror": True, "ticks": "outside",
            **({} if first is axis else {"matches": f"{letter}{places[first]}"}),
        }  # fmt: skip
    words = [(axis.get_title(), 0.5, 1.0, "bottom")] if axis.get_title() else []
    words += [(text.get_text(), *text.get_position(), "middle") for text in axis.texts]
    layout["annotations"] += [
        {"text": _text(word), "xref": f"x{place} domain", "yref": f"y{place} domain", "x": x,
         "y": y, "yanchor": anchor, "showarrow": False} for word, x, y, anchor in words
    ]  # fmt: skip


def _traces(axis: Any, artist: Any) -> list[dict[str, Any]]:
    """What is drawn of a line, a band or a bar; nothing of what else a panel has."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D

    label = str(artist.get_label())
    name = "" if label.startswith("_child") else _text(label)
    alpha = 1.0 if artist.get_alpha() is None else artist.get_alpha()
    if isinstance(artist, Line2D):
        points = _in_data(axis, artist.get_transform(), artist.get_xydata())
        style, marker = artist.get_linestyle(), _MARKERS.get(artist.get_marker())
        if artist.get_markevery() is not None:  # marks for the eye, not numbers
            marker = None
        modes = ["lines"] * (style in _DASHES) + ["markers"] * (marker is not None)
        return [{
            "mode": "+".join(modes), "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(), "name": name, "opacity": alpha,
            "line": {
                "color": to_hex(artist.get_color()), "width": 1.3 * artist.get_linewidth(),
                "dash": _DASHES.get(style, "solid"),
                "shape": "hv" if artist.get_drawstyle() == "steps-post" else "linear",
            },
            "marker": {"symbol": marker, "size": 1.3 * artist.get_markersize()},
            **({} if name and name != "particles" else {"hoverinfo": "skip"}),
        }]  # fmt: skip
    if isinstance(artist, PolyCollection):
        paths, colour, dash = artist.get_paths(), artist.get_facecolor()[0], ""
    elif artist in axis.patches:
        filled = artist.get_fill()
        paths, dash = [artist.get_path()], "" if filled else _DASHES[artist.get_linestyle()]
        colour = artist.get_facecolor() if filled else artist.get_edgecolor()
    else:
        return []
    line = {"width": 1.8 if dash else 0, "color": to_hex(colour), "dash": dash or "solid"}
    corners = [_in_data(axis, artist.get_transform(), path.vertices) for path in paths]
    return [
        {"mode": "lines", "x": each[:, 0].tolist(), "y": each[:, 1].tolist(), "name": name,
         "fill": "none" if dash else "toself", "fillcolor": to_hex(colour), "opacity": alpha,
         "line": line, "hoverinfo": "skip"} for each in corners
    ]  # fmt: skip


def _in_data(axis: Any, transform: Any, points: Any) -> np.ndarray:
    """As they are where they are in the axes' own units."""
    if transform == axis.transData:
        return np.asarray(points)
    return np.asarray(axis.transData.inverted().transform(transform.transform(points)))


def _text(text: str) -> str:
    """As plotly takes it: it reads some HTML, and our labels' dollar signs are escaped."""
    return html.escape(text.replace(r"\$", "$"), quote=False).replace("\n", "<br>")
