#!/usr/bin/env python3
"""Generates dashboards/*.json and provisioning/alerting/primepool.json from the code in
primepool_grafana. `make dashboards` runs this file.

usage: generate.py [FOLDER]     default: the folder of this file
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from primepool_grafana import alerts, experiments, nodes, overview, run


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    here = Path(__file__).resolve().parent
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    panel_ids = {}
    for module in (overview, nodes, run, experiments):
        dashboard = module.build().build()
        # Grafana numbers panels only when it saves a dashboard, which does not happen with
        # provisioned ones.
        for number, panel in enumerate(dashboard.panels, start=1):
            panel.id_val = number
            panel_ids[dashboard.uid, panel.title] = number
        name = module.__name__.rsplit(".", 1)[-1]
        write(folder / "dashboards" / f"{name}.json", dashboard)
    write(folder / "provisioning" / "alerting" / "primepool.json", alerts.provisioning(panel_ids))


if __name__ == "__main__":
    main()
