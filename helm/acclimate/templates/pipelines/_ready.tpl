{{/*
A fresh volume belongs to root, and Kubeflow gives the pods of steps no fsGroup: this pod has one, so mounting the
volume makes it writable for the group of the steps' image. It says what to do where the volume's driver ignores
fsGroup.
*/}}
{{- define "acclimate.pipelineVolumeJob" -}}
{{- $hook := dict "helm.sh/hook" "post-install,post-upgrade" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "acclimate.metadata" (list . "pipeline-volume") | nindent 2 }}
  annotations:
    {{- merge (dict "helm.sh/hook-weight" "-10") $hook | toYaml | nindent 4 }}
automountServiceAccountToken: false
{{- if .Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "acclimate.metadata" (list . "pipeline-volume") | nindent 2 }}
  annotations:
    {{- merge (dict "helm.sh/hook-weight" "-10") $hook | toYaml | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "acclimate.selector" (list . "pipeline-volume") | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end }}
---
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "acclimate.metadata" (list . "pipeline-volume") | nindent 2 }}
  annotations:
    {{- merge (dict "helm.sh/hook-weight" "0") $hook | toYaml | nindent 4 }}
spec:
  backoffLimit: 2
  activeDeadlineSeconds: 600
  template:
    metadata:
      labels:
        {{- include "acclimate.labels" (list . "pipeline-volume") | nindent 8 }}
    spec:
      serviceAccountName: {{ include "acclimate.name" (list . "pipeline-volume") }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      restartPolicy: Never
      {{- include "acclimate.pullSecrets" . | nindent 6 }}
      securityContext:
        {{- include "acclimate.podSecurity" (list . 65532) | nindent 8 }}
      containers:
        - name: ready
          image: {{ include "acclimate.image" (list . .Values.rollout.image) }}
          imagePullPolicy: {{ .Values.images.pullPolicy }}
          command: [python, -c]
          args:
            - {{ .Files.Get "files/volume_ready.py" | toJson }}
            - /var/lib/acclimate
          resources:
            requests: {cpu: 50m, memory: 64Mi}
            limits: {cpu: 500m, memory: 128Mi}
          securityContext:
            {{- include "acclimate.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - {name: volume, mountPath: /var/lib/acclimate}
      volumes:
        - name: volume
          persistentVolumeClaim:
            claimName: {{ include "acclimate.pipelinesClaim" . }}
---
{{ end -}}
