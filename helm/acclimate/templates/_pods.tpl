{{/* What every pod of the chart has in common: it is locked down the same way everywhere. */}}

{{/* (list $ uid): the pod's half of the security context. */}}
{{- define "acclimate.podSecurity" -}}
runAsNonRoot: true
{{- if not (index . 0).Values.openshift.enabled }}
runAsUser: {{ index . 1 }}
runAsGroup: {{ index . 1 }}
fsGroup: {{ index . 1 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "acclimate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* (list resources "their.key"): requests and limits, which the API refuses where the first are above the second. */}}
{{- define "acclimate.resources" -}}
{{- $resources := index . 0 -}}
{{- $key := index . 1 -}}
{{- range $what, $amount := $resources.requests }}
{{- with index $resources.limits $what }}
{{- if gt (include "acclimate.thousandths" $amount | float64) (include "acclimate.thousandths" . | float64) }}
{{- fail (printf "%s.requests.%s %v is above %s.limits.%s %v: lower the one or raise the other" $key $what $amount $key $what .) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end -}}

{{/* A quantity of Kubernetes in thousandths. */}}
{{- define "acclimate.thousandths" -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $factors := dict "m" 1.0 "" 1e3 "k" 1e6 "M" 1e9 "G" 1e12 "T" 1e15 "Ki" 1024e3 "Mi" 1048576e3 "Gi" 1073741824e3 "Ti" 1099511627776e3 -}}
{{- mulf (trimSuffix $unit $text | float64) (index $factors $unit) -}}
{{- end -}}

{{/* (list mounts "their.key" volumes ...): mounts, each of a volume that is there. */}}
{{- define "acclimate.extraMounts" -}}
{{- $names := list -}}
{{- range slice . 2 }}{{ range . }}{{ $names = append $names .name }}{{ end }}{{ end -}}
{{- $key := index . 1 -}}
{{- range index . 0 }}
{{- if not (has .name $names) }}
{{- fail (printf "%s mounts %q, and no extraVolumes has that name" $key .name) }}
{{- end }}
{{- end }}
{{- with index . 0 }}
{{- toYaml . }}
{{- end }}
{{- end -}}

{{- define "acclimate.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What `pods` of the values gives every container: CA certificates, variables, files. */}}
{{- define "acclimate.commonEnv" -}}
{{- if include "acclimate.caBundle" . }}
# Python's TLS, requests, S3 clients and libpq each ask for it by a name of their own.
{{- range list "SSL_CERT_FILE" "REQUESTS_CA_BUNDLE" "AWS_CA_BUNDLE" "PGSSLROOTCERT" }}
- name: {{ . | quote }}
  value: /etc/acclimate/ca/ca.crt
{{- end }}
{{- end }}
{{- with .Values.pods.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "acclimate.commonMounts" -}}
{{- if include "acclimate.caBundle" . }}
- {name: ca, mountPath: /etc/acclimate/ca, readOnly: true}
{{- end }}
{{- with .Values.pods.extraVolumeMounts }}
{{ include "acclimate.extraMounts" (list . "pods.extraVolumeMounts" $.Values.pods.extraVolumes) }}
{{- end }}
{{- end -}}

{{- define "acclimate.commonVolumes" -}}
{{- with include "acclimate.caBundle" . }}
- name: ca
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.pods.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "acclimate.caBundle" -}}
{{- with .Values.pods.caBundle }}
{{- if and .existingConfigMap .existingSecret }}
{{- fail "pods.caBundle names a ConfigMap and a Secret: give one of them" }}
{{- else if .existingConfigMap }}
configMap:
  name: {{ .existingConfigMap | quote }}
  items: [{key: {{ .key | quote }}, path: ca.crt}]
{{- else if .existingSecret }}
secret:
  secretName: {{ .existingSecret | quote }}
  defaultMode: 0440
  items: [{key: {{ .key | quote }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end -}}

{{/* nodeSelector and tolerations of a section of the values. */}}
{{- define "acclimate.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
