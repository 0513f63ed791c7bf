{{/* The environment of the chart's programs. Passwords arrive as PGPASSWORD, never inside a URL. */}}

{{- define "acclimate.databaseHost" -}}
{{- if .Values.postgresql.enabled -}}
{{- include "acclimate.name" (list . "postgresql") -}}
{{- else -}}
{{- required "database.host is empty: name the PostgreSQL server, or set postgresql.enabled=true for a trial" .Values.database.host -}}
{{- end -}}
{{- end -}}

{{/* (list $ user database): a SQLAlchemy URL without a password. */}}
{{- define "acclimate.databaseUrl" -}}
{{- $ctx := index . 0 -}}
{{- $port := ternary 5432 (int $ctx.Values.database.port) $ctx.Values.postgresql.enabled -}}
{{- $ssl := ternary "disable" $ctx.Values.database.sslMode $ctx.Values.postgresql.enabled -}}
{{- if and (hasPrefix "verify-" $ssl) (not (include "acclimate.caBundle" $ctx)) }}
{{- fail (printf "database.sslMode is %s, and pods.caBundle names no certificates to verify the server with: make a ConfigMap with the server's CA in ca.crt and name it in pods.caBundle.existingConfigMap" $ssl) }}
{{- end }}
{{- printf "postgresql+psycopg://%s@%s:%d/%s?sslmode=%s" (index . 1) (include "acclimate.databaseHost" $ctx) $port (index . 2) $ssl -}}
{{- end -}}

{{- define "acclimate.databaseEnv" -}}
- name: ACCLIMATE_DATABASE_URL
  value: {{ include "acclimate.databaseUrl" (list . .Values.database.user .Values.database.name) | quote }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret | quote }}
      key: {{ .Values.database.passwordKey | quote }}
{{- end -}}

{{/* MLflow's own database on that server, for the server and for what migrates it. */}}
{{- define "acclimate.mlflowDatabaseEnv" -}}
{{- $database := .Values.mlflow.database }}
{{- $user := ternary .Values.database.user $database.user .Values.postgresql.enabled }}
{{- $own := and $database.existingSecret (not .Values.postgresql.enabled) | empty | not }}
- name: MLFLOW_BACKEND_STORE_URI
  value: {{ include "acclimate.databaseUrl" (list . $user $database.name) | quote }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ ternary $database.existingSecret .Values.database.existingSecret $own }}
      key: {{ ternary $database.passwordKey .Values.database.passwordKey $own }}
- name: MLFLOW_DISABLE_TELEMETRY
  value: "true"
- name: HOME
  value: /tmp
{{- end -}}

{{- define "acclimate.objectStoreEnv" -}}
{{- with .Values.objectStore.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
- name: MLFLOW_S3_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.objectStore.region }}
- name: AWS_DEFAULT_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.objectStore.existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.objectStore.accessKeyIdKey | quote }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.objectStore.secretAccessKeyKey | quote }}
{{- end }}
{{- end -}}

{{- define "acclimate.registryUrl" -}}
{{- if .Values.mlflow.enabled -}}
http://{{ include "acclimate.name" (list . "mlflow") }}.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{- .Values.mlflow.url -}}
{{- end -}}
{{- end -}}

{{/* What a client of MLflow shows it, where it asks. */}}
{{- define "acclimate.registryLogin" -}}
{{- with .Values.mlflow.auth.existingSecret }}
- name: MLFLOW_TRACKING_USERNAME
  valueFrom:
    secretKeyRef: {name: {{ . | quote }}, key: username}
- name: MLFLOW_TRACKING_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ . | quote }}, key: password}
{{- end }}
{{- end -}}

{{- define "acclimate.publicUrl" -}}
{{- if ne .Values.expose.type "none" -}}
https://{{ required (printf "expose.host is empty: name the host that expose.type=%s shall serve" .Values.expose.type) .Values.expose.host }}
{{- end -}}
{{- end -}}

{{- define "acclimate.trustedProxies" -}}
{{- with .Values.expose -}}
{{- join "," .trustedProxies | required (printf "expose.trustedProxies is empty: name the network of the pods behind expose.type=%s (`kubectl get pods -A -o wide` shows their addresses), or all devices share one address and its rate" .type) -}}
{{- end -}}
{{- end -}}

{{- define "acclimate.pipelinesClaim" -}}
{{- default (include "acclimate.name" (list . "pipeline")) .Values.pipelines.volume.existingClaim -}}
{{- end -}}

{{- define "acclimate.backupClaim" -}}
{{- default (include "acclimate.name" (list . "backup")) .Values.backup.volume.existingClaim -}}
{{- end -}}

{{- define "acclimate.repositoryClaim" -}}
{{- default (include "acclimate.name" (list . "repository")) .Values.repository.volume.existingClaim -}}
{{- end -}}

{{/* The rollout service's environment. Settings' names are those of acclimate.rollout.settings. */}}
{{- define "acclimate.rolloutEnv" -}}
- name: ACCLIMATE_HOME
  value: /var/lib/acclimate
- name: ACCLIMATE_HOST
  value: 0.0.0.0
- name: ACCLIMATE_PORT
  value: "8080"
{{- with include "acclimate.publicUrl" . }}
- name: ACCLIMATE_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- if ne .Values.expose.type "none" }}
- name: ACCLIMATE_TRUSTED_PROXIES
  value: {{ include "acclimate.trustedProxies" . | quote }}
{{- end }}
{{- if .Values.rollout.tls.secretName }}
- name: ACCLIMATE_TLS_CERTIFICATE
  value: /etc/acclimate/tls/tls.crt
- name: ACCLIMATE_TLS_KEY
  value: /etc/acclimate/tls/tls.key
{{- end }}
{{ include "acclimate.databaseEnv" . }}
- name: ACCLIMATE_ARTIFACTS_URL
  value: {{ default "file:///var/lib/acclimate/repository/tuf/targets" .Values.repository.artifactsUrl | quote }}
- name: ACCLIMATE_TUF_DIRECTORY
  value: /var/lib/acclimate/repository/tuf
- name: ACCLIMATE_SERVICE_KEY
  value: /etc/acclimate/keys/service-key.pem
{{- with .Values.rollout.adminToken.existingSecret }}
- name: ACCLIMATE_ADMIN_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $.Values.rollout.adminToken.key | quote }}
{{- end }}
{{- with .Values.rollout.oidcClient.existingSecret }}
- name: ACCLIMATE_OIDC_CLIENT_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.rollout.oidcClient.key }}
{{- end }}
{{- with include "acclimate.registryUrl" . }}
- name: ACCLIMATE_REGISTRY_URI
  value: {{ . | quote }}
- name: MLFLOW_DISABLE_TELEMETRY
  value: "true"
{{- end }}
{{- include "acclimate.registryLogin" . }}
{{- range $name, $value := .Values.rollout.settings }}
- name: ACCLIMATE_{{ upper $name }}
  {{- /* toJson, because Helm reads numbers as floats and would print a million as 1e+06. */}}
  value: {{ $value | toJson | trimAll "\"" | quote }}
{{- end }}
{{ include "acclimate.objectStoreEnv" . }}
{{- include "acclimate.commonEnv" . }}
{{- with .Values.rollout.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
