"""What the operators' resources accept, for the fields that the chart sets.

Written from the custom resource definitions of KubeRay 1.5, the Prometheus operator 0.8x and Gateway API 1.x,
with every level closed: a misspelt field fails here, where a cluster would drop it without a word.
Pod templates inside a RayCluster are checked as Pods, by Kubernetes' own schema.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h|d))+$"}


def closed(required: str = "", **properties: Schema) -> Schema:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required.split(),
    }


def some(items: Schema) -> Schema:
    """A list with at least one of `items`."""
    return {"type": "array", "items": items, "minItems": 1}


SELECTOR = closed("matchLabels", matchLabels=TEXTS)
SECRET_KEY = closed("name key", name=TEXT, key=TEXT)
POD_TEMPLATE = closed("metadata spec", metadata=closed(labels=TEXTS), spec={"type": "object"})
RESOURCES = closed("requests limits", requests=TEXTS, limits=TEXTS)

RAY_CLUSTER = closed(
    "rayVersion headGroupSpec workerGroupSpecs",
    rayVersion=TEXT,
    authOptions=closed("mode", mode={"enum": ["disabled", "token"]}, secretName=TEXT),
    gcsFaultToleranceOptions=closed(
        "redisAddress",
        redisAddress=TEXT,
        redisPassword=closed("valueFrom", valueFrom=closed("secretKeyRef", secretKeyRef=SECRET_KEY)),
    ),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=closed(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=COUNT,
        resources=RESOURCES,
        securityContext={"type": "object"},
    ),
    headGroupSpec=closed("template", serviceType=TEXT, rayStartParams=TEXTS, template=POD_TEMPLATE),
    workerGroupSpecs=some(
        closed(
            "groupName maxReplicas minReplicas template",
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=POD_TEMPLATE,
        )
    ),
)

ENDPOINT = closed(
    "port",
    port=TEXT,
    path=TEXT,
    interval=DURATION,
    scheme={"enum": ["http", "https"]},
    tlsConfig=closed(serverName=TEXT, ca=closed(secret=SECRET_KEY)),
)

RULE_NAME: Schema = {"type": "string", "pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$"}
RULE: Schema = {
    **closed(
        "expr",
        alert=RULE_NAME,
        record=RULE_NAME,
        expr=TEXT,
        annotations=TEXTS,
        labels=TEXTS,
        keep_firing_for=DURATION,
        **{"for": DURATION},
    ),
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
}
PROMETHEUS_RULE = closed(
    "groups", groups=some(closed("name rules", name=TEXT, interval=DURATION, rules=some(RULE)))
)

GATEWAY = closed(
    "gatewayClassName listeners",
    gatewayClassName=TEXT,
    listeners=some(
        closed(
            "name port protocol",
            name=TEXT,
            hostname=TEXT,
            port=PORT,
            protocol={"enum": ["HTTP", "HTTPS", "TLS"]},
            tls=closed(mode=TEXT, certificateRefs=some(closed("name", kind=TEXT, name=TEXT))),
            allowedRoutes=closed(namespaces=closed(**{"from": {"enum": ["All", "Same", "Selector"]}})),
        )
    ),
)

HTTP_ROUTE = closed(
    "parentRefs rules",
    parentRefs=some(closed("name", name=TEXT, namespace=TEXT, sectionName=TEXT, port=PORT)),
    hostnames=some(TEXT),
    rules=some(
        closed(
            "backendRefs",
            matches=some(
                closed(path=closed("type value", type={"enum": ["PathPrefix", "Exact"]}, value=TEXT))
            ),
            backendRefs=some(closed("name port", name=TEXT, port=PORT)),
        )
    ),
)

SPECIFICATIONS: dict[tuple[str, str], Schema] = {
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): closed(
        "selector endpoints", selector=SELECTOR, endpoints=some(ENDPOINT)
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): closed(
        "selector podMetricsEndpoints", selector=SELECTOR, podMetricsEndpoints=some(ENDPOINT)
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
    ("gateway.networking.k8s.io/v1", "Gateway"): GATEWAY,
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): HTTP_ROUTE,
}
