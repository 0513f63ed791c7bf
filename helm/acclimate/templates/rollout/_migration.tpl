{{/* One container, run by the hook job or, with the trial's own database, before the service's container. */}}
{{- define "acclimate.migrationContainer" -}}
- name: migrate
  image: {{ include "acclimate.image" (list . .Values.rollout.image) }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  args: [serve, --migrate-only]
  env:
    {{- include "acclimate.databaseEnv" . | nindent 4 }}
    - name: ACCLIMATE_HOME
      value: /tmp
    {{- include "acclimate.commonEnv" . | nindent 4 }}
  resources:
    requests: {cpu: 50m, memory: 128Mi}
    limits: {cpu: "1", memory: 512Mi}
  securityContext:
    {{- include "acclimate.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    {{- include "acclimate.commonMounts" . | nindent 4 }}
{{- end -}}
