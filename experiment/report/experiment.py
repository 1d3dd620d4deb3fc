"""The report of an experiment: which charts and tables it has, and where they go."""

import csv
import json
import math
import shutil
import statistics
from concurrent.futures import ProcessPoolExecutor

from markupsafe import Markup

from pictures import Chart, Line, in_page, write_pictures
from records import Study
from sources import FIGURES, OF_A_RUN
from text import ReportError, count, moment, number, plain
from words import CAUSES, TEMPLATES, find_bounds, paragraphs

MOST_POINTS, MOST_COLOURS = 500, 8
"""Of a line, as more are no finer on a page; of a chart."""
CURVES = {  # title, label of the y axis, its least end, and the figures of the lines by name
    "throughput": ("Throughput", "throughput ({})", 0, {"measured": "primes_per_s"}),
    "avg_cpu": ("CPU use", "CPU use (% of what the nodes may use)", 100, {"measured": "cpu_pct"}),
    "avg_memory": ("Memory of a node", "resident memory per node (MB)", 0, {"measured": "rss_mb"}),
    "efficiency": ("Efficiency", "efficiency (% of the ceiling)", 100, {"measured": "efficiency_pct"}),
    "latency": ("Latency of a job", "latency (ms)", 0, {"median": "latency_p50_ms", "p95": "latency_p95_ms"}),
    "error_rate": ("Error rate", "jobs that failed (%)", 1, {"measured": "error_pct"}),
    "queue_length": ("Queue length", "ready messages, mean of a run", 1, {"measured": "queue_length"}),
}
OVER_TIME = {  # title, subtitle, label of the y axis, its least end, measurement and field
    "queue": ("Queue length", "Median run; messages that no consumer has yet.", "ready messages", 1, "queue", "ready"),
    "cpu": ("CPU use of each node", "Median run; the consumer process, of the cores that it may use.", "CPU use (%)",
            100, "node", "pool_cpu_pct"),
}
COLUMNS = [
    *("primes_per_s", "efficiency_pct", "cpu_pct", "usable_cpu_pct", "node_efficiency_pct", "rss_mb", "latency_p50_ms"),
    *("latency_p95_ms", "latency_p99_ms", "queue_wait_p50_ms", "producer_cores", "broker_cores", "error_rate"),
    *("joined_s", "queue_length"),
]


def write_report(source, folder):
    """Writes the report in place of an earlier one; returns its page and its sentences."""
    study = Study(*source.recorded())
    of_runs, missing = run_charts(study, source)
    bounds = find_bounds(study)
    words = paragraphs("words.txt", study=study, bounds=bounds)
    charts = dict([*overview_charts(study), *scaling_charts(study), *of_runs])
    with ProcessPoolExecutor() as painters:
        pictures = dict(zip(charts, painters.map(Chart.draw, charts.values(), chunksize=4)))
    for name in ("overview", "runs", "cluster_size_*", "config_workers_*"):
        for old in folder.glob(name):
            shutil.rmtree(old)
    write_pictures(folder, pictures)
    write_csv(folder / "measurements.csv", measurements(study))
    write_csv(folder / "configurations.csv", [
        {key: value for key, value in row.items() if key not in (*COLUMNS, "median_run")}
        | {f"{key}_{which}": getattr(row[key], which, None) for key in COLUMNS for which in ("median", "least", "most")}
        for row in configurations(study)
    ])
    data = everything(study) | {"bounds": bounds, "missing_charts": missing, "words": words}
    text = json.dumps(data, default=vars, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / "report.json").write_text(f"{text}\n", encoding="utf-8")
    settings, what = study.settings, "Factors of numbers" if study.settings["kind"] == "factor" else "Primes"
    page = TEMPLATES.get_template("page.html").render(
        content="experiment.html", title=f"{what} of {settings['bits']} bits on {settings['machine']['processor']}",
        study=study, words=words, bounds=bounds, causes=CAUSES, columns=COLUMNS, missing=missing, infinity=math.inf,
        facts=facts(settings) | {"Ceiling": study.ceiling.source},
        charts={path: Markup(in_page(svg, place)) for place, (path, (svg, _)) in enumerate(pictures.items())},
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html", words


def facts(settings):
    """What was measured, by name."""
    launcher, machine, cpus = settings["launcher"], settings["machine"], settings["cpus_per_node"]
    node = "a process"
    if "docker" in launcher:
        node = f"a container of {' '.join([launcher['docker']['image'], *launcher['docker']['options']])}"
    elif "command" in launcher:
        words, hosts = launcher["command"]["words"], launcher["command"]["hosts"]
        node = f"started by “{' '.join(words)}”{', on ' if hosts else ''}{', '.join(hosts)}"
    return {
        "Nodes": ", ".join(map(str, settings["nodes"])),
        "Workers of each node": ", ".join(map(str, settings["workers"])),
        "A node": node, "Cores that a node may use": "all of its machine's" if cpus is None else plain(cpus),
        "A measurement": f"at least {settings['count']} jobs and {plain(settings['min_time_s'])} s, "
                         f"{settings['repeat']} of each pair, seed {settings['seed']}",
        "Machine": f"{machine['processor']}, {count(machine['cores'], 'core')}, {machine['memory_bytes'] / 1e9:.1f} GB "
                   f"of memory, {machine['system']}",
        "Program": f"version {machine['version']}, kernel {machine['kernel']}",
        "Started": moment(settings["started_ms"]),
    }


def how_to_read(study, file=""):
    least, most = (which(len(one.runs) for one in study.configurations) for which in (min, max))
    repeats = f"{least} to {most}" if least < most else most
    text = "One measurement each." if most == 1 else f"Medians of {repeats} measurements; bars from least to largest."
    if file not in ("throughput", "efficiency"):
        return text
    if file == "efficiency" and study.ceiling.per_core_together:
        return f"{text} Ideal: as many bare loops at once, on the same shares."
    whose = "the bare loop's" if study.ceiling.is_baseline else "the smallest configuration's"
    return f"{text} Ideal: {whose} rate per core times usable cores."


def measured(scaling, figure, name, colour):
    intervals = [(size, one.interval(figure)) for size, one in scaling.members]
    return Line(name, [(size, it.median, it.least, it.most) for size, it in intervals if it], colour=colour)


def curve(end, at):
    return [(end * part / 200, at(end * part / 200)) for part in range(201)]


def overview_charts(study):
    """Throughput with the fitted law of the fastest, and efficiency, of all configurations."""
    for file in ("throughput", "efficiency"):
        title, label, y_end, figures = CURVES[file]
        lines = [measured(one, *figures.values(), one.fixed, colour) for colour, one in enumerate(study.over_nodes)]
        chart = Chart(f"{title} of all configurations", how_to_read(study, file * (file == "efficiency")), "nodes",
                      label.format(study.unit), lines, [size.nodes for size in study.cluster_sizes], y_end=y_end)
        if file == "throughput":
            add_law(study, chart)
        yield f"overview/{file}", chart


def add_law(study, chart):
    """The law as a dotted curve, to its peak if that is near."""
    fit, largest = study.main.fit, study.main.sizes[-1]
    if fit is None:
        chart.subtitle += " Too few cluster sizes for a fit of the USL."
        return
    end = 1.25 * largest
    if fit.peak is None:
        chart.subtitle += " The fit has no peak."
    elif fit.peak > 2 * largest:
        chart.subtitle += f" Predicted peak: {number(fit.peak)} nodes, off the chart."
    else:
        end, chart.mark = max(largest, 1.15 * fit.peak), (fit.peak, f"predicted peak, {number(fit.peak)} nodes")
    colour = study.over_nodes.index(study.main)
    chart.lines.insert(0, Line(f"USL fit, {study.main.fixed}", curve(end, fit.at), "predicted", colour))
    chart.x_end, chart.ticks = end, [*chart.ticks, math.floor(end)]


def scaling_charts(study):
    for scaling in study.scalings:
        nodes, workers, per_core = scaling.nodes, scaling.workers, study.ceiling.per_core
        where, x_label = f"cluster_size_{nodes}/{{}}_vs_total_workers", "workers of all nodes"
        if workers:
            where, x_label = f"config_workers_{workers}/{{}}_vs_cluster_size", "nodes"
        for file, (title, label, y_end, figures) in CURVES.items():
            lines = [measured(scaling, figure, name, place) for place, (name, figure) in enumerate(figures.items())]
            if file == "throughput":
                cores, end = study.ceiling.cores, scaling.sizes[-1]
                ideal = curve(end, lambda n: per_core * (cores(n, workers) if workers else cores(nodes, n / nodes)))
                lines.insert(0, Line("ideal", ideal, "ideal"))
            if lines[-1].points:
                yield where.format(file), Chart(f"{title}, {scaling.fixed}", how_to_read(study, file), x_label,
                                                label.format(study.unit), lines, scaling.sizes, y_end=y_end)


def run_charts(study, source):
    """The charts of each configuration's median run, and sentences on those that are missing."""
    charts, missing = [], []
    for one in study.configurations:
        for run in one.runs:
            is_shown = run is one.median_run
            try:
                points = source.points(run, OF_A_RUN if is_shown else ("queue",))
            except ReportError as error:
                missing += [f"{one.name}: no charts of its run: {error}."] if is_shown else []
                continue
            queues = over_time(points, "queue", "ready")
            if queues:
                run.queue_length = sum(statistics.fmean(ready for _, ready in line) for line in queues.values())
            for file, chart in charts_of_run(one.name, points) if is_shown else ():
                charts += [(f"{one.folder}/{file}", chart)] if chart else []
                missing += [] if chart else [f"{one.name}: no {file} chart, as its metrics have no such points."]
    return charts, missing


def charts_of_run(name, points):
    """None in place of a chart without points."""
    for file, (title, subtitle, label, y_end, measurement, field) in OVER_TIME.items():
        lines = over_time(points, measurement, field)
        drawn = [Line(tag, thinned(line), "line", colour) for colour, (tag, line) in enumerate(lines.items())]
        if measurement == "queue" and len(lines) == 1:
            subtitle = f"Queue {drawn[0].name}. {subtitle}"
        if len(lines) > MOST_COLOURS:
            drawn = [Line("", line.points, "thin") for line in drawn]
            subtitle += f" {len(lines)} lines, one each."
        chart = Chart(f"{title}, {name}", subtitle, "time since the first point (s)", label, drawn, y_end=y_end)
        yield file, chart if lines else None
    jobs = [point.fields for point in points if point.measurement == "job" and "latency_ms" in point.fields]
    jobs = [(fields["latency_ms"], fields.get("jobs", 1)) for fields in jobs]
    yield "latency", latency_chart(f"Latency of a job, {name}", jobs)


def over_time(points, measurement, field):
    """A line of seconds and values for each value of the tag that has the measurement's name."""
    lines = {}
    for point in points:
        if point.measurement == measurement and field in point.fields:
            at = (point.at_ns - points[0].at_ns) / 1e9, float(point.fields[field])
            lines.setdefault(point.tags.get(measurement, ""), []).append(at)
    return dict(sorted(lines.items()))


def thinned(points):
    return points[: -1 : math.ceil(len(points) / MOST_POINTS)] + points[-1:]


def latency_chart(title, jobs):
    """The distribution of latencies with the number of jobs that had each."""
    jobs = sorted((latency, weight) for latency, weight in jobs if weight > 0)
    if not jobs:
        return None
    unit, per = ("s", 1000) if jobs[-1][0] >= 10_000 else ("ms", 1)
    line, below, total = [(0, 0)], 0, sum(weight for _, weight in jobs)
    for latency, weight in jobs:
        line += [(latency / per, 100 * below / total), (latency / per, 100 * (below + weight) / total)]
        below += weight
    subtitle = "Median run; publication to result."
    if total > len(jobs):
        subtitle += " Each step is the mean of a group of jobs, weighted with their number."
    lines = [Line("", thinned(line), "line")]
    return Chart(title, subtitle, f"latency ({unit})", "jobs that took no longer (%)", lines, y_end=100)


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows(["" if cell is None else plain(cell) for cell in row.values()] for row in rows)


def measurements(study):
    return [
        {"nodes": one.nodes, "workers": one.workers, "total_workers": one.nodes * one.workers, "repeat": one.repeat,
         "started_ms": one.started_ms, "outcome": "measured" if one.run else "failed", "reason": one.reason,
         **{name: getattr(one.run, name, None) for name in ("folder", *FIGURES)}}
        for one in study.records
    ]


def configurations(study):
    return [
        {"nodes": one.nodes, "workers": one.workers, "total_workers": one.total_workers,
         "usable_cores": study.ceiling.cores_of(one), "ceiling_primes_per_s": study.ceiling.of(one),
         "runs": len(one.runs), "median_run": one.median_run.folder, **{name: one.interval(name) for name in COLUMNS}}
        for one in study.configurations
    ]


def everything(study):
    """All numbers."""
    best, smallest = ({"nodes": one.nodes, "workers": one.workers, "primes_per_s": one.throughput}
                      for one in (study.best, study.smallest))
    scalings = [
        ({"nodes": {"workers": one.workers}} if one.workers else {"workers": {"nodes": one.nodes}})
        | {"sizes": one.sizes, "knee": one.knee}
        | {"fit": one.fit and {key.rstrip("_"): value for key, value in vars(one.fit).items()}}
        for one in study.scalings
    ]
    return {
        "settings": study.settings, "best": best, "smallest": smallest, "configurations": configurations(study),
        "ceiling": {key: None if value == math.inf else value for key, value in vars(study.ceiling).items()},
        "speed_up": study.best.throughput.median / study.smallest.throughput.median, "scalings": scalings,
        "failed": [{key: vars(one)[key] for key in ("nodes", "workers", "repeat", "reason")} for one in study.failures],
    }
