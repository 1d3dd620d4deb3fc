"""What bounds an experiment, and its findings in the sentences of words.txt."""

import math
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from text import count, number, plain

TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True,
                        undefined=StrictUndefined, autoescape=lambda name: name.endswith(".html"))
TEMPLATES.filters |= {"number": number, "plain": plain, "count": count}
NEAR, FULL, UNEVEN, LOSS = 0.85, 0.9, 0.25, 0.95
"""Limits: busy share of a process or worker; busy share of the whole machine; spread of jobs per
node; share of the best throughput below which workers beyond the cores do harm."""
CAUSES = {  # the first that holds explains the others: full cores slow broker and producer too
    "crowding": "crowding, more workers than cores",
    "cpu": "the CPU time of the consumers",
    "machine": "the machine's CPU time",
    "broker": "the broker",
    "producer": "the producer",
    "imbalance": "imbalance, nodes that wait at the tail",
}


def paragraphs(template, **given):
    text = TEMPLATES.get_template(template).render(infinity=math.inf, **given)
    # Not str.split, which would also remove the narrow spaces in numbers.
    return [re.sub("[ \n]+", " ", part.strip("\n ")) for part in re.split("\n\n+", text) if part.strip()]


def find_bounds(study):
    """The bounds of the best configuration, and of the largest if that is another one."""
    return [bound(study, one) for one in dict.fromkeys((study.best, study.largest))]


def bound(study, one):
    statements = [
        {"cause": cause, "holds": bool(holds), "share": share, "text": text}
        for cause, holds, share, text in figures_of_causes(study, one, one.median_run)
    ]
    found = {statement["cause"]: statement for statement in statements}
    cause = next((cause for cause in CAUSES if found[cause]["holds"]), "unknown")
    if cause == "unknown":
        nearest = max(statements[:4], key=lambda statement: statement["share"] or 0)
        verdict = (
            f"Nothing that was measured bounds {one.name}: neither CPU nor broker nor producer is near its limit, so "
            "its workers wait for messages (prefetch, network) or start and end of the run weigh much. "
            f"The nearest to its limit: {nearest['text']}"
        )
    else:
        verdict = f"What most likely bounds {one.name}: {CAUSES[cause]}. {found[cause]['text']}"
        for holds, lead in ((True, "Also near the limit of one core"), (False, "Against the others")):
            beside = [found[name] for name in ("broker", "producer") if name != cause and found[name]["holds"] == holds]
            parts = [f"the {it['cause']} used {it['share']:.2f} cores" for it in beside if it["share"] is not None]
            verdict += f" {lead}: {', '.join(parts)}." if parts else ""
    return {"nodes": one.nodes, "workers": one.workers, "cause": cause, "verdict": verdict, "statements": statements}


def figures_of_causes(study, one, run):
    """For each cause: its name, whether it holds, its share (None if not measured), and words."""
    ceiling, cores, busy = study.ceiling, study.ceiling.cores_of(one), run.usable_cpu_pct
    text = (
        f"The consumers used {busy:.0f} % of the {number(cores)} cores that their workers can use "
        f"({run.cpu_pct:.0f} % of all that the nodes may use)"
    )
    if ceiling.is_baseline and run.consumer_cpu_s > 0:
        yields, noun = run.jobs / run.consumer_cpu_s, study.unit.removesuffix("/s")
        share = 100 * yields / ceiling.per_core_beside(one.nodes)
        text += f", and a CPU second gave {number(yields)} {noun}, {share:.0f} % of the bare loop's"
    yield "cpu", busy >= 100 * NEAR, busy / 100, f"{text}."
    processes = {"consumers": None if study.is_elsewhere else run.consumer_cpu_s, "producer": run.producer_cpu_s}
    here = {name: cpu_s for name, cpu_s in (processes | {"broker": run.broker_cpu_s}).items() if cpu_s is not None}
    names = " and ".join(", ".join(here).rsplit(", ", 1)).capitalize() if len(here) > 1 else f"The {next(iter(here))}"
    used, all_cores = sum(here.values()) / run.elapsed_s, max(1, study.settings["machine"]["cores"])
    text = f"{names} used {used:.2f} of the machine's {all_cores} cores ({100 * used / all_cores:.0f} %)."
    yield "machine", used >= FULL * all_cores, used / all_cores, text
    for cause, share in (("broker", run.broker_cores), ("producer", run.producer_cores)):
        text = f"The {cause}'s CPU time was not measured, as it does not run on this machine."
        if share is not None:
            text = f"The {cause} used {share:.2f} cores; a queue or a connection is served by one."
        yield cause, (share or 0) >= NEAR, share, text
    workers, share = one.total_workers, one.throughput.median / study.best.throughput.median
    yield "crowding", cores < workers > study.best.total_workers and share < LOSS, workers / cores, (
        f"{workers} workers share {number(cores)} cores, {workers / cores:.1f} to a core, and reach {100 * share:.0f} "
        f"% of the throughput of the best configuration ({study.best.name})."
    )
    spread = (run.node_jobs_most - run.node_jobs_least) * one.nodes / max(1, run.jobs)
    # Workers wait while the CPU has time left.
    is_idle = run.efficiency < NEAR and run.node_efficiency_pct < run.cpu_pct
    yield "imbalance", spread > UNEVEN or is_idle, spread, (
        f"The nodes did {plain(run.node_jobs_least)} to {plain(run.node_jobs_most)} jobs each, a spread of "
        f"{100 * spread:.0f} % of their mean; the workers were busy {run.node_efficiency_pct:.0f} % of their time."
    )
