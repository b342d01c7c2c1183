"""report.py TEMPER SOURCE: `temper report` on sweeps of real runs: text, tables, pictures, and report.html in a browser.

Pictures are looked at where matplotlib is installed, the page in Chromium where that is (Debian: chromium).
"""

from __future__ import annotations

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

from harness import PATIENCE, Workspace, check

GRID = {
    "base": "config.json",
    "parameters": {"optimizer.weight_decay": {"values": [0, 0.1, 1]}, "schedule.warmup_steps": {"values": [0, 5, 20]}},
    "seeds": [1, 2],
    "resources": {"trials_at_once": 2},
}
# Names and labels that would do harm in a page, in a picture, as a file's name, or in a terminal.
EVIL = '<script>document.title="owned"</script>'
HOSTILE = {
    "base": "config.json",
    "parameters": {
        '../"><img src=x onerror=alert(1)>': {
            "values": [
                {"label": EVIL, "optimizer.learning_rate": 1e-3},
                {"label": "$\\frac{1}\u001b[31m --> </svg>", "optimizer.learning_rate": 900, "optimizer.grad_clip": 0},
            ]
        },
        "optimizer.beta1": {"values": [0.8, 0.9]},
    },
}
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def has_matplotlib() -> bool:
    """Asks the Pythons that temper asks."""
    for python in filter(None, map(shutil.which, ("python3", "/usr/bin/python3"))):
        if subprocess.run([python, "-I", "-c", "import matplotlib"], cwd="/", capture_output=True).returncode == 0:
            return True
    return False


class Page(html.parser.HTMLParser):
    """Elements of a page, and its figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))

    def count(self, tag: str) -> int:
        return sum(one == tag for one, _ in self.elements)

    def figures(self, kind: str) -> list[dict]:
        return [attributes for tag, attributes in self.elements if tag == "figure" and attributes.get("data-kind") == kind]


def check_text_and_tables(work: Workspace, plots: str) -> None:
    grid = work.folder / "grid"
    before = (grid / "results.csv").read_bytes()
    (grid / "results.csv").unlink()
    done = work.ok("report", "grid/", "--plots", plots, "--out", "grid-report")
    check((grid / "results.csv").read_bytes() == before, "the tables were not written again as they were")
    report = json.loads(work.ok("report", "grid", "--json").stdout)
    tied = sum(one["tied_for_best"] for one in report["configurations"])
    said = ("  not seen\n", "\n~ may be the best", f"\nNo winner: {tied} configurations may be the best.") if tied else ("  best\n", "\n* best", "\nThe first is the best.")
    check(report["statistics"]["comparisons"] == 36 and report["statistics"]["winner"] == (tied == 0), f"statistics: {report['statistics']}")
    for part in ("rank  optimizer.weight_decay  schedule.warmup_steps  val_loss", *said, "\n36 comparisons of 9 configurations",
                 f"could see a difference of {report['statistics']['visible_difference']:.4f}", "\nWarning: fewer than three seeds", "trials: 18 finished",
                 "best.json: temper train grid/best.json\n"):
        check(part in done.stdout, f"no {part!r} in\n{done.stdout}")
    of_key = [(one["key"], one["settings"], len(one["values"])) for one in report["effects"]["keys"]]
    check(of_key == [("optimizer.weight_decay", 3, 3), ("schedule.warmup_steps", 3, 3)], f"what each key does: {of_key}")
    for one in report["effects"]["keys"]:  # the mean over a key's value is that of its six trials
        for value in one["values"]:
            means = [each["mean"] for each in report["configurations"] if float(each["values"][one["key"]]) == float(value["value"])]
            check(len(means) == 3 and abs(sum(means) / 3 - value["mean"]) < 1e-8, f"{one['key']} {value['value']}: {means} and not {value['mean']}")
    check("\033" not in done.stdout, "colours where nobody looks")

    data = work.ok("report", "grid", "--json").stdout
    check(data == work.ok("report", "grid", "--json").stdout, "the same sweep gave other data")
    report = json.loads(data)
    ranks = [one["rank"] for one in report["configurations"]]
    check(all(rank == (1 if one["tied_for_best"] else number) for number, (rank, one) in enumerate(zip(ranks, report["configurations"]), 1)), f"ranks: {ranks}")
    trials = [trial for one in report["configurations"] for trial in one["trials"]]
    check(len(trials) == 18 and all(trial["training"]["step"] == list(range(1, 41)) for trial in trials), "the curves lack steps")
    for trial in trials:
        parts = trial["diagnostics"]
        check({"all", "layer 0", "layer 1", "query", "MLP in", "biases", "representation"} <= set(parts), f"parts: {list(parts)}")
        check(parts["all"]["step"] == [1, 5, 10, 15, 20, 25, 30, 35, 40] and parts["representation"]["step"] == [1, 20, 40], "measured steps")

    work.fails(2, "report", "data", says=("data holds neither a sweep", "name the --out folder"))
    work.fails(2, "report", "absent", says=("absent does not exist",))
    work.fails(2, "report", "grid", "--plots", "data", says=("--plots data", "sweep.py"))
    run = work.ok("report", f"grid/trials/{trials[0]['id']}", "--plots", plots, "--out", "run-report")
    check(run.stdout.startswith("test: finished, 40 of 40 steps, val_loss "), run.stdout)
    check("<h2>The run</h2>" in (work.folder / "run-report" / "report.html").read_text(), "the page of a run")

    (work.folder / "new").mkdir()
    shutil.copy(grid / "sweep.json", work.folder / "new")
    new = work.ok("report", "new", "--plots", plots)
    page = (work.folder / "new" / "report" / "report.html").read_text()
    check("18 waiting" in new.stdout and "No trial has a result yet" in page and "<svg" not in page, "a sweep before its first trial")


def check_half_finished(work: Workspace) -> None:
    """Some trials are not there, one has begun: what is there is reported."""
    shutil.copytree(work.folder / "grid", work.folder / "half")
    trials = sorted((work.folder / "half" / "trials").iterdir())
    for trial in trials[:7]:
        shutil.rmtree(trial)
    (trials[7] / "summary.json").unlink()
    metrics = (trials[7] / "metrics.jsonl").read_text().splitlines()
    (trials[7] / "metrics.jsonl").write_text("\n".join(metrics[:20]) + '\n{"step":20,"lo')
    report = json.loads(work.ok("report", "half", "--json").stdout)
    check(report["trials"] == {"finished": 10, "stopped": 0, "failed": 0, "interrupted": 1, "waiting": 7, "to be chosen": 0}, f"states: {report['trials']}")


def check_isolated(work: Workspace, plots: str) -> None:
    """What lies in the current folder or beside it in PATH and PYTHONPATH may have come with a sweep: none of it is run."""
    here = work.folder / "downloaded"
    (here / "bin").mkdir(parents=True)
    harm = f"import pathlib; pathlib.Path({str(work.folder / 'harm')!r}).write_text(__file__)\n"
    for name in ("matplotlib", "style", "sweep_data", "json", "sitecustomize", "usercustomize"):
        (here / f"{name}.py").write_text(harm)
    (here / "matplotlibrc").write_text("backend: module://style\n")
    for name in ("python3", "bin/python3"):
        (here / name).write_text(f"#!/bin/sh\necho $0 >{work.folder / 'harm'}\n")
        (here / name).chmod(0o755)
    for path in (f":{os.environ['PATH']}", f".:bin:{os.environ['PATH']}"):
        environment = {**os.environ, "PATH": path, "PYTHONPATH": ".", "PYTHONSTARTUP": "style.py"}
        done = subprocess.run([work.temper, "report", "../half", "--plots", plots], cwd=here, capture_output=True, text=True, env=environment)
        check(done.returncode == 0 and (work.folder / "half/report/report.html").exists(), f"PATH={path}: {done}")
        check(not (work.folder / "harm").exists(), f"PATH={path}: something of the current folder ran")
        shutil.rmtree(work.folder / "half" / "report")

    # A picture's place that is a link is replaced, a folder for the report that is one refused.
    (work.folder / "half" / "report").mkdir()
    (work.folder / "victim").write_text("precious")
    os.symlink(work.folder / "victim", work.folder / "half/report/report.html")
    work.ok("report", "half", "--plots", plots)
    check((work.folder / "victim").read_text() == "precious", "the page was written through a link")
    shutil.rmtree(work.folder / "half" / "report")
    os.symlink(here, work.folder / "half" / "report")
    work.fails(8, "report", "half", "--plots", plots, says=("half/report", "symbolic link"))
    (work.folder / "half" / "report").unlink()


def check_without_matplotlib(work: Workspace, plots: str) -> None:
    """All else is done, and the page has its tables. temper finds its scripts beside itself."""
    # A python3 that says it has matplotlib, so that none other is asked, and has none.
    hidden = work.folder / "hidden"
    hidden.mkdir()
    (hidden / "python3").write_text(f"""#!/bin/sh
[ "$1 $2" = "-I -B" ] || exit 9
[ "$3" = -c ] && exit 0
shift 2
exec {sys.executable} -I -B -c 'import runpy, sys; sys.modules["matplotlib"] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
""")
    (hidden / "python3").chmod(0o755)
    environment = {**os.environ, "PATH": f"{hidden}:{os.environ['PATH']}"}
    for program, scripts in (("built/build/release/temper", "built/scripts/plots"), ("prefix/bin/temper", "prefix/share/temper/plots")):
        (work.folder / program).parent.mkdir(parents=True)
        shutil.copy(work.temper, work.folder / program)
        lost = subprocess.run([work.folder / program, "report", "half"], cwd=work.folder, capture_output=True, text=True)
        check(lost.returncode == 2 and "--plots" in lost.stderr and "rank" in lost.stdout, f"{program} without scripts: {lost}")
        shutil.copytree(plots, work.folder / scripts, ignore=shutil.ignore_patterns("__pycache__"))
        own = subprocess.run([work.folder / program, "report", "half"], cwd=work.folder, capture_output=True, text=True, env=environment)
        check(own.returncode == 0 and "apt install python3-matplotlib" in own.stderr, f"{program} without matplotlib: {own}")
        check(not list(work.folder.glob("**/__pycache__")), "Python left files beside the scripts")
        page = (work.folder / "half" / "report" / "report.html").read_text()
        check("apt install python3-matplotlib" in page and "<svg" not in page and page.count("<tr") > 18, "the page without pictures")
        shutil.rmtree(work.folder / "half" / "report")
    for bad in ("", "[]", "{}", "null", '{"configurations": [], "parameters": []}', "\xff"):
        script = [sys.executable, "-B", Path(plots) / "sweep.py", "--out", work.folder / "bad"]
        done = subprocess.run(script, input=bad, capture_output=True, text=True)
        check(done.returncode == 1 and "temper report DIR --json" in done.stderr and "Traceback" not in done.stderr, f"of {bad!r}: {done}")


def check_pictures(work: Workspace, plots: str) -> None:
    names = ["diagnostics-by-optimizer.weight_decay", "diagnostics-by-schedule.warmup_steps", "factor-optimizer.weight_decay",
             "factor-schedule.warmup_steps", "fit-optimizer.weight_decay-schedule.warmup_steps", "heat-optimizer.weight_decay-schedule.warmup_steps", "loss-by-optimizer.weight_decay",
             "loss-by-schedule.warmup_steps", "parts"]
    folder = work.folder / "grid-report"
    expected = sorted(["report.html", *(f"{name}.{suffix}" for name in names for suffix in ("svg", "png"))])
    check(sorted(path.name for path in folder.iterdir()) == expected, f"files: {sorted(path.name for path in folder.iterdir())}")
    check_files(folder)
    page = Page((folder / "report.html").read_text())
    check(len(page.figures("heat")) == 1 and len(page.figures("factor")) == 2, "figures of results")
    measures = {figure["data-measure"] for figure in page.figures("curve")}
    wanted = {"loss", "learning_rate", "grad_norm", "weight_norm", "relative_update", "step_row_angle", "alignment", "representation_change"}
    check(wanted <= measures, f"measures: {measures}")
    check(len(page.figures("curve")) == 2 * len(measures), "a curve for each measure and parameter")
    shown = {"val_loss_sd": "sd", "val_loss_ci95": "95 % interval", "behind_best": "behind the best", "tied_for_best": ""}
    head = (work.folder / "grid" / "results.csv").read_text().splitlines()[0].split(",")
    columns = re.findall(r'<th scope="col">(.*?)</th>', (folder / "report.html").read_text())
    wanted = [shown.get(name, name) for name in head if name != "behind_best_ci95"]  # stands with the difference on the page
    effect, fit = columns[len(wanted) :][:7], columns[len(wanted) + 7 :]
    check(effect == ["averaged over the others", "value", "val_loss", "behind", "least", "most", ""], f"what each key does: {effect}")
    check(fit[:3] == ["over", "best at", "95 % interval"] and len(page.figures("fit")) == 1, f"the fit: {fit}")
    columns = columns[: len(wanted)]
    check(columns == wanted, f"the page's columns are {columns}, not those of results.csv: {wanted}")
    hidden = [tag for tag, attributes in page.elements if "hidden" in attributes]
    check(set(hidden) == {"form"}, f"without its script the page hides {hidden}")

    # Twice the same bytes, of names and labels that mean harm too.
    for out in ("hostile-1", "hostile-2"):
        done = work.ok("report", "hostile", "--plots", plots, "--out", out)
        check("\033" not in done.stdout and "Warning" not in done.stderr, f"{done.stdout}\n{done.stderr}")
    one, two = ({path.name: path.read_bytes() for path in (work.folder / out).iterdir()} for out in ("hostile-1", "hostile-2"))
    check(one == two, f"other bytes in {[name for name in one if one[name] != two.get(name)]}")
    check(all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in one) and len(one) > 8, f"names of files: {list(one)}")
    check_files(work.folder / "hostile-1")
    text = one["report.html"].decode()
    check("exit code 6" in text and "last lines of its output" in text, "the failed trials do not say why")
    check("&lt;script&gt;document.title" in text, "the label is not shown")


def check_files(folder: Path) -> None:
    for path in folder.iterdir():
        if path.suffix == ".svg":
            root = xml.etree.ElementTree.parse(path).getroot()
            check(root.tag.endswith("svg") and len(list(root.iter())) > 20, f"{path.name} is no picture")
            check(not any(one.tag.endswith("script") for one in root.iter()), f"{path.name} has a script")
        elif path.suffix == ".png":
            check(path.read_bytes().startswith(b"\x89PNG"), f"{path.name} is no PNG")
    text = (folder / "report.html").read_text()
    page = Page(text)
    check(page.count("script") == 1 and page.count("img") == 0 and page.count("link") == 0, "elements that the page does not need")
    for tag, attributes in page.elements:
        check(not any(name.startswith("on") for name in attributes), f"{tag} acts: {attributes}")
        for name in ("src", "href", "xlink:href", "action", "data"):
            check(attributes.get(name, "#").startswith("#"), f"{tag} refers to {attributes.get(name)}")
    check("url(" not in text.replace("url(#", ""), "a style refers to a file")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    check(len(ids) == len(set(ids)), "two elements have one name")
    check(len(text) < 4_000_000, f"{len(text)} bytes")


MEASURE = """
<script>
addEventListener("load", () => {
  const out = {};
  const rows = () => [...document.querySelectorAll("#ranking tbody tr")].map((row) => row.cells[3].dataset.key);
  out.rows = rows().length;
  out.fetched = performance.getEntriesByType("resource").length;
  const pictures = [...document.querySelectorAll("figure:not([hidden]) svg")];
  out.sizes = pictures.map((one) => [one.getBoundingClientRect().width, one.getBoundingClientRect().height]);
  out.painted = pictures.map((one) => one.querySelectorAll("path").length);
  const head = document.querySelectorAll("#ranking th")[3];
  head.click();
  out.ascending = rows();
  head.click();
  out.descending = rows();
  out.width = [document.documentElement.scrollWidth, innerWidth];
  const select = document.querySelector("select[name=measure]");
  select.value = "alignment";
  select.dispatchEvent(new Event("change"));
  setTimeout(() => {
    out.hash = location.hash;
    out.shown = [...document.querySelectorAll("figure[data-kind=curve]:not([hidden])")].map((one) => one.dataset.measure);
    const result = document.createElement("output");
    result.textContent = JSON.stringify(out);
    document.body.append(result);
  }, 200);
});
</script>
"""


def chromium(work: Workspace, address: str, *options: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,1600", "--virtual-time-budget=3000",
         "--enable-logging=stderr", f"--user-data-dir={work.folder / 'browser'}", *options, address],
        capture_output=True, text=True, timeout=PATIENCE)
    check(done.returncode == 0, f"{address}: the browser ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done


def browse(work: Workspace, page: Path, *options: str, fragment: str = "") -> tuple[str, str]:
    """The document as the browser holds it after its script ran, and what was written to the console."""
    done = chromium(work, page.as_uri() + fragment, "--dump-dom", *options)
    check("</html>" in done.stdout, f"{page.name}: the browser shows nothing:\n{done.stderr[-2000:]}")
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def visible(document: str, kind: str) -> list[dict]:
    return [figure for figure in Page(document).figures(kind) if "hidden" not in figure]


def check_browser(work: Workspace) -> None:
    page = work.folder / "grid-report" / "report.html"
    document, console = browse(work, page)
    check(console == "", f"the page complained:\n{console}")
    shown = visible(document, "curve")
    check([figure["data-measure"] for figure in shown] == ["loss"], f"shown at first: {shown}")

    for fragment, wanted in (("#measure=grad_norm&by=schedule.warmup_steps", ["grad_norm"]), ("#measure=nonsense", ["loss"])):
        document, console = browse(work, page, fragment=fragment)
        shown = visible(document, "curve")
        check([figure["data-measure"] for figure in shown] == wanted and console == "", f"{fragment}: {shown}\n{console}")
    check(len(visible(document, "heat")) == 1 and len(visible(document, "factor")) == 2, "figures without a choice are hidden")
    document, _ = browse(work, page, fragment="#measure=all&by=schedule.warmup_steps")
    shown = visible(document, "curve")
    check(len(shown) > 6 and {figure["data-by"] for figure in shown} == {"schedule.warmup_steps"}, f"all: {shown}")
    document, _ = browse(work, page, fragment="#configuration-4")
    opened = [one["id"] for tag, one in Page(document).elements if tag == "details" and "open" in one]
    check(opened == ["configuration-4"], f"opened: {opened}")

    # What only a script can see: a copy with one more, which the page's own policy would refuse.
    text = page.read_text()
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)
    (work.folder / "refused.html").write_text(text.replace("</body>", MEASURE + "</body>"))
    document, console = browse(work, work.folder / "refused.html")
    check("<output>" not in document and "Content Security Policy" in console, "the policy lets any script in")
    (work.folder / "measured.html").write_text(text.replace(policy[0], "").replace("</body>", MEASURE + "</body>"))
    document, console = browse(work, work.folder / "measured.html")
    check(console == "" and "<output>" in document, f"nothing was measured:\n{console}")
    seen = json.loads(html.unescape(re.search(r"<output>(.*?)</output>", document)[1]))
    check(seen["rows"] == 9 and seen["fetched"] == 0, f"rows and what was fetched: {seen}")
    check(len(seen["sizes"]) >= 5 and all(width > 300 and height > 150 for width, height in seen["sizes"]), f"sizes: {seen['sizes']}")
    check(all(number > 20 for number in seen["painted"]), f"paths: {seen['painted']}")
    check(seen["width"][0] <= seen["width"][1], f"the page is wider than the window: {seen['width']}")
    check(seen["ascending"] == sorted(seen["ascending"], key=float) and seen["descending"] == seen["ascending"][::-1], f"sorted: {seen}")
    check(seen["shown"] == ["alignment"] and "measure=alignment" in seen["hash"], f"the chooser: {seen['shown']} {seen['hash']}")

    document, console = browse(work, work.folder / "hostile-1" / "report.html")
    check(console == "" and "<title>owned" not in document and "<title>test" in document, f"a label acted:\n{console}")

    picture = work.folder / "page.png"
    chromium(work, page.as_uri(), f"--screenshot={picture}")
    check(picture.stat().st_size > 50_000, f"a picture of the page has {picture.stat().st_size} bytes")
    print("the page in Chromium: as promised")


def main() -> None:
    plots = str(Path(sys.argv[2]) / "scripts" / "plots")
    with Workspace(sys.argv[1]) as work:
        work.write_config("config.json", {
            "train": {"steps": 40}, "eval": {"every": 10, "tokens": 128}, "checkpoint": {"every": 0, "keep": 1}, "log": {"tensorboard": False},
            "diagnostics": {"every": 5, "representation_every": 20, "representation_sequences": 4}})
        (work.folder / "grid.json").write_text(json.dumps(GRID))
        (work.folder / "hostile.json").write_text(json.dumps(HOSTILE))
        work.ok("sweep", "grid.json", "--out", "grid")
        work.fails(1, "sweep", "hostile.json", "--out", "hostile", says=("failed",))
        check_text_and_tables(work, plots)
        check_half_finished(work)
        check_isolated(work, plots)
        check_without_matplotlib(work, plots)
        print("text, tables and data: as promised")
        if not has_matplotlib():
            print("pictures and page: not looked at, since matplotlib is not installed")
            return
        check_pictures(work, plots)
        print("pictures: as promised")
        if BROWSER is None:
            print("the page in a browser: not looked at, since Chromium is not installed")
            return
        check_browser(work)


main()
