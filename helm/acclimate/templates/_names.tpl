{{/* Names, labels and image references. Components are called with (list $ "component"). */}}

{{- define "acclimate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- /* A release may have dots in its name, a Service may not; nor may it begin with a digit. */}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | replace "." "-" -}}
{{- regexReplaceAll "^([0-9])" $full "r$1" | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "acclimate.name" -}}
{{- printf "%s-%s" (include "acclimate.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/* Selectors are immutable: nothing that an upgrade may change belongs here. */}}
{{- define "acclimate.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "acclimate.labels" -}}
{{- $ctx := index . 0 -}}
{{ include "acclimate.selector" . }}
app.kubernetes.io/version: {{ $ctx.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: acclimate
app.kubernetes.io/managed-by: {{ $ctx.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $ctx.Chart.Name $ctx.Chart.Version | replace "+" "_" }}
{{- with $ctx.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "acclimate.metadata" -}}
name: {{ include "acclimate.name" . }}
namespace: {{ (index . 0).Release.Namespace | quote }}
labels:
  {{- include "acclimate.labels" . | nindent 2 }}
{{- end -}}

{{/* (list $ image): registry/name, then the digest if there is one, else the tag. */}}
{{- define "acclimate.image" -}}
{{- $ctx := index . 0 -}}
{{- $image := index . 1 -}}
{{- $path := $image.name -}}
{{- with $ctx.Values.images.registry }}{{ $path = printf "%s/%s" (trimSuffix "/" .) $image.name }}{{ end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $path $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $path (default $ctx.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "acclimate.serviceAccountName" -}}
{{- if .Values.rollout.serviceAccount.create -}}
{{- default (include "acclimate.name" (list . "rollout")) .Values.rollout.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.rollout.serviceAccount.name -}}
{{- end -}}
{{- end -}}
