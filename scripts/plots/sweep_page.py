"""report.html: tables, pictures and commands in one file, which a browser opens from disk. Nothing is fetched, and the page says so
itself: its policy allows styles and the one script in it. Without the script all pictures are shown, one after another."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Callable
from pathlib import Path

from sweep_data import MEASURES, Configuration, Parameter, Report, Trial, label, shown
from sweep_fit import axis_text
from sweep_picture import SEQUENCE, Picture
from style import FAINT, GREY, INK

HERE = Path(__file__).resolve().parent


def page(report: Report, drawn: list[Picture] | None) -> str:
    """`drawn`: none where there was no matplotlib to draw with."""
    pictures = drawn or []
    script = (HERE / "sweep_page.js").read_text(encoding="utf-8")
    style = (HERE / "sweep_page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    inline = [inlined(picture, number) for number, picture in enumerate(pictures)]
    of_kind = {kind: [text for picture, text in zip(pictures, inline) if picture.kind == kind] for kind in ("heat", "factor", "fit", "curve", "parts")}
    title = f"{report.name}: {report.folder}"
    sections = [header(report)]
    if report.kind == "sweep":
        sections += [best(report), section("ranking", "Ranking", ranking(report))]
    if drawn is None:
        sections.append('<p class="note">This page has no pictures, since matplotlib was missing; install it '
                        "(<code>apt install python3-matplotlib</code>) and run <code>temper report</code> again.</p>")
    if of_kind["heat"]:
        pairs = list(dict.fromkeys(picture.keys["pair"] for picture in pictures if picture.kind == "heat"))
        sections.append(section("map", "Two parameters", chooser(("pair", "parameters", pairs, pairs)) + figures(of_kind["heat"])))
    if of_kind["factor"]:
        sections.append(section("factor", "One parameter", figures(of_kind["factor"], "grid")))
    if report.effects["keys"]:
        sections.append(section("effects", "Each key by itself", effects(report)))
    if report.fits:
        sections.append(section("fit", "Fitted optimum", fits(report) + (figures(of_kind["fit"], "grid") if of_kind["fit"] else "")))
    if of_kind["curve"]:
        sections.append(section("curves", "Over the steps", curves(pictures, of_kind["curve"])))
    if of_kind["parts"]:
        sections.append(section("parts", "Layers and tensors", figures(of_kind["parts"])))
    sections += [section("trials", "Trials" if report.kind == "sweep" else "The run", trials(report)), footer(report, pictures)]
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def escape(text: str) -> str:
    """Text for an element or an attribute; the lines of logs and commands stay."""
    return html.escape("\n".join(map(shown, text.split("\n"))))


def section(identity: str, title: str, body: str) -> str:
    return f'<section id="{identity}">\n<h2>{title}</h2>\n{body}\n</section>'


def inlined(picture: Picture, number: int) -> str:
    """A figure with the picture's SVG in it: without what only a file needs, with names of its own, and with the page's colours."""
    svg = picture.svg[picture.svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>p{number}-", svg)
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    tag = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(picture.title)}" style="max-width: {width * 4 / 3:.0f}px">'
    svg = tag + svg[svg.index(">") + 1 :]
    svg = svg.replace("fill: #ffffff", "fill: none", 1)  # the ground of the whole figure, drawn first
    for index, colour in enumerate(SEQUENCE if picture.kind not in ("heat", "fit") else []):  # whose cells hold their figures in a colour of their own
        svg = svg.replace(colour, f"var(--s{index})")
    for colour, name in ((INK, "ink"), (FAINT, "faint"), (GREY, "grey")):
        svg = svg.replace(colour, f"var(--{name})")
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)  # a hundredth of a point is enough
    keys = "".join(f' data-{name}="{escape(value)}"' for name, value in picture.keys.items())
    return f'<figure data-kind="{picture.kind}"{keys}>\n{svg.strip()}\n</figure>'


def figures(parts: list[str], layout: str = "") -> str:
    return f'<div class="figures {layout}">\n' + "\n".join(parts) + "\n</div>"


def chooser(*choices: tuple[str, str, list[str], list[str]]) -> str:
    """Selects, each of (name in the address, text before it, values, their texts); the script shows them where there is a choice."""
    text = ""
    for name, before, values, texts in choices:
        options = "".join(f'<option value="{escape(value)}">{escape(one)}</option>' for value, one in zip(values, texts))
        text += f'<label{"" if len(values) > 1 else " class=single"}>{before} <select name="{name}">{options}</select></label>'
    return f'<form class="chooser" hidden>{text}</form>\n'


def curves(pictures: list[Picture], parts: list[str]) -> str:
    present = [picture.keys for picture in pictures if picture.kind == "curve"]
    by = list(dict.fromkeys(keys["by"] for keys in present))
    keys = list(dict.fromkeys(keys["measure"] for keys in present))
    titles = {one.key: one.title for one in MEASURES}
    meanings = "; ".join(f"<em>{one.title}</em>: {one.meaning}" for one in MEASURES if one.key in keys)
    choose = chooser(("measure", "measurement", [*keys, "all"], [*(titles[key] for key in keys), "all of them"]), ("by", "coloured by", by, by))
    return choose + figures(parts, "grid wide") + f'\n<p class="note">{meanings}.</p>'


def header(report: Report) -> str:
    states = ", ".join(f"{number} {state}" for state, number in report.trials.items() if number)
    better = "lower" if report.goal == "minimize" else "higher"
    if report.kind == "run":
        lead = f"One run, {report.trials['finished'] and 'finished' or 'not finished'}."
    else:
        lead = (f"{len(report.configurations)} configurations × {len(report.seeds)} seed{'s' * (len(report.seeds) > 1)}, {escape(report.method)}; "
                f"trials: {states}. Ranked by <code>{escape(report.metric)}</code>, {better} is better.")
    return f"<header>\n<h1>{escape(report.name)}</h1>\n<p class=\"lead\"><code>{escape(report.folder)}</code> — {lead}</p>\n</header>"


def best(report: Report) -> str:
    one = report.best
    if one is None:
        return section("best", "Best configuration", "<p>No trial has a result yet.</p>")
    values = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(label(value))}</dd></div>" for key, value in one.values.items())
    spread = f" ± {report.figure(one.interval, 4)}, the 95 % interval (Student's t) of {one.n} seeds" if one.interval is not None else ", of one seed"
    verdict = "<br>".join(map(escape, report.verdict.splitlines()))
    return section("best", f"The first of {report.best_words}" if one.tied_for_best else "Best configuration", f"""<dl class="values">{values}</dl>
<p><code>{escape(report.metric)}</code> <strong>{report.figure(one.mean, 4)}</strong>{spread}.</p>
<p>{verdict}</p>
{command(report.commands.get("best", ""))}""")


def command(text: str) -> str:
    return f"<pre><code>{escape(text)}</code></pre>" if text else ""


def ranking_columns(report: Report) -> list[tuple[str, Callable[[Configuration], str]]]:
    """Heading and cell of each, in the order in which the configurations have them."""

    def value(parameter: Parameter) -> Callable[[Configuration], str]:
        return lambda one: cell(escape(label(one.values[parameter.name])), str(parameter.values.index(one.values[parameter.name])))

    def figure(key: str) -> Callable[[Configuration], str]:
        return lambda one: cell(report.figure(getattr(one, key), 4), "" if getattr(one, key) is None else repr(getattr(one, key)))

    def rank(one: Configuration) -> str:
        number = report.configurations.index(one)
        return cell(f'<a href="#configuration-{number + 1}">{report.place(one) or "–"}</a>', str(number))

    columns = {
        "rank": [("rank", rank)],
        "values": [(one.name, value(one)) for one in report.parameters],
        "rung": [("rung", lambda one: cell(str(one.rung), str(one.rung)))] if report.rungs > 1 else [],
        "mean": [(report.metric, figure("mean"))],
        "sd": [("sd", figure("sd"))],
        "interval": [("95 % interval", figure("interval"))],
        "n": [("n", lambda one: cell(str(one.n), str(one.n)))],
        "stopped": [("stopped", lambda one: cell(str(one.stopped or ""), str(one.stopped)))] if report.trials["stopped"] else [],
        "failed": [("failed", lambda one: cell(str(one.failed or ""), str(one.failed)))],
        "behind_best": [("behind the best", lambda one: behind(report, one))],
        "tied_for_best": [("", lambda one: cell(report.note(one), report.note(one)))],
    }
    return [column for key in report.columns for column in columns.get(key, [])]


def ranking(report: Report) -> str:
    columns = ranking_columns(report)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name, _ in columns)
    rows = []
    for one in report.configurations:
        state = "tied" if one.tied_for_best else "best" if one is report.best else "failed" if one.lost else ""
        rows.append(f'<tr class="{state}">{"".join(of(one) for _, of in columns)}</tr>')
    body = "\n".join(rows)
    table = f'<div class="scroll"><table class="sortable">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    if len(report.seeds) > 1:
        noise = ("Behind the best: the mean of the differences within seeds with its 95 % interval, which holds for the whole table together; "
                 "not seen where it holds 0. In the first line: the lead over the second. "
                 "sd: over the seeds, most of it shared by configurations with the same seed.")
    else:
        noise = "One seed tells nothing of the noise: a small difference may be none."
    return f'{table}<p class="note">{noise}</p>'


def plain_table(head: list[str], rows: list[list[str]], note: str) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div><p class="note">{note}</p>'


def effects(report: Report) -> str:
    """A row for each value of each key."""

    def signed(number: float) -> str:
        return ("+" if number >= 0 else "−") + report.figure(abs(number), 4)

    rows = []
    for effect in report.effects["keys"]:
        for place, value in enumerate(effect["values"]):
            row = [effect["key"] if place == 0 else "", value["value"], report.figure(value["mean"], 4)]
            if place == effect["best"]:
                rows.append([*row, "", "", "", "best" if effect["best_is_seen"] else ""])
                continue
            interval = value["interval"]
            behind = signed(value["behind"]) + (f" ± {report.figure(interval, 4)}" if interval is not None else "")
            rows.append([*row, behind, signed(value["least"]), signed(value["most"]), "" if value["seen"] or interval is None else "not seen"])
    return plain_table(["averaged over the others", "value", report.metric, "behind", "least", "most", ""], rows, "<br>".join(map(escape, report.effects["remarks"].splitlines())))


def fits(report: Report) -> str:
    """A row for each axis of each quadratic."""
    others = list(report.fits[0]["values"])
    head = [*others, "over", "best at", "95 % interval", "trials", "residual", "tilt", "lack of fit, p", ""]
    rows = []
    for fit in report.fits:
        tilt = f"{fit['tilt']:+.4f} ± {fit['tilt_interval']:.4f}" if fit.get("tilt") is not None else ""
        lack = f"{fit['lack_of_fit_p']:.2g}" if fit.get("lack_of_fit_p") is not None else ""
        of_fit = [str(fit.get("trials", "")), report.figure(fit.get("residual"), 4), tilt, lack, fit["problem"]]
        for axis in fit["axes"]:
            where = [axis_text(axis["optimum"]), f"{axis_text(axis['low'])} to {axis_text(axis['high'])}"] if axis["optimum"] is not None else ["–", ""]
            name = axis["name"] + (", log10" if axis["scale"] == "logarithmic" else "")
            rows.append([*(fit["values"][other] for other in others), name, *where, *of_fit])
    return plain_table(head, rows, "A quadratic by least squares over all finished trials, with an offset for each seed; the intervals are Fieller's, by "
                       "Student's t of the residual. Tilt: the coefficient of the product of both. Lack of fit: below 0.05 a quadratic does not describe the results, "
                       "and the intervals do not hold.")


def behind(report: Report, one: Configuration) -> str:
    mean, interval = report.difference(one)
    if mean is None:
        return cell("", "")
    sign = "" if mean >= 0 and one is report.best else "+" if mean >= 0 else "−"
    text = "lead " * (one is report.best) + sign + report.figure(abs(mean), 4) + (f" ± {report.figure(interval, 4)}" if interval is not None else "")
    return cell(text, repr(mean))


def cell(text: str, key: str) -> str:
    return f'<td data-key="{escape(key)}">{text}</td>'


def trials(report: Report) -> str:
    return "\n".join(configuration(report, number, one) for number, one in enumerate(report.configurations, 1))


def configuration(report: Report, number: int, one: Configuration) -> str:
    rank = f"{report.place(one)}. " if one.rank is not None and report.kind == "sweep" else ""
    result = f" — {report.figure(one.mean, 4)}" if one.mean is not None else ""
    failed = f' <span class="bad">{one.lost}</span>' if one.lost else ""
    changes = "".join(f"<tr><td><code>{escape(change['key'])}</code></td><td><code>{escape(change['base'])}</code></td>"
                      f"<td><code>{escape(change['value'])}</code></td></tr>" for change in one.changes)
    difference = (f"<table><thead><tr><th>key</th><th>base</th><th>here</th></tr></thead><tbody>{changes}</tbody></table>" if changes
                  else "<p>Nothing differs from the base but the seed.</p>" if report.kind == "sweep" else "")
    rows = "".join(trial(report, each) for each in one.trials)
    name = one.name() if report.kind == "sweep" else report.folder
    return f"""<details id="configuration-{number}"{" open" if len(report.configurations) == 1 else ""}>
<summary>{rank}{escape(name)}{result}{failed}</summary>
{difference}
<div class="scroll"><table>
<thead><tr><th>seed</th><th>state</th><th>steps</th><th>{escape(report.metric)}</th><th>again</th></tr></thead>
<tbody>{rows}</tbody>
</table></div>
</details>"""


def trial(report: Report, one: Trial) -> str:
    state = escape(one.state + (f", {one.failure}" if one.failure else ""))
    log = f'<details><summary>last lines of its output</summary><pre>{escape(chr(10).join(one.log))}</pre></details>' if one.log else ""
    return (f'<tr><td>{one.seed}</td><td class="{"bad" if one.lost else ""}">{state}{log}</td><td>{one.steps_done} of {one.steps}</td>'
            f"<td>{report.figure(one.metric, 4)}</td><td><code>{escape(one.command)}</code></td></tr>")


def footer(report: Report, pictures: list[Picture]) -> str:
    lines = [command("\n".join(text for key, text in report.commands.items() if text and key != "best"))]
    if pictures:
        lines.append('<p class="note">The pictures lie beside this page as SVG and PNG, those over the steps on sheets.</p>')
    return "<footer>\n<h2>Made with</h2>\n" + "\n".join(lines) + "\n</footer>"
