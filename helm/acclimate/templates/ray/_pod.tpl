{{/* (dict "ctx" $ "group" section "key" "its.resources" "container" name): a Ray pod's template. KubeRay adds command, ports' probes and token. */}}
{{- define "acclimate.rayPod" -}}
{{- $ctx := .ctx -}}
metadata:
  labels:
    {{- include "acclimate.labels" (list $ctx "ray") | nindent 4 }}
    acclimate/registry-client: "true"
spec:
  serviceAccountName: {{ .serviceAccount }}
  automountServiceAccountToken: {{ .token }}
  enableServiceLinks: false
  {{- include "acclimate.pullSecrets" $ctx | nindent 2 }}
  securityContext:
    {{- include "acclimate.podSecurity" (list $ctx 65532) | nindent 4 }}
  {{- include "acclimate.placement" .group | nindent 2 }}
  containers:
    - name: {{ .container | quote }}
      image: {{ include "acclimate.image" (list $ctx $ctx.Values.ray.image) }}
      imagePullPolicy: {{ $ctx.Values.images.pullPolicy }}
      env:
        - name: HOME
          value: /tmp
        - name: ACCLIMATE_HOME
          value: /var/lib/acclimate
        - name: ACCLIMATE_POOL_CACHE
          value: /var/cache/acclimate
        - name: ACCLIMATE_POOL_CACHE_GB
          value: {{ $ctx.Values.ray.poolCache.gigabytes | quote }}
        - name: MLFLOW_DISABLE_TELEMETRY
          value: "true"
        {{- with include "acclimate.registryUrl" $ctx }}
        - name: MLFLOW_TRACKING_URI
          value: {{ . | quote }}
        {{- end }}
        {{- include "acclimate.registryLogin" $ctx | nindent 8 }}
        {{- include "acclimate.objectStoreEnv" $ctx | nindent 8 }}
        {{- include "acclimate.commonEnv" $ctx | nindent 8 }}
        {{- with $ctx.Values.ray.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .ports }}
      ports:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        {{- include "acclimate.resources" (list .group.resources .key) | nindent 8 }}
      securityContext:
        {{- include "acclimate.containerSecurity" $ctx | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shm, mountPath: /dev/shm}
        - {name: home, mountPath: /var/lib/acclimate}
        - {name: pools, mountPath: /var/cache/acclimate}
        {{- include "acclimate.commonMounts" $ctx | nindent 8 }}
        {{- with $ctx.Values.ray.extraVolumeMounts }}
        {{- include "acclimate.extraMounts" (list . "ray.extraVolumeMounts" $ctx.Values.ray.extraVolumes $ctx.Values.pods.extraVolumes) | nindent 8 }}
        {{- end }}
  volumes:
    # Ray's session: logs and spilled objects.
    - name: tmp
      emptyDir: {sizeLimit: 20Gi}
    # Ray's object store; its pages count as the pod's memory.
    - name: shm
      emptyDir: {medium: Memory}
    # Checkpoints and task pools: with a claim they outlive the pod, and workers share what one of them built.
    - name: home
      {{- if $ctx.Values.ray.home.existingClaim }}
      persistentVolumeClaim: {claimName: {{ $ctx.Values.ray.home.existingClaim | quote }}}
      {{- else }}
      emptyDir: {sizeLimit: {{ $ctx.Values.ray.home.sizeLimit }}}
      {{- end }}
    # Blocks of task pools in an object store; all processes of the pod read and fill it.
    - name: pools
      {{- $size := printf "%dGi" (add 1 (div (mul 5 (int $ctx.Values.ray.poolCache.gigabytes)) 4)) }}
      {{- with $ctx.Values.ray.poolCache.className }}
      ephemeral:
        volumeClaimTemplate:
          spec:
            accessModes: [ReadWriteOnce]
            storageClassName: {{ . | quote }}
            resources:
              requests: {storage: {{ $size }}}
      {{- else }}
      emptyDir: {sizeLimit: {{ $size }}}
      {{- end }}
    {{- include "acclimate.commonVolumes" $ctx | nindent 4 }}
    {{- with $ctx.Values.ray.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
