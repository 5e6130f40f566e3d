"""Grafana dashboards as code, and what they are built into."""
