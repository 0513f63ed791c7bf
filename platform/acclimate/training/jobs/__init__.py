"""Training jobs on a cluster: through Ray's Jobs API or as a KubeRay RayJob; listed, followed, stopped."""
