"""Kubeflow pipelines over Acclimate: from recordings to a watched rollout, and again when the fleet drifts.

`training_steps` and `delivery_steps` say what each step does, as functions of files and plain values that
need no Kubeflow; `components` wraps them, `retraining` is the graph, `here` and `kubeflow` run it.
"""
