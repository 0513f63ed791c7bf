{{/* The ends of NetworkPolicy rules. */}}

{{- define "acclimate.egress.dns" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- define "acclimate.egress.database" -}}
{{- if .Values.postgresql.enabled }}
- to:
    - podSelector:
        matchLabels:
          {{- include "acclimate.selector" (list . "postgresql") | nindent 10 }}
  ports:
    - {port: 5432, protocol: TCP}
{{- else }}
- ports:
    - {port: {{ int .Values.database.port }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* Port of a URL, by its scheme where it names none. */}}
{{- define "acclimate.urlPort" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "80" "443" (eq $url.scheme "http")) $port -}}
{{- end -}}

{{/* Port of host:port or of redis://host:port. */}}
{{- define "acclimate.redisPort" -}}
{{- default "6379" (regexFind ":[0-9]+$" . | trimPrefix ":") -}}
{{- end -}}

{{- define "acclimate.egress.registry" -}}
{{- if .Values.mlflow.enabled }}
- to:
    - podSelector:
        matchLabels:
          {{- include "acclimate.selector" (list . "mlflow") | nindent 10 }}
  ports:
    - {port: 5000, protocol: TCP}
{{- else if .Values.mlflow.url }}
- ports:
    - {port: {{ include "acclimate.urlPort" .Values.mlflow.url }}, protocol: TCP}
{{- end }}
{{- end -}}

{{/* Clouds give credentials by port 443 too, so it is open whatever the endpoint's own port. */}}
{{- define "acclimate.egress.objectStore" -}}
- ports:
    - {port: 443, protocol: TCP}
    {{- with .Values.objectStore.endpoint }}
    {{- if ne (include "acclimate.urlPort" .) "443" }}
    - {port: {{ include "acclimate.urlPort" . }}, protocol: TCP}
    {{- end }}
    {{- end }}
{{- end -}}

{{- define "acclimate.egress.extra" -}}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
