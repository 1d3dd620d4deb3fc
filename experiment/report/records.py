"""An experiment as a report sees it: configurations, their ceiling, and how they scale."""

import math
import statistics
from dataclasses import dataclass

import law
from text import ReportError, count, plain

KNEE = 0.8
"""At the knee, a further node adds less than this share of a node's rate at the smallest size."""


@dataclass(frozen=True)
class Interval:
    median: float
    least: float
    most: float


class Configuration:
    """All measurements of one pair of nodes and workers, slowest first."""

    def __init__(self, nodes, workers, runs):
        self.nodes, self.workers, self.total_workers = nodes, workers, nodes * workers
        self.runs = sorted(runs, key=lambda run: run.jobs_per_s)
        self.median_run = self.runs[(len(runs) - 1) // 2]
        self.throughput = self.interval("jobs_per_s")
        self.name = f"{count(nodes, 'node')} × {count(workers, 'worker')}"

    def interval(self, figure):
        """None if no run has the figure."""
        values = [value for run in self.runs if (value := getattr(run, figure)) is not None]
        return Interval(statistics.median(values), min(values), max(values)) if values else None


class Ceiling:
    """The throughput that the cores of a configuration could give at most."""

    def __init__(self, settings, is_elsewhere, unit, baseline, smallest):
        self.machine_cores = math.inf if is_elsewhere else float(max(1, settings["machine"]["cores"]))
        self.cpus_per_node = settings["cpus_per_node"]
        if self.cpus_per_node is None and is_elsewhere:
            # The other machines count as equal to the first, whose cores the baseline holds.
            self.cpus_per_node = baseline["cores"] if baseline else math.inf
        self.is_baseline, self.per_core_together = baseline is not None and baseline["bits"] == settings["bits"], {}
        if self.is_baseline:
            rates, cores, together = baseline["jobs_per_s"], baseline["cores"], baseline["together"].items()
            if not (rates and cores > 0 and statistics.median(rates) > 0):
                raise ReportError("baseline.json holds no rate: delete the file and run `experiment run --resume`")
            self.per_core = statistics.median(rates) / cores
            self.per_core_together = {
                int(n): statistics.median(each) / (int(n) * cores) for n, each in together if each
            }
            what = "the same jobs in a bare loop without the pool"
            why = f"median of {len(rates)} on {plain(cores)} cores"
        else:
            self.per_core = smallest.throughput.median / self.cores_of(smallest)
            what = f"the throughput of the smallest configuration ({smallest.name}) scaled by cores"
            why = "as there is no baseline.json"
            if baseline:
                why = f"as the baseline is of {baseline['bits']} bits, the experiment of {settings['bits']}"
        self.source = f"{what}: {self.per_core:.2f} {unit} per core, {why}"

    def allowed_cores(self, nodes, workers):
        """Cores that the workers could use if the machine had as many."""
        return nodes * min(workers, math.inf if self.cpus_per_node is None else self.cpus_per_node)

    def cores(self, nodes, workers):
        return float(min(self.allowed_cores(nodes, workers), self.machine_cores))

    def cores_of(self, one):
        return self.cores(one.nodes, one.workers)

    def per_core_beside(self, nodes):
        """The rate per core while `nodes` are busy; it falls when more of a machine is busy."""
        return self.per_core_together.get(nodes, self.per_core)

    def of(self, one):
        return self.per_core_beside(one.nodes) * self.cores_of(one)


class Scaling:
    """Throughput against nodes for fixed `workers`, or against workers for fixed `nodes`."""

    def __init__(self, configurations, workers=None, nodes=None):
        self.workers, self.nodes = workers, nodes
        self.fixed = f"{count(workers, 'worker')} per node" if workers else count(nodes, "node")
        members = [one for one in configurations if one.workers == workers or one.nodes == nodes]
        self.members = [(one.nodes if workers else one.total_workers, one) for one in members]
        self.sizes = [size for size, _ in self.members]
        self.fastest = max(members, key=lambda one: one.throughput.median)
        self.fit = law.fit([(size, run.jobs_per_s) for size, one in self.members for run in one.runs])
        self.knee, ideal = None, members[0].throughput.median / self.sizes[0]
        for (at, before), (following, after) in zip(self.members, self.members[1:]):
            adds = (after.throughput.median - before.throughput.median) / (following - at)
            if adds < KNEE * ideal:
                self.knee = {"at": at, "next": following, "adds": adds, "ideal": ideal}
                break


class Study:
    """A sorted experiment. Of two records of the same measurement, the later one counts."""

    def __init__(self, settings, records, baseline):
        self.settings, self.records, latest, pairs = settings, records, {}, {}
        self.is_elsewhere = isinstance(settings["launcher"], dict) and "command" in settings["launcher"]
        self.unit = "numbers/s" if settings["kind"] == "factor" else "primes/s"
        for record in records:
            latest.pop((record.nodes, record.workers, record.repeat), None)  # moves to the end
            latest[record.nodes, record.workers, record.repeat] = record
        self.failures = [record for record in latest.values() if record.run is None]
        for record in latest.values():
            if record.run:
                pairs.setdefault((record.nodes, record.workers), []).append(record.run)
        if not pairs:
            raise ReportError("no measurement succeeded: mend what failed and run `experiment run` again; "
                              f"the last reason: {records[-1].reason}")
        self.configurations = [Configuration(*pair, pairs[pair]) for pair in sorted(pairs)]
        self.smallest = min(self.configurations, key=lambda one: (one.total_workers, one.nodes))
        self.largest = max(self.configurations, key=lambda one: (one.total_workers, one.nodes))
        self.best = max(self.configurations, key=lambda one: one.throughput.median)
        self.ceiling = ceiling = Ceiling(settings, self.is_elsewhere, self.unit, baseline, self.smallest)
        self.runs = [run for one in self.configurations for run in one.runs]
        for one in self.configurations:
            for run in one.runs:
                run.efficiency_pct = 100 * run.jobs_per_s / ceiling.of(one)
                run.usable_cpu_pct = 100 * run.consumer_cpu_s / (run.elapsed_s * ceiling.cores_of(one))
                run.node_efficiency_pct, run.error_pct = 100 * run.efficiency, 100 * run.error_rate
                run.rss_mb, run.producer_cores = run.rss_bytes / 1e6, run.producer_cpu_s / run.elapsed_s
                run.broker_cores = None if run.broker_cpu_s is None else run.broker_cpu_s / run.elapsed_s
        self.over_nodes = [Scaling(self.configurations, workers=n) for n in sorted({pair[1] for pair in pairs})]
        self.cluster_sizes = [Scaling(self.configurations, nodes=n) for n in sorted({pair[0] for pair in pairs})]
        self.scalings = self.over_nodes + self.cluster_sizes
        self.main = next(scaling for scaling in self.over_nodes if scaling.workers == self.best.workers)
        # The first whose shares are larger than the machine, taken together.
        limited = self.configurations if ceiling.cpus_per_node is not None else []
        self.beyond_machine = [
            one for one in limited if ceiling.allowed_cores(one.nodes, one.workers) > ceiling.machine_cores
        ][:1]
