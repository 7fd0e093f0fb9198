"""Dashboards for Grafana, written in Python and kept as JSON: ``python -m dashboards``."""
