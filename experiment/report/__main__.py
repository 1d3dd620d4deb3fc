"""Makes the reports, tables and pictures of experiments, of comparisons and of the benchmark of primes."""

import argparse
import os
import sys
from pathlib import Path

from comparison import write_comparison
from experiment import write_report
from primes import draw_primes
from sources import Folder, Influx
from text import ReportError

MORE = """examples:
  python experiment/report experiment runs/experiment-20261124-101500      report in the folder of the experiment
  python experiment/report experiment experiment-20261124-101500 --influx  the same from InfluxDB, anywhere
  python experiment/report comparison runs/compare-20261124-101500
  python experiment/report primes runs/bench-2026-11-24-101500

InfluxDB is that of INFLUX_HOST, with INFLUX_TOKEN or INFLUX_TOKEN_FILE (USER:PASSWORD for InfluxDB 1.x) and
INFLUX_BUCKET [default: primepool]. A query does not need INFLUX_ORG, as the token belongs to one.

exit status: 0 done, 1 the report could not be made, 2 wrong usage"""


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("report", description=__doc__, epilog=MORE, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("experiment", help="write report.html, charts, CSV and JSON of an experiment")
    one.add_argument("folder", metavar="DIR", type=Path, help="folder of the experiment; with --influx its name")
    one.add_argument("--influx", action="store_true", help="read it from InfluxDB in place of the folder")
    one.add_argument("--output", metavar="FOLDER", type=Path, help="[default: DIR/report; with --influx NAME-report]")
    one = commands.add_parser("comparison", help="draw and tabulate what experiment compare measured")
    one.add_argument("folder", metavar="DIR", type=Path, help="folder with compare.json; the files go there")
    one = commands.add_parser("primes", help="draw what the benchmark of primes measured")
    one.add_argument("folder", metavar="FOLDER", type=Path, help="folder with records.tsv; primes.svg goes there")
    args = parser.parse_args()
    try:
        if args.command == "experiment":
            name = args.folder.name
            source = Influx(os.environ, name) if args.influx else Folder(args.folder)
            default = Path(f"{name}-report") if args.influx else args.folder / "report"
            page, words = write_report(source, args.output or default)
            print(*words, f"report: {page}", sep="\n")
        elif args.command == "comparison":
            page, markdown = write_comparison(args.folder)
            print(markdown, f"page: {page}", sep="\n")
        else:
            print(f"picture: {draw_primes(args.folder)}")
    except (ReportError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
