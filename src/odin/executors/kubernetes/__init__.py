"""Runs attempts in a Kubernetes cluster, one object for each, named as the attempt."""
