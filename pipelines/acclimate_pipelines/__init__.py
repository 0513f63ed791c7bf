"""Kubeflow pipelines over Acclimate: from recordings to a watched rollout, and again when the fleet drifts.

`steps` holds what each step does, as functions of files and plain values, importable without Kubeflow;
`components` wraps them; `retraining` is the graph.
"""
