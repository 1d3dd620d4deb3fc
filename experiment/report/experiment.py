"""The report of an experiment: its charts and tables, and the files they go to."""

import csv
import math
import shutil
from concurrent.futures import ProcessPoolExecutor

from markupsafe import Markup

from pictures import Chart, Line, in_page, write_pictures
from records import Study
from sources import FIGURES
from text import count, moment, number, plain
from words import CAUSES, TEMPLATES, find_bounds, paragraphs

CURVES = {  # title, label of the y axis, its least end, and the figures of the lines by name
    "throughput": ("Throughput", "throughput ({})", 0, {"measured": "jobs_per_s"}),
    "avg_cpu": ("CPU use", "CPU use (% of what the nodes may use)", 100, {"measured": "cpu_pct"}),
    "avg_memory": ("Memory of a node", "resident memory per node (MB)", 0, {"measured": "rss_mb"}),
    "efficiency": ("Efficiency", "efficiency (% of the ceiling)", 100, {"measured": "efficiency_pct"}),
    "latency": ("Latency of a job", "latency (ms)", 0, {"median": "latency_p50_ms", "p95": "latency_p95_ms"}),
    "error_rate": ("Error rate", "jobs that failed (%)", 1, {"measured": "error_pct"}),
    "queue_length": ("Queue length", "ready messages, mean of a run", 1, {"measured": "queue_length"}),
}
COLUMNS = [
    *("jobs_per_s", "efficiency_pct", "cpu_pct", "usable_cpu_pct", "node_efficiency_pct", "rss_mb", "latency_p50_ms"),
    *("latency_p95_ms", "latency_p99_ms", "queue_wait_p50_ms", "producer_cores", "broker_cores", "error_rate"),
    *("joined_s", "queue_length"),
]


def write_report(source, folder):
    """Writes the report, which replaces an earlier one; returns its page and its sentences."""
    study = Study(*source.recorded())
    bounds = find_bounds(study)
    words = paragraphs("words.txt", study=study, bounds=bounds)
    charts = dict([*overview_charts(study), *scaling_charts(study)])
    with ProcessPoolExecutor() as painters:
        pictures = dict(zip(charts, painters.map(Chart.draw, charts.values(), chunksize=4)))
    for name in ("overview", "cluster_size_*", "config_workers_*"):
        for old in folder.glob(name):
            shutil.rmtree(old)
    write_pictures(folder, pictures)
    write_csv(folder / "measurements.csv", measurements(study))
    write_csv(folder / "configurations.csv", [
        {key: value for key, value in row.items() if key not in COLUMNS}
        | {f"{key}_{which}": getattr(row[key], which, None) for key in COLUMNS for which in ("median", "least", "most")}
        for row in configurations(study)
    ])
    settings, what = study.settings, "Factors of numbers" if study.settings["kind"] == "factor" else "Primes"
    page = TEMPLATES.get_template("page.html").render(
        content="experiment.html", title=f"{what} of {settings['bits']} bits on {settings['machine']['processor']}",
        study=study, words=words, bounds=bounds, causes=CAUSES, columns=COLUMNS, infinity=math.inf,
        facts=facts(settings) | {"Ceiling": study.ceiling.source},
        charts={path: Markup(in_page(svg, place)) for place, (path, (svg, _)) in enumerate(pictures.items())},
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder / "report.html", words


def facts(settings):
    """The settings of the experiment, by label."""
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
    """Throughput and efficiency of all configurations, with the law fitted to the fastest."""
    for file in ("throughput", "efficiency"):
        title, label, y_end, figures = CURVES[file]
        lines = [measured(one, *figures.values(), one.fixed, colour) for colour, one in enumerate(study.over_nodes)]
        chart = Chart(f"{title} of all configurations", how_to_read(study, file * (file == "efficiency")), "nodes",
                      label.format(study.unit), lines, [size.nodes for size in study.cluster_sizes], y_end=y_end)
        if file == "throughput":
            add_law(study, chart)
        yield f"overview/{file}", chart


def add_law(study, chart):
    """Adds the law as a dotted curve, up to its peak if that is near."""
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
         "usable_cores": study.ceiling.cores_of(one), "ceiling_jobs_per_s": study.ceiling.of(one),
         "runs": len(one.runs), **{name: one.interval(name) for name in COLUMNS}}
        for one in study.configurations
    ]
