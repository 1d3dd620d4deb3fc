"""The dashboards and alert rules as code. `grafana/generate.py` writes them as JSON."""
