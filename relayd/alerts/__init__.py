"""Telling the operator, without Prometheus: what is wrong is looked for, and sent to webhooks."""
