"""The world outside: Kubernetes, hosts over SSH, Alertmanager, Prometheus and notification channels."""
